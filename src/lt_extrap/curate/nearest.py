"""Pairs of rows whose features point the same way: all of them, found in a low precision and checked in a high one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, Int64

from lt_extrap.curate.prototypes import unit
from lt_extrap.machine import computes_in_bfloat16

if TYPE_CHECKING:
    import torch

# Between unit vectors, rounding both to bfloat16 changes a cosine by at most .0039, rounding the product and the
# threshold by .002 each: what is looked for is found.
_MARGIN = 0.01
_ROWS, _COLUMNS = 4096, 2048  # of a block of cosines, 16 MB
_PART = 64  # columns whose largest cosine is looked at, where few are asked for
_TOGETHER = 4096  # pairs checked together

_Features = Float[np.ndarray, "_ dim"]

Pairs = Int64[np.ndarray, "pairs 2"]
Cosines = Float32[np.ndarray, " pairs"]


def near(
    one: Float[np.ndarray, "rows dim"],
    other: Float[np.ndarray, "columns dim"],
    *,
    at_least: float,
    most: int | None = None,
    itself: bool = False,
) -> Iterator[tuple[Pairs, Cosines]]:
    """Every pair (i, j) whose features `one[i]` and `other[j]` have at least a cosine; a block of rows at a time.

    On one thread with AVX-512 it takes 0.4 to 0.45 of the time of faiss's flat index (`benchmarks/near_copies.py`).
    Which pairs are found, and their cosines, depends on no block and no number of threads.

    Args:
        one: raw features; may be memory-mapped. A row that is zero or not finite is near to nothing.
        other: likewise; a copy of it in 16 bits is held in memory.
        at_least: the cosine, in 0.05..1.
        most: pairs of a row that are kept: those of the largest cosines, and of equal ones the first. None: all.
        itself: both are the same rows; a row is not paired with itself.

    Yields:
        Pairs by i, then by falling cosine, then by j; and their cosines.
    """
    if not 0.05 <= at_least <= 1:
        raise ValueError(f"a cosine in 0.05..1, not {at_least}")
    right = _halves(other)
    for start in range(0, len(one), _ROWS):
        rows = np.asarray(one[start : start + _ROWS])
        asked = None if most is None else most + itself  # a row is near to itself
        found = [*_block(_halves(rows), right, at_least - _MARGIN, asked)]
        pairs = np.concatenate([np.empty((0, 2), np.int64), *found])
        if itself:
            pairs = pairs[pairs[:, 0] + start != pairs[:, 1]]
        cosines = np.concatenate([np.empty(0, np.float32), *_checked(rows, other, pairs)])
        kept = cosines >= np.float32(at_least)
        pairs, cosines = pairs[kept], cosines[kept]
        order = np.lexsort((pairs[:, 1], -cosines, pairs[:, 0]))
        pairs, cosines = pairs[order], cosines[order]
        if most is not None:
            first = np.searchsorted(pairs[:, 0], pairs[:, 0], "left")
            kept = np.arange(len(pairs)) - first < most
            pairs, cosines = pairs[kept], cosines[kept]
        if len(pairs):
            yield pairs + np.array([start, 0]), cosines


def _halves(features: _Features) -> "torch.Tensor":
    """Directions in bfloat16."""
    import torch  # seconds that the rest of curation need not wait

    found = torch.empty(features.shape, dtype=torch.bfloat16)
    for start in range(0, len(features), _TOGETHER):
        block = unit(np.asarray(features[start : start + _TOGETHER]))
        found[start : start + _TOGETHER] = torch.from_numpy(block)
    return found


def _block(left: "torch.Tensor", right: "torch.Tensor", threshold: float, most: int | None) -> Iterator[Pairs]:
    """Pairs of two lists of directions whose cosine in bfloat16 is above a threshold; the largest `most` among them."""
    import torch

    native = computes_in_bfloat16("cpu")  # else the product of the same numbers in float32 is many times faster
    product = torch.mm if native else lambda one, other: torch.mm(one.float(), other.float()).bfloat16()
    # The bits of positive numbers are in the order of the numbers; and numpy looks through integers fastest.
    low = torch.full((len(left),), threshold).bfloat16()
    # Of each row some of the largest cosines so far, each from other columns: what is below them all is none of `most`.
    best = low.view(torch.int16).numpy()[:, None].repeat(most or 1, axis=1)
    for start in range(0, len(right), _COLUMNS):
        bits = product(left, right[start : start + _COLUMNS].T).view(torch.int16).numpy()
        if most is not None:
            whole = bits.shape[1] // _PART * _PART
            largest = bits[:, :whole].reshape(len(bits), -1, _PART).max(axis=2)
            best = np.partition(np.concatenate([best, largest], axis=1), -most, axis=1)[:, -most:]
            least = torch.from_numpy(best.min(axis=1)).view(torch.bfloat16).float() - 2 * _MARGIN
            low = torch.maximum(low, least.bfloat16())
        bounds = low.view(torch.int16).numpy()[:, None]
        if (bits.max(axis=1, initial=0) >= bounds[:, 0]).any():
            places = np.flatnonzero(bits >= bounds)
            yield np.stack([places // bits.shape[1], places % bits.shape[1] + start], axis=1)


def _checked(rows: _Features, other: _Features, pairs: Pairs) -> Iterator[Cosines]:
    for start in range(0, len(pairs), _TOGETHER):
        i, j = pairs[start : start + _TOGETHER].T
        yield (unit(rows[i]) * unit(np.asarray(other[j]))).sum(axis=1)
