"""The files of a tar, read where they lie in it, by an index that is made once."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

from lt_extrap.curate.sources.below import MOST_BYTES
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.data.store.index import INDEX, Extent, PackIndex
from lt_extrap.errors import DataError
from lt_extrap.files import write_whole_folder
from lt_extrap.paths import cache_dir

_FORMAT = 1  # of the index: raise it when other files are taken


class TarIndex:
    """A tar that is not compressed, and where its files are in it."""

    def __init__(self, file: Path, index: PackIndex) -> None:
        self._file, self._index = file, index

    def paths(self) -> list[str]:
        """The paths of its files, sorted by their bytes."""
        return [os.fsdecode(path) for path in self._index.paths()]

    def read(self, path: str) -> bytes:
        """The bytes of a file.

        Raises:
            UnreadableImage: the tar has no such file, ends within it, or cannot be read; or the file is too large.
        """
        extent = self._index.find(path)
        if extent is None:
            raise UnreadableImage(path, f"not in {self._file.name}")
        if extent.length > MOST_BYTES:
            raise UnreadableImage(path, f"{extent.length:,} bytes, limit {MOST_BYTES:,}")
        try:
            with self._file.open("rb", buffering=0) as opened:
                content = os.pread(opened.fileno(), extent.length, extent.start)
        except OSError as error:
            raise UnreadableImage(path, f"{self._file.name}: {error.strerror}") from error
        if len(content) != extent.length:
            raise UnreadableImage(path, f"{self._file.name} ends within it")
        return content


def open_tar(file: Path) -> TarIndex:
    """Open a tar, with the index in the cache if it is there; the tar's path, size and time tell it from others.

    Links and sparse files in it are left out, and paths that are absolute, lead upwards or are not UTF-8. Of two files
    of one path the later one counts. A tar that is cut ends at the cut.

    Raises:
        DataError: it is not there, is compressed or no tar, or there is no room for the index.
    """
    try:
        file = file.resolve()
        status = file.stat()
        identity = json.dumps([_FORMAT, str(file), status.st_size, status.st_mtime_ns]).encode()
        folder = cache_dir() / "tars" / hashlib.sha256(identity).hexdigest()[:16]
        if not folder.is_dir():
            index = _indexed(file, hashlib.sha256(identity).hexdigest())
            write_whole_folder(folder, lambda new: index.write(new / INDEX))
    except tarfile.TarError as error:
        raise DataError(
            f"a tar that is not compressed: {file}", str(error), "unpack or decompress it, or remove it from the pool"
        ) from error
    except OSError as error:
        raise DataError(
            f"{file}, and room for its index in {cache_dir()}", str(error), "free disk, or set LT_EXTRAP_CACHE"
        ) from error
    return TarIndex(file, PackIndex.read(folder / INDEX))


def _indexed(file: Path, identity: str) -> PackIndex:
    found: dict[str, Extent] = {}
    with tarfile.open(file, "r:", encoding="utf-8", errors="surrogateescape") as tar:
        try:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined] # or a million files would be a gigabyte
                path = member.name.removeprefix("./")
                if member.isfile() and not member.issparse() and _is_plain(path):
                    found[path] = Extent(0, member.offset_data, member.size, 0)
        except tarfile.ReadError:
            if not found:
                raise
    end = max((extent.start + extent.length for extent in found.values()), default=0)
    return PackIndex.of(
        list(found), list(found.values()), {}, identity=identity, shards=[end], done=len(found), longest_edge=None
    )


def _is_plain(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return not path.startswith("/") and ".." not in path.split("/")
