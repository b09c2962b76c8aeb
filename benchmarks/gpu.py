"""ViT-B/16 at 224 pixels in bfloat16 on one GPU: `python -m benchmarks.gpu`; `--smoke` tries it on a CPU, tiny.

Images a second of the training step of a run (Mixup, neighbor silencing), with and without torch.compile, beside

- the plain loop with timm's Mixup and the balanced softmax over its dense targets (benchmarks/vit_step.py), likewise;
- what arithmetic allows: 17.6 billion multiply-adds a forward pass, six operations each for forward and backward, at
  the rate at which this device multiplies large bfloat16 matrices, measured here;

then peak memory, and the share of the time that JPEG files through the loader let the device wait, as the stopwatch of
a run tells it. timm publishes 391 images a second for training this model on an RTX 3090 under mixed precision
(results/benchmark-train-amp-nchw-pt112-cu113-rtx3090.csv in its repository).
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.check import PHOTOGRAPH, drawn
from benchmarks.rows import PAIRS
from benchmarks.vit_step import SMALL, WARMUP, Case, ours, plain
from lt_extrap.config import Timm
from lt_extrap.data.datamodule import ImageDataset, collate
from lt_extrap.data.lists import read_list
from lt_extrap.data.loader import ResumableLoader
from lt_extrap.data.randaugment import RandAugment
from lt_extrap.data.sampler import EpochDraw, EpochSampler
from lt_extrap.data.store import Folder
from lt_extrap.data.transforms import TrainTransform
from lt_extrap.model.preprocessing import IMAGENET_MEAN
from lt_extrap.stopwatch import Stopwatch

MULTIPLY_ADDS = 17.6e9  # of a forward pass of ViT-B/16 at 224 pixels
PHOTOGRAPHS = 2048
PUBLISHED = 391  # images a second


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--batch", type=int, default=256, help="images a step")
    parser.add_argument("--smoke", action="store_true", help="a tiny model on the CPU: the numbers mean nothing")
    arguments = parser.parse_args()
    if arguments.smoke:
        case, size, files, ways = replace(SMALL, batch=8, steps=WARMUP + 2, clock=time.perf_counter), 256, 32, (False,)
    elif torch.cuda.is_available():
        case, size, files, ways = _vit_b(arguments.batch), 8192, PHOTOGRAPHS, (False, True)
    else:
        print("no CUDA device here: nothing is measured (--smoke tries the code on a CPU)")
        return
    limit = _operations_per_second(case, size) / (6 * MULTIPLY_ADDS)
    table = Table("compiled", "ours, images a second", "plain loop", "ours / limit", "peak GB, ours", "plain loop")
    for compiled in ways:
        taken, peaks = [], [0.0, 0.0]
        for turn in range(PAIRS + 1):  # the first warms up; who begins does not gain by it
            pair = [0.0, 0.0]
            for i in (0, 1) if turn % 2 else (1, 0):
                if case.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                pair[i] = (ours, plain)[i](case, case.loader(), "bf16-mixed", compiled=compiled)
                peaks[i] = torch.cuda.max_memory_allocated() / 1e9 if case.device == "cuda" else 0.0
            taken.append(pair)
        rates = [1e3 * case.batch / statistics.median(column) for column in zip(*taken[1:], strict=True)]
        numbers = [f"{value:,.4g}" for value in (*rates, rates[0] / limit, *peaks)]
        table.add_row("yes" if compiled else "no", *numbers)
    Console().print(table)
    print(f"arithmetic limit by the measured matrix product: {limit:,.0f} images a second")
    print(f"timm's published rate of an RTX 3090: {PUBLISHED} images a second")
    # More steps than the loader has prepared before the first ends.
    longer = replace(case, steps=case.steps + 4 * _workers())
    stopwatch = Stopwatch(case.batch, lambda wait, trainer: None)
    fed = _fed_by_files(longer, files, stopwatch, compiled=ways[-1])
    print(f"files through {_workers()} loader processes: {fed:,.0f} images a second; ", end="")
    print(f"waiting for data: {stopwatch.data_wait:.0%} of the time")


def _vit_b(batch: int) -> Case:
    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    backbone = Timm(model="vit_base_patch16_224")
    return replace(SMALL, backbone=backbone, image_size=224, batch=batch, steps=WARMUP + 20, device="cuda", clock=clock)


def _operations_per_second(case: Case, size: int) -> float:
    """Of a product of two square bfloat16 matrices, the best of some."""
    one, other = (torch.randn(size, size, device=case.device, dtype=torch.bfloat16) for _ in range(2))
    taken = []
    for _ in range(10):
        began = case.clock()
        one @ other
        taken.append(case.clock() - began)
    return 2 * size**3 / min(taken)


def _fed_by_files(case: Case, files: int, stopwatch: Stopwatch, *, compiled: bool) -> float:
    """Images a second where JPEG files are decoded and augmented as the published recipes do."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(files):
            drawn(i, PHOTOGRAPH).save(Path(folder, f"{i}.jpg"), quality=90)
        shown = -(-case.batch * case.steps // files)  # times that each is in the list
        lines = "".join(f"{i}.jpg {i % case.targets}\n" for i in range(files))
        Path(folder, "list.txt").write_text(lines * shown)
        index = read_list(Path(folder, "list.txt"))
        augment = RandAugment(magnitude=9.0, std=0.5, mean=IMAGENET_MEAN)
        transform = TrainTransform(size=case.image_size, augment=augment)
        draw = EpochDraw(index.labels, cap=np.full(case.targets, -1), seed=0)
        loader = ResumableLoader(
            ImageDataset(index, Folder(Path(folder)), transform, 0),
            batch_size=case.batch,
            sampler=EpochSampler(draw, batch_size=case.batch),
            collate_fn=collate,
            num_workers=_workers(),
            pin_memory=case.device == "cuda",
            drop_last=True,
        )
        return 1e3 * case.batch / ours(case, loader, "bf16-mixed", compiled=compiled, stopwatch=stopwatch)


def _workers() -> int:
    return max(1, (os.cpu_count() or 1) - 1)


if __name__ == "__main__":
    main()
