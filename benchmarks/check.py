"""`python -m lt_extrap.check`: its speed beside a plain decode, and which copies it finds.

Speed: JPEG files of the size of a photograph, looked at by one process (hashed, decoded at a part of their size,
compared), beside a loop that only decodes them with Pillow. Recall: pictures that are trained on, and copies of them in
the test list: saved again, halved, mirrored, cut at the edges. False alarms are those among other pictures.

Run from the repository's root: `python -m benchmarks.check`.
"""

import contextlib
import io
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.rows import Row, cpu_seconds, interleaved, row, show
from lt_extrap.check import CheckConfig, check_data
from lt_extrap.config import NoAuxiliary, Target

FILES, PICTURES = 192, 300
PHOTOGRAPH, SMALL = (500, 375), (160, 120)


def run() -> list[Row]:
    """Rows of the speed, of the copies that are missed, and of false alarms."""
    return [speed(), *recall()]


def speed() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for i in range(FILES):
            drawn(i, PHOTOGRAPH).save(root / f"{i}.jpg", quality=90)
        names = [f"{i}.jpg" for i in range(FILES)]
        stores = itertools.count()

        def ours() -> float:
            store = root / f"cache-{next(stores)}"  # an empty one: a second check would look at nothing
            return 1e3 * cpu_seconds(lambda: _check(root, names[:-1], names[-1:], store)) / FILES

        def peer() -> float:
            return 1e3 * cpu_seconds(lambda: [_decode(root / name) for name in names]) / FILES

        taken = interleaved(ours, peer)
    name = f"check of {PHOTOGRAPH[0]} x {PHOTOGRAPH[1]} JPEG, ms an image: ours / Pillow's decode alone"
    return row(name, taken, 1.5)  # it hashes, compares and keeps too


# What is cut at the edges is told: it counts as another picture sooner or later (data/duplicates.py).
COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], int, float | None]] = {
    "saved again (JPEG quality 30)": (lambda picture: picture, 30, 0.02),
    "halved": (lambda picture: picture.resize((picture.width // 2, picture.height // 2)), 90, 0.02),
    "mirrored": (ImageOps.mirror, 90, 0.02),
    "cut by 2 % at each edge": (lambda picture: ImageOps.crop(picture, round(0.02 * picture.width)), 90, None),
    "cut by 10 % at each edge": (lambda picture: ImageOps.crop(picture, round(0.1 * picture.width)), 90, None),
}


def recall() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pictures = [drawn(i, SMALL) for i in range(PICTURES)]
        for i, picture in enumerate(pictures):
            picture.save(root / f"{i}.jpg", quality=90)
        others = [f"{i}.jpg" for i in range(PICTURES)]
        for number, (what, (change, quality, goal)) in enumerate(COPIES.items()):
            copies = [f"{number}-{i}.jpg" for i in range(PICTURES)]
            for picture, copy in zip(pictures, copies, strict=True):
                change(picture).save(root / copy, quality=quality)
            found = _copied(_check(root, others, copies, root / "cache"))
            missed = sum((other, copy) not in found for other, copy in zip(others, copies, strict=True)) / PICTURES
            yield _told(f"copies {what}, share that check misses", missed, goal)
        alarms = len(_copied(_check(root, others[::2], others[1::2], root / "cache")))
        pairs = PICTURES * PICTURES // 4
        yield _told(f"pairs of {pairs:,} different pictures that check takes for copies", alarms, 0.0)


def _told(name: str, found: float, goal: float | None) -> Row:
    """What has no peer, beside the most that it may be."""
    holds = None if goal is None else found <= goal
    return {"name": name, "ours": found, "peer": None, "ratio": None, "goal": goal, "holds": holds}


def _check(root: Path, train: list[str], test: list[str], cache: Path) -> list[dict[str, object]]:
    """The findings of the command, in this process."""
    for split, names in (("train", train), ("test", test)):
        (root / f"{split}.txt").write_text("".join(f"{name} 0\n" for name in names))
    target = Target(root=str(root), folder="made", train="train.txt", test="test.txt")
    before = os.environ.get("LT_EXTRAP_CACHE")
    os.environ["LT_EXTRAP_CACHE"] = str(cache)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            check_data(CheckConfig(target, NoAuxiliary(), str(root / "out"), workers=0))
    finally:
        if before is None:
            del os.environ["LT_EXTRAP_CACHE"]
        else:
            os.environ["LT_EXTRAP_CACHE"] = before
    findings: list[dict[str, object]] = json.loads((root / "out" / "check.json").read_text())["findings"]
    return findings


def _copied(findings: list[dict[str, object]]) -> set[tuple[str, str]]:
    """Pairs of a training and a test image that are said to show one picture."""
    pairs = set()
    for finding in findings:
        if str(finding["kind"]).endswith("test_trained"):
            for case in finding["cases"]:
                paths = {split: [r["path"] for r in case["rows"] if r["split"] == split] for split in ("train", "test")}
                pairs.update(itertools.product(paths["train"], paths["test"]))
    return pairs


def drawn(seed: int, size: tuple[int, int]) -> Image.Image:
    """Smooth colours, coarse or fine, with noise: no two are alike."""
    rng = np.random.default_rng(seed)
    columns = int(rng.integers(4, 17))
    coarse = rng.integers(256, size=(max(3, columns * 3 // 4), columns, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray((smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8))


def _decode(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


if __name__ == "__main__":
    show(run())
