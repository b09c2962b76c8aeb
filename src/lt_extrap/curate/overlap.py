"""How well one picture agrees with a part of another: what tells a copy from another picture of the same kind."""

from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Float32

from lt_extrap.data.duplicates import SIDE, Thumbnails

# Pixels of a thumbnail's 32 that the other may show, in each direction: a first look, and a second at what it leaves.
_COARSE, _FINE = (32, 29, 26), (32, 31, 30, 29, 28, 27, 26)
_WORTH = 0.4  # correlation of the first look from which on there is a second
_BLUR = 1.5  # deviation, pixels, of what is taken off: skies and beaches agree in the rest too well
_LEAST = 1.0  # length of details below which there are none: rounding makes some out of one even gray
_TOGETHER = 128  # pairs compared together: 70 MB

_Planes = Float32[np.ndarray, "pairs 32 32"]


def overlap(one: Thumbnails, other: Thumbnails) -> Float32[np.ndarray, " pairs"]:
    """The best correlation of one thumbnail with a part of the other, pair by pair, either way round or mirrored.

    A part is any rectangle with sides of 80 to 100 % of the whole, so that a copy that was cropped at any edge
    still agrees. Compared are details: what is left of a picture when a blurred one is taken off it. Whole
    pictures that differ agree at up to .95 (7,120 pairs of near features), the details of others at up to .77 (9,813
    pairs); of copies that were cropped by a tenth, 99 % agree in details at .81 or more.

    Returns:
        0..1: 1 for equal pictures, whatever their brightness and contrast; 0 where one is of one even gray.
    """
    found = np.zeros(len(one), np.float32)
    for start in range(0, len(one), _TOGETHER):
        rows = slice(start, start + _TOGETHER)
        first, second = _details(one[rows]), _details(other[rows])
        mirror = second[:, :, ::-1]
        for whole, part in ((first, second), (second, first), (first, mirror), (mirror, first)):
            best = _best(whole, part, _COARSE)
            again = best >= _WORTH
            best[again] = _best(whole[again], part[again], _FINE)
            found[rows] = np.maximum(found[rows], best)
    return found


def _best(whole: _Planes, part: _Planes, sides: tuple[int, ...]) -> Float32[np.ndarray, " pairs"]:
    """The best correlation of `part` with a rectangle of `whole`."""
    best = np.zeros(len(whole), np.float32)
    for height, width in product(sides, sides):
        patch = (_shrinking(height) @ part @ _shrinking(width).T).reshape(len(part), height * width)
        patch = patch - patch.mean(axis=1, keepdims=True)
        patch /= np.maximum(np.linalg.norm(patch, axis=1, keepdims=True), _LEAST)
        places = product(range(SIDE - height + 1), range(SIDE - width + 1))
        windows = np.stack([whole[:, y : y + height, x : x + width] for y, x in places], axis=1)
        windows = windows.reshape(*windows.shape[:2], height * width)
        # Of the patch the mean is 0, so that the mean of a window adds nothing to the product.
        products = np.matmul(windows, patch[:, :, None])[:, :, 0]
        squares = np.einsum("pwi,pwi->pw", windows, windows) - windows.sum(axis=2) ** 2 / (height * width)
        best = np.maximum(best, (products / np.sqrt(np.maximum(squares, _LEAST**2))).max(axis=1))
    return best


def _details(thumbnails: Thumbnails) -> _Planes:
    pixels = thumbnails.astype(np.float32)
    return np.asarray(pixels - _blurring() @ pixels @ _blurring().T)


@cache
def _blurring() -> Float32[np.ndarray, "32 32"]:
    distance = np.arange(SIDE)[:, None] - np.arange(SIDE)
    weights = np.exp(-(distance**2) / (2 * _BLUR**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@cache
def _shrinking(side: int) -> Float32[np.ndarray, "side 32"]:
    """The matrix that resizes 32 pixels to fewer, each a mean weighted by a triangle."""
    scale = SIDE / side
    centre = (np.arange(side)[:, None] + 0.5) * scale
    weights = np.maximum(1 - np.abs(np.arange(SIDE) + 0.5 - centre) / scale, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
