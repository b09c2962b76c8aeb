"""Rows of pixels moved sideways by fractions of pixels, to the pixels of Pillow in less than half of its time."""

import numpy as np
from jaxtyping import Float64, UInt8

from lt_extrap.model.preprocessing import Interpolation


def slide(
    pixels: UInt8[np.ndarray, "rows columns 3"],
    shift: Float64[np.ndarray, " rows"],
    *,
    uncovered: tuple[int, ...],
    interpolation: Interpolation,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Show each row from another place on, as `Image.transform` does of an affine map that keeps the rows.

    A value in ten thousand differs by 1 from Pillow's, which computes in 64 bits.

    Args:
        pixels: the source.
        shift: at which source pixel each row begins: columns, of either sign.
        uncovered: red, green and blue where there is no source.
        interpolation: the filter.
    """
    rows, columns = pixels.shape[:2]
    whole = np.floor(shift)
    part = (shift - whole).astype(np.float32)[:, None]
    begin = whole.clip(-columns, columns).astype(np.int64)
    margin = int(np.abs(begin).max()) + 2
    wide = np.pad(pixels, ((0, 0), (margin, margin), (0, 0)), mode="edge").reshape(rows, -1)
    # Of each row the pixels that its output has to do with: one before it, and two behind it.
    windows = np.lib.stride_tricks.sliding_window_view(wide, 3 * (columns + 3), axis=1)
    near = windows[np.arange(rows), 3 * (begin + margin - 1)].astype(np.float32)
    a, b, c, d = (near[:, 3 * tap : 3 * (tap + columns)] for tap in range(4))
    if interpolation == "bilinear":
        shown = (c - b) * part
    else:  # the cubic of Pillow's transformations (a = -1): b + p (c - a + p (2 (a - b) + c - d + p (b - a + d - c)))
        cubic = b - a
        cubic += d
        cubic -= c
        shown = cubic * part
        shown -= cubic
        shown += a
        shown -= b
        shown *= part
        shown += c
        shown -= a
        shown *= part
    shown += b
    moved: UInt8[np.ndarray, "rows columns 3"] = shown.clip(0, 255, out=shown).astype(np.uint8).reshape(pixels.shape)
    place = np.arange(columns) + 0.5 + shift[:, None]
    moved[(place < 0) | (place >= columns)] = uncovered
    return moved
