"""An epoch's draw at 1.5 million images, beside a dictionary of lists and random.sample.

Run from the repository's root: `python -m benchmarks.sampler`. Times are CPU milliseconds of one thread, the
median of epochs in which both take turns.
"""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.rows import Row, row, show
from lt_extrap.data.sampler import EpochDraw

CLASSES, OVER, CAP, ROUNDS, LIMIT_MS = 50_000, 7_500, 50, 7, 50.0


def run() -> list[Row]:
    """One row a measurement: name, ours, peer, ratio, goal, holds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    labels = make_labels()
    draw = EpochDraw(labels, cap=np.full(CLASSES, CAP), seed=0)
    images: dict[int, list[int]] = {}
    for image, label in enumerate(labels.tolist()):
        images.setdefault(label, []).append(image)
    taken = [
        (milliseconds(draw.draw, epoch), milliseconds(lambda epoch: draw_by_dict(images, epoch), epoch))
        for epoch in range(ROUNDS + 1)
    ]
    torch.set_num_threads(threads)
    taken = taken[1:]  # the first warms up
    name = f"draw of {len(draw):,} from {len(labels):,} images, ms"
    return [
        row(f"{name}: ours / limit", [(ours, LIMIT_MS) for ours, _ in taken], 1.0),
        row(f"{name}: ours / dict and random.sample", taken, 0.1),
    ]


def make_labels() -> np.ndarray:
    """1.5 million shuffled labels of 50,000 classes, 7,500 of them above the cap."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 34, CLASSES)
    sizes[rng.permutation(CLASSES)[:OVER]] = rng.integers(CAP + 1, 131, OVER)
    return rng.permutation(np.repeat(np.arange(CLASSES, dtype=np.int32), sizes))


def draw_by_dict(images: dict[int, list[int]], epoch: int) -> list[int]:
    rng = random.Random(epoch)
    shown: list[int] = []
    for of_class in images.values():
        shown += rng.sample(of_class, CAP) if len(of_class) > CAP else of_class
    rng.shuffle(shown)
    return shown


def milliseconds(draw: Callable[[int], Any], epoch: int) -> float:
    began = time.process_time()
    draw(epoch)
    return 1e3 * (time.process_time() - began)


if __name__ == "__main__":
    show(run())
