"""The index of a packed folder: where in which shard the bytes of each image are.

`images.index` is some arrays of numpy one after the other, each as np.save writes it:

    header     bytes of a JSON object (see `Header`)
    keys       sorted; the first 8 bytes of BLAKE2b of each path
    offsets    path i is text[offsets[i]:offsets[i + 1]]
    blocks     where the bytes of the image begin in its shard, in blocks of a tar (512 bytes)
    lengths    their number
    checksums  their CRC-32
    shards     the number of the shard
    text       all paths, one after the other
    left_out   bytes of a JSON object: why paths were left out
"""

import dataclasses
import hashlib
import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8, UInt16, UInt32, UInt64

from lt_extrap.data.lists import SampleIndex, joined
from lt_extrap.errors import DataError
from lt_extrap.files import write_whole

INDEX = "images.index"
FORMAT = 2  # of the index: another one is refused
BLOCK = 512  # bytes; a tar's unit
MOST_SHARDS = 2**16  # which 16 bits count
_ALIGNED = 64  # bytes; numpy's own heads are multiples of them
_KINDS: dict[str, type[np.generic]] = {  # of the arrays, in their order
    "keys": np.uint64,
    "offsets": np.int64,
    "blocks": np.uint32,
    "lengths": np.uint32,
    "checksums": np.uint32,
    "shards": np.uint16,
    "text": np.uint8,
    "left_out": np.uint8,
}
_OF_IMAGES = ("keys", "offsets", "blocks", "lengths", "checksums", "shards")
_SAID = {"content": str, "format": int, "of": str, "images": int, "shards": list, "done": int}
_COLUMNS = ("shards", "blocks", "lengths", "checksums")  # as in `Extent`


@dataclass(frozen=True)
class Header:
    """What an index says about itself.

    Attributes:
        content: SHA-256 of all that follows; first in the file, so that its beginning tells it from another.
        format: FORMAT.
        of: SHA-256 of what was to be packed, and how.
        images: their number.
        shards: bytes of each shard, by its number.
        done: paths that were dealt with, packed or left out; of a part, with those of the parts before it.
        longest_edge: pixels to which larger images were resized; None = never.
    """

    content: str
    format: int
    of: str
    images: int
    shards: list[int]
    done: int
    longest_edge: int | None


class Extent(NamedTuple):
    """Where the bytes of an image are: the shard, the place of the first one, their number and their CRC-32."""

    shard: int
    start: int
    length: int
    checksum: int


@dataclass(frozen=True, eq=False)
class PackIndex:
    """The index in memory, or mapped: there is no Python object an image, so that forked workers share it.

    Attributes: as in the file.
    """

    header: Header
    keys: UInt64[np.ndarray, " images"]
    offsets: Int64[np.ndarray, " images+1"]
    blocks: UInt32[np.ndarray, " images"]
    lengths: UInt32[np.ndarray, " images"]
    checksums: UInt32[np.ndarray, " images"]
    shards: UInt16[np.ndarray, " images"]
    text: UInt8[np.ndarray, " bytes"]
    left_out: UInt8[np.ndarray, " reasons"]

    def __len__(self) -> int:
        return len(self.keys)

    @staticmethod
    def of(
        paths: Sequence[str],
        extents: Sequence[Extent],
        left_out: Mapping[str, str],
        *,
        identity: str,
        shards: Sequence[int],
        done: int,
        longest_edge: int | None,
    ) -> "PackIndex":
        """The index of some images; arguments as in `Header` and `Extent`."""
        encoded = [os.fsencode(path) for path in paths]
        places = np.array(extents, np.int64).reshape(-1, 4)
        columns = (places[:, 0], places[:, 1] // BLOCK, places[:, 2], places[:, 3])
        return PackIndex._sorted(
            keys=np.array([key_of(path) for path in encoded], np.uint64),
            paths=SampleIndex(np.zeros(len(paths), np.int32), *joined(encoded)),
            columns=dict(zip(_COLUMNS, columns, strict=True)),
            left_out=left_out,
            header=Header("", FORMAT, identity, len(paths), list(shards), done, longest_edge),
        )

    @staticmethod
    def merge(parts: "Sequence[PackIndex]") -> "PackIndex":
        """One index of the indexes of single shards, by shard."""
        header = dataclasses.replace(
            parts[-1].header,
            images=sum(map(len, parts)),
            shards=[size for part in parts for size in part.header.shards],
        )
        return PackIndex._sorted(
            keys=np.concatenate([part.keys for part in parts]),
            paths=SampleIndex.concatenate([part._paths for part in parts]),
            columns={name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS},
            left_out={path: reason for part in parts for path, reason in part.reasons.items()},
            header=header,
        )

    @staticmethod
    def _sorted(
        *,
        keys: UInt64[np.ndarray, " images"],
        paths: SampleIndex,
        columns: Mapping[str, np.ndarray],
        left_out: Mapping[str, str],
        header: Header,
    ) -> "PackIndex":
        order = np.argsort(keys, kind="stable")
        paths = paths.select(order)
        reasons = json.dumps(left_out, ensure_ascii=False).encode("utf-8", "surrogateescape")
        index = PackIndex(
            header=header,
            keys=keys[order],
            offsets=paths.offsets,
            text=paths.text,
            left_out=np.frombuffer(reasons, np.uint8),
            **{name: columns[name][order].astype(_KINDS[name]) for name in _COLUMNS},
        )
        return dataclasses.replace(index, header=dataclasses.replace(header, content=index.digest()))

    @staticmethod
    def read(file: Path, *, first: int = 0) -> "PackIndex":
        """Map an index.

        Args:
            file: which may come from anywhere.
            first: the number of its first shard, which a part has.

        Raises:
            DataError: it is none of this version, or is not whole.
        """
        try:
            with file.open("rb") as opened:
                mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
                said = _read_json(_mapped(opened, mapped, np.uint8))
                if said["format"] != FORMAT:
                    raise ValueError(f"format {said['format']}")
                edge = said.pop("longest_edge")
                if {key: type(value) for key, value in said.items()} != _SAID or {*map(type, said["shards"])} - {int}:
                    raise ValueError(f"a header of {', '.join(said)}")
                arrays = {name: _mapped(opened, mapped, kind) for name, kind in _KINDS.items()}
                lengths = {name: len(array) - (name == "offsets") for name, array in arrays.items()}
                if opened.tell() != len(mapped) or {lengths[name] for name in _OF_IMAGES} != {said["images"]}:
                    raise ValueError("another length than its header says")
                if not (edge is None or (type(edge) is int and edge > 0)):
                    raise ValueError(f"a longest edge of {edge!r}")
                index = PackIndex(Header(**said, longest_edge=edge), **arrays)
            index._check(first)
            return index
        except Exception as error:  # hostile bytes make parsers raise almost anything
            raise DataError(
                f"a whole index of a packed folder, of this version (format {FORMAT}): {file}",
                f"{type(error).__name__}: {error}",
                "copy it again, or pack the images again with this version",
            ) from error

    def _check(self, first: int) -> None:
        """Refuse what leads beyond the text or a shard, and reasons that are none."""
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.text) or (np.diff(self.offsets) < 0).any():
            raise ValueError("offsets that are not those of the text")
        sizes = np.array(self.header.shards, np.int64)  # numpy refuses the number of a shard that is not there
        if (self.blocks * np.int64(BLOCK) + self.lengths > sizes[self.shards - first]).any():
            raise ValueError("images beyond the end of their shard")
        if {*map(type, _read_json(self.left_out).values())} - {str}:
            raise ValueError("reasons that are no words")

    def write(self, file: Path) -> None:
        """Write the index, whole or not at all. Raises OSError."""
        words = json.dumps(vars(self.header)).encode()
        # Wide numbers come first, and all of them where a buffer of them may begin.
        header = np.frombuffer(words.ljust(-(-len(words) // _ALIGNED) * _ALIGNED), np.uint8)

        def arrays(opened: IO[bytes]) -> None:
            for array in (header, *self._arrays()):
                kind = np.lib.format.header_data_from_array_1_0(array)
                np.lib.format.write_array_header_1_0(opened, kind)
                opened.write(array.data)

        write_whole(file, arrays)

    def digest(self) -> str:
        """SHA-256 of all arrays behind the header."""
        digest = hashlib.sha256()
        for array in self._arrays():
            digest.update(array.data)
        return digest.hexdigest()

    def find(self, path: str) -> Extent | None:
        """Where an image is; None where it is not packed."""
        keys, offsets, text, shards, blocks, lengths, checksums = self._views
        encoded = os.fsencode(path)
        key = key_of(encoded)
        row = bisect_left(keys, key)
        while row < len(keys) and keys[row] == key:
            if text[offsets[row] : offsets[row + 1]] == encoded:  # two paths may share a key
                return Extent(shards[row], blocks[row] * BLOCK, lengths[row], checksums[row])
            row += 1
        return None

    def paths(self) -> list[bytes]:
        """All paths, sorted by their bytes."""
        text = self.text.tobytes()
        return sorted(text[begin:end] for begin, end in pairwise(self.offsets.tolist()))

    def rows_of(self, shard: int) -> Int64[np.ndarray, " rows"]:
        """Rows of the images of a shard, in the order of their bytes."""
        rows = np.flatnonzero(self.shards == shard)
        return rows[np.argsort(self.blocks[rows], kind="stable")]

    def path(self, row: int) -> str:
        """The path of a row."""
        return os.fsdecode(self.text[self.offsets[row] : self.offsets[row + 1]].tobytes())

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Why paths were left out."""
        found: dict[str, str] = _read_json(self.left_out)
        return found

    @property
    def _paths(self) -> SampleIndex:
        return SampleIndex(np.zeros(len(self), np.int32), self.offsets, self.text)

    @cached_property
    def _views(self) -> tuple[Any, ...]:
        """Arrays as buffers, whose numbers are read one at a time in a tenth of the time of numpy's."""
        names = ("keys", "offsets", "text", "shards", "blocks", "lengths", "checksums")
        return tuple(memoryview(getattr(self, name)) for name in names)

    def _arrays(self) -> Iterator[np.ndarray]:
        return (getattr(self, field.name) for field in dataclasses.fields(self)[1:])


def key_of(path: bytes) -> int:
    """The key of a path. Keys are spread evenly, whatever the paths."""
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "little")


def _read_json(content: UInt8[np.ndarray, " bytes"]) -> Any:
    return json.loads(content.tobytes().decode("utf-8", "surrogateescape"))


def _mapped(file: IO[bytes], mapped: mmap.mmap, kind: type[np.generic]) -> np.ndarray:
    np.lib.format.read_magic(file)
    (count,), _, found = np.lib.format.read_array_header_1_0(file)
    if found != kind:
        raise ValueError(f"{found} where {np.dtype(kind)} was to be")
    array = np.frombuffer(mapped, kind, count, file.tell())
    file.seek(array.nbytes, os.SEEK_CUR)
    return array
