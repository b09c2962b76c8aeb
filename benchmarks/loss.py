"""Neighbor silencing beside plain cross entropy: time, memory and the size of the relation.

Run from the repository's root, on Linux: `python -m benchmarks.loss`. Batch 512, 6,000 classes, float32, one
thread. Times are CPU milliseconds of a forward and backward pass, the median of 5 runs of 12 passes in which
the losses take turns; memory is the growth of the peak resident set. Each is measured in a fresh process.
"""

import ctypes
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lt_extrap.model.losses import neighbor_silencing
from lt_extrap.model.relation import NeighborRelation

Loss = Callable[[Tensor, Tensor], Tensor]

BATCH, TARGETS, CLASSES = 512, 1000, 6000
RUNS, PASSES = 5, 12
TOLERANCE = 0.05


def run() -> list[dict[str, Any]]:
    """One row a measurement: name, ours, peer, ratio, goal, holds (ratio <= goal + tolerance)."""
    time_plain, time_5, time_15 = in_fresh_process(milliseconds)
    peak_plain, peak_15 = in_fresh_process(peak_mb, "plain"), in_fresh_process(peak_mb, "silencing")
    name = f"neighbor silencing, {BATCH} x {CLASSES:,}"
    return [
        row(f"{name}, rows of 5: ms, peer F.cross_entropy", time_5, time_plain, 1.35),
        row(f"{name}, rows of 5/5/15: ms, peer F.cross_entropy", time_15, time_plain, 1.35),
        row(f"{name}, peak memory: MB, peer F.cross_entropy", peak_15, peak_plain, 1.0),
        row(
            "relation, 48,000 classes, rows of 5: MB, peer the limit",
            relation(8142, 48_000, 5, 5).nbytes / 1e6,
            2.0,
            1.0,
        ),
        row(
            "relation, 48,000 classes, rows of 15: MB, peer the limit",
            relation(8142, 48_000, 15, 15).nbytes / 1e6,
            2.0,
            1.0,
        ),
    ]


def row(name: str, ours: float, peer: float, goal: float) -> dict[str, Any]:
    ratio = ours / peer
    holds = ratio <= goal + TOLERANCE
    return {"name": name, "ours": ours, "peer": peer, "ratio": ratio, "goal": goal, "holds": holds}


def in_fresh_process(measure: Callable[..., Any], *arguments: str) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def relation(num_target: int, num_classes: int, many: int, few: int) -> NeighborRelation:
    """Random neighbors, `few` for the last 14 % of the targets (as on ImageNet-LT), `many` for the others."""
    rows = np.where(np.arange(num_target) < 0.864 * num_target, many, few)
    target = np.repeat(np.arange(num_target), rows)
    auxiliary = np.random.default_rng(0).integers(num_target, num_classes, len(target))
    return NeighborRelation.from_pairs(np.stack([target, auxiliary], axis=1), num_target, num_classes)


def silencing(few: int) -> Loss:
    counts = torch.randint(1, 1280, (CLASSES,), generator=torch.Generator().manual_seed(1))
    return neighbor_silencing(counts, relation=relation(TARGETS, CLASSES, 5, few), num_target=TARGETS)


def plain(logits: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(logits, label)


def batch(size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(size, CLASSES, generator=generator).requires_grad_()
    return logits, torch.randint(CLASSES, (size,), generator=generator)


def milliseconds() -> list[float]:
    """A forward and backward pass of plain cross entropy, and of silencing with rows of 5 and of 5/5/15."""
    # glibc returns freed buffers to the system and faults them in again at its own moods, which costs more
    # than what is measured; with these limits it keeps them.
    for parameter in (-1, -2, -3):  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD
        ctypes.CDLL(None).mallopt(parameter, 2**29)
    torch.set_num_threads(1)
    losses = [plain, silencing(few=5), silencing(few=15)]
    logits, label = batch(BATCH)
    taken = np.zeros((RUNS + 1, PASSES, len(losses)))
    for run_, pass_, i in np.ndindex(taken.shape):
        logits.grad = None
        began = time.process_time()
        losses[i](logits, label).backward()
        taken[run_, pass_, i] = 1e3 * (time.process_time() - began)
    return np.median(taken[1:], axis=(0, 1)).tolist()  # the first run warms up


def peak_mb(name: str) -> float:
    torch.set_num_threads(1)
    loss = silencing(few=15) if name == "silencing" else plain
    loss(*batch(2)).backward()  # code and tables are loaded before the count begins
    logits, label = batch(BATCH)
    before = resident_peak_mb()
    loss(logits, label).backward()
    return resident_peak_mb() - before


def resident_peak_mb() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    for measured in run():
        print(
            f"{measured['name']:<75} {measured['ours']:8.3f} {measured['peer']:8.3f} "
            f"{measured['ratio']:6.3f} (goal {measured['goal']}) {'holds' if measured['holds'] else 'MISSED'}"
        )
