"""Images that are files."""

import os
import stat
from collections import defaultdict
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lt_extrap.data.decode import read_bytes
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.store.image_store import ImageStore, Stamp


class Folder(ImageStore):
    """The files below a folder.

    Attributes:
        path: the folder, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def read(self, path: str) -> bytes:
        return read_bytes(self.where(path))

    def stamp(self, path: str) -> Stamp | None:
        return stamp_of(self.where(path))

    def missing(self, index: SampleIndex) -> Int64[np.ndarray, " missing"]:
        """Positions of the images that are not there.

        Every folder is listed once: one question a folder, where a question a file takes minutes on a network's disk.
        """
        folders: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for row, path in enumerate(index.paths()):
            folder, slash, name = path.rpartition("/")
            folders[folder + slash].append((name, row))
        rows = []
        for folder, wanted in folders.items():
            place = os.path.join(self.root, folder)  # noqa: PTH118 (the path of a list may be absolute)
            there = _files(place, {name for name, _ in wanted})
            # A folder may be closed to listing, or its disk know other spellings: whoever opens has the last word.
            rows += [row for name, row in wanted if name not in there and not os.path.isfile(place + "/" + name)]  # noqa: PTH113
        return np.array(sorted(rows), np.int64)

    def instead(self, path: str) -> str:
        return f"nothing is at {self.where(path)}"


def stamp_of(path: str) -> Stamp | None:
    """Size and time of a file; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 (of every image)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _files(folder: str, wanted: set[str]) -> set[str]:
    """Which of these files are in a folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.name in wanted and entry.is_file()}
    except OSError:
        return set()
