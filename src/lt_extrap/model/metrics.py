"""Accuracies of a long-tailed classifier, summed over any number of batches and processes without a loss."""

from collections.abc import Sequence

import torch
import torchmetrics
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lt_extrap.model.measured import Confusions, PerClass, PerImage
from lt_extrap.model.shots import Shot

_BINS = 15
_ONE = 2**32  # fractions are summed as integers, 1.0 being 2**32: exact in any order, and no float64


class LongTailMetrics(torchmetrics.Metric):
    """Accuracy by shot, calibration, and the probability that auxiliary classes take at test time.

    The states are vectors with an entry a target class, a calibration bin or an image, all integers, so that the
    result does not depend on how images fall into batches and processes. There is no confusion matrix:
    for the 8,142 classes of iNaturalist 2018 it would be 530 MB, and torchmetrics' MulticlassStatScores
    makes exactly that in every update. Its entries that are not 0 are counted from the images.

    Args:
        shots: the group of each target class, in the order of the class ids (see `shot_of`).
    """

    full_state_update = False
    is_differentiable = False

    true_positives: Int64[Tensor, " target"]
    support: Int64[Tensor, " target"]
    predicted: Int64[Tensor, " target"]
    bin_correct: Int64[Tensor, " bins"]
    bin_confidence: Int64[Tensor, " bins"]
    auxiliary: Int64[Tensor, ""]
    images: list[Int64[Tensor, "batch 4"]]  # sample, label, prediction, highest; one tensor while synchronised

    def __init__(self, shots: Sequence[Shot]) -> None:
        super().__init__()
        self.shots = tuple(shots)
        for state in ("true_positives", "support", "predicted"):
            self.add_state(state, torch.zeros(len(shots), dtype=torch.int64), dist_reduce_fx="sum")
        for state in ("bin_correct", "bin_confidence"):
            self.add_state(state, torch.zeros(_BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("auxiliary", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", [], dist_reduce_fx="cat")

    def update(
        self,
        logits: Float[Tensor, "batch classes"],
        label: Int64[Tensor, " batch"],
        sample: Int64[Tensor, " batch"] | None = None,
    ) -> None:
        """Add a batch.

        The prediction is the argmax over plain target logits: no prior at test time. Its confidence is its
        softmax probability among target classes.

        Args:
            logits: scores of all classes, target columns first; the auxiliary columns may be absent.
            label: target class of each image, 0..target-1.
            sample: place of each image in its list; None = they come in the list's order.
        """
        num_target = len(self.shots)
        logits = logits.float()
        top, prediction = logits[:, :num_target].max(dim=1)
        target_mass = logits[:, :num_target].logsumexp(dim=1)
        auxiliary_mass = logits[:, num_target:].logsumexp(dim=1)  # -inf where there are none
        confidence = _fixed_point((top - target_mass).exp())
        one, correct = torch.ones_like(label), (prediction == label).long()

        self.true_positives = self.true_positives + _sums(correct, label, num_target)
        self.support = self.support + _sums(one, label, num_target)
        self.predicted = self.predicted + _sums(one, prediction, num_target)

        place = (confidence * _BINS // _ONE).clamp(max=_BINS - 1)  # full confidence is in the last bin
        self.bin_correct = self.bin_correct + _sums(correct, place, _BINS)
        self.bin_confidence = self.bin_confidence + _sums(confidence, place, _BINS)
        # Not the sigmoid of the difference: its last bit depends on the place of an image within its batch.
        share = (auxiliary_mass - logits.logsumexp(dim=1)).exp()
        self.auxiliary = self.auxiliary + _fixed_point(share).sum()
        if sample is None:
            sample = torch.arange(len(label), device=label.device) + sum(map(len, self.images))
        self.images.append(torch.stack([sample, label, prediction, logits.argmax(dim=1)], dim=1))

    def compute(self) -> dict[str, Float32[Tensor, ""]]:
        """All figures, as fractions 0..1; NaN for a group without classes or without test images.

        acc           mean over the target classes that have test images (Eq. 1), not over images
        acc_many ...  the same over the classes of a group; acc_zero only where such classes exist
        acc_micro     share of images that are right; equals acc on a balanced test set
        acc_worst     accuracy of the worst class
        acc_harmonic  harmonic mean over classes; 0 if any class is never right
        f1_macro      mean F1 over the classes that occur among labels or predictions
        ece           expected calibration error: L1, 15 bins of equal width (Guo et al. 2017, Eq. 5)
        aux_mass      mean softmax mass on the auxiliary columns; 0 without them
        """
        images = self.support.sum()
        accuracy = self.true_positives / self.support  # NaN, and so out of every mean, without test images
        f1 = 2 * self.true_positives / (self.support + self.predicted)
        groups = [shot for shot in Shot if shot is not Shot.ZERO or shot in self.shots]
        return {
            "acc": accuracy.nanmean(),
            **{f"acc_{shot}": accuracy[self._members(shot)].nanmean() for shot in groups},
            "acc_micro": self.true_positives.sum() / images,
            "acc_worst": accuracy.nanquantile(0.0),
            "acc_harmonic": 1 / (1 / accuracy).nanmean(),
            "f1_macro": f1.nanmean(),
            "ece": (self.bin_correct - self.bin_confidence / _ONE).abs().sum() / images,
            "aux_mass": self.auxiliary / _ONE / images,
        }

    def per_class(self) -> PerClass:
        """Accuracy and test images of each target class, over all processes."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return PerClass(self.true_positives / self.support, self.support)

    def per_image(self) -> PerImage:
        """What each test image was taken for, over all processes."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            every = dim_zero_cat(self.images) if len(self.images) else self.support.new_zeros(0, 4)
        return PerImage(*every[every[:, 0].argsort(), 1:].unbind(dim=1))

    def confusions(self) -> Confusions:
        """Which class was taken for which other one, and how often, over all processes."""
        of = self.per_image()
        pairs, images = torch.unique(of.label * len(self.shots) + of.predicted, return_counts=True)
        label, predicted = pairs // len(self.shots), pairs % len(self.shots)
        wrong = label != predicted
        order = images[wrong].argsort(descending=True, stable=True)
        return Confusions(label[wrong][order], predicted[wrong][order], images[wrong][order])

    def _members(self, shot: Shot) -> Bool[Tensor, " target"]:
        return torch.tensor([own is shot for own in self.shots], device=self.support.device)


def _fixed_point(fraction: Float32[Tensor, " batch"]) -> Int64[Tensor, " batch"]:
    return (fraction.nan_to_num() * _ONE).long()  # NaN, from logits that are not finite, counts as 0


def _sums(values: Int64[Tensor, " batch"], index: Int64[Tensor, " batch"], length: int) -> Int64[Tensor, " length"]:
    """The sum of the values at each index in 0..length-1."""
    return values.new_zeros(length).index_add_(0, index, values)
