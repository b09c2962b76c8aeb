"""Which classes are taken for one another: by features of their images, and by a baseline's mistakes."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from PIL import Image

from lt_extrap.bar import Bar
from lt_extrap.config.curate_filter import Features
from lt_extrap.curate.features import Extractor, load_extractor
from lt_extrap.curate.prototypes import cosines, own_cosines, prototypes, unit
from lt_extrap.data.decode import UnreadableImage, decode_rgb
from lt_extrap.data.target import TargetSet
from lt_extrap.errors import DataError, RunError
from lt_extrap.keys import Stream, hash64
from lt_extrap.runs import CONFUSIONS, PER_CLASS, read_table
from lt_extrap.studies.diagnose.statement import Statement, unknown

PART = "Confusable classes"
_SHOWN = 8
_ROWS = 1024  # images compared with all classes together


def likeness(target: TargetSet, features: Features | None, images_per_class: int) -> Iterator[Statement]:
    """How near the means of the classes are, and how many images are nearer to another one than to their own."""
    if features is None:
        yield unknown(
            PART,
            "features",
            "how alike the images of the classes are",
            "features=run features.run=<a finished run>, or features=dinov2, clip, timm, efficientnet_lite0",
        )
        return
    extractor, chosen = load_extractor(features), drawn(target, images_per_class)
    labels = target.train.labels[chosen].astype(np.int64)
    vectors = np.concatenate(
        [np.empty((0, extractor.dim), np.float16), *_extracted(target, chosen, extractor, features.batch)]
    )
    source = f"{len(chosen):,} training images, at most {images_per_class} a class; {extractor.key}" + (
        f" ({extractor.note})" if extractor.note else ""
    )
    means = prototypes(vectors, labels, len(target.classes))
    nearest = nearest_means(means)
    if np.isnan(nearest).all():
        yield unknown(PART, "nearest_mean", "no two classes have images to compare", "more training images")
        return
    yield Statement(
        PART,
        "nearest_mean",
        f"the mean feature of a class has a cosine of {np.nanmean(nearest):.3f} to that of the nearest other class on "
        f"average, {np.nanmin(nearest):.3f} to {np.nanmax(nearest):.3f}",
        source,
        {"mean": float(np.nanmean(nearest)), "lowest": float(np.nanmin(nearest)), "highest": float(np.nanmax(nearest))},
    )
    own, best, which = own_cosines(vectors, labels, len(target.classes)), *_others(vectors, labels, means)
    told = own == own
    lost = told & (best > own)
    if not told.any():
        yield unknown(PART, "crossing", "no class has two images to compare", "more training images")
        return
    pairs = Counter((min(a, b), max(a, b)) for a, b in zip(labels[lost].tolist(), which[lost].tolist(), strict=True))
    names = target.classes.names
    yield Statement(
        PART,
        "crossing",
        f"{lost.sum() / told.sum():.0%} of the images are nearer to the mean of another class than to that of the "
        f"other images of their own ({lost.sum():,} of {told.sum():,})",
        source,
        {"share": float(lost.sum() / told.sum()), "images": int(lost.sum())},
        [
            ["class", "taken for, by features", "images"],
            *([names[a], names[b], str(images)] for (a, b), images in pairs.most_common(_SHOWN)),
        ],
    )


def mistakes(target: TargetSet, baseline: Path | None) -> Iterator[Statement]:
    """What a finished baseline takes for what, on the test images.

    Raises:
        RunError: the run has no such tables, or has other classes.
    """
    if baseline is None:
        yield unknown(PART, "mistakes", "which classes a baseline takes for one another", "baseline=<a finished run>")
        return
    try:
        classes, confusions = read_table(baseline / PER_CLASS), read_table(baseline / CONFUSIONS)
    except OSError as error:
        raise RunError(f"a finished run with {PER_CLASS} and {CONFUSIONS}", str(error), "correct baseline=") from error
    if tuple(row["name"] for row in classes) != target.classes.names:
        raise RunError(
            f"a run on the {len(target.classes)} classes of this target",
            f"{len(classes)} others in {baseline}",
            "correct baseline=",
        )
    total = sum(int(row["test_images"]) for row in classes)
    wrong = sum(int(row["images"]) for row in confusions)
    pairs: Counter[tuple[int, int]] = Counter()
    for row in confusions:
        a, b = int(row["class"]), int(row["predicted"])
        pairs[min(a, b), max(a, b)] += int(row["images"])
    half = _fewest(pairs, wrong / 2)
    names = target.classes.names
    yield Statement(
        PART,
        "mistakes",
        f"a baseline mistakes {wrong:,} of {total:,} test images ({wrong / total:.0%}); {half:,} of {len(pairs):,} "
        "pairs of classes make half of these mistakes",
        str(baseline / CONFUSIONS),
        {"wrong": wrong, "images": total, "pairs": len(pairs), "pairs_of_half": half},
        [
            ["class", "taken for, or taken for it", "test images"],
            *([names[a], names[b], str(images)] for (a, b), images in pairs.most_common(_SHOWN)),
        ],
    )


def drawn(target: TargetSet, most: int) -> Int64[np.ndarray, " images"]:
    """Rows of the training list, at most so many of each class, drawn by a key; in the order of the list."""
    labels = target.train.labels
    order = np.lexsort((hash64(Stream.DIAGNOSE, 0, np.arange(len(labels))), labels))
    start = np.searchsorted(labels[order], labels[order])
    return np.sort(order[np.arange(len(order)) - start < most])


def nearest_means(means: Float64[np.ndarray, "classes dim"]) -> Float64[np.ndarray, " classes"]:
    """The cosine of each class's mean to the nearest other one; NaN for a class without images, or without others."""
    whole = (means != 0).any(axis=1)
    directions = unit(means)
    found = np.full(len(means), np.nan)
    for start in range(0, len(means), _ROWS):
        near = (directions[start : start + _ROWS] @ directions.T).astype(np.float64)
        near[:, ~whole] = -np.inf
        rows = np.arange(len(near))
        near[rows, start + rows] = -np.inf
        found[start : start + _ROWS] = near.max(axis=1)
    found[~whole | ~np.isfinite(found)] = np.nan
    return found


def _others(
    vectors: np.ndarray, labels: Int64[np.ndarray, " images"], means: Float64[np.ndarray, "classes dim"]
) -> tuple[np.ndarray, Int64[np.ndarray, " images"]]:
    """For each image the cosine to the nearest mean of another class, and which class that is."""
    directions, whole = unit(means), (means != 0).any(axis=1)
    which = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _ROWS):
        near = unit(vectors[start : start + _ROWS]) @ directions.T
        near[:, ~whole] = -np.inf
        near[np.arange(len(near)), labels[start : start + _ROWS]] = -np.inf
        which[start : start + _ROWS] = near.argmax(axis=1)
    return cosines(vectors, means, np.arange(len(vectors)), which), which


def _extracted(
    target: TargetSet, rows: Int64[np.ndarray, " images"], extractor: Extractor, batch: int
) -> Iterator[np.ndarray]:
    def images() -> Iterator[Image.Image]:
        for row in rows:
            path = target.train.path(row)
            try:
                yield decode_rgb(path, data=target.place.images.read(path))
            except UnreadableImage as error:
                raise DataError(
                    "training images that can be read", str(error), "run lt_extrap.check, and set target.exclude"
                ) from error

    done = 0
    with Bar("images") as bar:
        for vectors in extractor.of(images(), batch):
            yield vectors
            bar.show(done := done + len(vectors), len(rows))


def _fewest(pairs: "Counter[tuple[int, int]]", images: float) -> int:
    """How many pairs, the most frequent first, have so many images."""
    have = 0
    for number, (_, count) in enumerate(pairs.most_common(), start=1):
        have += count
        if have >= images:
            return number
    return 0
