"""An auxiliary set written to its folder, whole or not at all, and the same bytes for the same records."""

import codecs
import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from lt_extrap.data.stored.card import UNKNOWN, Tally, card
from lt_extrap.data.stored.reader import read_set
from lt_extrap.data.stored.schema import (
    ATTRIBUTION,
    CARD,
    CLASSES,
    FORMAT,
    HEADER,
    MANIFEST,
    PAIRS,
    PROVENANCE,
    ClassRecord,
    Header,
    ImageRecord,
    PairRecord,
    Provenance,
)
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError
from lt_extrap.files import link_or_copy, whole_folder, write_whole

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
    provenance: Provenance | None = None,
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
        link: give their files a second name in the folder instead, where it can be done: they must never change.
        notes: paragraphs of its card.
        provenance: how a curation made it; None = none did.

    Returns:
        What set.json holds.

    Raises:
        DataError: the folder is there, an image cannot be copied, or a reader would refuse the set.
        OSError: it cannot be written, as when the disk is full.
    """
    if folder.exists():
        raise DataError("a folder that is not there yet", f"{folder}", "give another folder=, or move that one away")
    tally = Tally()
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
        if provenance is not None:
            _write_text(new / PROVENANCE, json.dumps(asdict(provenance), indent=1, ensure_ascii=False) + "\n")
        _write_text(new / CARD, card(header, table, classes, pairs, tally, notes, provenance))
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


def _write_images(images: Iterable[ImageRecord], tally: Tally, manifest: IO[bytes], attributions: IO[bytes]) -> None:
    rows = csv.writer(codecs.getwriter("utf-8")(attributions))
    rows.writerow(ATTRIBUTION_COLUMNS)
    for image in images:
        manifest.write(line(image).encode())
        rows.writerow(attribution(image))
        tally.images[image.aux] += 1
        tally.licences[image.licence or UNKNOWN] += 1
        tally.sources[image.source or UNKNOWN] += 1


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
