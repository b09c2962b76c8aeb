"""Ask the source for images of each class, and let the captions decide which are looked at."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice

from lt_extrap.bar import Bar
from lt_extrap.curate.caption_rule import CaptionRule
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.forecast import Forecast, before
from lt_extrap.curate.provenance import option_name
from lt_extrap.curate.records import Candidate, Refused, Sought
from lt_extrap.curate.shards import part
from lt_extrap.curate.state import FORGOTTEN

# What is known already keeps its image, and is placed and captioned as a first search would; forgotten is forgotten.
_OFFER = f"""
INSERT INTO candidate (key, source, place, position, caption, url, page, creator, licence, licence_url)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, source, place) DO UPDATE SET position = excluded.position, caption = excluded.caption,
    url = excluded.url, page = excluded.page, creator = excluded.creator, licence = excluded.licence,
    licence_url = excluded.licence_url, ruled = CASE WHEN caption IS excluded.caption THEN ruled END
WHERE reason IS NOT '{FORGOTTEN}'
"""
_VERSION = 1  # of the caption rule: raise it when it decides in another way


def collect(curation: Curation) -> None:
    """The stage `candidates`."""
    sought = curation.sought()
    of_key = {wanted.key: wanted for wanted in sought}
    options = curation.config.source
    told = {
        "source": option_name("source", options),
        **{f"source.{key}": value for key, value in asdict(options).items()},
        "candidates_per_class": curation.config.candidates_per_class,
    }
    with curation.state.transaction():  # what the view `offered` shows from now on
        curation.state.set("asked_by", json.dumps(told))
        curation.state.set("source", curation.source_id)
        curation.state.set("candidates_per_class", str(curation.config.candidates_per_class))
    most = curation.config.candidates_per_class
    asked = {
        key: number if by == _asked_by(wanted) else 0
        for key, by, number in curation.state.rows(
            "SELECT key, wanted, asked FROM search WHERE source = ?", curation.source_id
        )
        if (wanted := of_key.get(key)) is not None
    }
    mine = part(sought, curation.config.shard, curation.config.shards)
    to_do = [wanted for wanted in mine if asked.get(wanted.key, 0) < most]
    if to_do:
        for note in curation.source.notes:
            print(note)
        before(curation, len(to_do))
    forecast, found = Forecast("candidates", len(to_do)), 0
    with Bar("classes asked for") as bar:
        for number, wanted in enumerate(to_do, 1):
            found += _search(curation, wanted)
            bar.show(number, len(to_do))
            forecast.after(number, found)
            curation.stop.answer()
    _rule(curation, sought)


def _search(curation: Curation, wanted: Sought) -> int:
    state, source, most = curation.state, curation.source, curation.config.candidates_per_class
    left_out: Counter[str] = Counter()
    found = [
        _row(wanted, curation.source_id, position, candidate)
        for position, candidate in enumerate(islice(_offered(source.search(wanted), left_out), most))
    ]
    offered = {row[2] for row in found}
    gone = [
        (wanted.key, curation.source_id, place)
        for place, reason in state.rows(
            "SELECT place, reason FROM candidate WHERE key = ? AND source = ?", wanted.key, curation.source_id
        )
        if place not in offered and reason != FORGOTTEN
    ]
    with state.transaction():
        state.write("DELETE FROM candidate WHERE key = ? AND source = ? AND place = ?", gone)
        state.write(_OFFER, found)
        state.write("DELETE FROM left_out WHERE key = ? AND source = ?", [(wanted.key, curation.source_id)])
        state.write(
            "INSERT INTO left_out VALUES (?, ?, ?, ?)",
            [(wanted.key, curation.source_id, *counted) for counted in sorted(left_out.items())],
        )
        state.write(
            "REPLACE INTO search VALUES (?, ?, ?, ?)", [(wanted.key, curation.source_id, _asked_by(wanted), most)]
        )
    return len(found)


def _offered(found: Iterable[Candidate | Refused], left_out: Counter[str]) -> Iterator[Candidate]:
    """What is offered of what was found; the rest is counted by its reason."""
    for one in found:
        if isinstance(one, Candidate):
            yield one
        else:
            left_out[one.reason] += 1


def _asked_by(wanted: Sought) -> str:
    """What a source is asked by: where a class has another spelling than it had, it is asked again."""
    return json.dumps([wanted.name, wanted.spellings, wanted.wnid, wanted.query], ensure_ascii=False)


def _row(wanted: Sought, source: str, position: int, found: Candidate) -> tuple[str | int | None, ...]:
    said = (found.caption, found.url, found.page, found.creator, found.licence, found.licence_url)
    return (wanted.key, source, found.place, position, *said)


def _rule(curation: Curation, sought: list[Sought]) -> None:
    """Decide on captions that are new, and on all where other names are known than before."""
    accepted = {wanted.key: wanted.spellings for wanted in sought}
    of_targets = (target.spellings for target in curation.targets())
    known = sorted({spelling for spellings in (*of_targets, *accepted.values()) for spelling in spellings})
    rule = CaptionRule(known)
    ruled = f"{_VERSION}-{hashlib.sha256(chr(0).join(known).encode()).hexdigest()[:16]}"
    new = list(
        curation.state.rows(
            "SELECT id, key, caption FROM offered WHERE ruled IS NOT ? ORDER BY id",
            ruled,
        )
    )
    with Bar("captions read") as bar:
        done = 0
        for block in curation.kept(new, 2000):
            curation.state.write(
                "UPDATE candidate SET form = ?, ruled = ? WHERE id = ?",
                [(rule.match(accepted[key], caption) if caption else None, ruled, id) for id, key, caption in block],
            )
            done += len(block)
            bar.show(done, len(new))
