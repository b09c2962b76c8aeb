import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_extrap.studies.diagnose.tail import detectable, gini


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_gini_is_half_the_mean_difference_by_the_mean(counts):
    values = np.array(counts)
    expected = np.abs(values[:, None] - values[None]).mean() / (2 * values.mean())
    assert gini(values) == pytest.approx(expected, abs=1e-9)


def test_the_detectable_difference_is_found_in_four_of_five_tests():
    images, classes, rng = 200, 10, np.random.default_rng(0)
    difference = detectable(np.full(classes, float(images))) / 100
    low, high = (
        rng.binomial(images, 0.5 + sign * difference / 2, size=(4000, classes)).mean(axis=1) / images
        for sign in (-1, 1)
    )
    error = np.sqrt(2 * 0.25 / images / classes)
    assert (np.abs(high - low) / error > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_more_images_and_more_classes_show_smaller_differences():
    assert detectable(np.array([50.0])) == pytest.approx(28, abs=0.1)
    assert detectable(np.array([200.0])) == pytest.approx(14, abs=0.1)
    assert detectable(np.full(4, 50.0)) == pytest.approx(14, abs=0.1)
