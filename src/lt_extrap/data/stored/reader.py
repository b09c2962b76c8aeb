"""An auxiliary set read from its folder: images in an index, classes and pairs as records."""

import json
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.stored.schema import (
    CLASSES,
    FORMAT,
    HEADER,
    MANIFEST,
    PAIRS,
    PROVENANCE,
    ClassRecord,
    Comparison,
    Fate,
    Header,
    ImageRecord,
    PairRecord,
    Provenance,
)
from lt_extrap.errors import DataError

Record = TypeVar("Record", ImageRecord, ClassRecord, PairRecord)
_LONGEST = 1 << 20  # bytes of a line; what is behind them is a line of its own, and no record


class Finding(NamedTuple):
    """Something in an auxiliary set that must not be so.

    Attributes:
        file: below the folder.
        line: from 1; None where it is no single line.
        reason: what was found.
    """

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{f', line {self.line}' if self.line else ''}: {self.reason}"


@dataclass(frozen=True)
class StoredSet:
    """An auxiliary set as read.

    Attributes:
        header: of set.json.
        index: its images; paths as in the manifest, labels are aux.
        classes: by aux.
        pairs: in the order of the file.
    """

    header: Header
    index: SampleIndex
    classes: tuple[ClassRecord, ...]
    pairs: tuple[PairRecord, ...]


def read_set(folder: Path) -> StoredSet:
    """Read an auxiliary set; whether its images are there is not looked at (see `leading_out`).

    Raises:
        DataError: the folder is none of this version, or something in it must not be so; file and line are named.
    """

    def refuse(finding: Finding) -> None:
        raise DataError(
            f"an auxiliary set as docs/data.md describes it, in {folder}",
            str(finding),
            f"see all findings by python -m lt_extrap.auxiliary_set do=verify folder={folder}",
        )

    return scan(folder, refuse)


def scan(folder: Path, report: Callable[[Finding], None]) -> StoredSet:
    """Read an auxiliary set, report what must not be so, and go on without it.

    Raises:
        DataError: a file is not there, or set.json is none of this version.
    """
    header = read_header(folder)
    classes, pairs = list[ClassRecord](), list[PairRecord]()
    wnids = set[str]()
    for number, made in _records(folder, CLASSES, ClassRecord, report):
        if made.aux != number - 1:
            report(Finding(CLASSES, number, f"aux {made.aux} where {number - 1} was wanted: a class a line, from 0"))
        if made.wnid in wnids:
            report(Finding(CLASSES, number, f"wnid {made.wnid} a second time"))
        wnids |= {made.wnid} if made.wnid else set()
        classes.append(made)
    known = max(header.classes, len(classes))
    seen, ranks = set[tuple[str, int]](), dict[str, list[int | None]]()
    for number, pair in _records(folder, PAIRS, PairRecord, report):
        if pair.aux >= known:
            report(Finding(PAIRS, number, f"aux {pair.aux}, and there are {known} classes"))
        if (pair.target, pair.aux) in seen:
            report(Finding(PAIRS, number, f"the pair of {pair.target} and {pair.aux} a second time"))
        seen.add((pair.target, pair.aux))
        ranks.setdefault(pair.target, []).append(pair.rank)
        pairs.append(pair)
    for reason in _wrong_ranks(ranks):
        report(Finding(PAIRS, None, reason))
    index = _read_index(folder, known, report)
    for name, wanted, found in (
        (MANIFEST, header.images, len(index)),
        (CLASSES, header.classes, len(classes)),
        (PAIRS, header.pairs, len(pairs)),
    ):
        if wanted != found:
            report(Finding(name, None, f"{found} records, and {wanted} by {HEADER}"))
    return StoredSet(header, index, tuple(classes), tuple(pairs))


def read_header(folder: Path) -> Header:
    """Read set.json.

    Raises:
        DataError: there is none, or it is of another version.
    """
    file = folder / HEADER
    try:
        content: dict[str, Any] = _object(file.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError(f"format {content.get('format')!r:.100}")
        return Header(**content)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"an auxiliary set of this version (format {FORMAT}) in {folder}",
            f"{HEADER}: {error}",
            "give the folder of a set, or use the version of lt_extrap that made it",
        ) from None


def read_provenance(folder: Path) -> Provenance | None:
    """How a curation made a set; None where none says that it did.

    Raises:
        DataError: provenance.json cannot be read, or is malformed.
    """
    try:
        with (folder / PROVENANCE).open("rb") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise ValueError(f"more than {_LONGEST:,} bytes")
        content = _object(text.decode())
        for name, kind in (("fates", Fate), ("compared", Comparison)):
            content[name] = [kind(**record) for record in content[name]]
        return Provenance(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"how a curation made the set, in {folder / PROVENANCE}",
            f"{type(error).__name__}: {error!s:.200}",
            "copy the whole folder again, or remove that file: the set is the same without it",
        ) from None


def read_images(folder: Path) -> Iterator[tuple[int, ImageRecord]]:
    """The lines of the manifest that hold what they should, by their number from 1."""
    return _records(folder, MANIFEST, ImageRecord, lambda finding: None)


def leading_out(index: SampleIndex, root: Path) -> Iterator[int]:
    """Positions of the images whose file, or a folder above it, is a link that leads out of the root."""
    real = os.path.join(os.path.realpath(root), "")  # noqa: PTH118 (speed)
    inside = dict[str, bool]()

    def leads_out(path: str) -> bool:
        return not os.path.realpath(path).startswith(real)

    for position in range(len(index)):
        file = os.path.join(real, index.path(position))  # noqa: PTH118
        folder = os.path.dirname(file)  # noqa: PTH120
        if folder not in inside:
            inside[folder] = os.path.join(os.path.realpath(folder), "").startswith(real)  # noqa: PTH118
        if not inside[folder] or (os.path.islink(file) and leads_out(file)):  # noqa: PTH114
            yield position


def _read_index(folder: Path, classes: int, report: Callable[[Finding], None]) -> SampleIndex:
    """The manifest without an object an image: the bytes of all paths, where each begins, and the classes."""
    text, offsets, labels = bytearray(), array("q", [0]), array("i")
    seen = set[bytes]()
    for number, image in _records(folder, MANIFEST, ImageRecord, report):
        path = image.path.encode()
        if image.aux >= classes:
            report(Finding(MANIFEST, number, f"aux {image.aux}, and there are {classes} classes"))
            continue
        if path in seen:
            report(Finding(MANIFEST, number, f"the path {image.path} a second time"))
        seen.add(path)
        text += path
        offsets.append(len(text))
        labels.append(image.aux)
    return SampleIndex(np.array(labels, np.int32), np.array(offsets, np.int64), np.frombuffer(text, np.uint8))


def _wrong_ranks(ranks: dict[str, list[int | None]]) -> Iterator[str]:
    """Ranks are 1..n of each target, or of no pair of the set."""
    if all(rank is None for found in ranks.values() for rank in found):
        return
    for target, found in ranks.items():
        if set(found) != set(range(1, len(found) + 1)):
            yield f"the ranks {found!s:.100} of target {target}, where 1..{len(found)} were wanted, each once"


def _records(
    folder: Path, file: str, kind: type[Record], report: Callable[[Finding], None]
) -> Iterator[tuple[int, Record]]:
    """The records of a file with their line numbers, from 1; what is none is reported."""
    try:
        with (folder / file).open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST), b""), start=1):
                try:
                    record = kind(**_object(line.decode()))
                except (ValueError, TypeError, RecursionError) as error:
                    report(Finding(file, number, str(error).replace(f"{kind.__name__}.__init__() ", "")))
                else:
                    yield number, record
    except OSError as error:
        raise DataError(
            f"the file {file} of the auxiliary set in {folder}", error.strerror or str(error), "copy the whole folder"
        ) from error


def _object(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if type(content) is not dict:
        raise ValueError(f"{content!r:.100}: not a JSON object")
    return content
