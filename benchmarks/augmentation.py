"""The training transform of the published recipes: ours beside timm's.

JPEG photographs to a random crop of 224 pixels, flipped, under RandAugment (rand-m9-mstd0.5-inc1): decoded and
augmented, as bytes. In the size of ImageNet's (half a megapixel and less), of iNaturalist's (800 pixels) and of the
web's (2,048 pixels). The photographs are those of $LT_EXTRAP_DATA/photos where there are some, and else smooth colours
with noise. One thread, CPU time; the median of 5 pairs, in which both take turns.

Run from the repository's root: `python -m benchmarks.augmentation`.
"""

import io
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform

from lt_extrap.data.decode import EncodedImage
from lt_extrap.data.randaugment import RandAugment
from lt_extrap.data.transforms import TrainTransform
from lt_extrap.keys import Stream, generator
from lt_extrap.model.preprocessing import IMAGENET_MEAN

IMAGES, SIZE, PAIRS = 140, 224, 5
# Name, longer edge in pixels (None: as the photographs are), images and goal.
SETS = (("ImageNet size", None, 140, 1 / 1.3), ("800 px", 800, 70, 1 / 1.6), ("2,048 px", 2048, 30, 1 / 2.5))


def run() -> list[dict[str, Any]]:
    """A row a size: name, ours, peer, ratio, goal, holds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    photos = _photos()
    rows = [_row(name, [_file(photo, edge) for photo in photos[:count]], goal) for name, edge, count, goal in SETS]
    torch.set_num_threads(threads)
    return rows


def _row(name: str, files: list[bytes], goal: float) -> dict[str, Any]:
    ours, peer = _ours(), _peer()
    taken = [(_microseconds(ours, files, i), _microseconds(peer, files, i)) for i in range(PAIRS + 1)][1:]  # 1 warms up
    ratio = statistics.median(mine / theirs for mine, theirs in taken)
    mine, theirs = (statistics.median(column) for column in zip(*taken, strict=True))
    name = f"JPEG of {name} to {SIZE} px with RandAugment, microseconds an image: ours / timm's transform"
    return {"name": name, "ours": mine, "peer": theirs, "ratio": ratio, "goal": goal, "holds": ratio <= goal}


def _photos() -> list[bytes]:
    folder = Path(os.environ.get("LT_EXTRAP_DATA", "")) / "photos"
    if files := sorted(folder.glob("*.jpg")):
        return [file.read_bytes() for file in files[:IMAGES]]
    rng = np.random.default_rng(0)
    photos = []
    for _ in range(IMAGES):
        coarse = Image.fromarray(rng.integers(256, size=(12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 12, smooth.shape)
        photos.append(_jpeg(Image.fromarray(noisy.clip(0, 255).astype(np.uint8))))
    return photos


def _file(photo: bytes, edge: int | None) -> bytes:
    if edge is None:
        return photo
    with Image.open(io.BytesIO(photo)) as image:
        scale = edge / max(image.size)
        size = round(image.width * scale), round(image.height * scale)
        return _jpeg(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _ours() -> Callable[[bytes, int], Any]:
    augment = RandAugment(magnitude=9.0, std=0.5, mean=IMAGENET_MEAN)
    transform = TrainTransform(size=SIZE, augment=augment)
    return lambda file, view: transform(EncodedImage("photo", file), generator(Stream.AUGMENT, 0, 0, view))


def _peer() -> Callable[[bytes, int], Any]:
    transform = create_transform(
        SIZE,
        is_training=True,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        mean=IMAGENET_MEAN,
        use_prefetcher=True,  # bytes, as ours: normalised on the device
    )

    def shown(file: bytes, view: int) -> Any:
        while True:
            with Image.open(io.BytesIO(file)) as image:
                rgb = image.convert("RGB")
            try:
                return transform(rgb)
            except ValueError:  # it posterises one image in a thousand to 0 bits, which Pillow 13 refuses
                continue

    return shown


def _microseconds(show: Callable[[bytes, int], Any], files: list[bytes], round_: int) -> float:
    """CPU time an image."""
    began = time.process_time()
    for place, file in enumerate(files):
        show(file, round_ * len(files) + place)
    return 1e6 * (time.process_time() - began) / len(files)


if __name__ == "__main__":
    for row in run():
        print(row)
