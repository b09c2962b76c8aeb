"""All that is wrong with an auxiliary set on disk, not the first thing alone."""

import csv
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from lt_extrap.data.decode import UnreadableImage, image_size
from lt_extrap.data.stored.reader import Finding, StoredSet, leading_out, read_images, read_provenance, scan
from lt_extrap.data.stored.schema import ATTRIBUTION, CARD, CLASSES, MANIFEST, PROVENANCE, ImageRecord
from lt_extrap.data.stored.writer import ATTRIBUTION_COLUMNS, attribution
from lt_extrap.errors import DataError

Line = tuple[int, ImageRecord]


def verify(
    folder: Path,
    report: Callable[[Finding], None],
    *,
    images: Path | None = None,
    hashes: bool = False,
    watch: Callable[[Iterable[Line]], Iterable[Line]] = iter,
) -> StoredSet:
    """Report everything in an auxiliary set that must not be so.

    That is what `read_set` refuses, and: classes without images, images that are not there, cannot be opened or
    have another size, attribution.csv that does not fit the manifest, links that lead out of the folder.

    Args:
        folder: of the set.
        report: takes each finding.
        images: where the paths of the manifest start; None = the folder.
        hashes: read every image and compare its sha256.
        watch: passes the lines of the manifest on, to show how far it is.

    Returns:
        The set, without what was reported.

    Raises:
        DataError: there is no set of this version.
    """
    stored = scan(folder, report)
    for aux in sorted(set(range(len(stored.classes))).difference(stored.index.labels.tolist())):
        report(Finding(CLASSES, None, f"aux {aux} ({stored.classes[aux].name}) has no image"))
    outside = set() if images else {stored.index.path(i) for i in leading_out(stored.index, folder)}
    for number, image in watch(read_images(folder)):
        reason = "a link leads out of the folder" if image.path in outside else _wrong(images or folder, image, hashes)
        if reason:
            report(Finding(MANIFEST, number, f"{image.path}: {reason}"))
    for finding in _wrong_attribution(folder):
        report(finding)
    if not (folder / CARD).is_file():
        report(Finding(CARD, None, "not there"))
    try:
        read_provenance(folder)
    except DataError as error:
        report(Finding(PROVENANCE, None, error.found))
    return stored


def _wrong(root: Path, image: ImageRecord, hashes: bool) -> str | None:
    file = root / image.path
    if not os.path.isfile(file):  # noqa: PTH113 (Path.is_file raises where a name is too long)
        return "not there, or no file"
    try:
        size = image_size(file)
    except UnreadableImage as error:
        return f"cannot be read as an image ({error.reason})"
    if (image.width or size[0], image.height or size[1]) != size:
        return f"{size[0]} x {size[1]} pixels, and {image.width} x {image.height} by the manifest"
    if hashes:
        if image.sha256 is None:
            return "no sha256 to compare"
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != image.sha256:
                return "another sha256"
    return None


def _wrong_attribution(folder: Path) -> Iterator[Finding]:
    try:
        with (folder / ATTRIBUTION).open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file, strict=True)
            if next(rows, None) != list(ATTRIBUTION_COLUMNS):
                yield Finding(ATTRIBUTION, 1, f"another header than {','.join(ATTRIBUTION_COLUMNS)}")
            for row, line in zip_longest(rows, read_images(folder)):
                if row is None or line is None or row != attribution(line[1]):
                    where = f"line {line[0]} of {MANIFEST}" if line else "no line"
                    yield Finding(ATTRIBUTION, rows.line_num, f"not the row of {where}; the rest is not compared")
                    return
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        yield Finding(ATTRIBUTION, None, str(error))
