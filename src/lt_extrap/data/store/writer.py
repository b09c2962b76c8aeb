"""A packed folder written, and looked through.

Shards are written one after the other, each whole or not at all: its images, in the order of their paths; then what
Python's tarfile finds in it is compared with what was to be there; then its part of the index, which says that it is
done. A writer that was killed goes on behind the last shard that is. At the end the parts become the index.
"""

import hashlib
import json
import os
import signal
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import IO

from torch.utils.data import DataLoader, Dataset

from lt_extrap.data.decode import UnreadableImage
from lt_extrap.data.shrink import QUALITY, shrunk
from lt_extrap.data.side_by_side import end_with_parent
from lt_extrap.data.store.image_store import ImageStore
from lt_extrap.data.store.index import BLOCK, INDEX, MOST_SHARDS, Extent, PackIndex
from lt_extrap.data.store.packed import LocalShards, Packed, shard_name
from lt_extrap.errors import DataError, RunError, some
from lt_extrap.files import write_whole

_CHUNK = 16  # images that a worker prepares at once
_END = b"\0" * (2 * BLOCK)  # of a tar

Prepared = tuple[str, bytes | UnreadableImage]
Watch = Callable[[Iterable[Prepared], int, int], Iterable[Prepared]]


def write_pack(
    folder: Path,
    paths: Iterable[str],
    images: ImageStore,
    *,
    shard_bytes: int,
    longest_edge: int | None = None,
    skip: bool = False,
    workers: int = 0,
    watch: Watch = lambda prepared, done, total: prepared,
) -> PackIndex:
    """Pack images, or go on where a writer was killed; at once if the folder holds them.

    Args:
        folder: of the shards and the index.
        paths: of the images, relative to the root of their store.
        images: where they are.
        shard_bytes: a shard ends behind the image with which it reaches so many.
        longest_edge: pixels; larger images are resized, upright, and stored as JPEG; None = all bytes as they are.
        skip: leave out images that cannot be read, instead of refusing them.
        workers: processes that read; 0 = this one.
        watch: passes what is packed on, to show how far it is: what is to come, how many are done, of how many.

    Raises:
        DataError: a path that no archive should hold, an image that cannot be read, a shard that is not what was
            written or is gone since, or more of them than an index counts.
        RunError: the folder holds other images, or images packed in another way.
        OSError: it cannot be written, as when the disk is full; the shards that are whole stay.
    """
    order = sorted(set(paths), key=os.fsencode)
    _check_paths(order)
    how = json.dumps([shard_bytes, longest_edge, QUALITY if longest_edge else None])
    identity = hashlib.sha256(b"\0".join([how.encode(), *map(os.fsencode, order)])).hexdigest()
    if (folder / INDEX).is_file():
        index = _own(PackIndex.read(folder / INDEX), identity, folder, skip)
        Packed(str(folder), index, LocalShards(folder))  # which looks whether the shards are there
        _remove_parts(folder)
        return index
    parts = list(_parts(folder, identity, skip))
    done = parts[-1].header.done if parts else 0
    prepared = iter(watch(_prepared(order[done:], images, longest_edge, workers), done, len(order)))
    while done < len(order) or not parts:
        if len(parts) == MOST_SHARDS:
            raise DataError(
                f"images for at most {MOST_SHARDS:,} shards",
                f"{len(order) - done:,} of {len(order):,} left behind those",
                "pack into another folder, with larger shards (shard_megabytes)",
            )
        part = _write_shard(
            folder,
            len(parts),
            prepared,
            done,
            len(order),
            shard_bytes,
            skip=skip,
            identity=identity,
            longest_edge=longest_edge,
        )
        done = part.header.done
        parts.append(part)
    index = PackIndex.merge(parts)
    index.write(folder / INDEX)
    _remove_parts(folder)
    return index


def faults(folder: Path, index: PackIndex, shard: int) -> Iterator[str]:
    """What in a shard is not as its index says, by what Python's tarfile finds in it; a line each."""
    name = shard_name(shard)
    rows = iter(index.rows_of(shard).tolist())
    try:
        with tarfile.open(folder / name, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                row = next(rows, None)
                found = (member.name, member.offset_data, member.size)
                if row is None or found != (index.path(row), int(index.blocks[row]) * BLOCK, int(index.lengths[row])):
                    yield f"{name}: {member.name!r} at byte {member.offset_data}, which is not what the index has there"
                    return
                content = tar.extractfile(member)
                assert content is not None  # it is of a file, or the index would not have it
                if zlib.crc32(content.read()) != index.checksums[row]:
                    yield f"{name}: {member.name!r} has another checksum"
                tar.members = []  # type: ignore[attr-defined]  # or it keeps an object of each
    except (OSError, tarfile.TarError) as error:
        yield f"{name}: {error}"
        return
    if (row := next(rows, None)) is not None:
        yield f"{name}: {index.path(row)!r} is not there"


class _Content(Dataset[Prepared]):
    """What is to be packed under some paths; in place of what cannot be read, the reason."""

    def __init__(self, paths: Sequence[str], images: ImageStore, longest_edge: int | None) -> None:
        self.paths, self.images, self.longest_edge = paths, images, longest_edge

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Prepared:
        path = self.paths[position]
        try:
            content = self.images.read(path)
            if self.longest_edge is not None:
                content = shrunk(self.images.where(path), content, self.longest_edge)
            return path, content
        except UnreadableImage as error:
            return path, error


def _prepared(paths: Sequence[str], images: ImageStore, longest_edge: int | None, workers: int) -> Iterator[Prepared]:
    content = _Content(paths, images, longest_edge)
    loader = DataLoader(content, batch_size=_CHUNK, num_workers=workers, collate_fn=list, worker_init_fn=_begin)
    return chain.from_iterable(iter(loader))  # the workers are forked here, before anybody shows how far it is


def _begin(worker: int) -> None:
    """In a worker: leave Ctrl-C to the process that writes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _write_shard(
    folder: Path,
    shard: int,
    prepared: Iterator[Prepared],
    done: int,
    total: int,
    most: int,
    *,
    skip: bool,
    identity: str,
    longest_edge: int | None,
) -> PackIndex:
    """Write the next shard, and its part of the index."""
    packed: dict[str, Extent] = {}
    left_out: dict[str, str] = {}
    size = 0

    def write(file: IO[bytes]) -> None:
        nonlocal size
        for path, content in prepared:
            if isinstance(content, UnreadableImage):
                if not skip:
                    raise DataError(
                        "images that can be read",
                        str(content),
                        "replace the file, or set on_unreadable=skip, and run again: the shards that are whole stay",
                    )
                left_out[path] = content.reason
            else:
                header = _member(path, len(content))
                start = file.tell() + len(header)
                file.write(header + content + b"\0" * (-len(content) % BLOCK))
                packed[path] = Extent(shard, start, len(content), zlib.crc32(content))
            if file.tell() >= most or done + len(packed) + len(left_out) == total:
                break
        file.write(_END)
        size = file.tell()

    write_whole(folder / shard_name(shard), write)
    part = PackIndex.of(
        list(packed),
        list(packed.values()),
        left_out,
        identity=identity,
        longest_edge=longest_edge,
        shards=[size],
        done=done + len(packed) + len(left_out),
    )
    if wrong := list(faults(folder, part, shard)):
        raise DataError(f"a shard that holds what was written, in {folder}", some(wrong), "look at the disk; run again")
    part.write(folder / _part_name(shard))
    return part


def _member(path: str, size: int) -> bytes:
    """The header of an image in a tar: plain, or with a pax header where its path is long or not ASCII."""
    member = tarfile.TarInfo(path)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _parts(folder: Path, identity: str, skip: bool) -> Iterator[PackIndex]:
    """What was done before, by shard."""
    done = 0
    for shard in count():
        file, tar = folder / _part_name(shard), folder / shard_name(shard)
        if not file.is_file():
            return
        part = _own(PackIndex.read(file, first=shard), identity, folder, skip)
        whole = tar.is_file() and tar.stat().st_size == part.header.shards[0]
        if not whole or part.header.done != done + len(part) + len(part.reasons):
            return  # somebody has had their hands in it, or in a shard before it: written again
        done = part.header.done
        yield part


def _own(index: PackIndex, identity: str, folder: Path, skip: bool) -> PackIndex:
    """An index that is of the same images, packed in the same way."""
    if index.header.of != identity:
        raise RunError(
            f"the same images, packed in the same way, as in {folder}",
            f"{len(index):,} others there, or packed with other options",
            "give another folder=, or move that one away",
        )
    if index.reasons and not skip:
        raise RunError(
            f"all images in {folder}",
            f"{len(index.reasons):,} left out: {some([f'{path} ({why})' for path, why in index.reasons.items()], 3)}",
            "set on_unreadable=skip to leave them out, or move that folder away",
        )
    return index


def _part_name(shard: int) -> str:
    return f"{shard_name(shard)}.index"


def _remove_parts(folder: Path) -> None:
    for part in folder.glob(_part_name(0).replace("000000", "*")):
        part.unlink()


def _check_paths(paths: Sequence[str]) -> None:
    """Refuse paths that would lead out of the folder into which somebody unpacks a shard, or that tars change."""
    if outside := [path for path in paths if path.startswith("/") or ".." in path.split("/")]:
        raise DataError(
            "images by paths below one folder, to pack them",
            f"{len(outside):,} absolute or with ..: {some(outside)}",
            "write the paths of the lists relative to the folder of the images (target.images)",
        )
    if odd := [path for path in paths if not path or path.endswith("/") or "\0" in path]:
        raise DataError("paths of files", some([repr(path) for path in odd]), "correct the list")
    if not paths:
        raise DataError("images to pack", "none", "give a list or a folder with images")
