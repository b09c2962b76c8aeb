"""How sure differences are: against references, by simulation, and where there is nothing to be sure of."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.coverage import Setting, measured, simulated
from lt_extrap.uncertainty import TestImages, detectable, holm, intervals, paired


@pytest.mark.parametrize(
    ("seeds", "per_class", "between"),
    [(2, 20, 0.05), *(pytest.param(*of, marks=pytest.mark.slow) for of in ((1, 20, 0), (3, 20, 0.05), (8, 4, 0.02)))],
)
def test_intervals_hold_the_true_difference_as_often_as_they_say(seeds, per_class, between):
    held, _ = measured(Setting((8, 10, 6), per_class, seeds, between), experiments=120, seed=3)
    # 120 trials of 95 % are within 0.90 and 0.995 of them; groups of 6 classes have less, as any bootstrap.
    assert held[0] > 0.90
    assert (held > 0.87).all()
    assert held.mean() < 0.995


@pytest.mark.parametrize(("seeds", "between"), [(1, 0.0), (24, 0.02)])
def test_the_width_is_that_of_the_spread_of_experiments(seeds, between):
    images, rng = Setting((8, 10, 6), 20, seeds, between).images(), np.random.default_rng(5)
    draws = [simulated(rng, images, seeds, 0.0, between=between) for _ in range(300)]
    means = [images.class_means(one).mean() for one in draws]
    widths = [np.ptp(intervals([one], images, resamples=300)[0, 0]) for one in draws[:40]]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(means), rel=0.15)


def test_other_draws_move_an_end_by_half_a_percent_of_the_width():
    setting = Setting((8, 10, 6), 10, 5, 0.02)
    differences = simulated(np.random.default_rng(0), setting.images(), setting.seeds, 0.03, between=setting.between)
    ends = np.stack([intervals([differences], setting.images(), seed=seed)[0] for seed in range(8)])
    moved = ends.std(axis=0, ddof=1) / np.ptp(ends.mean(axis=0), axis=-1)[:, None]
    assert moved.mean() < 0.006  # what docs/reports.md says of an end near 0 rests on it


def test_an_interval_of_seeds_alone_is_that_of_a_paired_t_test():
    images, by_seed = TestImages(np.full(4, 5), np.array([0, 0, 1, 1])), np.array([0.0, 0.25, 1.0])
    (ends,) = intervals([np.repeat(by_seed[:, None], 20, axis=1)], images)
    mean = stats.ttest_1samp(by_seed, 0).confidence_interval(0.95)
    assert ends == pytest.approx(np.tile([mean.low, mean.high], (3, 1)), rel=0.01)


def test_the_noise_of_images_is_neither_too_large_nor_too_small_in_a_group_of_few_classes():
    images = TestImages(np.full(2, 101), np.zeros(2, dtype=np.int64))
    noise = np.linspace(-1, 1, 101)  # all that there is: both classes have the same mean
    (ends,) = intervals([np.tile(noise, 2)[None]], images, resamples=4000)
    half = 1.96 * stats.sem(noise) / math.sqrt(2)
    assert ends == pytest.approx(np.tile([-half, half], (2, 1)), rel=0.06)


def test_intervals_of_several_comparisons_are_on_one_draw_and_the_same_again():
    images, rng = TestImages(np.array([3, 1, 4, 2, 5]), np.array([0, 1, 0, 1, 0])), np.random.default_rng(0)
    one, other = (rng.integers(-1, 2, (seeds, 15)).astype(float) for seeds in (2, 3))
    both = intervals([one, other], images, resamples=50)
    assert both.shape == (2, 3, 2)
    assert (intervals([one, other], images, resamples=50) == both).all()
    below = intervals([other, other, one], images, resamples=50)
    assert below == pytest.approx(both[[1, 1, 0]])  # whatever the rows above are


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 3), st.integers(0, 99))
def test_a_row_compared_with_itself_has_no_difference(sizes, seeds, key):
    images = TestImages(np.array(sizes), np.sort(np.arange(len(sizes)) % 2))
    assert (intervals([np.zeros((seeds, sum(sizes)))], images, resamples=20, seed=key) == 0).all()
    told = paired(np.zeros(seeds))
    assert told.mean == 0
    assert seeds == 1 or told.p == 1
    assert math.isnan(told.detectable)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(1, 4), st.integers(0, 99))
def test_rows_that_change_places_change_the_signs_of_the_ends_and_nothing_else(sizes, seeds, key):
    images = TestImages(np.array(sizes), np.sort(np.arange(len(sizes)) % 2))
    rows = 100.0 * np.random.default_rng(key).integers(-1, 2, (2, seeds, sum(sizes)))
    one, other = (intervals([*signs * rows], images, resamples=50, seed=key) for signs in (1, -1))
    assert (one == -other[..., ::-1]).all()  # exactly: the sign of an end near 0 is read


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(0, 99))
def test_a_difference_of_every_image_is_sure(seeds, key):
    images = TestImages(np.array([2, 3, 1, 4]), np.array([0, 0, 1, 1]))
    assert intervals([np.ones((seeds, 10))], images, resamples=20, seed=key) == pytest.approx(np.ones((1, 3, 2)))


def test_a_draw_is_that_of_loops_over_its_variance():
    # One seed, one group, all images of a class alike: what is left is the variance of a mean of classes.
    images = TestImages(np.full(6, 5), np.zeros(6, dtype=np.int64))
    of_class = np.array([1.0, -0.83, 0.11, 0.71, -0.37, 1.3])
    (ends,) = intervals([of_class[images.classes][None]], images, resamples=4000)
    sums = [np.mean(drawn) for drawn in product(of_class - of_class.mean(), repeat=5)]
    assert ends[0] == pytest.approx(of_class.mean() + np.quantile(sums, [0.025, 0.975]), abs=0.08)
    assert np.var(sums) == pytest.approx(of_class.var(ddof=1) / 6)


def test_student_is_scipys():
    values = np.array([0.3, 1.1, 0.4, 0.9])
    told = paired(values)
    assert (told.seeds, told.test) == (4, "paired t")
    assert told.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert told.deviation == pytest.approx(np.std(values, ddof=1))


@pytest.mark.parametrize("count", [6, 9])
def test_sign_flips_are_scipys(count):
    values = np.random.default_rng(count).normal(0.4, 1.0, count)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert paired(values).test == "sign flips"
    assert paired(values).p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("images", [[0, 7, 4, 3, 7, 5, -2, -3, 6, 1], [3, -1, 2, 2, 1, 0]])
def test_choices_of_signs_with_the_same_mean_tie_whatever_float32_rounds(images):
    sums = [abs(np.dot(signs, images)) for signs in product([-1, 1], repeat=len(images))]
    baseline = np.arange(1000, 1000 + len(images))
    own, other = (100 * np.float32(right / 3000).astype(float) for right in (baseline + images, baseline))
    told = paired(own - other)
    assert told.p == np.mean([one >= sum(images) for one in sums])  # exact: whole numbers


@pytest.mark.parametrize(("more", "p"), [(0, 1.0), (7, math.nan)])
def test_seeds_that_differ_by_the_same_but_for_rounding_have_no_spread(more, p):
    own, other = (np.float32((np.array([1201, 1333, 1415]) + plus) / 3000).astype(float) for plus in (more, 0))
    told = paired(100 * own - 100 * other + np.array([0, 1e-5, -1e-5]))
    assert told.deviation == 0
    assert math.isnan(told.detectable)
    assert told.p == pytest.approx(p, nan_ok=True)


def test_of_many_seeds_signs_are_drawn():
    values = np.random.default_rng(0).normal(0.5, 1.0, 24)
    assert paired(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_what_one_seed_or_no_spread_cannot_tell():
    assert [math.isnan(value) for value in paired(np.array([2.0]))[2:4]] == [True, True]
    assert paired(np.array([2.0])).test == "none"
    assert math.isnan(paired(np.array([2.0, 2.0])).p)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_detectable_difference_is_found_in_80_of_100_experiments(seeds):
    rng, deviation = np.random.default_rng(seeds), 1.7
    values = rng.normal(detectable(deviation / math.sqrt(seeds), seeds - 1.0), deviation, (40_000, seeds))
    t = values.mean(axis=1) / (values.std(axis=1, ddof=1) / math.sqrt(seeds))
    critical = stats.t.ppf(0.975, seeds - 1)
    assert np.mean(np.abs(t) > critical) == pytest.approx(0.8, abs=0.01)
    assert np.mean(t < -critical) < 1e-3


def test_the_detectable_difference_falls_with_seeds_and_grows_with_spread():
    pattern = np.array([-1.0, 1.0])
    found = [paired(np.tile(pattern, pairs)).detectable for pairs in range(1, 8)]
    assert found == sorted(found, reverse=True)
    assert paired(3 * pattern).detectable == pytest.approx(3 * found[0])
    assert detectable(1.0, 1000.0) == pytest.approx(1.960 + 0.842, rel=0.005)


def test_holm_is_that_of_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # by hand
    assert holm([]) == []
    corrected = holm([0.02, math.nan, 0.6])
    assert corrected[::2] == pytest.approx([0.04, 0.6])
    assert math.isnan(corrected[1])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_order_and_lies_between_p_and_bonferroni(p):
    corrected = holm(p)
    for own, value in zip(p, corrected, strict=True):
        assert own <= value <= min(1.0, own * len(p)) + 1e-12
    ranked = [value for _, value in sorted(zip(p, corrected, strict=True))]
    assert ranked == sorted(ranked)
