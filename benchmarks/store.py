"""Reads of small images from a packed folder, beside open().read() of single files.

Run from the repository's root: `python -m benchmarks.store`. Microseconds of CPU time an image, one thread, the median
of 5 pairs, in a drawn order of images; all bytes are in the page cache.
"""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.rows import Row, cpu_seconds, interleaved, row, show
from lt_extrap.data.store import Folder, Packed, open_store
from lt_extrap.data.store.writer import write_pack

IMAGES, BYTES, FOLDERS = 20_000, 4_000, 50
PLACE_GOAL, PATH_GOAL = 1 / 3, 1 / 1.3


def run() -> list[Row]:
    """A row a comparison."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "files", Path(scratch) / "packed"
        paths = _write(source)
        write_pack(target, paths, Folder(source), shard_bytes=10**9)
        random.Random(0).shuffle(paths)
        store = open_store(target)
        assert isinstance(store, Packed)
        files = [str(source / path) for path in paths]
        extents = [extent for path in paths if (extent := store.index.find(path)) is not None]
        by_place = _timed(lambda: sum(len(store.shards.read(*extent[:3])) for extent in extents))
        by_path = _timed(lambda: sum(len(store.read(path)) for path in paths))
        peer = _timed(lambda: sum(len(_read(file)) for file in files))
        of = f"read of an image of {BYTES:,} bytes, microseconds"
        return [
            row(f"{of}: place in a shard known / open().read()", interleaved(by_place, peer), PLACE_GOAL),
            row(f"{of}: packed, by its path / open().read()", interleaved(by_path, peer), PATH_GOAL),
        ]


def _write(folder: Path) -> list[str]:
    rng, paths = random.Random(0), []
    for number in range(IMAGES):
        path = f"n{number % FOLDERS:08d}/{rng.getrandbits(128):032x}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(rng.randbytes(BYTES))
        paths.append(path)
    return paths


def _read(file: str) -> bytes:
    with open(file, "rb") as opened:  # noqa: PTH123 (what the peers do)
        return opened.read()


def _timed(read: Callable[[], int]) -> Callable[[], float]:
    """Microseconds an image."""

    def whole() -> None:
        if read() != IMAGES * BYTES:
            raise AssertionError("other bytes than were written")

    return lambda: 1e6 * cpu_seconds(whole) / IMAGES


if __name__ == "__main__":
    show(run())
