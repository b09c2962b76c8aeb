import importlib.util
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lt_extrap.errors import ConfigError
from lt_extrap.model import losses
from lt_extrap.model.losses import balanced_softmax, cross_entropy, neighbor_silencing
from lt_extrap.model.relation import NeighborRelation

# Targets 0..3, auxiliary classes 4..8; 5 has two parents, 8 has none, 2 has no neighbor.
NUM_TARGET, NUM_CLASSES = 4, 9
PAIRS = [(0, 4), (0, 5), (1, 5), (1, 6), (3, 7)]
COUNTS = [120, 30, 8, 1, 50, 50, 12, 50, 3]


def relation(pairs=PAIRS, num_target=NUM_TARGET, num_classes=NUM_CLASSES):
    return NeighborRelation.from_pairs(np.array(pairs, np.int64).reshape(-1, 2), num_target, num_classes)


def silencing(counts=COUNTS, pairs=PAIRS, num_target=NUM_TARGET, **options):
    related = relation(pairs, num_target, len(counts))
    return neighbor_silencing(torch.tensor(counts), relation=related, num_target=num_target, **options)


def batch(size=18, scale=3.0, dtype=torch.float64, classes=NUM_CLASSES, seed=0):
    """Logits, y_a (every class), y_b and lam."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(size, classes, generator=generator, dtype=torch.float64)
    label = torch.arange(size) % classes
    label_b = torch.randint(classes, (size,), generator=generator)
    return logits.to(dtype), label, (label_b, torch.rand(size, generator=generator, dtype=torch.float64))


# ---- Eq. 4 word for word, in loops


@dataclass
class Reference:
    """One image's loss, with a weight looked up for every (label, column)."""

    counts: list
    pairs: list
    num_target: int
    tau: float = 1.0
    lambda_s: float = 0.1
    lambda_aux_aux: float = 1.0
    silence: str = "pair"
    mixing: str = "exact"
    smoothing: float = 0.0
    smoothing_over: str = "all"

    def weight(self, k, j):
        if k == j:
            return 1.0
        if k >= self.num_target and j >= self.num_target:
            return self.lambda_aux_aux
        if (k, j) in self.pairs and self.silence in ("pair", "target_only"):
            return self.lambda_s
        if (j, k) in self.pairs and self.silence in ("pair", "aux_only"):
            return self.lambda_s
        return 1.0

    def term(self, z, k, row):
        """log(1 + sum over j != k of lambda * exp(log n_j - log n_k + z_j - z_k)), lambda that of `row`."""
        total = 1.0
        for j, count in enumerate(self.counts):
            if j != k and count > 0:
                weight = 1.0 if row is None else self.weight(row, j)
                total += weight * (count / self.counts[k]) ** self.tau * math.exp(z[j] - z[k])
        return math.log(total)

    def __call__(self, z, label, label_b, lam):
        last = self.num_target if self.smoothing_over == "targets" else len(self.counts)
        shown = [k for k in range(last) if self.counts[k] > 0]
        if self.mixing == "exact":
            mixed = lam * self.term(z, label, label) + (1 - lam) * self.term(z, label_b, label_b)
            uniform = sum(self.term(z, k, None) for k in shown) / len(shown)
            return (1 - self.smoothing) * mixed + self.smoothing * uniform
        mass = [0.0] * len(self.counts)
        for k in shown:
            mass[k] += self.smoothing / len(shown)
        mass[label] += (1 - self.smoothing) * lam
        mass[label_b] += (1 - self.smoothing) * (1 - lam)
        return sum(
            mass[k] * self.weight(label, k) * self.masked_term(z, k, label)
            for k in range(len(self.counts))
            if self.counts[k] > 0 and self.weight(label, k) > 0
        )

    def masked_term(self, z, k, row):
        adjusted = [self.tau * math.log(n) + z[j] if n else -math.inf for j, n in enumerate(self.counts)]
        total = sum(self.weight(row, j) * math.exp(a - adjusted[k]) for j, a in enumerate(adjusted))
        return math.log(total)


@st.composite
def problems(draw):
    num_target = draw(st.integers(1, 5))
    num_auxiliary = draw(st.integers(0, 6))
    classes = num_target + num_auxiliary
    counts = draw(st.lists(st.integers(0, 200), min_size=classes, max_size=classes))
    counts[draw(st.integers(0, num_target - 1))] = draw(st.integers(1, 1280))
    every_pair = [(t, a) for t in range(num_target) for a in range(num_target, classes)]
    pairs = draw(st.lists(st.sampled_from(every_pair), unique=True)) if every_pair else []
    mixing = draw(st.sampled_from(["exact", "released"]))
    options = {
        "tau": draw(st.sampled_from([0.0, 0.5, 1.0, 1.05])),
        "lambda_s": draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])) if mixing == "exact" else 0.0,
        "lambda_aux_aux": draw(st.sampled_from([0.0, 0.3, 1.0] if mixing == "exact" else [0.0, 1.0])),
        "silence": draw(st.sampled_from(["pair", "target_only", "aux_only", "none"])),
        "mixing": mixing,
        "smoothing": draw(st.sampled_from([0.0, 0.1])),
        "smoothing_over": draw(st.sampled_from(["all", "targets"])),
    }
    labels = st.sampled_from([k for k in range(classes) if counts[k] > 0])
    size = draw(st.integers(1, 4))
    label, label_b = (draw(st.lists(labels, min_size=size, max_size=size)) for _ in range(2))
    lam = draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    return counts, pairs, num_target, options, label, label_b, lam, draw(st.integers(0, 2**32))


@settings(max_examples=200, deadline=None)
@given(problems())
def test_every_mode_is_equation_4_in_loops(problem):
    counts, pairs, num_target, options, label, label_b, lam, seed = problem
    logits, *_ = batch(len(label), classes=len(counts), seed=seed)
    loss = silencing(counts, pairs, num_target, **options)
    reference = Reference(counts, pairs, num_target, **options)
    expected = [reference(z, *image) for z, *image in zip(logits.tolist(), label, label_b, lam, strict=True)]
    unmixed = [reference(z, k, k, 1.0) for z, k in zip(logits.tolist(), label, strict=True)]
    label, label_b = torch.tensor(label), torch.tensor(label_b)
    mixed = label_b, torch.tensor(lam, dtype=torch.float64)
    close(loss.per_image(logits, label, mixed), expected)
    close(loss.per_image(logits, label), unmixed)
    close(loss(logits, label), np.mean(unmixed))
    assert loss.per_image(logits, label, mixed).min() >= 0
    assert loss.per_image(logits, label).min() >= 0


def close(ours, expected, atol=1e-10):
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-10, atol=atol)


@pytest.mark.parametrize(("lambda_s", "mixing"), [(0.1, "exact"), (0.0, "exact"), (0.0, "released")])
@pytest.mark.parametrize("lambda_aux_aux", [1.0, 0.0])
def test_the_gradient_is_that_of_finite_differences(lambda_s, mixing, lambda_aux_aux):
    loss = silencing(lambda_s=lambda_s, mixing=mixing, lambda_aux_aux=lambda_aux_aux, smoothing=0.1)
    logits, label, mixed = batch(9)
    assert torch.autograd.gradcheck(lambda z: loss.per_image(z, label, mixed), logits.requires_grad_())
    assert torch.autograd.gradcheck(lambda z: loss.per_image(z, label), logits)


# ---- what equals what


def test_without_silencing_it_is_the_balanced_softmax():
    logits, label, mixed = batch()
    counts = torch.tensor(COUNTS)
    expected = F.cross_entropy(logits + counts.double().log(), label, reduction="none")
    plain = balanced_softmax(counts, num_target=NUM_TARGET)
    close(plain.per_image(logits, label), expected)
    close(silencing(lambda_s=1.0).per_image(logits, label, mixed), plain.per_image(logits, label, mixed))
    close(silencing(pairs=[]).per_image(logits, label), expected)
    close(silencing(silence="none").per_image(logits, label), expected)
    assert not torch.allclose(silencing().per_image(logits, label), expected)


def test_without_auxiliary_classes_it_is_the_balanced_softmax_over_the_targets():
    logits, label, _ = batch(classes=NUM_TARGET)
    counts = COUNTS[:NUM_TARGET]
    loss = silencing(counts, pairs=[], lambda_aux_aux=0.0)
    close(loss(logits, label), F.cross_entropy(logits + torch.tensor(counts).double().log(), label))


def test_equal_counts_and_no_pair_make_it_plain_cross_entropy():
    logits, label, _ = batch()
    close(silencing([7] * NUM_CLASSES, pairs=[])(logits, label), F.cross_entropy(logits, label))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_torch(smoothing):
    logits, label, (label_b, lam) = batch()
    loss = cross_entropy(torch.tensor(COUNTS), num_target=NUM_TARGET, smoothing=smoothing)
    peer = [F.cross_entropy(logits, k, label_smoothing=smoothing, reduction="none") for k in (label, label_b)]
    close(loss(logits, label), peer[0].mean())
    close(loss.per_image(logits, label, (label_b, lam)), lam * peer[0] + (1 - lam) * peer[1])


def test_lambda_0_removes_the_neighbors_columns():
    logits, *_ = batch(1)
    kept = [0, 1, 2, 3, 6, 7, 8]  # neighbors of 0 are 4 and 5
    expected = F.cross_entropy((logits + torch.tensor(COUNTS).log())[:, kept], torch.tensor([0]))
    close(silencing(lambda_s=0.0)(logits, torch.tensor([0])), expected, atol=1e-6)


@pytest.mark.parametrize("over", ["all", "targets"])
def test_a_class_without_images_is_as_if_it_were_not_there(over):
    counts = [120, 0, 8, 1, 50, 0, 12, 50, 3]
    kept = [0, 2, 3, 4, 6, 7, 8]
    number = {column: place for place, column in enumerate(kept)}
    pairs = [(number[a], number[b]) for a, b in PAIRS if a in number and b in number]
    logits, *_ = batch(len(kept))
    logits.requires_grad_()
    label = torch.tensor(kept)
    options = {"smoothing": 0.1, "smoothing_over": over}
    few = torch.tensor(counts)[kept]
    for with_all, with_few in [
        (silencing(counts, **options), silencing(few.tolist(), pairs, 3, **options)),
        (
            cross_entropy(torch.tensor(counts), num_target=4, **options),
            cross_entropy(few, num_target=3, **options),
        ),
    ]:
        loss = with_all.per_image(logits, label)
        close(loss, with_few.per_image(logits[:, kept], torch.arange(len(kept))))
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert gradient.isfinite().all()
        assert (gradient[:, [1, 5]] == 0).all()


@pytest.mark.parametrize("mixing", ["exact", "released"])
def test_a_label_without_images_is_loud(mixing):
    loss = silencing([120, 0, 8, 1, 50, 50, 12, 50, 3], lambda_s=0.0, mixing=mixing)
    assert loss(batch(1)[0], torch.tensor([1])) == math.inf


@pytest.mark.parametrize("mixing", ["exact", "released"])
def test_the_order_of_the_columns_changes_nothing(mixing):
    order = [2, 0, 3, 1, 8, 5, 7, 4, 6]  # targets among themselves, auxiliary classes among themselves
    number = torch.tensor(order).argsort()
    pairs = [(int(number[a]), int(number[b])) for a, b in PAIRS]
    options = {"lambda_s": 0.0, "lambda_aux_aux": 0.0, "mixing": mixing, "smoothing": 0.1}
    logits, label, (label_b, lam) = batch()
    moved = silencing([COUNTS[j] for j in order], pairs, **options)
    expected = silencing(**options).per_image(logits, label, (label_b, lam))
    close(moved.per_image(logits[:, order], number[label], (number[label_b], lam)), expected)


# ---- which pairs, which sign


def weights(loss, k):
    """lambda_kj of every column: with equal a_j the gradient at j is lambda_kj / sum of lambda_k."""
    logits = torch.zeros(1, len(loss.counts), dtype=torch.float64, requires_grad=True)
    value = loss(logits, torch.tensor([k]))
    (gradient,) = torch.autograd.grad(value, logits)
    found = gradient[0] * value.exp()
    found[k] += value.exp()
    return [round(w, 9) for w in found.tolist()]


@pytest.mark.parametrize(
    ("options", "target_row", "auxiliary_row"),
    [
        ({}, [1, 1, 0.1, 0.1, 1], [0.1, 1, 1, 1, 1]),
        ({"lambda_s": 0.0}, [1, 1, 0, 0, 1], [0, 1, 1, 1, 1]),
        ({"silence": "target_only"}, [1, 1, 0.1, 0.1, 1], [1, 1, 1, 1, 1]),
        ({"silence": "aux_only"}, [1, 1, 1, 1, 1], [0.1, 1, 1, 1, 1]),
        ({"silence": "none"}, [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        ({"lambda_aux_aux": 0.0}, [1, 1, 0.1, 0.1, 1], [0.1, 1, 1, 0, 0]),
        ({"lambda_aux_aux": 0.3, "silence": "none"}, [1, 1, 1, 1, 1], [1, 1, 1, 0.3, 0.3]),
    ],
)
def test_who_silences_whom(options, target_row, auxiliary_row):
    # Targets 0 and 1; auxiliary classes 2 and 3 were proposed for 0, and 4 for 1.
    loss = silencing([1] * 5, [(0, 2), (0, 3), (1, 4)], 2, **options)
    assert weights(loss, 0) == target_row
    assert weights(loss, 2) == auxiliary_row


def test_the_prior_makes_the_rare_label_the_dear_one():
    loss = balanced_softmax(torch.tensor([100, 1]), num_target=2)
    found = loss.per_image(torch.zeros(2, 2, dtype=torch.float64), torch.tensor([1, 0]))
    close(found, [math.log(1 + 100), math.log(1 + 1 / 100)])


def test_tau_weighs_the_log_prior():
    loss = balanced_softmax(torch.tensor([100, 1]), num_target=2, tau=0.5)
    close(loss(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([1])), math.log(1 + 10))


def test_released_mixing_drops_the_mass_of_a_neighbor():
    # lam .3 with a partner that is a neighbor of y_a: .3 of the mass is kept and the loss is .451 instead of
    # 1.447. The logits are those for which NS(y_a) = .451 / .3 and NS(y_b) = (1.447 - .451) / .7.
    other = math.expm1(0.451 / 0.3)
    logits = torch.tensor([[1.0, other, other / math.expm1(0.996 / 0.7)]], dtype=torch.float64).log()
    arguments = logits, torch.tensor([0]), (torch.tensor([2]), torch.tensor([0.3], dtype=torch.float64))
    close(silencing([9] * 3, [(0, 2)], 2, lambda_s=0.0, mixing="released")(*arguments), 0.451)
    close(silencing([9] * 3, [(0, 2)], 2, lambda_s=0.0)(*arguments), 1.447)


def test_predictions_see_plain_logits():
    logits, label, mixed = batch(dtype=torch.float32)
    before = logits.clone()
    for loss in (silencing(lambda_aux_aux=0.0), cross_entropy(torch.tensor(COUNTS), num_target=NUM_TARGET)):
        loss(logits, label, mixed)
        assert torch.equal(logits, before)


# ---- numbers that strain


@pytest.mark.parametrize("lambda_s", [0.0, 0.1])
@pytest.mark.parametrize("scale", [30.0, 300.0])
def test_large_logits_stay_finite(lambda_s, scale):
    loss = silencing(lambda_s=lambda_s, lambda_aux_aux=0.0, smoothing=0.1)
    logits, label, mixed = batch(scale=scale, dtype=torch.float32)
    logits.requires_grad_()
    value = loss(logits, label, mixed)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    close(value.double(), loss(logits.double(), label, mixed), atol=1e-5 * scale)


@pytest.mark.parametrize("lambda_s", [0.0, 0.1])
def test_a_small_loss_among_large_logits_is_exact(lambda_s):
    """As the difference of two numbers of hundreds it would have lost its digits."""
    logits = torch.full((NUM_CLASSES, NUM_CLASSES), 500.0) + 9 * torch.eye(NUM_CLASSES)
    arguments = torch.arange(NUM_CLASSES), (torch.arange(NUM_CLASSES), torch.full((NUM_CLASSES,), 0.3))
    found = silencing([9] * NUM_CLASSES, lambda_s=lambda_s).per_image(logits, *arguments)
    exact = silencing([9] * NUM_CLASSES, lambda_s=lambda_s).per_image(logits.double(), *arguments)
    torch.testing.assert_close(found.double(), exact, atol=5e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixing", ["exact", "released"])
def test_half_precision_logits_are_reckoned_with_in_float32(dtype, mixing):
    counts = [1_000_000, 1, 8, 1000, 50, 50, 12, 50, 3]
    logits, label, mixed = batch(scale=1.0)
    logits = (50 * logits.sign()).to(dtype).requires_grad_()
    loss = silencing(counts, lambda_s=0.0, mixing=mixing, smoothing=0.1)
    with torch.autocast("cpu", dtype=dtype):
        value = loss.per_image(logits, label, mixed)
    value.sum().backward()
    exact = loss.per_image(logits.detach().float(), label, mixed)
    assert value.dtype == torch.float32
    assert torch.allclose(value, exact, atol=1e-2, rtol=0)
    assert value.isfinite().all()
    assert logits.grad.dtype == dtype
    assert logits.grad.isfinite().all()


def test_casting_the_loss_to_half_leaves_the_prior_whole():
    logits, label, _ = batch(dtype=torch.bfloat16)
    counts = [1001, *COUNTS[1:]]  # no bfloat16 number
    expected = silencing(counts).per_image(logits, label)
    assert torch.equal(silencing(counts).to(torch.bfloat16).per_image(logits, label), expected)


# ---- what it carries


def test_it_moves_with_its_module_and_leaves_no_trace_in_a_checkpoint():
    loss = silencing()
    assert not loss.state_dict()
    assert not list(loss.parameters())
    held = [name for name, value in vars(loss).items() if isinstance(value, torch.Tensor)]
    assert held == []
    moved = loss.to("meta")
    assert {name: value.device.type for name, value in moved.named_buffers()} == {
        "counts": "meta",
        "start": "meta",
        "neighbor": "meta",
    }


def test_its_tables_are_its_own():
    counts, related = torch.tensor(COUNTS), relation()
    loss = neighbor_silencing(counts, relation=related, num_target=NUM_TARGET)
    logits, label, _ = batch()
    before = loss(logits, label)
    counts.fill_(1)
    related.neighbor[:] = related.start[:] = 0
    assert torch.equal(loss(logits, label), before)


def test_averaging_the_model_leaves_the_relation_as_it_was():
    related = relation()
    loss = neighbor_silencing(torch.tensor(COUNTS), relation=related, num_target=NUM_TARGET)
    model = nn.Sequential(nn.BatchNorm1d(NUM_CLASSES, affine=False), nn.Linear(NUM_CLASSES, NUM_CLASSES)).double()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    logits, label, _ = batch()
    for _ in range(100):
        loss(model(logits), label).backward()
        with torch.no_grad():
            model[1].weight.add_(0.01)
        averaged.update_parameters(model)
    assert not torch.equal(averaged.module[1].weight, model[1].weight)
    assert loss.start.tolist() == related.start.tolist()
    assert loss.neighbor[: 2 * len(PAIRS)].tolist() == related.neighbor.tolist()
    assert not {name.rsplit(".")[-1] for name in averaged.state_dict()} & {"counts", "start", "neighbor"}


def unchecked_losses():
    """The module without the shape checks of the test run, which the compiler cannot trace."""
    spec = importlib.util.spec_from_file_location("unchecked_losses", losses.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiles_to_the_same(mixing, backend):
    loss = unchecked_losses().neighbor_silencing(
        torch.tensor(COUNTS),
        relation=relation(),
        num_target=NUM_TARGET,
        lambda_s=0.0,
        lambda_aux_aux=0.0,
        mixing=mixing,
        smoothing=0.1,
    )
    compiled = torch.compile(loss.per_image, fullgraph=True, backend=backend)
    logits, label, mixed = batch()
    found = []
    for function in (compiled, loss.per_image):
        leaf = logits.clone().requires_grad_()
        value = function(leaf, label, mixed)
        value.sum().backward()
        found += [value.detach(), leaf.grad]
    close(found[0], found[2])
    close(found[1], found[3])


def test_it_compiles_without_a_graph_break():
    compiles_to_the_same("exact", "eager")


@pytest.mark.slow
@pytest.mark.parametrize("mixing", ["exact", "released"])
def test_compiled_code_gives_the_same(mixing):
    compiles_to_the_same(mixing, "inductor")


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"lambda_s": -0.1}, "loss.lambda_s"),
        ({"lambda_s": 1.1}, "loss.lambda_s"),
        ({"lambda_s": math.nan}, "loss.lambda_s"),
        ({"lambda_aux_aux": 1.5}, "loss.lambda_aux_aux"),
        ({"tau": -1.0}, "loss.tau"),
        ({"tau": math.inf}, "loss.tau"),
        ({"smoothing": 1.0}, "loss.smoothing"),
        ({"smoothing": -0.1}, "loss.smoothing"),
        ({"silence": "both"}, "loss.silence"),
        ({"mixing": "timm"}, "loss.mixing"),
        ({"smoothing_over": "aux"}, "loss.smoothing_over"),
        ({"mixing": "released"}, "loss.lambda_s=0"),
        ({"mixing": "released", "lambda_s": 0.0, "lambda_aux_aux": 0.5}, "loss.lambda_aux_aux=0 or 1"),
    ],
)
def test_parameters_out_of_range_are_refused(options, named):
    with pytest.raises(ConfigError) as caught:
        silencing(**options)
    assert named in caught.value.wanted


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ([5, -1, 2, 2], "-1 images in column 1"),
        ([5.0, 2.0, 1.5, 2.0], "1.5 images in column 2"),
        ([5.0, math.nan, 1.0, 2.0], "nan images in column 1"),
        ([0, 0, 4, 4], "2 targets without any"),
    ],
)
def test_counts_that_are_none_are_refused(counts, found):
    with pytest.raises(ConfigError) as caught:
        balanced_softmax(torch.tensor(counts), num_target=2)
    assert found in caught.value.found


@pytest.mark.parametrize(("num_target", "classes"), [(3, 9), (4, 10)])
def test_a_relation_of_other_classes_is_refused(num_target, classes):
    with pytest.raises(ConfigError) as caught:
        neighbor_silencing(torch.ones(classes), relation=relation(num_classes=9), num_target=num_target)
    assert f"{num_target} target columns of {classes} columns" in caught.value.wanted
