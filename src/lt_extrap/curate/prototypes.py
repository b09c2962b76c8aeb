"""Prototypes of classes, and how near features are to them.

A vector that is zero or not finite is near to nothing: its cosines are NaN, and no gate keeps it. Sums are in float64,
which holds them without rounding as a rule, so that they do not depend on the order of the rows.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

_ROWS = 4096  # looked at together

Features = Float[np.ndarray, "images dim"]


def unit(features: Float[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows dim"]:
    """Features of length 1; 0 where they have no direction."""
    rows = features.astype(np.float32)
    rows[~directed(rows)] = 0
    length = np.sqrt((rows * rows).sum(axis=1))
    return np.asarray(rows / np.maximum(length, np.float32(1e-12))[:, None])


def directed(features: Float[np.ndarray, "rows dim"]) -> Bool[np.ndarray, " rows"]:
    """Whether features have a direction: they are finite, and not all 0."""
    return np.asarray(np.isfinite(features).all(axis=1) & (features != 0).any(axis=1))


def prototypes(
    features: Features, labels: Int64[np.ndarray, " images"], classes: int
) -> Float64[np.ndarray, "classes dim"]:
    """The mean of the raw features of each class (paper, Section 3.1); 0 for a class without images.

    Args:
        features: of training images, not normalised. Those without a direction are left out.
        labels: 0..classes-1.
        classes: how many.
    """
    sums = np.zeros((classes, features.shape[1]))
    counts = np.zeros(classes, np.int64)
    for rows in _blocks(len(features)):
        block = np.asarray(features[rows])
        good = directed(block)
        np.add.at(sums, labels[rows][good], block[good].astype(np.float64))
        counts += np.bincount(labels[rows][good], minlength=classes)
    return sums / np.maximum(counts, 1)[:, None]


def cosines(
    features: Features,
    prototypes: Float64[np.ndarray, "classes dim"],
    rows: Int64[np.ndarray, " pairs"],
    classes: Int64[np.ndarray, " pairs"],
) -> Float32[np.ndarray, " pairs"]:
    """The cosine of `features[rows[k]]` and `prototypes[classes[k]]`, for each pair k; NaN where one has none."""
    found = np.empty(len(rows), np.float32)
    for pairs in _blocks(len(rows)):
        one, other = _finite(features[rows[pairs]]), prototypes[classes[pairs]]
        found[pairs] = _cosine((one * other).sum(1), (one * one).sum(1), (other * other).sum(1))
    return found


def own_cosines(
    features: Features, labels: Int64[np.ndarray, " images"], classes: int
) -> Float32[np.ndarray, " images"]:
    """The cosine of each image to the mean of the other images of its class; NaN where there is no other.

    With the sum s of a class, an image x has the cosine of x and s - x: x.s - x.x by |x| and
    sqrt(s.s - 2 x.s + x.x).
    """
    means = prototypes(features, labels, classes)
    counts = np.zeros(classes, np.int64)
    for rows in _blocks(len(features)):
        counts += np.bincount(labels[rows][directed(np.asarray(features[rows]))], minlength=classes)
    sums = means * counts[:, None]
    squares = (sums * sums).sum(1)
    found = np.empty(len(features), np.float32)
    for rows in _blocks(len(features)):
        image, of = _finite(features[rows]), labels[rows]
        square, product = (image * image).sum(1), (image * sums[of]).sum(1)
        rest = np.where(counts[of] > 1, squares[of] - 2 * product + square, 0)
        found[rows] = _cosine(product - square, square, rest)
    return found


def _finite(features: Float[np.ndarray, "rows dim"]) -> Float64[np.ndarray, "rows dim"]:
    """Features in 64 bits; 0 where they have no direction."""
    return np.asarray(np.where(directed(features)[:, None], features, 0), np.float64)


def _cosine(
    product: Float64[np.ndarray, " pairs"], one: Float64[np.ndarray, " pairs"], other: Float64[np.ndarray, " pairs"]
) -> Float64[np.ndarray, " pairs"]:
    """A cosine, of the product of two vectors and their squares; NaN where there is none."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        cosine = product / np.sqrt(one * other)
    return np.asarray(np.where(np.isfinite(cosine), np.clip(cosine, -1, 1), np.nan))


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, rows, _ROWS))
