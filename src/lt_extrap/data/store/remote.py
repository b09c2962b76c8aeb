"""Files behind a URL, read through fsspec."""

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import fsspec
import numpy as np
from jaxtyping import Int64

from lt_extrap.data.decode import UnreadableImage, read_bytes
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.store.folder import stamp_of
from lt_extrap.data.store.image_store import ImageStore, Stamp
from lt_extrap.errors import ConfigError

T = TypeVar("T")
_URL = re.compile(r"[a-z][a-z0-9+.-]+(::|://)")
_WAITS = (1.0, 5.0)  # seconds between the tries of a read: networks fail now and then


def is_url(place: str) -> bool:
    """Whether a place is a URL of fsspec, such as s3://bucket/folder, and no path."""
    return _URL.match(place) is not None


class RemoteFiles:
    """Files behind a URL.

    Attributes:
        root: the URL.

    Raises:
        ConfigError: fsspec does not know the protocol, or its package is not installed.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._process, self._system, self._start = -1, None, ""
        self._opened()

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or those from `start` on and before `end`.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it cannot be read, tried three times.
        """

        def read() -> bytes:
            system, place = self._place(name)
            content: bytes = system.cat_file(place, start=start, end=end)
            return content

        return self._patiently(read)

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none. Raises OSError as `read` does."""

        def size() -> int | None:
            system, place = self._place(name)
            try:
                found = system.info(place)
            except FileNotFoundError:
                return None
            return int(found["size"] or 0) if found["type"] == "file" else None

        return self._patiently(size)

    def names(self, folder: str) -> set[str]:
        """Names in a folder; none where it cannot be listed, as on most web servers. Raises OSError as `read` does."""

        def names() -> set[str]:
            system, place = self._place(folder)
            try:
                found = system.ls(place, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return set()
            return {path.rstrip("/").rpartition("/")[2] for path in found}

        return self._patiently(names)

    def _place(self, name: str) -> tuple[Any, str]:
        system, start = self._opened()
        if start.startswith(("http://", "https://")):
            name = quote(name)
        return system, f"{start}/{name}" if name else start

    def _opened(self) -> tuple[Any, str]:
        """The file system of this process: those of fsspec do not survive a fork, as their thread does not."""
        if self._process != os.getpid():
            try:
                self._system, start = fsspec.url_to_fs(self.root)
            except (ValueError, ImportError) as error:
                raise ConfigError(
                    f"a URL that fsspec can open: {self.root}",
                    str(error),
                    "correct it, or install the package of its protocol, such as s3fs or gcsfs",
                ) from error
            self._start, self._process = start.rstrip("/"), os.getpid()
        return self._system, self._start

    def _patiently(self, ask: Callable[[], T]) -> T:
        for wait in (*_WAITS, None):
            try:
                return ask()
            except (FileNotFoundError, PermissionError, IsADirectoryError):
                raise
            except Exception as error:  # each protocol raises its own
                if wait is None:
                    raise OSError(f"no answer in {len(_WAITS) + 1} tries: {type(error).__name__}: {error}") from error
            time.sleep(wait)
        raise AssertionError


class RemoteFolder(ImageStore):
    """The files below a URL: a request an image."""

    def __init__(self, files: RemoteFiles) -> None:
        super().__init__(files.root)
        self._files = files

    def read(self, path: str) -> bytes:
        if (inside := self._inside(path)) is None:
            return read_bytes(path)
        try:
            return self._files.read(inside)
        except OSError as error:
            reason = "not there" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
            raise UnreadableImage(self.where(path), reason) from error

    def stamp(self, path: str) -> Stamp | None:
        if (inside := self._inside(path)) is None:
            return stamp_of(path)
        size = self._files.size(inside)
        return None if size is None else (size, 0)

    def missing(self, index: SampleIndex) -> Int64[np.ndarray, " missing"]:
        """Positions of the images that are not there: a request a folder, and one for each image that it lacks."""
        folders: dict[str, list[tuple[str, int]]] = defaultdict(list)
        rows = []
        for row, path in enumerate(index.paths()):
            if (inside := self._inside(path)) is not None:
                folder, _, name = inside.rpartition("/")
                folders[folder].append((name, row))
            elif stamp_of(path) is None:
                rows.append(row)
        for folder, wanted in folders.items():
            there = self._files.names(folder)
            rows += [row for name, row in wanted if name not in there and self.stamp(index.path(row)) is None]
        return np.array(sorted(rows), np.int64)

    def instead(self, path: str) -> str:
        return f"nothing is at {self.where(path)}"
