"""Write what was kept: an auxiliary set, further target images, and why everything else was dropped."""

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lt_extrap.curate.curation import IMAGES, SET, TARGET, Curation
from lt_extrap.curate.provenance import provenance
from lt_extrap.curate.stages.selection import require
from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED
from lt_extrap.data.stored.schema import ClassRecord, Header, ImageRecord, PairRecord
from lt_extrap.data.stored.writer import write_set
from lt_extrap.data.target import load_classes
from lt_extrap.files import link_or_copy, write_whole

EXTRA, EXTRA_LIST, DROPPED = "target_extra", "extra.txt", "dropped.jsonl"

# One row an image of a class: of the candidates that it comes from, SQLite takes the columns of the least.
_KEPT = """
SELECT s.key, s.sha256, s.cosines, i.name, i.width, i.height,
       c.caption, c.source, c.url, c.page, c.creator, c.licence, c.licence_url, c.original, min(c.position)
FROM selection s JOIN image i USING (sha256) JOIN offered c USING (key, sha256)
WHERE s.reason IS NULL AND c.form IS NOT NULL GROUP BY s.key, s.sha256
"""


def write_sets(curation: Curation) -> Header | None:
    """The stage `export`.

    Returns:
        What the auxiliary set holds; None where none was asked for, or no image was kept.

    Raises:
        RunError: the selection is of other options, or of other images.
    """
    require(curation)
    return write_kept(curation)


def write_kept(curation: Curation) -> Header | None:
    """Write what the last selection kept, as far as it is still there."""
    kept = defaultdict[str, list[tuple[Any, ...]]](list)
    for row in curation.state.rows(_KEPT):
        kept[row[0]].append(row[1:-1])
    _write_dropped(curation)
    own = {key: rows for key, rows in kept.items() if key.startswith(TARGET)}
    _write_extra(curation, own)
    return _write_auxiliary(curation, {key: rows for key, rows in kept.items() if key not in own})


def _write_auxiliary(curation: Curation, kept: dict[str, list[tuple[Any, ...]]]) -> Header | None:
    folder, table = curation.folder / SET, load_classes(curation.config.target)
    if not kept:
        for gone in (folder, *_left(folder)):
            shutil.rmtree(gone, ignore_errors=True)
        return None
    sought = [wanted for wanted in curation.sought() if wanted.key in kept]
    number = {wanted.key: aux for aux, wanted in enumerate(sought)}
    classes = [
        ClassRecord(aux, wanted.name, wanted.wnid, list(wanted.spellings), wanted.gloss, wanted.proposer or None)
        for aux, wanted in enumerate(sought)
    ]
    pairs, last, rank = list[PairRecord](), -1, 0
    found = curation.state.rows("SELECT target, key, similarity FROM pair ORDER BY target, rank")
    for target, key, similarity in found:
        if key in number:  # ranks without those that have no image
            rank = rank + 1 if target == last else 1
            last = target
            pairs.append(PairRecord(table.ids[target], table.names[target], number[key], rank, similarity))
    records = [_record(row, number[wanted.key], table.ids) for wanted in sought for row in sorted(kept[wanted.key])]
    return replace_set(
        folder,
        lambda new: write_set(
            new,
            target=curation.config.target.folder,
            table=table,
            classes=classes,
            pairs=pairs,
            images=records,
            copy_from=curation.folder / IMAGES,
            link=True,
            provenance=provenance(curation),
        ),
    )


def replace_set(folder: Path, write: Callable[[Path], Header]) -> Header:
    """Write a set beside another one, which it then replaces."""
    new, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    for left in _left(folder):
        shutil.rmtree(left, ignore_errors=True)
    header = write(new)
    if folder.is_dir():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return header


def _left(folder: Path) -> list[Path]:
    """What a start that was killed may have left of writing a set."""
    return [folder.with_name(f"{folder.name}.old"), *folder.parent.glob(f"{folder.name}.new*")]


def _record(row: tuple[Any, ...], aux: int, ids: tuple[str, ...]) -> ImageRecord:
    sha256, cosines, name, width, height, caption, source, url, page, creator, licence, licence_url, original = row
    values: dict[str, float] = {ids[int(label)]: value for label, value in json.loads(cosines).items()}
    return ImageRecord(
        path=name,
        aux=aux,
        sha256=sha256,
        width=width,
        height=height,
        caption=" ".join(str(caption).split())[:1000] if caption else None,
        source=source,
        url=url,
        page=page,
        creator=creator,
        licence=licence,
        licence_url=licence_url,
        original_sha256=original if url and original != sha256 else None,
        cosine=values or None,
    )


def _write_extra(curation: Curation, kept: dict[str, list[tuple[Any, ...]]]) -> None:
    """Further images of target classes: files, their list as `target.extra` takes it, and what is known of each."""
    folder = curation.folder / EXTRA
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
        return
    of_class = {int(key.removeprefix(TARGET)): sorted(rows) for key, rows in kept.items()}
    lines, records = list[str](), list[dict[str, Any]]()
    wanted, label_of = set[Path](), np.argsort(curation.target.class_of)  # a list has the labels of the target's files
    for label in sorted(of_class):
        for row in of_class[label]:
            sha256, cosines, name, width, height, caption, *said = row
            source, url, page, creator, licence, licence_url, made_of = said
            file = folder / IMAGES / name
            wanted.add(file)
            if not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(curation.folder / IMAGES / name, file)
            lines.append(f"{file.resolve()} {label_of[label]}\n")
            records.append(
                {
                    "path": f"{IMAGES}/{name}",
                    "label": label,
                    "sha256": sha256,
                    "width": width,
                    "height": height,
                    "caption": caption,
                    "source": source,
                    "url": url,
                    "page": page,
                    "creator": creator,
                    "licence": licence,
                    "licence_url": licence_url,
                    "original_sha256": made_of if url and made_of != sha256 else None,
                    "cosine": json.loads(cosines).get(str(label)),
                }
            )
    _write_lines(folder / "manifest.jsonl", (json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    _write_lines(folder / EXTRA_LIST, iter(lines))
    for file in sorted((folder / IMAGES).rglob("*")):
        if file.is_file() and file not in wanted:
            file.unlink()


def _write_dropped(curation: Curation) -> None:
    """A line a candidate that was not kept: its class, its place, the stage and the reason."""
    rows = curation.state.rows(
        "SELECT c.key, c.source, c.place, c.sha256, c.ruled, c.form, c.reason, s.reason, s.because FROM offered c "
        "LEFT JOIN selection s ON s.key = c.key AND s.sha256 = c.sha256 AND c.form IS NOT NULL "
        "ORDER BY c.key, c.position"
    )

    def lines() -> Iterator[str]:
        for key, source, place, sha256, ruled, form, unreadable, reason, because in rows:
            if ruled is not None and form is None:
                stage, reason, because = "candidates", "caption", None
            elif unreadable is not None:
                stage = "images"
                ours = unreadable in (FORGOTTEN, NOT_NEEDED)
                reason, because = (unreadable, None) if ours else ("unreadable", unreadable)
            elif reason is not None:
                stage = "selection"
            else:
                continue
            record = {
                "class": key,
                "source": source,
                "place": place,
                "sha256": sha256,
                "stage": stage,
                "reason": reason,
                "because": because,
            }
            yield json.dumps(record, ensure_ascii=False) + "\n"

    _write_lines(curation.folder / DROPPED, lines())


def _write_lines(file: Path, lines: Iterator[str]) -> None:
    write_whole(file, lambda opened: opened.writelines(line.encode() for line in lines))
