"""Images and the names of their classes, as folders and tables have them."""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lt_extrap.errors import DataError

# What folders and tables call the splits, in lower case.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_UNLISTABLE = re.compile(r"[\x00-\x1f\\]|^ | $")  # data/lists.py refuses them, or takes them for its own blanks


class LabelledImage(NamedTuple):
    """An image, and what its owner says of it.

    Attributes:
        path: absolute, or from the folder of images.
        label: name of its class, as `label_of` spells it.
        split: train, val or test; None where the split is to be made.
        group: images of one group stay in one split; None = it has no group.
    """

    path: str
    label: str
    split: str | None = None
    group: str | None = None


class Labelled(NamedTuple):
    """What was found.

    Attributes:
        images: each once.
        notes: what its owner should know, a line each.
    """

    images: list[LabelledImage]
    notes: list[str]


def label_of(text: str) -> str:
    """One spelling a class: what a Mac and a Linux disk write in different bytes (é) is one name."""
    return unicodedata.normalize("NFC", text.strip())


def ordered(labels: Iterable[str]) -> list[str]:
    """The classes by label: numbers by value if all are (2 before 10), else by code points.

    Raises:
        DataError: two names differ in nothing but case.
    """
    names = set(labels)
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        spellings[name.casefold()].append(name)
    for alike in spellings.values():
        if len(alike) > 1:
            raise DataError(
                "classes that differ in more than case",
                ", ".join(map(repr, alike)),
                "merge them, or rename one",
            )
    numbers = all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))


def path_below(images: Path, text: str, start: str = "") -> str:
    """A path as it is compared: from the folder of images if it is below that, with slashes and without `..` within.

    Args:
        images: the folder of images.
        text: the path, as a list or table has it.
        start: the folder below that of the images where the path starts.
    """
    path = posixpath.normpath(posixpath.join(start, text.replace("\\", "/")))
    return path.removeprefix(posixpath.join(images, ""))


def check_path(path: str, where: str) -> None:
    """Refuse a path that no list could hold.

    Raises:
        DataError: it is not Unicode, or has a backslash, a control character, or a blank at an end.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError("file names in UTF-8", f"{path!r} in {where}", "rename the file or its folder") from None
    if _UNLISTABLE.search(path):
        raise DataError(
            "paths without backslashes, control characters and blanks at their ends",
            f"{path!r} in {where}",
            "rename the file or its folder",
        )
