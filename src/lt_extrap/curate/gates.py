"""The similarity rule: which images are near enough to a target class, and not too near (paper, Section 3.1)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from lt_extrap.curate.prototypes import Features, directed, own_cosines
from lt_extrap.errors import DataError

_ALONE, _ENOUGH = 5, 20  # images from which on a class's own quantiles count a part, and alone
_POOLED = 200  # classes, the largest, that the quantiles of small ones are taken from
_SHOWN = 100  # of their images


class Band(NamedTuple):
    """Between which cosines an image of a class's parent is kept; strictly between.

    Attributes:
        low, high: of each target class.
    """

    low: Float64[np.ndarray, " classes"]
    high: Float64[np.ndarray, " classes"]


class Gate(NamedTuple):
    """What a gate lets through.

    Attributes:
        kept: whether an image is in the band of at least one parent.
        passes: whether the pair is in the band.
        parent: the target class whose band it is in with the largest cosine, of equal ones the first; -1: not kept.
    """

    kept: Bool[np.ndarray, " images"]
    passes: Bool[np.ndarray, " pairs"]
    parent: Int64[np.ndarray, " images"]


def fixed_band(classes: int, low: float = 0.7, high: float = 0.98) -> Band:
    """The same band for all classes: the paper's gamma_1 and gamma_2."""
    return Band(np.full(classes, low), np.full(classes, high))


def calibrated_band(
    features: Features,
    labels: Int64[np.ndarray, " images"],
    classes: int,
    *,
    low: float,
    high: float,
) -> Band:
    """A band for each class: quantiles of what its own images show beside the mean of the others.

    The cosine to a mean of few images is small, since they leave their own noise in it: with cosines of rho within a
    class and of r to it, about r / sqrt((1 + (n - 1) rho) / n) for n images. A fixed band therefore keeps fewest
    images for the classes that need them most. From 20 images on, the band is by the class's own quantiles. With 1
    to 4 images it is the median, over the largest classes, of the quantile of their images beside a mean of *n*
    others; with 5 to 19 it is n / 20 of the first and the rest of the second. Beyond the outermost of its images a
    class has no quantile: `high=1` asks for no upper bound.

    Args:
        features: of the training images, raw.
        labels: 0..classes-1.
        classes: how many.
        low: quantile, at least 0.
        high: quantile, above `low` and at most 1.

    Raises:
        DataError: no class has two images whose similarity could be measured.
    """
    own = own_cosines(features, labels, classes)
    rows = [of[directed(np.asarray(features[of]))] for of in _by_class(labels, classes)]
    sizes = np.array([len(of) for of in rows])
    bounds = np.full((classes, 2), np.nan)
    quantiles = [low, high]
    for label, of in enumerate(rows):
        if len(of) >= _ALONE:
            bounds[label] = np.quantile(own[of], quantiles)
    for size in np.unique(sizes[(sizes > 0) & (sizes < _ENOUGH)]).tolist():
        pooled = _pooled(features, rows, size, quantiles)
        share = size / _ENOUGH if size >= _ALONE else 0
        those = sizes == size
        bounds[those] = share * np.nan_to_num(bounds[those]) + (1 - share) * pooled
    return Band(bounds[:, 0], np.full(classes, 1.0 + 1e-6) if high == 1 else bounds[:, 1])


def gate(
    cosines: Float32[np.ndarray, " pairs"],
    images: Int64[np.ndarray, " pairs"],
    parents: Int64[np.ndarray, " pairs"],
    band: Band,
    count: int,
) -> Gate:
    """Keep an image where low < cosine < high for at least one of its parents; a cosine that is NaN is in no band.

    Args:
        cosines: of the image and the prototype of the parent of each pair.
        images: 0..count-1, of each pair.
        parents: the target class of each pair.
        band: of each target class.
        count: number of images.
    """
    passes = (cosines > band.low[parents]) & (cosines < band.high[parents])
    i, parent, cosine = images[passes], parents[passes], cosines[passes]
    order = np.lexsort((parent, -cosine, i))
    best, first = np.unique(i[order], return_index=True)
    chosen = np.full(count, -1)
    chosen[best] = parent[order][first]
    return Gate(chosen >= 0, passes, chosen)


def _by_class(labels: Int64[np.ndarray, " images"], classes: int) -> list[Int64[np.ndarray, "_"]]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels, minlength=classes))[:-1])


def _pooled(
    features: Features, rows: list[Int64[np.ndarray, "_"]], size: int, quantiles: list[float]
) -> Float64[np.ndarray, " quantiles"]:
    """The median over classes of the quantiles of their images' cosines to means of that many others."""
    larger = sorted((of for of in rows if len(of) > size), key=len, reverse=True)
    if not larger:
        larger = sorted((of for of in rows if len(of) > 1), key=len, reverse=True)
    if not larger:
        raise DataError(
            "a class with two training images, to calibrate the gate by",
            "one image a class at the most",
            "set filter=fixed",
        )
    found = [np.quantile(_beside(np.asarray(features[of[:_SHOWN]]), size), quantiles) for of in larger[:_POOLED]]
    return np.asarray(np.median(found, axis=0))


def _beside(features: Features, size: int) -> Float64[np.ndarray, " images"]:
    """The cosine of each image to the mean of the images that follow it, the first behind the last."""
    images = features.astype(np.float64)
    size = min(size, len(images) - 1)
    sums = np.cumsum(np.concatenate([images, images[:size]]), axis=0)
    means = sums[size:] - sums[:-size]
    lengths = np.linalg.norm(images, axis=1) * np.linalg.norm(means, axis=1)
    return np.asarray((images * means).sum(axis=1) / np.maximum(lengths, 1e-30))
