"""An auxiliary set written to its folder, whole or not at all, and the same bytes for the same records."""

import codecs
import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from lt_extrap.data.stored.reader import read_set
from lt_extrap.data.stored.schema import (
    ATTRIBUTION,
    CARD,
    CLASSES,
    FORMAT,
    HEADER,
    MANIFEST,
    PAIRS,
    ClassRecord,
    Header,
    ImageRecord,
    PairRecord,
)
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError
from lt_extrap.files import link_or_copy, whole_folder, write_whole
from lt_extrap.model.shots import Shot

ATTRIBUTION_COLUMNS = ("path", "creator", "licence", "licence_url", "source", "page", "url")


def write_set(
    folder: Path,
    *,
    target: str,
    table: ClassTable,
    classes: Sequence[ClassRecord],
    pairs: Sequence[PairRecord],
    images: Iterable[ImageRecord],
    copy_from: Path | None = None,
    link: bool = False,
    notes: Sequence[str] = (),
) -> Header:
    """Write an auxiliary set.

    Args:
        folder: that is not there yet.
        target: name of the target set.
        table: its classes.
        classes: by aux.
        pairs: of each target by rank; targets in the order of the table.
        images: by aux and path; read once, none is kept.
        copy_from: where the paths of the images start, to copy them into the folder; None = they are not copied.
        notes: paragraphs of its card.
        link: give their files a second name in the folder instead, where it can be done: they must never change.

    Returns:
        What set.json holds.

    Raises:
        DataError: the folder is there, an image cannot be copied, or a reader would refuse the set.
        OSError: it cannot be written, as when the disk is full.
    """
    if folder.exists():
        raise DataError("a folder that is not there yet", f"{folder}", "give another folder=, or move that one away")
    tally = _Tally(Counter(), Counter(), Counter())
    with whole_folder(folder) as new:
        _write_lines(new / CLASSES, classes)
        _write_lines(new / PAIRS, pairs)
        rows = _copied(images, copy_from, new, link_or_copy if link else shutil.copyfile) if copy_from else images
        write_whole(
            new / MANIFEST,
            lambda manifest: write_whole(
                new / ATTRIBUTION, lambda attribution: _write_images(rows, tally, manifest, attribution)
            ),
        )
        header = Header(
            format=FORMAT,
            target=target,
            made_by=f"lt-extrap {version('lt-extrap')}",
            images=tally.images.total(),
            classes=len(classes),
            pairs=len(pairs),
        )
        _write_text(new / HEADER, json.dumps(vars(header), indent=2, ensure_ascii=False) + "\n")
        _write_text(new / CARD, _card(header, table, classes, pairs, tally, notes))
        try:
            read_set(new)
        except DataError as error:
            raise DataError("records that make an auxiliary set", error.found, "correct what they come from") from None
    return header


def line(record: ImageRecord | ClassRecord | PairRecord) -> str:
    """A record as it stands in its file."""
    values: Mapping[str, Any] = vars(record)
    if values.get("cosine"):
        values = {**values, "cosine": dict(sorted(values["cosine"].items()))}
    return json.dumps(values, ensure_ascii=False) + "\n"


def attribution(image: ImageRecord) -> list[str]:
    """The row of an image in attribution.csv."""
    return [getattr(image, column) or "" for column in ATTRIBUTION_COLUMNS]


@dataclass(frozen=True)
class _Tally:
    """Images by class, licence and source."""

    images: Counter[int]
    licences: Counter[str]
    sources: Counter[str]


def _write_images(images: Iterable[ImageRecord], tally: _Tally, manifest: IO[bytes], attributions: IO[bytes]) -> None:
    rows = csv.writer(codecs.getwriter("utf-8")(attributions))
    rows.writerow(ATTRIBUTION_COLUMNS)
    for image in images:
        manifest.write(line(image).encode())
        rows.writerow(attribution(image))
        tally.images[image.aux] += 1
        tally.licences[image.licence or "unknown"] += 1
        tally.sources[image.source or "unknown"] += 1


def _copied(
    images: Iterable[ImageRecord], root: Path, folder: Path, copy: Callable[[Path, Path], object]
) -> Iterator[ImageRecord]:
    for image in images:
        new = folder / image.path
        new.parent.mkdir(parents=True, exist_ok=True)
        copy(root / image.path, new)
        yield image


def _write_lines(path: Path, records: Sequence[ClassRecord] | Sequence[PairRecord]) -> None:
    _write_text(path, "".join(map(line, records)))


def _write_text(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def _card(
    header: Header,
    table: ClassTable,
    classes: Sequence[ClassRecord],
    pairs: Sequence[PairRecord],
    tally: _Tally,
    notes: Sequence[str],
) -> str:
    """What is in the set, for people."""
    shot_of_id = dict(zip(table.ids, table.shots, strict=True))
    neighbors = Counter(pair.target for pair in pairs)
    by_shot = [
        [
            str(shot),
            str(table.shots.count(shot)),
            str(sum(shot_of_id[target] == shot for target in neighbors)),
            str(sum(count for target, count in neighbors.items() if shot_of_id[target] == shot)),
            str(len(of_shot := {pair.aux for pair in pairs if shot_of_id[pair.target] == shot})),
            f"{sum(tally.images[aux] for aux in of_shot):,}",
        ]
        for shot in (Shot.MANY, Shot.MEDIUM, Shot.FEW)
    ]
    proposers = Counter(made.proposer or "unknown" for made in classes)
    parts = [
        f"# Auxiliary classes for {_plain(header.target)}",
        f"{header.classes:,} classes, {header.images:,} images, {header.pairs:,} neighbor pairs; "
        f"{header.classes - len(tally.images):,} classes without an image. Made by {header.made_by}, "
        f"format {header.format}.",
        *map(_plain, notes),
        _table(("targets", "classes", "with neighbors", "pairs", "auxiliary classes", "their images"), by_shot),
        _counts("proposed by", "classes", proposers),
        _counts("licence", "images", tally.licences),
        _counts("source", "images", tally.sources),
        f"Creators and licences of single images are in {ATTRIBUTION}; those of an image hold for that image alone.",
    ]
    return "\n\n".join(parts) + "\n"


def _counts(head: str, unit: str, counts: Counter[str]) -> str:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return _table((head, unit), [[_plain(name), f"{count:,}"] for name, count in rows])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _plain(text: str) -> str:
    """A text from elsewhere that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#|!" else letter for letter in text)
