"""The data path alone: resident images beside files decoded by the loader.

Photographs of 64 pixels as JPEG files, batches of 128, random crops of 48 pixels, everything in this process on one
thread. Both give the same bytes. Files are in the page cache and the decoding at the start is not counted: it is paid
once a run, where an epoch of the loader pays it again.

Run from the repository's root: `python -m benchmarks.resident`.
"""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.rows import Row, row, show
from lt_extrap.data.datamodule import ImageDataset, collate
from lt_extrap.data.lists import read_list
from lt_extrap.data.resident import ResidentImages, room
from lt_extrap.data.sampler import EpochDraw, EpochSampler
from lt_extrap.data.store import Folder
from lt_extrap.data.transforms import TrainTransform

IMAGES, CLASSES, PIXELS, SIZE, BATCH, ROUNDS, GOAL = 1024, 8, 64, 48, 128, 5, 0.65


def run() -> list[Row]:
    """One row: name, ours, peer, ratio, goal, holds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        resident, files = _loaders(Path(folder))
        if not all(torch.equal(a.images, b.images) for a, b in zip(resident, files, strict=True)):
            raise AssertionError("the two paths show different pixels")
        taken = [(_milliseconds(resident, epoch), _milliseconds(files, epoch)) for epoch in range(ROUNDS)]
    torch.set_num_threads(threads)
    name = f"{PIXELS} px to {SIZE} px, ms an image: resident / files through the loader"
    return [row(name, taken, GOAL)]


def _loaders(folder: Path) -> "tuple[DataLoader[Any], DataLoader[Any]]":
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        coarse = Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8)).resize((PIXELS, PIXELS))
        noisy = np.asarray(coarse) + rng.normal(0, 12, (PIXELS, PIXELS, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.jpg", quality=85)
    (folder / "list.txt").write_text("".join(f"{i}.jpg {i % CLASSES}\n" for i in range(IMAGES)))
    index, transform = read_list(folder / "list.txt"), TrainTransform(size=SIZE)
    cpu = torch.device("cpu")
    images = ResidentImages(index, Folder(folder), transform, 0, device=cpu, workers=0, room=room(cpu, 1))
    draw = EpochDraw(index.labels, cap=np.full(CLASSES, -1), seed=0)

    def loader(dataset: Any, collate_fn: Any) -> "DataLoader[Any]":
        sampler = EpochSampler(draw, batch_size=BATCH)
        return DataLoader(dataset, sampler=sampler, batch_size=BATCH, collate_fn=collate_fn)

    return (
        loader(images, partial(collate, stack=images.render)),
        loader(ImageDataset(index, Folder(folder), transform, 0), collate),
    )


def _milliseconds(loader: "DataLoader[Any]", epoch: int) -> float:
    """CPU time an image of one epoch."""
    loader.sampler.set_epoch(epoch)
    began = time.process_time()
    for _ in loader:
        pass
    return 1e3 * (time.process_time() - began) / IMAGES


if __name__ == "__main__":
    show(run())
