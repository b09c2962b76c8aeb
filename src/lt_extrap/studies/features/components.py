"""Patch tokens as colors: principal components, the background removed by the first (paper, Fig. 6)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from lt_extrap.studies.features.plane import principal

_DARKEST = 0.2  # of a color, so that black is the background alone


class Components(NamedTuple):
    """What tokens look like.

    Attributes:
        colors: 0..1; black where the background is removed.
        foreground: where it is not.
        threshold: of the first component, in its standard deviations.
        explained: share of the foreground's variance that the three colors have.
        whole: images in which all would have been background, and nothing is removed.
    """

    colors: Float64[np.ndarray, "images rows columns 3"]
    foreground: Bool[np.ndarray, "images rows columns"]
    threshold: float
    explained: float
    whole: list[int]


def colored(tokens: Float[np.ndarray, "images rows columns dim"]) -> Components:
    """Color the tokens of some images, all together: a color means the same in each of them, and nothing elsewhere.

    The first component of all tokens is cut by Otsu's threshold (1979: the largest variance between both sides). The
    foreground is the side on which places inside an image lie further than places on its border; in a grid that has no
    inside, that of the largest positive loading. The components of the foreground alone are red, green and blue, from
    their 2nd to their 98th percentile, each pointing to its largest loading.

    Args:
        tokens: at least one.
    """
    shape, flat = tokens.shape[:3], tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    first = principal(flat, 1)[0].reshape(shape)
    inside = np.zeros(shape[1:], bool)
    inside[1:-1, 1:-1] = True
    if inside.any() and first[:, inside].mean() < first[:, ~inside].mean():
        first = -first
    threshold = otsu(first.ravel())
    foreground = first > threshold
    whole = np.flatnonzero(~foreground.any(axis=(1, 2)))
    foreground[whole] = True
    scores, shares = principal(flat[foreground.ravel()], 3)
    low, high = np.percentile(scores, [2, 98], axis=0)
    width = high - low
    levels = np.divide(scores - low, width, out=np.full_like(scores, 0.5), where=width > 0).clip(0, 1)
    colors = np.zeros((*shape, 3))
    colors[foreground] = _DARKEST + (1 - _DARKEST) * levels
    deviation = float(first.std())
    return Components(
        colors, foreground, threshold / deviation if deviation > 0 else 0.0, float(shares.sum()), whole.tolist()
    )


def otsu(values: Float64[np.ndarray, " values"]) -> float:
    """The threshold with the largest variance between both sides, midway between two values; below values all alike.

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9(1), 1979; exact, without a histogram.
    """
    ordered = np.sort(values)
    steps = np.flatnonzero(np.diff(ordered) > 0)  # the last value below each threshold
    if len(steps) == 0:
        return float(np.nextafter(ordered[0], -np.inf))
    below = steps + 1.0
    above = len(ordered) - below
    sums = np.cumsum(ordered)[steps]
    apart = sums / below - (ordered.sum() - sums) / above
    best = steps[(below * above * apart**2).argmax()]
    return float((ordered[best] + ordered[best + 1]) / 2)
