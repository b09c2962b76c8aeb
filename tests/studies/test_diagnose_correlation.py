import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional import spearman_corrcoef

from lt_extrap.studies.diagnose.correlation import over_worlds, partial_spearman, ranks, reliability, spearman

VALUES = st.lists(st.integers(-4, 4).map(float), min_size=5, max_size=20)


@given(VALUES, st.randoms(use_true_random=False))
def test_it_is_spearmans_correlation_with_ties(values, random):
    one = np.array(values)
    other = np.array(random.choices(values, k=len(values)))
    if len(set(values)) > 1 and len(set(other.tolist())) > 1:
        expected = float(spearman_corrcoef(torch.tensor(one), torch.tensor(other)))
        assert spearman(one, other) == pytest.approx(expected, abs=1e-5)
    else:
        assert np.isnan(spearman(one, other))


def test_equal_values_share_their_rank():
    assert ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [2.5, 1, 2.5, 4]


def test_what_both_have_from_a_third_is_no_correlation_beyond_it():
    rng = np.random.default_rng(0)
    third = rng.normal(size=4000)
    one, other = third + rng.normal(size=4000), third + rng.normal(size=4000)
    assert spearman(one, other) > 0.4
    assert abs(partial_spearman(one, other, third)) < 0.05
    assert partial_spearman(one, one + 0.3 * other, third) > 0.5
    assert np.isnan(partial_spearman(third, other, third))


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "sure"), [(1.0, True), (0.0, False)])
def test_the_interval_tells_a_correlation_from_none(slope, sure):
    rng = np.random.default_rng(1)
    worlds = []
    for _ in range(6):
        score = rng.normal(size=30)
        worlds.append((score, slope * score + rng.normal(size=30)))
    found = over_worlds(worlds, spearman, 300)
    assert found.low < found.value < found.high
    assert (found.low > 0) is sure
    assert over_worlds(worlds, spearman, 300) == found


def test_worlds_widen_the_interval_where_they_differ():
    score = np.arange(40.0)
    alike = over_worlds([(score, score + (score % 7) * 6)] * 8, spearman, 300)
    apart = over_worlds([(score, score), (score, -score)] * 4, spearman, 300)
    assert apart.value == pytest.approx(0)
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_reliability_is_that_of_the_mean_over_seeds_and_images():
    rng = np.random.default_rng(2)
    true = rng.normal(size=5000)
    seeds = true + rng.normal(size=(4, 1, 5000))  # of one seed 1/2, of the mean of four 4/5
    assert reliability(seeds) == pytest.approx(0.8, abs=0.03)
    assert reliability(seeds[:2]) == pytest.approx(2 / 3, abs=0.03)
    assert np.isnan(reliability(seeds[:1]))
    assert abs(reliability(rng.normal(size=(3, 2, 5000)))) < 0.1
    images = rng.normal(size=(2, 5000))  # that all seeds share: 1 + 1/4 + 1/2
    assert reliability(seeds + images) == pytest.approx(1 / 1.75, abs=0.03)
    assert reliability((true + images)[None]) == pytest.approx(1 / 1.5, abs=0.03)
