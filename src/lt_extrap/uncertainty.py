"""How sure a difference between two rows of runs is: paired by seed, on the same classes and images.

Two questions, and two answers. Would other seeds say the same on these test images? `paired` looks at the differences
of seeds. Would other classes, images and seeds? `intervals` draws all three anew. Accuracies are means over classes
(Eq. 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from lt_extrap.keys import Stream, generator

LEVEL, POWER = 0.05, 0.8
RESAMPLES = 10_000
FEWEST_FOR_SIGNS = 6  # seeds: with 5 the least p of all signs is 1/16, and nothing could be found at 5 %
# Points. results.json has accuracies as float32, up to 1e-5 off (measured): what is equal differs by less than this,
# and one test image among 100,000 makes a step of 1e-3.
_ROUNDING = 5e-5
_MOST_SIGNS = 16  # seeds whose signs are all tried, 65,536 of them; beyond, so many are drawn
_DRAWS = 4_000_000  # images that are drawn at once: 64 MB


class Interval(NamedTuple):
    """From, to."""

    low: float
    high: float


class Paired(NamedTuple):
    """What differences by seed say, points but for `p`.

    Attributes:
        seeds: how many there are.
        mean: of the differences.
        deviation: their standard deviation (n - 1), 0 where they differ by what float32 rounds; NaN of one seed.
        p: two-sided, of no difference; NaN of one seed, or where all seeds differ by the same and that is not 0.
        test: that gave p.
        detectable: see `detectable`; NaN of one seed.
    """

    seeds: int
    mean: float
    deviation: float
    p: float
    test: Literal["paired t", "sign flips", "none"]
    detectable: float


def paired(differences: Float[np.ndarray, " seeds"]) -> Paired:
    """Mean, spread, significance and detectable difference of paired differences.

    With 6 seeds and more p is that of the sign-flip test (Fisher 1935, section 21): the share of all 2^n choices of
    signs whose mean is as far from 0. With 2 to 5 that cannot fall below 5 %, and Student's paired t is taken, which
    supposes that the differences are normal.

    Args:
        differences: one a seed, points, at least one; none is NaN.
    """
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return Paired(count, mean, math.nan, math.nan, "none", math.nan)
    deviation = float(differences.std(ddof=1))
    if deviation < _ROUNDING:
        deviation = 0.0
    found = detectable(deviation / math.sqrt(count), float(count - 1))
    if count >= FEWEST_FOR_SIGNS:
        return Paired(count, mean, deviation, _sign_flips(differences), "sign flips", found)
    return Paired(count, mean, deviation, _student(mean, deviation, count), "paired t", found)


def detectable(error: float, freedom: float) -> float:
    """The smallest true value of an estimate that a t test finds in 80 % of all experiments, two-sided at 5 %.

    delta = nc * error, with nc the noncentrality at which Student's noncentral t of so many degrees of freedom exceeds
    the critical value with a probability of 0.8 (Cohen 1988, Section 2.3). The far tail is left out: its probability
    is below 1e-5.

    Args:
        error: standard error of the estimate, at least 0, taken for the true one; of the mean of n paired differences
            their standard deviation / sqrt(n).
        freedom: degrees of freedom of the error, at least 1; of that mean n - 1.

    Returns:
        NaN of no error: that values happen to be equal says nothing of what could be found.
    """
    if error == 0:
        return math.nan
    from scipy.special import nctdtrinc, stdtrit

    return float(nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 1 - LEVEL / 2))) * error


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for being several (Holm 1979): the chance of one false finding among all stays below the level.

    Args:
        p: in any order; NaN is no test, stays, and does not count.
    """
    known = sorted((value, place) for place, value in enumerate(p) if value == value)
    corrected, least = list(p), 0.0
    for rank, (value, place) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - rank)))
        corrected[place] = least
    return corrected


@dataclass(frozen=True)
class TestImages:
    """The test images of a target set, in the order of their classes.

    Attributes:
        sizes: test images of each class that has some, at least 1.
        groups: the group of each of these classes, 0..; every group up to the last has a class.
    """

    __test__ = False  # nothing for pytest

    sizes: Int64[np.ndarray, " classes"]
    groups: Int64[np.ndarray, " classes"]

    @property
    def classes(self) -> Int64[np.ndarray, " images"]:
        """The class of each image."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def of(self, classes: Int64[np.ndarray, " some"]) -> Bool[np.ndarray, " images"]:
        """Which images are of these classes."""
        return np.isin(self.classes, classes)

    def members(self) -> list[Int64[np.ndarray, " members"]]:
        """The classes of each group."""
        return [np.flatnonzero(self.groups == group) for group in range(int(self.groups.max()) + 1)]

    def class_means(self, values: Float[np.ndarray, "rows images"]) -> Float[np.ndarray, "rows classes"]:
        """Mean over the images of each class."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        means: Float[np.ndarray, "rows classes"] = np.add.reduceat(values, starts, axis=1) / self.sizes
        return means


def intervals(
    differences: Sequence[Float[np.ndarray, "_seeds images"]],
    images: TestImages,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float[np.ndarray, "comparisons measures 2"]:
    """Intervals (95 %) of differences in accuracy, for other classes, images of a class, and seeds.

    Classes are drawn anew within their group (for the overall accuracy within all groups: strata), images within each
    drawn class, the same for every comparison and seed. Of n things n - 1 are drawn, for which the variance of a mean
    comes out unbiased (McCarthy and Snowden 1985), and one is kept as it is. Class means hold the noise of their
    images, and both that of each seed: what is drawn below is taken out above, by shrinking deviations to their own
    component of variance (Carpenter, Goldstein and Rasbash 2003 for nested levels; Owen 2007 tells how much too wide
    crossed levels are without).

    A few seeds do not show how far seeds spread, and drawing them anew cannot either. What they add is drawn from
    Student's t with n - 1 degrees of freedom times the standard error of their mean, all that differs between seeds in
    it, as in the interval of a paired t test: alone it would be that interval. Each draw is taken with both signs, so
    that rows that change places change the signs of the ends, exactly, and nothing else.

    Args:
        differences: of each comparison, one of its rows against the other: right (1 or 0) minus right, of each shared
            seed and each test image.
        images: which they are.
        resamples: how many.
        seed: of the draws.

    Returns:
        From and to for each comparison, the overall accuracy first, then each group; in the unit of the differences.
    """
    members = images.members()
    shares = np.array([len(of) for of in members]) / len(images.sizes)
    by_seed = [images.class_means(values) for values in differences]  # seeds x classes
    over_seeds = np.stack([values.mean(axis=0) for values in differences])
    class_means = images.class_means(over_seeds)
    noise = over_seeds - class_means[:, images.classes]
    spread = images.class_means(noise**2) / np.maximum(images.sizes - 1, 1)  # variance of a class mean by its images
    deviations = np.zeros_like(class_means)
    for of in members:
        mixed = np.array([_mixed(values[:, of]) for values in by_seed])  # is drawn with the seeds
        own = class_means[:, of] - class_means[:, of].mean(axis=1, keepdims=True)
        whole, below = own.var(axis=1, ddof=min(1, len(of) - 1)), spread[:, of].mean(axis=1)
        kept = _kept(np.maximum(whole, below), mixed)[:, None]
        deviations[:, of] = kept * own * _kept(whole, below)[:, None]
        noise[:, images.of(of)] *= kept

    drawn = np.empty((resamples, len(differences), 1 + len(members)))
    random = generator(Stream.RESAMPLE, seed)
    for at in _parts(resamples, int(images.sizes.sum())):
        drawn[at, :, 1:] = _drawn_classes(random, at.stop - at.start, images, members, deviations, noise)
    drawn[:, :, 0] = drawn[:, :, 1:] @ shares
    of_seeds = np.empty_like(drawn)
    for place, values in enumerate(by_seed):
        groups = np.stack([values[:, of].mean(axis=1) for of in members], axis=1)
        of_seeds[:, place] = _drawn_seeds(np.column_stack([groups @ shares, groups]), resamples, seed)
    drawn = np.concatenate([drawn + of_seeds, drawn - of_seeds])
    # The upper end as the lower one of what is negated: NumPy rounds what it interpolates from below and above apart.
    ends = [sign * np.quantile(sign * drawn, LEVEL / 2, axis=0) for sign in (1, -1)]
    groups = np.stack([class_means[:, of].mean(axis=1) for of in members], axis=1)
    means = np.column_stack([groups @ shares, groups])
    return means[..., None] + np.stack(ends, axis=-1)


def _drawn_classes(
    random: np.random.Generator,
    resamples: int,
    images: TestImages,
    members: Sequence[Int64[np.ndarray, " _members"]],
    deviations: Float[np.ndarray, "comparisons classes"],
    noise: Float[np.ndarray, "comparisons images"],
) -> Float[np.ndarray, "resamples comparisons groups"]:
    """What drawn classes, and drawn images of these, add to the mean of each group."""
    counts = np.zeros((resamples, len(images.sizes)))
    for of in members:
        draws = max(1, len(of) - 1)
        places = random.integers(len(of), size=(resamples, draws)) + len(of) * np.arange(resamples)[:, None]
        counts[:, of] = np.bincount(places.ravel(), minlength=resamples * len(of)).reshape(resamples, -1)
    # Each time a class was drawn, its images are drawn anew.
    draws_of = np.maximum(images.sizes - 1, 1)
    times = (counts * draws_of).astype(np.int64).ravel()
    starts = (
        np.arange(resamples)[:, None] * images.sizes.sum() + np.concatenate([[0], np.cumsum(images.sizes)[:-1]])
    ).ravel()
    sizes = np.tile(images.sizes, resamples)
    chosen = np.repeat(starts, times) + (random.random(times.sum()) * np.repeat(sizes, times)).astype(np.int64)
    weights = np.bincount(chosen, minlength=resamples * len(images.classes)).reshape(resamples, -1)
    weights = weights / draws_of[images.classes]
    drawn = []
    for of in members:
        draws, own = max(1, len(of) - 1), images.of(of)
        # Images are drawn in n - 1 classes, and are to have the variance of a mean of n.
        by_images = weights[:, own] @ noise[:, own].T * math.sqrt(draws / len(of))
        drawn.append((counts[:, of] @ deviations[:, of].T + by_images) / draws)
    return np.stack(drawn, axis=-1)


def _drawn_seeds(
    means: Float[np.ndarray, "seeds measures"], resamples: int, seed: int
) -> Float[np.ndarray, "resamples measures"]:
    """What other seeds may add to the mean over seeds of each measure: on one draw for a number of seeds."""
    from scipy.special import stdtrit

    seeds = len(means)
    if seeds == 1:
        return np.zeros((resamples, means.shape[1]))
    # Quantiles of Student's t in any order: drawn ones would be far off in the tails of 1 degree of freedom.
    shares = (generator(Stream.RESAMPLE, seed, seeds).permutation(resamples) + 0.5) / resamples
    drawn: Float[np.ndarray, "resamples measures"] = np.outer(
        stdtrit(seeds - 1, shares), means.std(axis=0, ddof=1) / math.sqrt(seeds)
    )
    return drawn


def _mixed(by_class: Float[np.ndarray, "seeds classes"]) -> float:
    """What of the variance of class means over seeds is by the mixture of class, or image, and seed.

    0 of one seed or one class, which do not tell: an interval is then rather too wide.
    """
    seeds, classes = by_class.shape
    if seeds == 1 or classes == 1:
        return 0.0
    own = by_class - by_class.mean(axis=0) - by_class.mean(axis=1, keepdims=True) + by_class.mean()
    return float((own**2).sum() / ((seeds - 1) * (classes - 1)) / seeds)


def _kept(whole: Float[np.ndarray, " items"], below: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
    """By what deviations are multiplied so that a variance loses the part that is drawn elsewhere."""
    kept: Float[np.ndarray, " items"] = np.sqrt(np.maximum(0.0, 1 - below / np.where(whole > 0, whole, np.inf)))
    return kept


def _parts(resamples: int, images: int) -> list[slice]:
    step = max(1, _DRAWS // images)
    return [slice(*ends) for ends in pairwise([*range(0, resamples, step), resamples])]


def _student(mean: float, deviation: float, count: int) -> float:
    from scipy.special import stdtr

    if deviation == 0:
        return 1.0 if abs(mean) < _ROUNDING else math.nan
    return float(2 * stdtr(count - 1, -abs(mean) / (deviation / math.sqrt(count))))


def _sign_flips(differences: Float[np.ndarray, " seeds"]) -> float:
    count = len(differences)
    if count <= _MOST_SIGNS:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    else:
        signs = generator(Stream.RESAMPLE, count).choice([-1, 1], size=(2**_MOST_SIGNS, count))
        signs[0] = 1  # what was seen is one of them
    means = np.abs(signs @ differences) / count
    return float((means >= abs(differences.mean()) - _ROUNDING).mean())
