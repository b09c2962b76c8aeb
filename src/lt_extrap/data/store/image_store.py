"""What every store of images does."""

import os
from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Int64

from lt_extrap.data.lists import SampleIndex

# What tells the content of an image from an older one without reading it: its size, and its time or a checksum.
Stamp = tuple[int, int]


class ImageStore(ABC):
    """Images by the paths that lists have for them.

    A relative path starts at the root. An absolute one names a file of this machine, whatever the store, unless it
    starts with the root, which may be a URL.

    Attributes:
        root: a folder or a URL.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._prefix = os.path.join(root, "")  # noqa: PTH118 (of a URL too)

    def __str__(self) -> str:
        return self.root

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)

    def where(self, path: str) -> str:
        """Where an image is, for messages; any store of this root takes it for the path."""
        return path if self._is_whole(path) else self._prefix + path

    @property
    def longest_edges(self) -> frozenset[int | None]:
        """The pixels to which larger images were resized when they were packed; None = never."""
        return frozenset([None])

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The bytes of an image.

        Raises:
            UnreadableImage: it is not there, or cannot be read.
        """

    @abstractmethod
    def stamp(self, path: str) -> Stamp | None:
        """What tells the content of an image from an older one; None where there is no such image."""

    @abstractmethod
    def missing(self, index: SampleIndex) -> Int64[np.ndarray, " missing"]:
        """Positions of the images that are not there."""

    @abstractmethod
    def instead(self, path: str) -> str:
        """What is there where an image is not, in words."""

    def _is_whole(self, path: str) -> bool:
        return path.startswith("/") or path.startswith(self._prefix)

    def _inside(self, path: str) -> str | None:
        """The path below the root; None for another file of this machine."""
        if path.startswith(self._prefix):
            return path[len(self._prefix) :]
        return None if path.startswith("/") else path


class Beside(ImageStore):
    """A store, and a second one for the paths that start with the root of that."""

    def __init__(self, first: ImageStore, second: ImageStore) -> None:
        super().__init__(first.root)
        self._first, self._second = first, second

    @staticmethod
    def of(first: ImageStore, second: ImageStore) -> ImageStore:
        """Both, or the first alone where it can read what the second has."""
        return first if first.root == second.root else Beside(first, second)

    @property
    def longest_edges(self) -> frozenset[int | None]:
        return self._first.longest_edges | self._second.longest_edges

    def where(self, path: str) -> str:
        return self._of(path).where(path)

    def read(self, path: str) -> bytes:
        return self._of(path).read(path)

    def stamp(self, path: str) -> Stamp | None:
        return self._of(path).stamp(path)

    def missing(self, index: SampleIndex) -> Int64[np.ndarray, " missing"]:
        of_second = np.array([self._of(path) is self._second for path in index.paths()], bool)
        rows = (np.flatnonzero(of_second), np.flatnonzero(~of_second))
        stores = (self._second, self._first)
        found = [own[store.missing(index.select(own))] for own, store in zip(rows, stores, strict=True) if len(own)]
        return np.sort(np.concatenate([np.empty(0, np.int64), *found]))

    def instead(self, path: str) -> str:
        return self._of(path).instead(path)

    def _of(self, path: str) -> ImageStore:
        return self._second if path.startswith(self._second._prefix) else self._first
