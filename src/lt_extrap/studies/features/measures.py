"""How well classes are apart in a feature space: four numbers, on features of length 1."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

_PAIRS = 1 << 24  # distances at once


class Measures(NamedTuple):
    """Of some images and their classes. Each class counts alike, however many images it has. NaN: not defined.

    All are computed on features of length 1, so that cosine and Euclidean distance say the same: |x - y|² = 2 - 2 x.y.

    Attributes:
        silhouette: (b - a) / max(a, b), -1..1, higher is better: a the mean cosine distance to the other images of the
            class, b that to the nearest other class (Rousseeuw 1987); the mean over the classes' means. A class of
            one image has 0.
        scatter: mean squared distance of images to the mean of their class (over n - 1), divided by that of the
            classes' means to their mean; 0 and more, lower is better.
        alignment: mean of |x - y|² over pairs of one class, 0..4, lower is better (Wang and Isola 2020,
            arXiv 2005.10242, Section 4.1, alpha = 2; images of one class stand for their positive pairs). It is
            twice the numerator of `scatter`.
        uniformity: log of the mean of exp(-2 |x - y|²) over all pairs, of whatever class, -8..0, lower is more evenly
            spread (ibid., t = 2).
    """

    silhouette: float
    scatter: float
    alignment: float
    uniformity: float


def unit(features: Float[np.ndarray, "images dim"]) -> Float64[np.ndarray, "images dim"]:
    """Features of length 1; one of zeros stays."""
    wide = features.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    length[length == 0] = 1
    normalised: Float64[np.ndarray, "images dim"] = wide / length
    return normalised


def measure(features: Float[np.ndarray, "images dim"], labels: Int[np.ndarray, " images"]) -> Measures:
    """Measure how well classes are apart.

    Args:
        features: of any length.
        labels: which class an image is of; any numbers.
    """
    if len(features) == 0:
        return Measures(*4 * (float("nan"),))
    x = unit(features)
    _, of, n = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(n), x.shape[1]))
    np.add.at(sums, of, x)
    squares = np.bincount(of, (x**2).sum(axis=1))
    several = n > 1
    within = (squares - (sums**2).sum(axis=1) / n)[several].clip(0) / (n[several] - 1)
    means = sums / n[:, None]
    between = ((means - means.mean(axis=0)) ** 2).sum(axis=1).mean()
    spread = _mean(within)
    return Measures(
        silhouette=_silhouette(x, of, n, sums),
        scatter=spread / float(between) if between > 1e-12 else float("nan"),
        alignment=2 * spread,
        uniformity=_uniformity(x),
    )


def _silhouette(
    x: Float64[np.ndarray, "images dim"],
    of: Int[np.ndarray, " images"],
    n: Int[np.ndarray, " classes"],
    sums: Float64[np.ndarray, "classes dim"],
) -> float:
    """Exact without a distance between two images: their mean to a class is 1 - x.(its mean)."""
    if len(n) < 2:
        return float("nan")
    rows = np.arange(len(x))
    total = n - x @ sums.T  # of the cosine distances of each image to each class
    own = total[rows, of] - (1 - (x**2).sum(axis=1))  # but for that to itself
    a = own / np.maximum(n[of] - 1, 1)
    others = total / n
    others[rows, of] = np.inf
    b = others.min(axis=1)
    larger = np.maximum(a, b)
    each = np.divide(b - a, larger, out=np.zeros(len(x)), where=(larger > 1e-12) & (n[of] > 1))
    return float((np.bincount(of, each) / n).mean())


def _uniformity(x: Float64[np.ndarray, "images dim"]) -> float:
    if len(x) < 2:
        return float("nan")
    squares, total = (x**2).sum(axis=1), 0.0
    at_once = max(1, _PAIRS // len(x))
    for first in range(0, len(x), at_once):
        rows = slice(first, first + at_once)
        distances = squares[rows, None] + squares - 2 * x[rows] @ x.T
        total += float(np.exp(-2 * distances.clip(0)).sum())
    return float(np.log((total - len(x)) / (len(x) * (len(x) - 1))))


def _mean(values: Float64[np.ndarray, " values"]) -> float:
    return float(values.mean()) if len(values) else float("nan")
