"""What is odd about single images."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt64
from PIL import Image

from lt_extrap.data.duplicates import SIDE, perceptual_hash
from lt_extrap.data.facts import FactStore, Picture
from lt_extrap.data.inventory import Inventory
from lt_extrap.findings.finding import Case, Finding, Severity, counted, sample

BLANK = 3.0  # standard deviation of gray values below which a picture shows nothing
_LONG = 4.0  # longer side by shorter side above which a crop shows little of a picture
_HASHED = 4096  # thumbnails hashed together

# Kind: how much it matters, what is said of such images, what to do.
_ODDITIES = {
    "blank": (Severity.WARNING, "of one even colour", "look at them: a placeholder of a web site, as a rule"),
    "tiny": (Severity.WARNING, "of tiny size", "look at them: thumbnails or icons, as a rule"),
    "long": (Severity.NOTE, "of extreme shape", "crops show little of them"),
    "suffix": (Severity.NOTE, "in another format than the name says", "they are read by their content"),
    "animated": (Severity.NOTE, "with further frames", "the first is used"),
    "turned": (Severity.NOTE, "to be turned upright (EXIF)", "that is done"),
    "alpha": (Severity.NOTE, "with transparent pixels", "these show white"),
    "palette": (Severity.NOTE, "with a palette", "they become RGB"),
    "cmyk": (Severity.NOTE, "in CMYK", "they become RGB, without their colour profile"),
    "deep": (Severity.NOTE, "with 16 bits a channel", "they are scaled to 8"),
    "gray": (Severity.NOTE, "without colour", "if that goes with a class, it can be learned instead of the class"),
}


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is known about the images of an inventory.

    Attributes:
        content: for each path, the first path with the same bytes; of what cannot be read, itself.
        reasons: why an image cannot be read, by position of its path.
        odd: kind of oddity -> position of the path -> what is to be said about it.
        hashed: positions of the paths that have a hash: the first of each content that shows something.
        hashes: their perceptual hashes.
    """

    content: Int64[np.ndarray, " paths"]
    reasons: dict[int, str]
    odd: dict[str, dict[int, str]]
    hashed: Int64[np.ndarray, " hashed"]
    hashes: UInt64[np.ndarray, " hashed"]


def read_pictures(files: Sequence[str], missing: Collection[int], store: FactStore, *, tiny: int) -> Pictures:
    """Go through what is stored about files.

    Args:
        files: absolute paths.
        missing: positions of those that are not there.
        store: facts about all others.
        tiny: pixels; images with a shorter side are odd.
    """
    content = np.arange(len(files))
    first: dict[bytes, int] = {}
    reasons: dict[int, str] = {}
    odd: dict[str, dict[int, str]] = {kind: {} for kind in _ODDITIES}
    hashed, hashes, thumbnails = list[int](), [np.empty(0, np.uint64)], list[bytes]()
    formats = _formats()
    for position in sorted(set(range(len(files))).difference(missing)):
        sha256, reason, picture = store.get(files[position])
        if picture is None:
            reasons[position] = str(reason)
            continue
        assert sha256 is not None
        content[position] = first.setdefault(sha256, position)
        for kind, detail in _oddities(picture, formats.get(PurePosixPath(files[position]).suffix.lower()), tiny):
            odd[kind][position] = detail
        if content[position] == position and picture.deviation >= BLANK:
            hashed.append(position)
            thumbnails.append(picture.thumbnail)
        if len(thumbnails) == _HASHED:
            hashes.append(_hash(thumbnails))
            thumbnails.clear()
    return Pictures(content, reasons, odd, np.array(hashed, np.int64), np.concatenate([*hashes, _hash(thumbnails)]))


def find_odd_pictures(inventory: Inventory, pictures: Pictures) -> Iterator[Finding]:
    """Images that cannot be read, list by list, and those that are read but are not what most are."""
    rows = {int(path): row for row, path in reversed([*enumerate(inventory.path_of)])}
    unreadable = np.isin(inventory.path_of, [*pictures.reasons])
    for split in inventory.splits:
        wrong = np.flatnonzero(unreadable & inventory.named(split)).tolist()
        if wrong:
            yield Finding(
                Severity.ERROR,
                "unreadable",
                f"{counted(len(wrong), 'image')} of the {split} list cannot be read",
                "fetch them again" if split in ("val", "test") else "fetch them again, or leave them out",
                tuple(Case((sample(inventory, row),), pictures.reasons[int(inventory.path_of[row])]) for row in wrong),
            )
    for kind, (severity, what, remedy) in _ODDITIES.items():
        if cases := pictures.odd[kind]:
            found = tuple(Case((sample(inventory, rows[path]),), detail) for path, detail in cases.items())
            yield Finding(severity, kind, f"{counted(len(cases), 'image')} {what}", remedy, found)


def _oddities(picture: Picture, promised: str | None, tiny: int) -> Iterator[tuple[str, str]]:
    short, long = sorted((picture.width, picture.height))
    size = f"{picture.width} x {picture.height}"
    if picture.deviation < BLANK:
        yield "blank", f"standard deviation {picture.deviation:.1f}"
    if short < tiny:
        yield "tiny", size
    if long > _LONG * short:
        yield "long", size
    if promised not in (None, picture.format):
        yield "suffix", picture.format
    if picture.animated:
        yield "animated", picture.format
    if picture.orientation != 1:
        yield "turned", f"orientation {picture.orientation}"
    if picture.alpha:
        yield "alpha", picture.mode
    if picture.mode == "P":
        yield "palette", picture.format
    if picture.mode == "CMYK":
        yield "cmyk", picture.format
    if picture.bits == 16:
        yield "deep", picture.mode
    if picture.gray and picture.deviation >= BLANK:
        yield "gray", picture.mode


def _formats() -> dict[str, str]:
    return {suffix: "JPEG" if name == "MPO" else name for suffix, name in Image.registered_extensions().items()}


def _hash(thumbnails: Sequence[bytes]) -> UInt64[np.ndarray, " hashed"]:
    return perceptual_hash(np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, SIDE, SIDE))
