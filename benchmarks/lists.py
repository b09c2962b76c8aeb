"""Reading a list file and holding its index, beside the loop and the list of tuples that one would write by hand.

Run from the repository's root, on Linux: `python -m benchmarks.lists`. Lists as iNaturalist 2018 has them, 69
bytes a line. Times are CPU milliseconds, in rounds in which both readers take turns. Memory is measured in fresh
processes.
"""

import ctypes
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from benchmarks.rows import Row, cpu_seconds, interleaved, row, show
from lt_extrap.data.lists import SampleIndex, read_list

LINES, MANY_LINES, WORKERS, LIMIT_MB = 437_513, 1_500_000, 4, 120.0


def run() -> list[Row]:
    """One row a measurement: name, ours, peer, ratio, goal, holds."""
    with tempfile.TemporaryDirectory() as folder:
        file, large = Path(folder) / "list.txt", Path(folder) / "large.txt"
        write(file, LINES)
        write(large, MANY_LINES)
        read = milliseconds(file)
        kept = in_fresh_process(kept_mb, large)
        index, tuples = in_fresh_process(worker_growth_mb, file)
    return [
        row(f"read {LINES:,} lines, ms: ours / loop of splits and joins", read, 0.2),
        row(f"index of {MANY_LINES:,} samples, MB kept: ours / limit", [(kept, LIMIT_MB)], 1.0),
        row(
            f"growth of {WORKERS} workers in an epoch of {LINES:,}, MB: ours / list of tuples", [(index, tuples)], 0.05
        ),
    ]


def in_fresh_process(measure: Callable[[Path], Any], file: Path) -> Any:
    # An executor's process may have children of its own, as the loader's workers are; a pool's may not.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(measure, file).result()


def write(file: Path, lines: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8142, lines).tolist()
    names = rng.bytes(16 * lines).hex()
    with file.open("w") as out:
        for i, label in enumerate(labels):
            out.write(f"train_val2018/Plantae/{label:04}/{names[32 * i : 32 * i + 32]}.jpg {label}\n")


def read_by_loop(file: Path, root: str) -> tuple[list[str], list[int]]:
    paths, labels = [], []
    with file.open() as lines:
        for line in lines:
            paths.append(os.path.join(root, line.split()[0]))  # noqa: PTH118  # as the peers do
            labels.append(int(line.split()[1]))
    return paths, labels


def milliseconds(file: Path) -> list[tuple[float, float]]:
    """CPU milliseconds of our reader and of the loop."""
    return interleaved(
        lambda: 1e3 * cpu_seconds(lambda: read_list(file)),
        lambda: 1e3 * cpu_seconds(lambda: read_by_loop(file, "root")),
    )


def kept_mb(file: Path) -> float:
    before = private_mb(os.getpid())
    index = read_list(file)
    assert len(index) == MANY_LINES
    ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept for later use is not the index's
    return private_mb(os.getpid()) - before


def private_mb(process: int) -> float:
    """Memory that a process shares with none."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))]
    return sum(kilobytes) * 1024 / 1e6


class Paths(Dataset[tuple[str, int]]):
    """Path and label of each sample, from an index or from a list of tuples; of a constant without either."""

    def __init__(self, source: SampleIndex | list[tuple[str, int]] | None) -> None:
        self.source = source

    def __len__(self) -> int:
        return LINES

    def __getitem__(self, sample: int) -> tuple[str, int]:
        if self.source is None:
            return "", 0
        if isinstance(self.source, SampleIndex):
            return self.source.path(sample), int(self.source.labels[sample])
        path, label = self.source[sample]
        return path, label


def worker_growth_mb(file: Path) -> tuple[float, float]:
    """What one shuffled epoch adds to the private memory of all workers: of the index and of a list of tuples."""
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than this machine has cores
    index = read_list(file)
    nothing, ours = workers_mb(Paths(None)), workers_mb(Paths(index))
    peer = workers_mb(Paths([(index.path(i), int(index.labels[i])) for i in range(len(index))]))
    return max(ours - nothing, 0.0), peer - nothing


def workers_mb(dataset: Paths) -> float:
    loader = DataLoader(
        dataset,
        batch_size=512,
        shuffle=True,
        num_workers=WORKERS,
        collate_fn=len,
        persistent_workers=True,  # so that they are there to be measured after the epoch
        multiprocessing_context="fork",
    )
    assert sum(loader) == LINES
    workers = [worker.pid for worker in multiprocessing.active_children()]
    assert len(workers) == WORKERS
    return sum(private_mb(worker) for worker in workers if worker is not None)


if __name__ == "__main__":
    show(run())
