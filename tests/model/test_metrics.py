import math
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassStatScores,
)

from lt_extrap.model.metrics import LongTailMetrics
from lt_extrap.model.shots import Shot

MANY, MEDIUM, FEW, ZERO = Shot
NAN = float("nan")


def figures(shots, logits, label):
    metrics = LongTailMetrics(shots)
    metrics.update(logits, label)
    return {name: value.item() for name, value in metrics.compute().items()}


def right_or_wrong(outcomes, num_target=2):
    """Logits and labels of (label, is it right) pairs."""
    label = torch.tensor([label for label, _ in outcomes])
    shown = torch.tensor([label if right else (label + 1) % num_target for label, right in outcomes])
    return torch.nn.functional.one_hot(shown, num_target).float(), label


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else NAN


def reference(shots, logits, label):
    """Every figure by plain loops in double precision."""
    num_target, images = len(shots), len(label)
    right, support, shown = [0] * num_target, [0] * num_target, [0] * num_target
    bins = [[] for _ in range(15)]
    auxiliary = []
    for row, true in zip(logits.double().tolist(), label.tolist(), strict=True):
        target = row[:num_target]
        guess = target.index(max(target))
        support[true] += 1
        shown[guess] += 1
        right[true] += guess == true
        confidence = math.exp(target[guess]) / math.fsum(map(math.exp, target))
        bins[math.ceil(confidence * 15) - 1].append((confidence, guess == true))
        auxiliary.append(math.fsum(map(math.exp, row[num_target:])) / math.fsum(map(math.exp, row)))
    tested = [c for c in range(num_target) if support[c]]
    accuracy = {c: right[c] / support[c] for c in tested}
    gaps = [abs(mean(c for c, _ in b) - mean(r for _, r in b)) * len(b) / images for b in bins if b]
    expected = {f"acc_{s}": mean(a for c, a in accuracy.items() if shots[c] is s) for s in Shot}
    if ZERO not in shots:
        del expected["acc_zero"]
    seen = [c for c in range(num_target) if support[c] or shown[c]]
    return expected | {
        "acc": mean(accuracy.values()),
        "acc_micro": sum(right) / images if images else NAN,
        "acc_worst": min(accuracy.values(), default=NAN),
        "acc_harmonic": (0.0 if 0 in accuracy.values() else 1 / mean(1 / a for a in accuracy.values())),
        "f1_macro": mean(2 * right[c] / (support[c] + shown[c]) for c in seen),
        "ece": math.fsum(gaps) if images else NAN,
        "aux_mass": mean(auxiliary),
    }


@st.composite
def evaluations(draw):
    num_target, num_auxiliary = draw(st.integers(1, 6)), draw(st.integers(0, 3))
    images = draw(st.integers(0, 40))
    shots = draw(st.lists(st.sampled_from(list(Shot)), min_size=num_target, max_size=num_target))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    label = torch.randint(num_target, (images,), generator=rng)
    logits = 2 * torch.randn(images, num_target + num_auxiliary, generator=rng)
    logits[torch.arange(images), label] += draw(st.sampled_from([0.0, 3.0]))
    return shots, logits, label


@settings(deadline=None)
@given(evaluations())
def test_every_figure_agrees_with_a_loop(evaluation):
    assert figures(*evaluation) == pytest.approx(reference(*evaluation), abs=2e-6, nan_ok=True)


@settings(deadline=None)
@given(evaluations(), st.lists(st.integers(0, 40), max_size=4))
def test_the_batching_changes_no_bit(evaluation, cuts):
    shots, logits, label = evaluation
    whole, parts = LongTailMetrics(shots), LongTailMetrics(shots)
    whole.update(logits, label)
    edges = [0, *sorted(cuts), len(label)]
    for start, stop in reversed(list(pairwise(edges))):
        parts.update(logits[start:stop], label[start:stop])
    for name, value in whole.compute().items():
        assert torch.equal(value.nan_to_num(-1), parts.compute()[name].nan_to_num(-1)), name


def test_the_auxiliary_share_is_the_same_in_any_batch():
    logits = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0)) * 3
    label = torch.zeros(1000, dtype=torch.int64)
    one, many = LongTailMetrics([FEW] * 4), LongTailMetrics([FEW] * 4)
    one.update(logits, label)
    for row in range(1000):
        many.update(logits[row : row + 1], label[row : row + 1])
    assert one.auxiliary == many.auxiliary


def test_it_agrees_with_torchmetrics():
    torch.manual_seed(0)
    label = torch.cat([torch.arange(12), torch.randint(12, (600,))])
    logits = torch.randn(len(label), 12) + 2 * torch.nn.functional.one_hot(label, 12)
    ours = figures([FEW] * 12, logits, label)
    theirs = {
        "acc": MulticlassAccuracy(12, average="macro"),
        "acc_micro": MulticlassAccuracy(12, average="micro"),
        "f1_macro": MulticlassF1Score(12, average="macro"),
        "ece": MulticlassCalibrationError(12, n_bins=15, norm="l1"),
    }
    for name, metric in theirs.items():
        assert ours[name] == pytest.approx(metric(logits, label).item(), abs=1e-6), name


def test_a_mean_over_classes_is_not_a_mean_over_images():
    outcomes = [(0, True)] * 90 + [(1, False)] * 10
    values = figures([MANY, FEW], *right_or_wrong(outcomes))
    assert values["acc"] == pytest.approx(0.5)
    assert values["acc_micro"] == pytest.approx(0.9)
    assert (values["acc_many"], values["acc_few"]) == (1.0, 0.0)


def test_a_mean_of_batches_is_not_the_epoch():
    logits, label = right_or_wrong([(0, True)] * 4 + [(0, False)])
    metrics = LongTailMetrics([MANY, FEW])
    metrics.update(logits[:4], label[:4])
    metrics.update(logits[4:], label[4:])
    assert metrics.compute()["acc_micro"].item() == pytest.approx(0.8)


def test_empty_groups_are_nan_and_not_zero():
    values = figures([MANY, MANY, FEW], *right_or_wrong([(0, True), (1, False)], num_target=3))
    assert math.isnan(values["acc_medium"])  # no such class
    assert math.isnan(values["acc_few"])  # no test image of it
    assert values["acc"] == pytest.approx(0.5)  # nor does the class count here
    assert "acc_zero" not in values


def test_classes_without_training_images_are_not_few():
    values = figures([MANY, ZERO], *right_or_wrong([(0, False), (1, True)]))
    assert values["acc_zero"] == 1.0
    assert math.isnan(values["acc_few"])


def test_without_images_nothing_is_known():
    values = figures([MANY, FEW], torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert all(math.isnan(value) for value in values.values())


def test_one_class_never_right_ends_the_harmonic_mean():
    outcomes = [(0, True), (0, True), (1, True), (1, False)]
    assert figures([MANY, FEW], *right_or_wrong(outcomes))["acc_harmonic"] == pytest.approx(2 / 3)
    assert figures([MANY, FEW], *right_or_wrong([(0, True), (1, False)]))["acc_harmonic"] == 0


def test_auxiliary_columns_take_mass_and_no_prediction():
    logits = torch.tensor([[1.0, 0.0, 9.0, 9.0], [0.0, 1.0, 9.0, 9.0]])
    label = torch.tensor([0, 1])
    values = figures([MANY, FEW], logits, label)
    assert values["acc"] == 1.0
    assert values["aux_mass"] == pytest.approx(2 * math.exp(9) / (2 * math.exp(9) + math.e + 1), abs=1e-6)
    alone = figures([MANY, FEW], logits[:, :2], label)
    assert alone["aux_mass"] == 0.0
    assert alone["ece"] == values["ece"]  # confidence is a probability among targets


def test_full_confidence_has_a_bin():
    logits = torch.tensor([[100.0, -100.0]]).repeat(4, 1)
    values = figures([MANY, FEW], logits, torch.tensor([0, 0, 0, 1]))
    assert values["ece"] == pytest.approx(0.25)


def test_half_precision_is_widened_first():
    torch.manual_seed(1)
    logits, label = torch.randn(64, 40).bfloat16(), torch.randint(30, (64,))
    wide = figures([FEW] * 30, logits.float(), label)
    assert figures([FEW] * 30, logits, label) == pytest.approx(wide, abs=0, nan_ok=True)


def test_extreme_logits_stay_finite():
    torch.manual_seed(2)
    values = figures([MANY] * 5, 1e4 * torch.randn(50, 8), torch.arange(50) % 5)
    assert 0 <= values["ece"] <= 1
    assert 0 <= values["aux_mass"] <= 1


def test_logits_that_are_not_finite_end_no_evaluation():
    logits = torch.tensor([[NAN, NAN, NAN], [float("inf"), 0.0, 0.0], [0.0, 1.0, 0.0]])
    values = figures([MANY, FEW], logits, torch.tensor([1, 0, 1]))
    assert values["acc"] == pytest.approx(0.75)
    assert 0 <= values["ece"] <= 1
    assert 0 <= values["aux_mass"] <= 1


class LargestTensor(TorchDispatchMode):
    """The size of the largest result of any operation, in bytes."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, torch.Tensor):
                self.nbytes = max(self.nbytes, part.nbytes)
        return result


def test_no_table_of_classes_by_classes():
    classes, images = 8142, 16
    metrics = LongTailMetrics([FEW] * classes)
    logits, label = torch.randn(images, classes + 100), torch.randint(classes, (images,))
    with LargestTensor() as largest:
        metrics.update(logits, label)
        metrics.compute()
        metrics.confusions()
    assert largest.nbytes <= logits.nbytes  # 0.5 MB, where a table has 530 MB

    peer = MulticlassStatScores(1000, average=None, validate_args=False)
    with LargestTensor() as largest:
        peer.update(logits[:, :1000], label % 1000)
    assert largest.nbytes == 1000 * 1000 * 8  # the probe sees such tables


def test_per_class_figures():
    metrics = LongTailMetrics([MANY, FEW, FEW])
    metrics.update(*right_or_wrong([(0, True), (0, False), (1, True)], num_target=3))
    accuracy, support = metrics.per_class()
    assert accuracy.tolist() == pytest.approx([0.5, 1.0, NAN], nan_ok=True)
    assert support.tolist() == [2, 1, 0]


def test_confusions_are_counted_without_a_matrix():
    metrics = LongTailMetrics([MANY, FEW, FEW])
    shown = [(0, 1), (2, 0), (0, 0), (0, 2), (1, 1), (2, 0), (1, 0)]
    label, prediction = (torch.tensor(column) for column in zip(*shown, strict=True))
    logits = torch.nn.functional.one_hot(prediction, 5).float()  # two auxiliary columns
    metrics.update(logits[:3], label[:3])
    metrics.update(logits[3:], label[3:])
    rows = list(zip(*(column.tolist() for column in metrics.confusions()), strict=True))
    assert rows == [(2, 0, 2), (0, 1, 1), (0, 2, 1), (1, 0, 1)]
    metrics.reset()
    assert metrics.confusions().images.tolist() == []


@settings(deadline=None)
@given(evaluations())
def test_confusions_are_what_accuracy_leaves(evaluation):
    shots, logits, label = evaluation
    metrics = LongTailMetrics(shots)
    metrics.update(logits, label)
    confusions, (accuracy, support) = metrics.confusions(), metrics.per_class()
    wrong = torch.zeros(len(shots)).index_add_(0, confusions.label, confusions.images.float())
    assert wrong.tolist() == pytest.approx(((1 - accuracy.nan_to_num(1)) * support).tolist(), abs=1e-4)
    assert (confusions.label != confusions.predicted).all()
    assert confusions.images.tolist() == sorted(confusions.images.tolist(), reverse=True)


@settings(deadline=None)
@given(evaluations(), st.randoms(use_true_random=False))
def test_images_are_told_in_the_order_of_their_list(evaluation, random):
    shots, logits, label = evaluation
    in_order, shuffled = LongTailMetrics(shots), LongTailMetrics(shots)
    in_order.update(logits, label)
    order = list(range(len(label)))
    random.shuffle(order)
    for half in (order[::2], order[1::2]):
        sample = torch.tensor(half, dtype=torch.int64)
        shuffled.update(logits[sample], label[sample], sample)
    for ours, expected in zip(shuffled.per_image(), in_order.per_image(), strict=True):
        assert ours.tolist() == expected.tolist()
    told = in_order.per_image()
    assert told.label.tolist() == label.tolist()
    assert told.predicted.tolist() == logits[:, : len(shots)].argmax(dim=1).tolist()
    assert told.highest.tolist() == logits.argmax(dim=1).tolist()


def test_processes_are_summed_and_given_back():
    metrics = LongTailMetrics([MANY, FEW])
    metrics.update(*right_or_wrong([(0, True), (1, False), (1, True)]))
    alone = metrics.compute()
    metrics._computed = None  # torchmetrics keeps the last result
    metrics.distributed_available_fn = lambda: True
    metrics.dist_sync_fn = lambda state, group: [state, state]  # two processes that saw the same
    assert metrics.per_class().support.tolist() == [2, 4]
    assert metrics.support.tolist() == [1, 2]
    assert [column.tolist() for column in metrics.confusions()] == [[1], [0], [2]]
    assert len(metrics.images) == 1
    both = {name: value.item() for name, value in metrics.compute().items()}
    assert both == pytest.approx({name: value.item() for name, value in alone.items()}, nan_ok=True)


def test_reset_forgets_and_a_copy_travels():
    metrics = LongTailMetrics([MANY, FEW])
    with torch.inference_mode():
        metrics.update(*right_or_wrong([(0, True), (1, True)]))
        metrics.reset()
    metrics.update(*right_or_wrong([(0, True), (1, False)]))  # Lightning resets in inference mode
    copy = pickle.loads(pickle.dumps(metrics))
    assert copy.compute()["acc"].item() == pytest.approx(0.5)
