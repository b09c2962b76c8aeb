"""Balanced binary cross entropy, and neighbor silencing in it: a question of yes or no for each class.

Source: Xu et al., "Learning Imbalanced Data with Vision Transformers" (LiVT), arXiv 2212.02015, Section 3.3. The paper
that this package follows has silencing for a softmax alone (Eq. 4); its form here is our own definition.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lt_extrap.errors import ConfigError
from lt_extrap.model.losses import OffsetCrossEntropy, silencing_rows
from lt_extrap.model.relation import NeighborRelation


def balanced_bce(
    counts: Int[Tensor, " classes"] | Float[Tensor, " classes"],
    *,
    num_target: int,
    tau: float = 1.0,
    smoothing: float = 0.0,
    smoothing_over: str = "all",
) -> "OffsetBinaryCrossEntropy":
    """Bal-BCE of LiVT, as `OffsetBinaryCrossEntropy` without a pair."""
    return OffsetBinaryCrossEntropy(
        counts,
        relation=NeighborRelation.empty(num_target, len(counts)),
        tau=tau,
        smoothing=smoothing,
        smoothing_over=smoothing_over,
    )


def silencing_bce(
    counts: Int[Tensor, " classes"] | Float[Tensor, " classes"],
    *,
    relation: NeighborRelation,
    num_target: int,
    tau: float = 1.0,
    lambda_s: float = 0.1,
    lambda_aux_aux: float = 1.0,
    silence: str = "pair",
    smoothing: float = 0.0,
    smoothing_over: str = "all",
) -> "OffsetBinaryCrossEntropy":
    """Bal-BCE in which an image of a class weighs the "no" of that class's neighbors by lambda_s.

    `silence` is that of `neighbor_silencing`; the other parameters are those of `OffsetBinaryCrossEntropy`.

    Raises:
        ConfigError: a parameter is out of its range, or the relation is one of other classes.
    """
    return OffsetBinaryCrossEntropy(
        counts,
        relation=silencing_rows(relation, silence, num_target=num_target, num_classes=len(counts)),
        tau=tau,
        lambda_s=lambda_s,
        lambda_aux_aux=lambda_aux_aux,
        smoothing=smoothing,
        smoothing_over=smoothing_over,
    )


class OffsetBinaryCrossEntropy(OffsetCrossEntropy):
    """Binary cross entropy, summed over the classes, of a_j = z_j + tau * (log pi_j - log(1 - pi_j)).

    pi_j = n_j / sum of n is the prior of column j, and the loss of an image of class k is

        B(k) = -log sigmoid(a_k) - sum over j != k of lambda_kj * log(1 - sigmoid(a_j)).

    With every lambda 1 it is Bal-BCE. Silencing keeps the idea of Eq. 4, that an image of k does not push its neighbors
    down: lambda_kj = lambda_s weighs the one place where it would, so that this gradient at z_j is lambda_s times what
    it is without. lambda_s = 1 is Bal-BCE; 0 takes the neighbors' terms out. The positive term, and what images of
    other classes say of j, are untouched. (In Eq. 4 lambda stands inside of the logarithm, for there columns compete
    for one probability; here they do not.)

    Mixed, it is lam * B(y_a) + (1 - lam) * B(y_b), each with its own neighbors: without silencing that is the binary
    cross entropy with the soft target. Smoothing is (1 - eps) * loss + eps * mean_k B(k), all lambda 1 in that mean.
    In float32 (float64 for float64 logits) whatever the autocast dtype, and never negative. A class with count 0 is in
    no sum; as a label it makes the loss infinite. With tau 0 there is no prior.

    Args:
        counts: n_j, the images of class j that one epoch shows; whole numbers, 0 and up.
        options: of `OffsetCrossEntropy`, without `mixing`, which is `exact`.

    Raises:
        ConfigError: as `OffsetCrossEntropy`; or only one class has images, whose prior odds are infinite.
    """

    def __init__(self, counts: Int[Tensor, " classes"] | Float[Tensor, " classes"], **options: Any) -> None:
        super().__init__(counts, mixing="exact", **options)
        self.has_prior = options.get("tau", 1.0) > 0
        if int((counts > 0).sum()) < 2:
            raise ConfigError(
                "images of at least two classes, for log odds",
                "one class alone",
                "set loss.bce=false, or check the list",
            )

    def per_image(
        self,
        logits: Float[Tensor, "batch classes"],
        label: Int[Tensor, " batch"],
        mixed: tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The loss of each image, in nats; arguments as of `OffsetCrossEntropy`."""
        a = self._adjusted(logits)
        no = -F.logsigmoid(-a)  # of each column; 0 of one without images
        label = label.long()
        loss = self._of_label(a, no, label)
        if mixed is not None:
            lam = mixed[1].to(loss.dtype)
            loss = lam * loss + (1 - lam) * self._of_label(a, no, mixed[0].long())
        if self.smoothing > 0:
            shown = self.counts[: self.smoothed] > 0
            # -log sigmoid(a) is no - a: of the classes that share the smoothing each is "yes" once.
            uniform = no.sum(dim=1) - a[:, : self.smoothed].where(shown, 0.0).sum(dim=1) / shown.sum()
            loss = (1 - self.smoothing) * loss + self.smoothing * uniform
        return loss

    def _of_label(
        self, a: Float[Tensor, "batch classes"], no: Float[Tensor, "batch classes"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """B(k) of images of class k = `label`."""
        column = label[:, None]
        weight = self._add_log_lambda(torch.zeros_like(a), label).exp().scatter(1, column, 0.0)
        return (weight * no).sum(dim=1) - F.logsigmoid(a.gather(1, column))[:, 0]

    def _adjusted(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        """z_j + tau * log odds of the prior; -inf for a class without images."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        counts = self.counts.to(dtype)
        log_odds = torch.xlogy(self.tau, counts)
        if self.has_prior:
            log_odds = log_odds - self.tau * (self.counts.sum() - self.counts).to(dtype).log()
        return logits + log_odds
