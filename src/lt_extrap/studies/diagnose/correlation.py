"""Rank correlations, and how sure they are."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from lt_extrap.keys import Stream, generator

Values = Float64[np.ndarray, " classes"]


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def ranks(values: Values) -> Values:
    """Ranks from 1 on; equal values share the mean of theirs."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    return np.asarray((last - (times - 1) / 2)[place])


def spearman(one: Values, other: Values) -> float:
    """Spearman's rank correlation, -1..1; NaN where one of them does not vary, or there are fewer than 3 values."""
    return _pearson(ranks(one), ranks(other))


def partial_spearman(one: Values, other: Values, given: Values) -> float:
    """The rank correlation of two quantities beyond what both have in common with a third; NaN where there is none."""
    both, first, second = spearman(one, other), spearman(one, given), spearman(other, given)
    rest = (1 - first**2) * (1 - second**2)
    return (both - first * second) / rest**0.5 if rest > 1e-9 else float("nan")


def over_worlds(
    worlds: Sequence[tuple[Values, ...]], statistic: Callable[..., float], resamples: int, seed: int = 0
) -> Interval:
    """The mean of a correlation over worlds, with a percentile interval of the bootstrap in two levels.

    A resample draws as many worlds as there are, and of each as many classes as it has, both with replacement; of a
    single world it draws classes alone. Worlds in which the statistic is NaN do not count.

    Args:
        worlds: of each the arguments of the statistic, an entry a class.
        statistic: such as `spearman`.
        resamples: draws.
        seed: of the draws.
    """
    values = []
    for resample in range(resamples):
        rng = generator(Stream.DIAGNOSE, seed, resample)
        drawn = []
        for world in rng.integers(len(worlds), size=len(worlds)):
            columns = worlds[world]
            chosen = rng.integers(len(columns[0]), size=len(columns[0]))
            drawn.append(statistic(*(column[chosen] for column in columns)))
        values.append(_mean(drawn))
    known = np.array([value for value in values if value == value])
    low, high = np.quantile(known, (0.025, 0.975)).tolist() if len(known) else (float("nan"),) * 2
    return Interval(_mean([statistic(*columns) for columns in worlds]), low, high)


def reliability(gains: Float64[np.ndarray, "seeds halves classes"]) -> float:
    """How well the mean gain ranks the classes as that of other seeds and test images would, -1..1.

    The seeds are split in two in every way, and one part is taken on the first half of the test images, the other on
    the last: their rank correlation r, the mean over the splits, stepped up to twice as much of both by the formula of
    Spearman and Brown (1910), 2 r / (1 + r). No prediction correlates better with the mean than about its root.

    Args:
        gains: of each seed, on each half of the test images; one half = all of them, and what they do is not in it.
            Of a single seed on two halves what seeds do is not.

    Returns:
        NaN where there is one seed and one half.
    """
    seeds, halves, _ = gains.shape
    everyone = set(range(seeds))
    if seeds > 1:
        splits = [(part, sorted(everyone - {*part})) for part in combinations(range(seeds), seeds // 2)]
    else:
        splits = [((0,), [0])] if halves > 1 else []
    r = _mean([spearman(gains[list(one), 0].mean(axis=0), gains[other, -1].mean(axis=0)) for one, other in splits])
    return 2 * r / (1 + r) if r > 0 else r


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def _pearson(one: Values, other: Values) -> float:
    if len(one) < 3:
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    length = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / length if length > 0 else float("nan")
