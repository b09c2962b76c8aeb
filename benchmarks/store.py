"""Reads of small images from a packed folder, beside open().read() of single files and, where it is there, webdataset.

Run from the repository's root: `python -m benchmarks.store`. Rates are images a second of CPU time of one thread, the
median of 5 rounds in which all take turns, in a drawn order of images; all bytes are in the page cache.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lt_extrap.data.store import Folder, Packed, open_store
from lt_extrap.data.store.writer import write_pack

IMAGES, BYTES, FOLDERS, ROUNDS = 20_000, 4_000, 50, 5
RAW_GOAL, GOAL, STREAM_GOAL = 3.0, 1.3, 5.0  # times the rate of the peer


def run() -> list[dict[str, Any]]:
    """A row a comparison: name, ours, peer, ratio, goal, holds."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "files", Path(scratch) / "packed"
        paths = _write(source)
        write_pack(target, paths, Folder(source), shard_bytes=10**9)
        random.Random(0).shuffle(paths)
        store = open_store(target)
        assert isinstance(store, Packed)
        files = [str(source / path) for path in paths]
        extents = [extent for path in paths if (extent := store.index.find(path)) is not None]
        readers: dict[str, Callable[[], int]] = {
            "pread": lambda: sum(len(store.shards.read(*extent[:3])) for extent in extents),
            "store": lambda: sum(len(store.read(path)) for path in paths),
            "files": lambda: sum(len(_read(file)) for file in files),
        }
        if find_spec("webdataset") is not None:
            readers["webdataset"] = lambda: _stream(target)
        taken: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(ROUNDS + 1):
            for name, reader in readers.items():
                taken[name].append(_rate(reader))
    of = f"{IMAGES:,} images of {BYTES:,} bytes in a drawn order, reads/s"
    rows = [
        _row(f"{of}: place in a shard known / open().read()", taken["pread"], taken["files"], RAW_GOAL),
        _row(f"{of}: path looked up / open().read()", taken["store"], taken["files"], GOAL),
    ]
    if "webdataset" in taken:
        rows.append(
            _row(f"{of}: path looked up / webdataset's stream", taken["store"], taken["webdataset"], STREAM_GOAL)
        )
    return rows


def _row(name: str, ours: Sequence[float], peer: Sequence[float], goal: float) -> dict[str, Any]:
    ratio = statistics.median(a / b for a, b in list(zip(ours, peer, strict=True))[1:])  # the first warms up
    return {
        "name": name,
        "ours": statistics.median(ours[1:]),
        "peer": statistics.median(peer[1:]),
        "ratio": ratio,
        "goal": goal,
        "holds": ratio >= goal,
    }


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


def _stream(folder: Path) -> int:
    import webdataset

    shards = [str(shard) for shard in sorted(folder.glob("*.tar"))]
    return sum(len(sample["jpg"]) for sample in webdataset.WebDataset(shards, shardshuffle=False))


def _rate(reader: Callable[[], int]) -> float:
    began = time.process_time()
    if reader() != IMAGES * BYTES:
        raise AssertionError("other bytes than were written")
    return IMAGES / (time.process_time() - began)


if __name__ == "__main__":
    for measured in run():
        print(
            f"{measured['name']:<100} {measured['ours']:12,.0f} {measured['peer']:12,.0f} "
            f"{measured['ratio']:6.2f} (goal {measured['goal']}) {'holds' if measured['holds'] else 'MISSED'}"
        )
