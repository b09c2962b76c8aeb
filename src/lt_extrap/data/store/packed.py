"""Images in tar shards, found by an index: any image is one read, and a million of them a few files."""

import hashlib
import os
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lt_extrap.data.decode import UnreadableImage, read_bytes
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.store.folder import Folder, stamp_of
from lt_extrap.data.store.image_store import ImageStore, Stamp
from lt_extrap.data.store.index import INDEX, PackIndex
from lt_extrap.data.store.remote import RemoteFiles, RemoteFolder, is_url
from lt_extrap.errors import DataError
from lt_extrap.files import write_whole, write_whole_folder
from lt_extrap.paths import cache_dir

_MOST_OPEN = 256  # shards; a process may have 1024 files open on most machines
_HEAD = 512  # bytes of an index that tell it from another


class Shards(ABC):
    """The shards of a packed folder, by number."""

    @abstractmethod
    def read(self, shard: int, start: int, length: int) -> bytes:
        """Some bytes of a shard; fewer where it ends. Raises OSError."""

    @abstractmethod
    def size(self, shard: int) -> int | None:
        """Bytes of a shard; None where it is not there."""


class LocalShards(Shards):
    """Shards in a folder, opened when they are first read from.

    Forked workers may share a descriptor: a read at a place moves nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, int] = {}

    def read(self, shard: int, start: int, length: int) -> bytes:
        descriptor = self._open.get(shard)
        if descriptor is None:
            if len(self._open) >= _MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = self._open[shard] = os.open(self._folder / shard_name(shard), os.O_RDONLY)
        return os.pread(descriptor, length, start)

    def size(self, shard: int) -> int | None:
        stamp = stamp_of(str(self._folder / shard_name(shard)))
        return None if stamp is None else stamp[0]

    def __del__(self) -> None:
        for descriptor in self._open.values():
            with suppress(OSError):
                os.close(descriptor)


class RemoteShards(Shards):
    """Shards behind a URL: a request for a range of bytes an image."""

    def __init__(self, files: RemoteFiles) -> None:
        self._files = files

    def read(self, shard: int, start: int, length: int) -> bytes:
        return self._files.read(shard_name(shard), start, start + length)

    def size(self, shard: int) -> int | None:
        return self._files.size(shard_name(shard))


class Packed(ImageStore):
    """The images of a packed folder.

    Attributes:
        index: where they are. shards: what has their bytes.

    Raises:
        DataError: a shard is not there, or has another size than it was packed with.
    """

    def __init__(self, root: str, index: PackIndex, shards: Shards) -> None:
        super().__init__(root)
        self.index, self.shards = index, shards
        for shard, size in enumerate(index.header.shards):
            if (found := shards.size(shard)) != size:
                raise DataError(
                    f"the {len(index.header.shards):,} shards of the packed folder {root}",
                    f"{shard_name(shard)}: " + ("not there" if found is None else f"{found:,} bytes of {size:,}"),
                    f"copy the whole folder again, or remove its {INDEX} and pack it again",
                )

    @property
    def longest_edges(self) -> frozenset[int | None]:
        return frozenset([self.index.header.longest_edge])

    def read(self, path: str) -> bytes:
        if (inside := self._inside(path)) is None:
            return read_bytes(path)
        extent = self.index.find(inside)
        if extent is None:
            reason = self.index.reasons.get(inside)
            raise UnreadableImage(self.where(path), "not packed" + (f": {reason}" if reason else ""))
        shard, start, length, _ = extent
        try:
            content = self.shards.read(shard, start, length)
        except OSError as error:
            reason = f"{shard_name(shard)}: {error.strerror or error}"
            raise UnreadableImage(self.where(path), reason) from error
        if len(content) != length:  # a cut shard, or a server that sends the whole of it
            raise UnreadableImage(
                self.where(path), f"{shard_name(shard)}: {len(content):,} bytes where {length:,} were asked for"
            )
        return content

    def stamp(self, path: str) -> Stamp | None:
        if (inside := self._inside(path)) is None:
            return stamp_of(path)
        extent = self.index.find(inside)
        return None if extent is None else (extent.length, extent.checksum)

    def missing(self, index: SampleIndex) -> Int64[np.ndarray, " missing"]:
        """Positions of the images that are not packed."""
        return np.array([row for row, path in enumerate(index.paths()) if self.stamp(path) is None], np.int64)

    def instead(self, path: str) -> str:
        inside = self._inside(path) or path
        if (reason := self.index.reasons.get(inside)) is not None:
            return f"it was left out when {self.root} was packed: {reason}"
        if not len(self.index):
            return f"{self.root} has no image"
        name = os.fsencode(inside.rpartition("/")[2])
        paths = self.index.paths()
        like = next((other for other in paths if other.rpartition(b"/")[2] == name), paths[0])
        return f"{self.root} has {len(paths):,} images, such as {os.fsdecode(like)}"

    def __reduce__(self) -> "tuple[object, tuple[str]]":
        return _opened_once, (self.root,)  # in another process by its place: an index is not to be sent around


def shard_name(shard: int) -> str:
    """The file of a shard."""
    return f"shard-{shard:06d}.tar"


def open_store(place: str | Path) -> ImageStore:
    """The images at a place, which is not looked into further than to tell whether it is a packed folder.

    Args:
        place: a folder, or a URL of fsspec such as s3://bucket/folder.

    Raises:
        ConfigError: fsspec cannot open the URL.
        DataError: a packed folder that is not whole, or a store that does not answer.
    """
    if is_url(str(place)):
        files = RemoteFiles(str(place))
        copy = _fetched_index(files)
        return RemoteFolder(files) if copy is None else Packed(files.root, PackIndex.read(copy), RemoteShards(files))
    folder = Path(place)
    if not (folder / INDEX).is_file():
        return Folder(folder)
    return Packed(str(folder), PackIndex.read(folder / INDEX), LocalShards(folder))


@cache
def _opened_once(place: str) -> ImageStore:
    return open_store(place)


def _fetched_index(files: RemoteFiles) -> Path | None:
    """The index of a remote packed folder, copied to the cache unless it is there; None where there is none.

    Another index has another beginning, and so another place: several processes may fetch it at once.
    """
    try:
        head = files.read(INDEX, 0, _HEAD)
        if len(head) != _HEAD:
            raise OSError(f"{len(head):,} bytes of {INDEX} where the first {_HEAD} were asked for")
        if (folder := _cached(files.root, head)).is_dir():
            return folder / INDEX
        content = files.read(INDEX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            f"a store that answers, and sends ranges of bytes: {files.root}",
            str(error),
            "look at its address, your rights and the network; a web server must know Range requests",
        ) from error
    folder = _cached(files.root, content[:_HEAD])  # it may be another one by now

    def write(new: Path) -> None:
        write_whole(new / INDEX, lambda file: file.write(content))
        index = PackIndex.read(new / INDEX)
        if index.digest() != index.header.content:
            raise DataError(f"the whole index of {files.root}", "another checksum than its own", "copy it there again")

    try:
        write_whole_folder(folder, write)
    except OSError as error:
        raise DataError(
            f"room for the index of {files.root} in {folder.parent}", str(error), "free disk, or set LT_EXTRAP_CACHE"
        ) from error
    return folder / INDEX


def _cached(root: str, head: bytes) -> Path:
    """Where the index of a root is kept that begins so."""
    return cache_dir() / "packed" / hashlib.sha256(root.encode() + b"\0" + head).hexdigest()[:16]
