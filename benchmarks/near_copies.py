"""The search for near features, beside faiss's flat index; and, with real images, what the near-copy rule finds.

Run from the repository's root: `python -m benchmarks.near_copies`, and with LT_EXTRAP_DATA and the extra `stand-in`
`python -m benchmarks.near_copies recall` (10 minutes). CPU seconds on one thread; the peer's time includes building
its index and normalising, as ours does.
"""

import io
import json
import os
import random
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.rows import Row, cpu_seconds, interleaved, row, show, skipped
from lt_extrap.config.curate_filter import EfficientNetFeatures
from lt_extrap.curate.features import Extractor, load_extractor
from lt_extrap.curate.near_copies import Pictures, copies_of, look_at
from lt_extrap.curate.nearest import near
from lt_extrap.data.decode import decode_rgb

CANDIDATES, REFERENCES, DIM = 100_000, 20_000, 384
GOAL, PAIRS = 0.5, 1
COPIED = 200  # test images of which copies are made, beside all photographs
NAME = (
    f"near features, {CANDIDATES:,} x {REFERENCES:,} x {DIM}, seconds: "
    "ours, all above .6 / faiss's flat index, the nearest"
)


def run() -> list[Row]:
    """The row of the search."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        return [skipped(NAME, f"{error}: pip install faiss-cpu")]
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    candidates = rng.standard_normal((CANDIDATES, DIM), np.float32)
    references = rng.standard_normal((REFERENCES, DIM), np.float32)
    copied = rng.choice(CANDIDATES, 1000, replace=False)
    candidates[copied] = references[: len(copied)] + 0.3 * candidates[copied]
    one, other = candidates.astype(np.float16), references.astype(np.float16)

    def ours() -> None:
        if sum(len(pairs) for pairs, _ in near(one, other, at_least=0.6)) != len(copied):
            raise AssertionError("other pairs than were planted")

    def peer() -> None:
        index = faiss.IndexFlatIP(DIM)
        index.add(_unit(other))
        cosines, _ = index.search(_unit(one), 1)
        if (cosines >= 0.6).sum() != len(copied):
            raise AssertionError("other pairs than were planted")

    taken = interleaved(lambda: cpu_seconds(ours), lambda: cpu_seconds(peer), PAIRS)
    return [row(NAME, taken, GOAL)]


def _unit(features: np.ndarray) -> np.ndarray:
    rows = features.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return decode_rgb("copy.jpg", data=file.getvalue())


def _cropped(image: Image.Image, share: float, draw: random.Random) -> Image.Image:
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    left, upper = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
    return image.crop((left, upper, left + width, upper + height))


def _central(image: Image.Image, share: float) -> Image.Image:
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    left, upper = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, upper, left + width, upper + height))


def _marked(image: Image.Image, opacity: float, draw: random.Random) -> Image.Image:
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    place = image.width * draw.uniform(0.08, 0.18), image.height * draw.uniform(0.15, 0.75)
    font = ImageFont.load_default(size=max(8, image.width // 7))
    ImageDraw.Draw(layer).text(place, "stock photo", font=font, fill=(255, 255, 255, int(255 * opacity)))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


Change = Callable[[Image.Image, random.Random], Image.Image]
CHANGES: dict[str, Change] = {
    "saved again, JPEG quality 50": lambda image, draw: _jpeg(image, 50),
    "saved again, JPEG quality 20": lambda image, draw: _jpeg(image, 20),
    "resized to 50 %": lambda image, draw: image.resize((image.width // 2, image.height // 2)),
    "cropped by a tenth, at the centre": lambda image, draw: _central(image, 0.1),
    "cropped by a tenth, anywhere": lambda image, draw: _cropped(image, 0.1, draw),
    "cropped by a tenth at one side": lambda image, draw: image.crop((image.width // 10, 0, image.width, image.height)),
    "cropped by a fifth, anywhere": lambda image, draw: _cropped(image, 0.2, draw),
    "mirrored": lambda image, draw: _mirrored(image),
    "watermarked, half opaque": lambda image, draw: _marked(image, 0.5, draw),
    "watermarked, opaque": lambda image, draw: _marked(image, 1.0, draw),
    "gray": lambda image, draw: image.convert("L").convert("RGB"),
    "cropped, mirrored, saved again": lambda image, draw: _jpeg(_mirrored(_cropped(image, 0.1, draw)), 60),
}


def recall(data: Path) -> list[dict[str, object]]:
    """For each kind of copy how many are found, with features and without; and the false alarms on other images."""
    torch.set_num_threads(1)
    extractor = load_extractor(EfficientNetFeatures())
    lists = data / "tiny_imagenet" / "lists"
    test, train, pool = (
        [line.split()[0] for line in (lists / f"{name}.txt").read_text().splitlines()]
        for name in ("lt60_test", "lt60_train", "aux_pool_train")
    )
    with tarfile.open(data / "tiny_imagenet" / "images.tar") as tar:

        def read(path: str) -> Image.Image:
            member = tar.extractfile(path)
            assert member is not None
            return decode_rgb(path, data=member.read())

        photos = [decode_rgb(path) for path in sorted((data / "photos").glob("*.jpg"))]
        chosen = sorted(random.Random(0).sample(range(len(test)), COPIED))
        originals = _pictures([*map(read, test), *photos], extractor)
        sources = [*(read(test[place]) for place in chosen), *photos]
        own = np.array([*chosen, *range(len(test), len(test) + len(photos))])
        found: list[dict[str, object]] = []
        for name, change in CHANGES.items():
            draw = random.Random(name)
            copies = _pictures([change(image, draw) for image in sources], extractor)
            hits = {part: copies_of(given, originals).original == own for part, given in _with_and_without(copies)}
            found.append(
                {"copies": name}
                | {f"{part}, test images": float(hit[:COPIED].mean()) for part, hit in hits.items()}
                | {f"{part}, photographs": float(hit[COPIED:].mean()) for part, hit in hits.items()}
            )
            print(json.dumps(found[-1]), flush=True)
        for name, paths in (("training images of the same classes", train), ("images of other classes", pool)):
            others = _pictures(map(read, paths), extractor)
            alarms = {}
            for part, given in _with_and_without(others):
                judged = copies_of(given, originals)
                alarms[part] = int(((judged.original >= 0) & (judged.how > 0)).sum())  # the same pixels are no error
            found.append({"false alarms": name, "images": len(paths)} | alarms)
            print(json.dumps(found[-1]), flush=True)
    return found


def _pictures(images: Iterable[Image.Image], extractor: Extractor) -> Pictures:
    looks = []

    def seen() -> Iterable[Image.Image]:
        for image in images:
            looks.append(look_at(image, *image.size))
            yield image

    features = np.concatenate([*extractor.of(seen(), 64)])
    return Pictures.of(looks, features)


def _with_and_without(pictures: Pictures) -> list[tuple[str, Pictures]]:
    alone = Pictures(pictures.content, pictures.thumbnails)
    return [("with features", pictures), ("pictures alone", alone)]


if __name__ == "__main__":
    if sys.argv[1:] == ["recall"]:
        recall(Path(os.environ["LT_EXTRAP_DATA"]))
    else:
        show(run())
