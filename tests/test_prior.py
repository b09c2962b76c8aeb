"""Long-tailed tests, told and not told to the classifier."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lt_extrap.config import Balanced, Focal, Loss, Silencing
from lt_extrap.errors import ConfigError
from lt_extrap.prior import KnownPrior, expected_accuracy, shares, trained_tau

COUNTS = np.array([5, 100, 30, 30])


def test_shares_are_an_exponential_tail_along_or_against_training():
    forward = shares(COUNTS, shape="forward", imbalance=8.0)
    np.testing.assert_allclose(forward, np.array([1, 8, 4, 2]) / 15)  # of equal counts the first is more frequent
    np.testing.assert_allclose(shares(COUNTS, shape="backward", imbalance=8.0), np.array([8, 1, 2, 4]) / 15)
    np.testing.assert_allclose(shares(COUNTS, shape="uniform", imbalance=8.0), np.full(4, 1 / 4))
    assert shares(COUNTS[:1], shape="forward", imbalance=8.0) == [1]


def test_the_expected_accuracy_is_that_of_the_drawn_subset_in_the_mean():
    """The published protocol: of each class a part of its test images, by its share."""
    rng = np.random.default_rng(0)
    right = [rng.random(64) < p for p in (0.2, 0.9, 0.5, 0.7)]
    share = shares(COUNTS, shape="backward", imbalance=8.0)
    drawn = [round(64 * own / share.max()) for own in share]
    accuracies = []
    for _ in range(2000):
        subset = [rng.choice(of_class, n, replace=False) for of_class, n in zip(right, drawn, strict=True)]
        accuracies.append(np.concatenate(subset).mean())
    expected = expected_accuracy(np.array([of_class.mean() for of_class in right]), share)
    assert np.mean(accuracies) == pytest.approx(expected, abs=5e-3)


def test_classes_without_test_images_are_in_no_expectation():
    assert expected_accuracy(np.array([np.nan, 0.5, 1.0, np.nan]), np.full(4, 0.25)) == 0.75
    assert expected_accuracy(np.full(4, np.nan), np.full(4, 0.25)) is None


@pytest.mark.parametrize("tau", [0.0, 1.0, 0.5])
def test_a_known_prior_makes_bayes_rule_of_the_logits(tau):
    """Densities p(x | k) known: logits as a loss with tau leaves them, and Bayes' rule by hand."""
    density = torch.rand(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    share = shares(COUNTS, shape="backward", imbalance=8.0)
    logits = density.log() + (1 - tau) * torch.from_numpy(np.log(COUNTS)) + 3.0  # any constant
    both = torch.cat([logits, torch.full((6, 2), 99.0)], dim=1)  # auxiliary columns
    told = KnownPrior(nn.Identity(), share, COUNTS, tau=tau)(both).softmax(dim=1)
    joint = density * torch.from_numpy(share)
    torch.testing.assert_close(told, (joint / joint.sum(dim=1, keepdim=True)).float(), rtol=1e-5, atol=1e-6)


def test_whose_logits_know_what_of_the_training_prior():
    assert (trained_tau(Loss()), trained_tau(Balanced(tau=1.05)), trained_tau(Silencing())) == (0, 1.05, 1)
    assert math.isclose(trained_tau(Balanced(tau=0.0)), 0)
    with pytest.raises(ConfigError, match="Focal"):
        trained_tau(Focal())
