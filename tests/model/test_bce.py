"""Bal-BCE and silencing in it, against loops and against torch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.errors import ConfigError
from lt_extrap.model.bce import balanced_bce, silencing_bce
from lt_extrap.model.relation import NeighborRelation

# Targets 0..3, auxiliary classes 4..8; 5 has two parents, 8 has none, 2 has no neighbor.
PAIRS = [(0, 4), (0, 5), (1, 5), (1, 6), (3, 7)]
COUNTS = [120, 30, 8, 1, 50, 50, 12, 50, 3]


def silencing(counts=COUNTS, pairs=PAIRS, num_target=4, **options):
    pairs = np.array(pairs, np.int64).reshape(-1, 2)
    related = NeighborRelation.from_pairs(pairs, num_target, len(counts))
    return silencing_bce(torch.tensor(counts), relation=related, num_target=num_target, **options)


def batch(size=18, classes=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, classes, generator=generator, dtype=torch.float64)
    label_b = torch.randint(classes, (size,), generator=generator)
    return logits, torch.arange(size) % classes, (label_b, torch.rand(size, generator=generator, dtype=torch.float64))


def close(ours, expected):
    torch.testing.assert_close(ours, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def reference(z, k, *, counts, pairs, tau, lambda_s, silence, num_target):
    """B(k) in loops, from probabilities and not from logits: another way of writing it."""
    total = 0.0
    for j, count in enumerate(counts):
        if count == 0:
            continue
        pi = count / sum(counts)
        odds = math.exp(z[j]) * (pi / (1 - pi)) ** tau
        if j == k:
            total -= math.log(odds / (1 + odds))
            continue
        pair = (k, j) in pairs and silence in ("pair", "target_only")
        pair = pair or ((j, k) in pairs and silence in ("pair", "aux_only"))
        total -= (lambda_s if pair else 1.0) * math.log(1 / (1 + odds))
    return total


@st.composite
def problems(draw):
    num_target, num_auxiliary = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    classes = num_target + num_auxiliary
    counts = draw(st.lists(st.integers(0, 200), min_size=classes, max_size=classes))
    counts[0], counts[-1] = draw(st.integers(1, 1280)), draw(st.integers(1, 50))
    every_pair = [(t, a) for t in range(num_target) for a in range(num_target, classes)]
    options = {
        "tau": draw(st.sampled_from([0.0, 0.5, 1.0, 1.05])),
        "lambda_s": draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        "silence": draw(st.sampled_from(["pair", "target_only", "aux_only", "none"])),
    }
    labels = st.sampled_from([k for k in range(classes) if counts[k] > 0])
    return (
        counts,
        draw(st.lists(st.sampled_from(every_pair), unique=True)),
        num_target,
        options,
        [draw(labels), draw(labels)],
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.integers(0, 2**32)),
    )


@settings(max_examples=100, deadline=None)
@given(problems())
def test_it_is_the_definition_in_loops(problem):
    counts, pairs, num_target, options, (k, other), smoothing, seed = problem
    logits, _, (_, lam) = batch(1, len(counts), seed)

    def of(label, **more):
        return reference(logits[0].tolist(), label, counts=counts, pairs=pairs, num_target=num_target, **options | more)

    shown = [j for j, count in enumerate(counts) if count]
    expected = lam[0] * of(k) + (1 - lam[0]) * of(other)
    uniform = sum(of(j, lambda_s=1.0) for j in shown) / len(shown)
    loss = silencing(counts, pairs, num_target, smoothing=smoothing, **options)
    found = loss.per_image(logits, torch.tensor([k]), (torch.tensor([other]), lam))
    close(found[0], (1 - smoothing) * expected + smoothing * uniform)
    assert found[0] >= 0


def test_without_pairs_it_is_torchs_with_soft_targets_and_the_sum_over_classes():
    logits, label, (label_b, lam) = batch()
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    eps = 0.1
    soft = lam[:, None] * F.one_hot(label, 9) + (1 - lam)[:, None] * F.one_hot(label_b, 9)
    soft = (1 - eps) * soft + eps / 9
    expected = F.binary_cross_entropy_with_logits(
        logits + 1.05 * (prior.log() - (1 - prior).log()), soft, reduction="none"
    ).sum(dim=1)
    plain = balanced_bce(torch.tensor(COUNTS), num_target=4, tau=1.05, smoothing=eps)
    close(plain.per_image(logits, label, (label_b, lam)), expected)
    for same in (silencing(lambda_s=1.0, tau=1.05), silencing(pairs=[], tau=1.05), silencing(silence="none", tau=1.05)):
        unsmoothed = balanced_bce(torch.tensor(COUNTS), num_target=4, tau=1.05)
        close(same.per_image(logits, label, (label_b, lam)), unsmoothed.per_image(logits, label, (label_b, lam)))


def test_tau_is_not_ignored_and_0_is_plain_binary_cross_entropy():
    logits, label, _ = batch()
    plain = F.binary_cross_entropy_with_logits(logits, F.one_hot(label, 9).double(), reduction="none").sum(dim=1)
    close(balanced_bce(torch.tensor(COUNTS), num_target=4, tau=0.0).per_image(logits, label), plain)
    assert not torch.allclose(balanced_bce(torch.tensor(COUNTS), num_target=4).per_image(logits, label), plain)


@pytest.mark.parametrize("lambda_s", [0.0, 0.1, 0.5])
def test_the_push_on_a_neighbor_is_lambda_times_what_it_was_and_no_other_changes(lambda_s):
    logits, label, _ = batch(9)
    gradients = []
    for loss in (silencing(lambda_s=lambda_s), balanced_bce(torch.tensor(COUNTS), num_target=4)):
        leaf = logits.clone().requires_grad_()
        loss.per_image(leaf, label).sum().backward()
        gradients.append(leaf.grad)
    expected = gradients[1].clone()
    for target, auxiliary in PAIRS:
        expected[target, auxiliary] *= lambda_s
        expected[auxiliary, target] *= lambda_s
    close(gradients[0], expected)


def test_the_gradient_is_that_of_finite_differences():
    logits, label, mixed = batch(9)
    loss = silencing(smoothing=0.1, lambda_aux_aux=0.3)
    assert torch.autograd.gradcheck(lambda z: loss.per_image(z, label, mixed), logits.requires_grad_())


def test_half_precision_and_large_logits_are_reckoned_with_in_float32():
    logits, label, mixed = batch()
    logits = (100 * logits).to(torch.bfloat16).requires_grad_()
    loss = silencing([1_000_000, *COUNTS[1:]], lambda_s=0.0, smoothing=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss.per_image(logits, label, mixed)
    value.sum().backward()
    assert value.dtype == torch.float32
    assert torch.allclose(value.double(), loss.per_image(logits.detach().double(), label, mixed), rtol=1e-5)
    assert logits.grad.isfinite().all()


def test_a_class_without_images_is_in_no_sum_and_as_a_label_is_loud():
    counts = [120, 0, 8, 1, 50, 0, 12, 50, 3]
    logits, *_ = batch(1)
    loss = silencing(counts, smoothing=0.1)
    value = loss.per_image(logits.requires_grad_(), torch.tensor([0]))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert (gradient[:, [1, 5]] == 0).all()
    assert loss(logits, torch.tensor([1])) == math.inf


def test_one_class_alone_has_no_odds():
    with pytest.raises(ConfigError, match="at least two classes"):
        balanced_bce(torch.tensor([5, 0]), num_target=2)
