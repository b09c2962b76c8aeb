"""Neighbor silencing beside plain cross entropy, and its mixed form beside dense soft targets: time and memory.

Run from the repository's root, on Linux: `python -m benchmarks.loss`. Batch 512, float32, one thread. Times are CPU
milliseconds of a forward and backward pass, a mean of several that follow each other, in pairs with the peer's; memory
is the growth of the peak resident set. Each is measured in a fresh process.

The peer of the mixed form is what is trained with elsewhere: timm's `mixup_target` makes a dense target of each batch,
and the balanced softmax (LiVT's, there over 1,000 classes) is the negative sum of target times log-softmax of the
logits plus the log prior. It silences nothing. Smoothing costs it nothing either; ours takes a denominator of its own.
"""

import ctypes
import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.data.mixup import mixup_target
from torch import Tensor

from benchmarks.rows import M_MMAP_THRESHOLD, Row, cpu_seconds, interleaved, keep_freed_memory, row, show
from lt_extrap.model.losses import neighbor_silencing
from lt_extrap.model.relation import NeighborRelation

Work = Callable[[], Tensor]

BATCH, LAM = 512, 0.3
TARGETS = {1100: 183, 6000: 1000, 48_000: 8000}  # of that many classes; five auxiliary classes each
PASSES = {1100: 100, 6000: 12, 48_000: 3}  # in one measurement
CLASSES = 6000  # of the single label
TOLERANCE = 0.05


def run() -> list[Row]:
    """One row a measurement."""
    name, peer = f"loss, {BATCH} x {CLASSES:,}", "F.cross_entropy"
    rows = [
        row(f"{name}, rows of 5, ms: ours / {peer}", milliseconds("single", CLASSES, 5), 1.35, TOLERANCE),
        row(f"{name}, rows of 5/5/15, ms: ours / {peer}", milliseconds("single", CLASSES, 15), 1.35, TOLERANCE),
        row(f"{name}, rows of 5/5/15, peak MB: ours / {peer}", peaks("single"), 1.0, TOLERANCE),
        row(f"{name}, mixed, peak MB: ours / dense targets", peaks("mixed"), 1.0, TOLERANCE),
    ]
    for classes in TARGETS:
        # At 1,100 the tables of neighbors weigh more than the columns; it is told.
        goal = 1.0 if classes >= 6000 else None
        taken = milliseconds("mixed", classes, 5)
        rows.append(row(f"loss, {BATCH} x {classes:,}, mixed, ms: ours / dense targets", taken, goal))
    smoothed = milliseconds("smoothed", CLASSES, 5)
    rows.append(row(f"{name}, mixed and smoothed, ms: ours / dense targets", smoothed, None))
    for length in (5, 15):
        size = relation(8142, 48_000, length, length).nbytes / 1e6
        rows.append(row(f"relation, 48,000 classes, rows of {length}, MB: ours / limit", [(size, 2.0)], 1.0))
    return rows


def milliseconds(kind: str, classes: int, few: int) -> list[tuple[float, float]]:
    return in_fresh_process(_milliseconds, kind, classes, few)


def peaks(kind: str) -> list[tuple[float, float]]:
    return in_fresh_process(_peaks, kind)


def in_fresh_process(measure: Callable[..., Any], *arguments: str | int) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def relation(targets: int, classes: int, many: int, few: int) -> NeighborRelation:
    """Random neighbors: `few` of the last 14 % of the targets (as on ImageNet-LT), `many` of the others."""
    rows = np.where(np.arange(targets) < 0.864 * targets, many, few)
    target = np.repeat(np.arange(targets), rows)
    auxiliary = np.random.default_rng(0).integers(targets, classes, len(target))
    return NeighborRelation.from_pairs(np.stack([target, auxiliary], axis=1), targets, classes)


def works(kind: str, batch: int, classes: int, few: int) -> tuple[Tensor, Work, Work]:
    """The logits, and the loss of a batch by ours and by the peer: one label an image, `mixed`, or also `smoothed`."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 1280, (classes,), generator=generator)
    logits = torch.randn(batch, classes, generator=generator).requires_grad_()
    label = torch.randint(classes, (batch,), generator=generator)
    targets, smoothing = TARGETS[classes], 0.1 if kind == "smoothed" else 0.0
    ours = neighbor_silencing(
        counts, relation=relation(targets, classes, 5, few), num_target=targets, smoothing=smoothing
    )
    if kind == "single":
        return logits, lambda: ours(logits, label), lambda: F.cross_entropy(logits, label)
    mixed = label.flip(0), torch.full((batch,), LAM)
    prior = counts.log()

    def dense() -> Tensor:
        target = mixup_target(label, classes, lam=LAM, smoothing=smoothing)
        return -(target * F.log_softmax(logits + prior, dim=1)).sum(dim=1).mean()

    return logits, lambda: ours(logits, label, mixed), dense


def _milliseconds(kind: str, classes: int, few: int) -> list[tuple[float, float]]:
    keep_freed_memory()
    torch.set_num_threads(1)
    logits, ours, peer = works(kind, BATCH, classes, few)

    def passes(work: Work) -> None:
        for _ in range(PASSES[classes]):
            logits.grad = None
            work().backward()

    def timed(work: Work) -> float:
        return 1e3 * cpu_seconds(lambda: passes(work)) / PASSES[classes]

    return interleaved(lambda: timed(ours), lambda: timed(peer))


def _peaks(kind: str) -> list[tuple[float, float]]:
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)  # what is freed is given back at once
    torch.set_num_threads(1)
    logits, ours, peer = works(kind, BATCH, CLASSES, 15)

    def grown_mb(work: Work) -> float:
        logits.grad = None
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
        before = status_mb("VmRSS")
        work().backward()
        return status_mb("VmHWM") - before

    return interleaved(lambda: grown_mb(ours), lambda: grown_mb(peer))


def status_mb(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    show(run())
