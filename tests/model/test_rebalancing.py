"""Losses beside the balanced softmax, against their formulas in plain numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.config import ClassBalanced, Focal, Ldam
from lt_extrap.errors import ConfigError
from lt_extrap.model.losses import balanced_softmax, cross_entropy
from lt_extrap.model.rebalancing import (
    Deferred,
    FocalCrossEntropy,
    MarginCrossEntropy,
    effective_number_weights,
    rebalancing_loss,
)

NUM_TARGET = 3
COUNTS = [120, 30, 1, 50, 8]  # the last two are auxiliary


def batch(classes=5, size=10, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(size, classes, generator=generator, dtype=torch.float64)
    other = torch.randint(classes, (size,), generator=generator)
    return logits, torch.arange(size) % classes, (other, torch.rand(size, generator=generator, dtype=torch.float64))


def softmax(z, counts):
    powers = [math.exp(value) if n else 0.0 for value, n in zip(z, counts, strict=True)]
    return [power / sum(powers) for power in powers]


def weights_of(counts, beta):
    """Cui et al. 2019, Section 3: one over the effective number, scaled to the number of classes."""
    each = [(1 - beta) / (1 - beta**n) if n else 0.0 for n in counts]
    return [weight * sum(n > 0 for n in counts) / sum(each) for weight in each]


def focal(z, k, counts, gamma, beta):
    p = softmax(z, counts)[k]
    return (1 if beta is None else weights_of(counts, beta)[k]) * (1 - p) ** gamma * -math.log(p)


def margin(z, k, counts, scale, most):
    """Cao et al. 2019, Eq. 13: C / n ** (1/4), where C makes the largest margin `most`."""
    roots = [n**-0.25 if n else 0.0 for n in counts]
    own = math.exp(z[k] - scale * most * roots[k] / max(roots))
    return -math.log(own / (own + sum(math.exp(z[j]) for j, n in enumerate(counts) if n and j != k)))


def mixed_by_hand(loss, z, label, other, lam, *, smoothing=0.0, over=()):
    of_labels = lam * loss(z, label) + (1 - lam) * loss(z, other)
    return (1 - smoothing) * of_labels + (smoothing and smoothing * sum(loss(z, k) for k in over) / len(over))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 500), min_size=5, max_size=5),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.sampled_from([None, 0.9, 0.9999]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from(["all", "targets"]),
)
def test_focal_and_class_balanced_are_their_formulas(counts, gamma, beta, smoothing, smoothing_over):
    counts = torch.tensor(counts)
    weights = None if beta is None else effective_number_weights(counts, beta)
    built = FocalCrossEntropy(
        counts,
        num_target=NUM_TARGET,
        gamma=gamma,
        weights=weights,
        smoothing=smoothing,
        smoothing_over=smoothing_over,
    )
    logits, label, mixed = batch()
    over = range(NUM_TARGET if smoothing_over == "targets" else len(counts))
    wanted = [
        mixed_by_hand(
            lambda z, k: focal(z, k, counts.tolist(), gamma, beta), z, a, b, lam, smoothing=smoothing, over=over
        )
        for z, a, b, lam in zip(logits.tolist(), label.tolist(), mixed[0].tolist(), mixed[1].tolist(), strict=True)
    ]
    torch.testing.assert_close(built.per_image(logits, label, mixed), torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 1.0, 3.0]])
def test_ldam_is_its_formula(weights):
    weigh = weights or [1.0] * 5
    built = MarginCrossEntropy(
        torch.tensor(COUNTS), scale=30.0, max_margin=0.5, weights=weights and torch.tensor(weights, dtype=torch.float64)
    )
    logits, label, mixed = batch(scale=10)
    wanted = [
        mixed_by_hand(lambda z, k: weigh[k] * margin(z, k, COUNTS, 30, 0.5), z, a, b, lam)
        for z, a, b, lam in zip(logits.tolist(), label.tolist(), mixed[0].tolist(), mixed[1].tolist(), strict=True)
    ]
    torch.testing.assert_close(built.per_image(logits, label, mixed), torch.tensor(wanted, dtype=torch.float64))
    assert built.margin[2] == 30 * 0.5  # the rarest


def test_weights_of_the_effective_number_go_from_none_to_one_over_n():
    counts = torch.tensor([1000, 10, 0, 1])
    assert effective_number_weights(counts, 0.0).tolist() == [1, 1, 0, 1]
    inverse = 1 / counts[[0, 1, 3]].double()
    found = effective_number_weights(counts, 1 - 1e-12)
    torch.testing.assert_close(found[[0, 1, 3]], 3 * inverse / inverse.sum(), rtol=1e-8, atol=0)
    assert found[2] == 0
    with pytest.raises(ConfigError, match=r"loss\.beta"):
        effective_number_weights(counts, 1.0)


LOSSES = [
    FocalCrossEntropy(torch.tensor(COUNTS), num_target=NUM_TARGET, gamma=0.5, smoothing=0.1),
    FocalCrossEntropy(torch.tensor(COUNTS), num_target=NUM_TARGET, weights=torch.arange(1.0, 6)),
    MarginCrossEntropy(torch.tensor(COUNTS), scale=3.0),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradients_are_those_of_the_values(loss):
    logits, label, mixed = batch(size=4)
    assert torch.autograd.gradcheck(lambda z: loss.per_image(z, label, mixed), logits.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("scale", [0.0, 30.0, 300.0])
def test_losses_are_finite_and_in_float32_whatever_the_autocast(loss, scale):
    logits, label, mixed = batch()
    logits = (scale * logits).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, label, mixed)
    found.backward()
    assert found.dtype == torch.float32
    assert found >= 0
    assert logits.grad.isfinite().all()
    assert not loss.state_dict()


def test_a_class_without_images_is_in_no_denominator():
    counts = torch.tensor([120, 30, 0, 50, 8])
    kept = [0, 1, 3, 4]
    logits, _, _ = batch()
    logits.requires_grad_()
    label = torch.arange(10) % 4
    for make in (
        lambda counts, targets: FocalCrossEntropy(
            counts, num_target=targets, gamma=2.0, smoothing=0.1, weights=effective_number_weights(counts, 0.99)
        ),
        lambda counts, _: MarginCrossEntropy(counts, scale=3.0),
    ):
        with_it = make(counts, 3).per_image(logits, torch.tensor(kept)[label])
        torch.testing.assert_close(with_it, make(counts[kept], 2).per_image(logits[:, kept], label))
        (gradient,) = torch.autograd.grad(with_it.sum(), logits)
        assert gradient.isfinite().all()
        assert not gradient[:, 2].any()


def test_what_changes_nothing_is_cross_entropy():
    logits, label, mixed = batch()
    counts = torch.tensor(COUNTS)
    wanted = cross_entropy(counts, num_target=NUM_TARGET).per_image(logits, label, mixed)
    for node in (Focal(gamma=0.0), ClassBalanced(beta=0.0), Ldam(max_margin=0.0, reweight_from=None)):
        built = rebalancing_loss(node, counts, num_target=NUM_TARGET, scale=30.0)
        torch.testing.assert_close(built.per_image(logits, label, mixed), wanted)


@pytest.mark.parametrize("tau", [0.0, 1.0, 1.05])
def test_logit_adjustment_is_the_balanced_softmax(tau):
    """Menon et al. 2021, Eq. 10: log(1 + sum of (pi_j / pi_k) ** tau * exp(z_j - z_k)), pi the shares of classes."""
    logits, label, _ = batch()
    share = [n / sum(COUNTS) for n in COUNTS]
    wanted = [
        math.log1p(sum((share[j] / share[k]) ** tau * math.exp(z[j] - z[k]) for j in range(len(z)) if j != k))
        for z, k in zip(logits.tolist(), label.tolist(), strict=True)
    ]
    built = balanced_softmax(torch.tensor(COUNTS), num_target=NUM_TARGET, tau=tau)
    torch.testing.assert_close(built.per_image(logits, label), torch.tensor(wanted, dtype=torch.float64))


def test_deferred_weights_begin_at_their_share_of_the_run():
    counts = torch.tensor(COUNTS)
    loss = rebalancing_loss(Ldam(), counts, num_target=NUM_TARGET, scale=30.0)
    assert isinstance(loss, Deferred)
    assert [loss.at(step, 200).weights is None for step in (0, 159, 160, 199)] == [True, True, False, False]
    assert Deferred(loss.before, loss.after, begins=0.99).at(16, 17) is loss.after  # they begin in a short run too
    assert rebalancing_loss(ClassBalanced(), counts, num_target=NUM_TARGET, scale=None).weights is not None
    logits, label, _ = batch()
    ratio = loss.after.per_image(logits, label) / loss.before.per_image(logits, label)
    torch.testing.assert_close(ratio, torch.tensor(weights_of(COUNTS, 0.9999), dtype=torch.float64)[label])


def test_margins_want_cosines():
    with pytest.raises(ConfigError, match=r"head=cosine head\.scale=30"):
        rebalancing_loss(Ldam(), torch.tensor(COUNTS), num_target=NUM_TARGET, scale=None)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Focal(gamma=-1.0), "loss.gamma"),
        (lambda: ClassBalanced(beta=1.0), "loss.beta"),
        (lambda: ClassBalanced(reweight_from=1.0), "loss.reweight_from"),
        (lambda: Ldam(max_margin=3.0), "loss.max_margin"),
    ],
)
def test_values_out_of_range_are_named(make, key):
    with pytest.raises(ConfigError, match=key):
        make()
