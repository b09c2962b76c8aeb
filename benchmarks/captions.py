"""A million captions: their index beside a plain table, and the caption rule beside a loop over names.

Run from the repository's root: `python -m benchmarks.captions`. CPU time of one thread. What the peers do is what one
writes first: a table of SQLite that is scanned by LIKE, and `in` for each known name. Neither of them knows words.
"""

import csv
import os
import random
import sqlite3
import tempfile
from contextlib import closing
from itertools import islice
from pathlib import Path
from unittest.mock import patch

from benchmarks.rows import Row, cpu_seconds, row, show
from lt_extrap.config.curate_source import CaptionSource
from lt_extrap.curate.caption_rule import CaptionRule
from lt_extrap.curate.records import Sought
from lt_extrap.curate.sources.captions import Captions
from lt_extrap.paths import CACHE_VARIABLE

CAPTIONS, WORDS, VOCABULARY = 1_000_000, 10, 50_000
QUERIES, SCANS, LOOKED_AT = 200, 3, 200  # classes that are looked for; by the peer, which takes long; images of each
KNOWN, READ, READ_BY_PEER = 60_000, 20_000, 100  # names; captions that the rule reads
BUILD_LIMIT_S, MEGABYTES_LIMIT = 25.0, 300.0


def run() -> list[Row]:
    """A row a measurement."""
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(VOCABULARY)]
    drawn = rng.choices(vocabulary, [1 / (1 + rank) for rank in range(VOCABULARY)], k=CAPTIONS * WORDS)
    captions = [" ".join(drawn[start : start + WORDS]) for start in range(0, len(drawn), WORDS)]
    names = [" ".join(rng.choices(vocabulary[100:5_000], k=rng.choice((1, 2)))) for _ in range(QUERIES)]
    known = [" ".join(rng.choices(vocabulary[100:], k=rng.choice((1, 2, 3)))) for _ in range(KNOWN)]
    return [*_index(captions, names), _rule(captions, names, known)]


def _index(captions: list[str], names: list[str]) -> list[Row]:
    of = f"{len(captions):,} captions"
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "captions.csv"
        with file.open("w", newline="") as opened:
            rows = ((f"https://example.org/{number}.jpg", caption) for number, caption in enumerate(captions))
            csv.writer(opened).writerows([("url", "caption"), *rows])
        found: list[Captions] = []
        with patch.dict(os.environ, {CACHE_VARIABLE: scratch}):
            build = cpu_seconds(lambda: found.append(Captions(CaptionSource([str(file)]))))
        source, sought = found[0], [Sought(name, name, (name,)) for name in names]
        query = cpu_seconds(lambda: [[*islice(source.search(one), LOOKED_AT)] for one in sought]) / len(names)
        megabytes = sum(place.stat().st_size for place in Path(scratch).rglob("*.sqlite")) / 1e6
        with closing(sqlite3.connect(Path(scratch) / "table")) as table:
            table.execute("CREATE TABLE image(place TEXT, caption TEXT)")
            plain = cpu_seconds(lambda: _fill(table, file))
            like = "SELECT * FROM image WHERE caption LIKE '%' || ? || '%'"  # all rows: its order is by chance
            scan = cpu_seconds(lambda: [table.execute(like, (name,)).fetchall() for name in names[:SCANS]]) / SCANS
    return [
        row(f"index of {of}, s: ours / limit", [(build, BUILD_LIMIT_S)], 1.0),
        row(f"index of {of}, s: ours / a plain table", [(build, plain)], None),
        row(f"index of {of}, MB: ours / limit", [(megabytes, MEGABYTES_LIMIT)], 1.0),
        row(f"images of a class of {of}, ms: ours / LIKE", [(1e3 * query, 1e3 * scan)], 0.05),
    ]


def _fill(table: sqlite3.Connection, file: Path) -> None:
    with file.open(newline="") as opened:
        table.executemany("INSERT INTO image VALUES (?, ?)", csv.reader(opened))
    table.commit()


def _rule(captions: list[str], names: list[str], known: list[str]) -> Row:
    rule = CaptionRule([*names, *known])
    ours = cpu_seconds(lambda: [rule.match((name,), f"A {name}, {captions[i]}") for i, name in _turns(names, READ)])

    def loop() -> None:
        for i, name in _turns(names, READ_BY_PEER):
            caption = f"a {name}, {captions[i]}"
            sum(other in caption for other in known if len(other) > len(name))

    taken = (1e6 * ours / READ, 1e6 * cpu_seconds(loop) / READ_BY_PEER)
    return row(f"caption rule with {KNOWN:,} known names, microseconds: ours / `in` for each", [taken], 0.05)


def _turns(names: list[str], count: int) -> list[tuple[int, str]]:
    return [(i, names[i * len(names) // count]) for i in range(count)]


if __name__ == "__main__":
    show(run())
