"""The training transform of the published recipes: ours beside timm's.

JPEG files of the size of a photograph (500 x 375 pixels, smooth colours with noise) to a random crop of 224 pixels,
flipped, under RandAugment (rand-m9-mstd0.5-inc1): read, decoded, augmented, as bytes. One thread; rounds of both
alternate.

Run from the repository's root: `python -m benchmarks.augmentation`.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform

from lt_extrap.data.decode import decode_rgb
from lt_extrap.data.randaugment import RandAugment
from lt_extrap.data.transforms import TrainTransform
from lt_extrap.keys import Stream, generator
from lt_extrap.model.preprocessing import IMAGENET_MEAN

FILES, VIEWS, WIDTH, HEIGHT, SIZE, ROUNDS, GOAL = 32, 256, 500, 375, 224, 7, 1.0


def run() -> list[dict[str, Any]]:
    """One row: name, ours, peer, ratio, goal, holds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = _files(Path(folder))
        taken = [(_microseconds(_ours(), files, i), _microseconds(_peer(), files, i)) for i in range(ROUNDS)]
    torch.set_num_threads(threads)
    ours, peer = (statistics.median(column) for column in zip(*taken, strict=True))
    ratio = statistics.median(a / b for a, b in taken)
    name = f"{WIDTH} x {HEIGHT} JPEG to {SIZE} px with RandAugment, microseconds an image: ours / timm's transform"
    return [{"name": name, "ours": ours, "peer": peer, "ratio": ratio, "goal": GOAL, "holds": ratio <= GOAL}]


def _files(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    files = [folder / f"{i}.jpg" for i in range(FILES)]
    for file in files:
        coarse = Image.fromarray(rng.integers(256, size=(12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 12, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=90)
    return files


def _ours() -> Callable[[Path, int], Any]:
    augment = RandAugment(magnitude=9.0, std=0.5, mean=IMAGENET_MEAN)
    transform = TrainTransform(size=SIZE, augment=augment)
    return lambda file, view: transform(decode_rgb(file), generator(Stream.AUGMENT, 0, 0, view))


def _peer() -> Callable[[Path, int], Any]:
    transform = create_transform(
        SIZE,
        is_training=True,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        mean=IMAGENET_MEAN,
        use_prefetcher=True,  # bytes, as ours: normalised on the device
    )

    def shown(file: Path, view: int) -> Any:
        while True:
            with Image.open(file) as image:
                rgb = image.convert("RGB")
            try:
                return transform(rgb)
            except ValueError:  # it posterises one image in a thousand to 0 bits, which Pillow 13 refuses
                continue

    return shown


def _microseconds(show: Callable[[Path, int], Any], files: list[Path], start: int) -> float:
    """CPU time an image."""
    began = time.process_time()
    for view in range(VIEWS):
        show(files[view % FILES], start * VIEWS + view)
    return 1e6 * (time.process_time() - began) / VIEWS


if __name__ == "__main__":
    print(run())
