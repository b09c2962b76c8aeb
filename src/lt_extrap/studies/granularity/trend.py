"""Does the gap grow with the number of superclasses? Finding 1, as an interval."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lt_extrap.keys import Stream, generator
from lt_extrap.studies.granularity.gaps import MEASURES, Measured

RESAMPLES = 10_000
SUPPORTS, AGAINST, OPEN = "supports", "speaks against", "cannot tell"
_DETECTED = 1.96 + 0.84  # standard errors: an effect of that size has an interval without 0 in 80 of 100 studies


@dataclass(frozen=True)
class Trend:
    """How a measure changes with the number of superclasses at one ratio.

    Attributes:
        measure: one of MEASURES.
        ratio: of the grid, below 1.
        slope: points a doubling of the superclasses, by least squares over all draws. Finding 1 says that it is
            positive: the coarser, the more imbalance costs.
        low, high: its 95 % interval by a bootstrap over draws; NaN where a granularity has only one.
        doublings: from the fewest to the most superclasses.
        detectable: smallest true difference between those two, points, that 4 of 5 studies of this size would find.
    """

    measure: str
    ratio: float
    slope: float
    low: float
    high: float
    doublings: float
    detectable: float

    @property
    def verdict(self) -> str:
        """What it says of Finding 1."""
        return SUPPORTS if self.low > 0 else AGAINST if self.high < 0 else OPEN


def trends(measured: Sequence[Measured]) -> list[Trend]:
    """The trend of each measure at each ratio below 1, for which there are two granularities or more."""
    ratios = sorted({one.point.ratio for one in measured} - {1.0}, reverse=True)
    found = []
    for measure in MEASURES:
        for ratio in ratios:
            values: dict[int, list[float]] = defaultdict(list)
            for one in measured:
                value = getattr(one, measure)
                if one.point.ratio == ratio and value == value:
                    values[one.point.superclasses].append(value)
            if len(values) > 1:
                found.append(_trend(measure, ratio, values))
    return found


def _trend(measure: str, ratio: float, values: dict[int, list[float]]) -> Trend:
    """A line through values by superclasses.

    Draws are resampled within each number of superclasses. The spread of means of n resampled values is sqrt((n-1)/n)
    of what it should be, which for 5 draws is a tenth too narrow, and is put right.
    """
    doublings = np.log2(np.array(sorted(values), float))
    groups = [np.array(values[key]) for key in sorted(values)]
    sizes = np.array([len(group) for group in groups], float)
    from_mean = doublings - np.average(doublings, weights=sizes)
    weights = sizes * from_mean / (sizes * from_mean**2).sum()  # of the group means in the least squares slope
    slope = float(weights @ [group.mean() for group in groups])
    low = high = detectable = float("nan")
    span = float(doublings[-1] - doublings[0])
    if sizes.min() > 1:
        resampled = slope + np.stack([_deviations(group, i) for i, group in enumerate(groups)], axis=1) @ weights
        low, high = (float(edge) for edge in np.percentile(resampled, [2.5, 97.5]))
        detectable = float(_DETECTED * resampled.std() * span)
    return Trend(measure, ratio, slope, low, high, span, detectable)


def _deviations(group: Float64[np.ndarray, " draws"], key: int) -> Float64[np.ndarray, " resamples"]:
    """Resampled means of a group less its mean."""
    drawn = generator(Stream.BOOTSTRAP, key).integers(len(group), size=(RESAMPLES, len(group)))
    means: Float64[np.ndarray, " resamples"] = group[drawn].mean(axis=1)
    return (means - float(group.mean())) * float((len(group) / (len(group) - 1)) ** 0.5)
