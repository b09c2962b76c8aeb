"""The training transform of the published recipes: ours beside timm's.

JPEG photographs to a random crop of 224 pixels, flipped, under RandAugment (rand-m9-mstd0.5-inc1): decoded and
augmented, as bytes. In the size of ImageNet's (half a megapixel and less), of iNaturalist's (800 pixels) and of the
web's (2,048 pixels). The photographs are those of $LT_EXTRAP_DATA/photos where there are some, and else smooth colours
with noise. One thread, CPU time; the median of 5 pairs, in which both take turns.

And how far our pixels, without RandAugment, are from those of Pillow's decoder and resizing at the same box.

Run from the repository's root: `python -m benchmarks.augmentation`.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform

from benchmarks.rows import Row, cpu_seconds, interleaved, row, show
from lt_extrap.data.decode import EncodedImage
from lt_extrap.data.randaugment import RandAugment
from lt_extrap.data.transforms import TrainTransform
from lt_extrap.keys import Stream, generator
from lt_extrap.model.preprocessing import IMAGENET_MEAN

IMAGES, SIZE, APART = 140, 224, 0.5
# Name, longer edge in pixels (None: as the photographs are), images and goal.
SETS = (("ImageNet size", None, 140, 1 / 1.3), ("800 px", 800, 70, 1 / 1.6), ("2,048 px", 2048, 30, 1 / 2.5))


def run() -> list[Row]:
    """Two rows a size: time, and pixels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    photos, rows = _photos(), []
    for name, edge, count, goal in SETS:
        files = [_file(photo, edge) for photo in photos[:count]]
        name = f"JPEG of {name} to {SIZE} px"
        taken = interleaved(_timed(_ours(), files), _timed(_peer(), files))
        rows.append(row(f"{name} with RandAugment, microseconds an image: ours / timm's transform", taken, goal))
        apart = sum(map(_apart, files, range(count))) / count
        rows.append(row(f"{name}, mean distance from Pillow's pixels, of 255 / limit", [(apart, APART)], 1.0))
    torch.set_num_threads(threads)
    return rows


def _apart(file: bytes, view: int) -> float:
    transform, image = TrainTransform(size=SIZE), EncodedImage("photo", file)
    shown = transform.draw(image.width, image.height, generator(Stream.AUGMENT, 0, 0, view))
    ours = transform.apply(image, shown).float()
    with Image.open(io.BytesIO(file)) as opened:
        square = opened.convert("RGB").crop(shown.box).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    if shown.flip:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return float((ours - torch.from_numpy(np.array(square)).permute(2, 0, 1)).abs().mean())


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

    def augmented(file: bytes, view: int) -> Any:
        while True:
            with Image.open(io.BytesIO(file)) as image:
                rgb = image.convert("RGB")
            try:
                return transform(rgb)
            except ValueError:  # it posterises one image in a thousand to 0 bits, which Pillow 13 refuses
                continue

    return augmented


def _timed(view_of: Callable[[bytes, int], Any], files: list[bytes]) -> Callable[[], float]:
    """Microseconds an image."""

    def views() -> None:
        for view, file in enumerate(files):
            view_of(file, view)

    return lambda: 1e6 * cpu_seconds(views) / len(files)


if __name__ == "__main__":
    show(run())
