"""Losses of long-tail learning beside the balanced softmax: class weights, focal loss, margins.

Cui et al. 2019 (class-balanced), Lin et al. 2017 (focal), Cao et al. 2019 (LDAM and deferred re-weighting). Each is
defined for one label, over the columns that have images, target and auxiliary ones alike; a mixed image has
lam * L(y_a) + (1 - lam) * L(y_b), each as its label alone would have it. Training only.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lt_extrap.config import ClassBalanced, Focal, Ldam
from lt_extrap.errors import ConfigError

Counts = Int[Tensor, " classes"] | Float[Tensor, " classes"]


def effective_number_weights(counts: Counts, beta: float) -> Float[Tensor, " classes"]:
    """Weights (1 - beta) / (1 - beta ** n) of classes with n images, scaled to a mean of 1 (Cui et al. 2019, Eq. 2).

    Args:
        counts: n_j, the images of class j that one epoch shows; a class without any has weight 0 and is in no mean.
        beta: 0 <= beta < 1: 0 weighs all classes alike, towards 1 by 1 / n.

    Returns:
        In float64.

    Raises:
        ConfigError: beta is out of its range.
    """
    if not 0 <= beta < 1:
        raise ConfigError("loss.beta in 0 <= beta < 1", f"{beta}", "set loss.beta, such as 0.9999")
    shown = counts > 0
    # expm1 keeps the digits that 1 - beta ** n loses for few images and beta near 1.
    effective = -torch.expm1(counts.double() * math.log(beta)) if beta > 0 else shown.double()
    weights = torch.where(shown, 1 / effective, 0.0)
    return weights * shown.sum() / weights.sum()


class LabelLoss(nn.Module, ABC):
    """A loss that is defined for one label; mixed images have the mean of those of their two labels.

    It has no parameters and adds nothing to a state_dict. Computed in float32 (float64 for float64 logits).

    Args:
        counts: n_j, the images of class j that one epoch shows. A class with 0 is in no denominator; as a label it
            makes the loss infinite.
        weights: of each class, which its losses are multiplied by; None = 1. Of a batch the plain mean is taken, not
            that by weights, so that the loss of an image does not depend on the others of its batch.
    """

    shown: Tensor
    weights: Tensor | None

    def __init__(self, counts: Counts, *, weights: Float[Tensor, " classes"] | None = None) -> None:
        super().__init__()
        self.register_buffer("shown", counts > 0, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    @abstractmethod
    def unweighted(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch labels"]
    ) -> Float[Tensor, "batch labels"]:
        """The loss of each of the labels of an image; logits are -inf in columns without images."""

    def forward(
        self,
        logits: Float[Tensor, "batch classes"],
        label: Int[Tensor, " batch"],
        mixed: tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]] | None = None,
    ) -> Float[Tensor, ""]:
        """The mean of `per_image`."""
        return self.per_image(logits, label, mixed).mean()

    def per_image(
        self,
        logits: Float[Tensor, "batch classes"],
        label: Int[Tensor, " batch"],
        mixed: tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The loss of each image, in nats.

        Args:
            logits: of any floating dtype; left unchanged.
            label: y_a, the label before mixing.
            mixed: y_b and lam for Mixup and CutMix: lam in 0..1 is the share of y_a, image by image.
        """
        logits = self._shown(logits)
        if mixed is None:
            return self._weighted(logits, label[:, None].long())[:, 0]
        losses = self._weighted(logits, torch.stack([label.long(), mixed[0].long()], dim=1))
        lam = mixed[1].to(losses.dtype)
        return lam * losses[:, 0] + (1 - lam) * losses[:, 1]

    def _weighted(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch labels"]
    ) -> Float[Tensor, "batch labels"]:
        losses = self.unweighted(logits, labels)
        return losses if self.weights is None else losses * self.weights.to(losses.dtype)[labels]

    def _shown(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return logits.to(dtype).masked_fill(~self.shown, -math.inf)


class FocalCrossEntropy(LabelLoss):
    """(1 - p_k) ** gamma * -log p_k, p the softmax (Lin et al. 2017, Eq. 4, with a softmax for their sigmoid).

    gamma 0 is cross entropy; with weights it is the class-balanced loss (Cui et al. 2019, Eq. 4), gamma 0 or more.

    Args:
        counts, weights: as of `LabelLoss`.
        num_target: columns that are target classes, the first ones.
        gamma: 0 and up: how much less what is recognised counts.
        smoothing: eps in 0..1, 1 excluded: the labels are (1 - eps) * label + eps / S for S classes, and the loss the
            mean over labels by that.
        smoothing_over: `all` classes with images, or only `targets`, share eps.
    """

    def __init__(
        self,
        counts: Counts,
        *,
        num_target: int,
        gamma: float = 0.0,
        weights: Float[Tensor, " classes"] | None = None,
        smoothing: float = 0.0,
        smoothing_over: str = "all",
    ) -> None:
        super().__init__(counts, weights=weights)
        self.gamma, self.smoothing = gamma, smoothing
        self.smoothed = num_target if smoothing_over == "targets" else len(counts)

    def unweighted(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch labels"]
    ) -> Float[Tensor, "batch labels"]:
        return self._focal(F.log_softmax(logits, dim=1).gather(1, labels))

    def _weighted(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch labels"]
    ) -> Float[Tensor, "batch labels"]:
        losses = super()._weighted(logits, labels)
        if self.smoothing == 0:
            return losses
        shown = self.shown[: self.smoothed]
        # Only columns with images: through -inf no gradient comes back that is a number.
        each = self._focal(F.log_softmax(logits, dim=1)[:, : self.smoothed][:, shown])
        if self.weights is not None:
            each = each * self.weights.to(each.dtype)[: self.smoothed][shown]
        return (1 - self.smoothing) * losses + self.smoothing * each.mean(dim=1, keepdim=True)

    def _focal(self, log_p: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns"]:
        if self.gamma == 0:
            return -log_p
        # Of a certain prediction the slope of a power below 1 is infinite, that of the product 0.
        missing = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
        return missing**self.gamma * -log_p


class MarginCrossEntropy(LabelLoss):
    """LDAM: cross entropy in which the label's cosine is smaller by a margin, the larger the rarer its class.

    L(k) = logsumexp_j(z_j - [j = k] s m_k) - (z_k - s m_k) with logits z = s * cosine (Cao et al. 2019, Eq. 13).

    Args:
        counts, weights: as of `LabelLoss`.
        scale: s, that of the head.
        max_margin: the margin of the rarest class; others have max_margin * (n_min / n_j) ** (1/4).
    """

    margin: Tensor

    def __init__(
        self, counts: Counts, *, scale: float, max_margin: float = 0.5, weights: Float[Tensor, " classes"] | None = None
    ) -> None:
        super().__init__(counts, weights=weights)
        rarest = counts[counts > 0].min().double()
        margin = torch.where(counts > 0, max_margin * (rarest / counts.double()) ** 0.25, 0.0)
        self.register_buffer("margin", scale * margin, persistent=False)

    def unweighted(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch labels"]
    ) -> Float[Tensor, "batch labels"]:
        losses = []
        for label in labels.unbind(dim=1):
            margin = self.margin.to(logits.dtype)[label]
            losses.append(
                F.cross_entropy(logits.scatter_add(1, label[:, None], -margin[:, None]), label, reduction="none")
            )
        return torch.stack(losses, dim=1)


class Deferred(nn.Module):
    """One loss for the first steps of a run and another one for the rest: re-weighting that begins late (DRW).

    Args:
        before, after: the two losses.
        begins: share of the steps of the run, 0..1, at which the second takes over.
    """

    def __init__(self, before: LabelLoss, after: LabelLoss, *, begins: float) -> None:
        super().__init__()
        self.before, self.after, self.begins = before, after, begins

    def at(self, step: int, steps: int) -> LabelLoss:
        """The loss of a step; 0 is the first of `steps`."""
        return self.after if step >= int(self.begins * steps) else self.before


def rebalancing_loss(
    node: Focal | Ldam, counts: Counts, *, num_target: int, scale: float | None
) -> LabelLoss | Deferred:
    """The loss of a node.

    Args:
        node: of the configuration.
        counts: n_j, the images of class j that one epoch shows.
        num_target: columns that are target classes.
        scale: of a head of cosines; None of any other.

    Raises:
        ConfigError: margins of cosines where the head has none.
    """
    if isinstance(node, Ldam) and scale is None:
        raise ConfigError(
            "a head of cosines for loss=ldam, whose margins are of them",
            "one of plain products",
            "set head=cosine head.scale=30",
        )

    def built(weights: Float[Tensor, " classes"] | None = None) -> LabelLoss:
        if isinstance(node, Ldam):
            assert scale is not None
            return MarginCrossEntropy(counts, scale=scale, max_margin=node.max_margin, weights=weights)
        return FocalCrossEntropy(
            counts,
            num_target=num_target,
            gamma=node.gamma,
            weights=weights,
            smoothing=node.smoothing,
            smoothing_over=node.smoothing_over,
        )

    if not isinstance(node, ClassBalanced | Ldam) or node.reweight_from is None:
        return built()
    weighted = built(effective_number_weights(counts, node.beta))
    return Deferred(built(), weighted, begins=node.reweight_from) if node.reweight_from > 0 else weighted
