"""Does the gap grow with the number of superclasses? Finding 1, as an interval."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lt_extrap.studies.granularity.gaps import MEASURES, Measured
from lt_extrap.uncertainty import LEVEL, detectable

SUPPORTS, AGAINST, OPEN = "supports", "speaks against", "cannot tell"


@dataclass(frozen=True)
class Trend:
    """How a measure changes with the number of superclasses at one ratio.

    Attributes:
        measure: one of MEASURES.
        ratio: of the grid, below 1.
        slope: points a doubling of the superclasses, by least squares over all draws. Finding 1 says that it is
            positive: the coarser, the more imbalance costs.
        low, high: its 95 % interval over draws, of Student's t; NaN where a granularity has only one.
        doublings: from the fewest to the most superclasses.
        detectable: smallest true difference between those two, points, that 4 of 5 studies of this size would find (see
            `uncertainty.detectable`); NaN where a granularity has only one draw, or the draws of each agree.
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
    """A line through values by superclasses, and what its slope may be where every number of those has its own spread.

    The slope is a weighted sum of group means: Welch's interval, with Satterthwaite's degrees of freedom.
    """
    from scipy.special import stdtrit

    doublings = np.log2(np.array(sorted(values), float))
    groups = [np.array(values[key]) for key in sorted(values)]
    sizes = np.array([len(group) for group in groups], float)
    from_mean = doublings - np.average(doublings, weights=sizes)
    weights = sizes * from_mean / (sizes * from_mean**2).sum()  # of the group means in the least squares slope
    slope = float(weights @ [group.mean() for group in groups])
    low = high = found = float("nan")
    span = float(doublings[-1] - doublings[0])
    if sizes.min() > 1:
        parts = weights**2 * [group.var(ddof=1) for group in groups] / sizes
        error, freedom = parts.sum() ** 0.5, 1.0
        if error > 0:
            freedom = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum()
        reach = float(stdtrit(freedom, 1 - LEVEL / 2) * error)
        low, high, found = slope - reach, slope + reach, detectable(error, freedom) * span
    return Trend(measure, ratio, slope, low, high, span, found)
