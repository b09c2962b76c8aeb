"""Cross entropy, balanced softmax and neighbor silencing: one cross entropy over logits with offsets.

Source: Zhao et al., "Learning from Neighbors: Category Extrapolation for Long-Tail Learning",
arXiv 2410.15980, Eq. 2 to 4. Training only: predictions come from the plain logits.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lt_extrap.errors import ConfigError
from lt_extrap.model.relation import NeighborRelation

MIXINGS = ("exact", "released")
SILENCES = ("pair", "target_only", "aux_only", "none")
SMOOTHINGS = ("all", "targets")


def cross_entropy(
    counts: Int[Tensor, " classes"] | Float[Tensor, " classes"],
    *,
    num_target: int,
    smoothing: float = 0.0,
    smoothing_over: str = "all",
) -> "OffsetCrossEntropy":
    """Plain cross entropy over the classes that have images; parameters as in `OffsetCrossEntropy`."""
    return balanced_softmax(counts, num_target=num_target, tau=0.0, smoothing=smoothing, smoothing_over=smoothing_over)


def balanced_softmax(
    counts: Int[Tensor, " classes"] | Float[Tensor, " classes"],
    *,
    num_target: int,
    tau: float = 1.0,
    smoothing: float = 0.0,
    smoothing_over: str = "all",
) -> "OffsetCrossEntropy":
    """BalCE, Eq. 2 over the targets alone and Eq. 3 with auxiliary classes in the denominator.

    BalCE(k) = logsumexp_j(a_j) - a_k with a_j = z_j + tau * log n_j; parameters as in `OffsetCrossEntropy`.
    """
    return OffsetCrossEntropy(
        counts,
        relation=NeighborRelation.empty(num_target, len(counts)),
        tau=tau,
        smoothing=smoothing,
        smoothing_over=smoothing_over,
    )


def neighbor_silencing(
    counts: Int[Tensor, " classes"] | Float[Tensor, " classes"],
    *,
    relation: NeighborRelation,
    num_target: int,
    tau: float = 1.0,
    lambda_s: float = 0.1,
    lambda_aux_aux: float = 1.0,
    silence: str = "pair",
    mixing: str = "exact",
    smoothing: float = 0.0,
    smoothing_over: str = "all",
) -> "OffsetCrossEntropy":
    """NS-CE, Eq. 4: BalCE in which a class weighs its neighbors by lambda_s in the denominator.

    `silence` says whose images silence their neighbors: `pair` (Eq. 4: targets and auxiliary classes),
    `target_only`, `aux_only` or `none` (BalCE, except for `lambda_aux_aux`). The other parameters are those
    of `OffsetCrossEntropy`.

    Raises:
        ConfigError: a parameter is out of its range, or the relation is one of other classes.
    """
    return OffsetCrossEntropy(
        counts,
        relation=silencing_rows(relation, silence, num_target=num_target, num_classes=len(counts)),
        tau=tau,
        lambda_s=lambda_s,
        lambda_aux_aux=lambda_aux_aux,
        mixing=mixing,
        smoothing=smoothing,
        smoothing_over=smoothing_over,
    )


def silencing_rows(relation: NeighborRelation, silence: str, *, num_target: int, num_classes: int) -> NeighborRelation:
    """The rows of the labels whose images silence their neighbors, by a name of `SILENCES`.

    Raises:
        ConfigError: there is no such name, or the relation is one of other classes.
    """
    _check_name("loss.silence", silence, SILENCES)
    if (relation.num_target, relation.num_classes) != (num_target, num_classes):
        raise ConfigError(
            f"a neighbor relation over the loss's {num_target} target columns of {num_classes} columns",
            f"one over {relation.num_target} target columns of {relation.num_classes}",
            "build the relation and the counts from the same class table",
        )
    if silence == "target_only":
        return relation.target_rows()
    if silence == "aux_only":
        return relation.auxiliary_rows()
    if silence == "none":
        return NeighborRelation.empty(num_target, num_classes)
    return relation


class OffsetCrossEntropy(nn.Module):
    """Cross entropy over a_j = z_j + tau * log n_j + log lambda_kj, z the logits and k the label.

    NS(k) = logsumexp_j(a_j + log lambda_kj) - a_k is Eq. 4, and Eq. 2 and 3 where every lambda_kj is 1. It is
    computed in float32 (float64 for float64 logits) whatever the autocast dtype, and is never negative. A
    class with count 0 is in no denominator and takes no smoothing; as a label it makes the loss infinite.

    The module has no parameters and adds nothing to a state_dict. It stands outside of the model, so that
    averaging weights cannot average its tables.

    Args:
        counts: n_j, the images of class j that one epoch shows; whole numbers, 0 and up.
        relation: whose columns a label weighs by lambda_s: lambda_kj = lambda_s for j in the row of k.
        tau: weight of the log prior, 0 and up; 0 is plain cross entropy.
        lambda_s: weight of a neighbor, 0..1. 0 takes it out of the denominator.
        lambda_aux_aux: weight that an image of an auxiliary class gives all other auxiliary classes, 0..1.
        mixing: `exact`, lam * NS(y_a) + (1 - lam) * NS(y_b), each with its own neighbors; or `released`, what
            the training code published with the paper does: the neighbors of y_a leave the denominator of
            both terms, and whatever part of the soft target (smoothing included) lies on them is dropped.
        smoothing: eps in 0..1, 1 excluded: (1 - eps) * loss + eps * mean_k(logsumexp_j(a_j) - a_k), in
            which all lambda are 1 (`released`: those of y_a).
        smoothing_over: `all` classes or only `targets` share eps.

    Raises:
        ConfigError: a parameter is out of its range, no target has an image, or `released` is asked for with
            weights other than those of a mask.
    """

    counts: Tensor
    start: Tensor
    neighbor: Tensor

    def __init__(
        self,
        counts: Int[Tensor, " classes"] | Float[Tensor, " classes"],
        *,
        relation: NeighborRelation,
        tau: float = 1.0,
        lambda_s: float = 0.1,
        lambda_aux_aux: float = 1.0,
        mixing: str = "exact",
        smoothing: float = 0.0,
        smoothing_over: str = "all",
    ) -> None:
        super().__init__()
        _check_name("loss.mixing", mixing, MIXINGS)
        _check_name("loss.smoothing_over", smoothing_over, SMOOTHINGS)
        _check_range("loss.tau", tau, tau >= 0 and math.isfinite(tau), "0 and up")
        _check_range("loss.lambda_s", lambda_s, 0 <= lambda_s <= 1, "0..1")
        _check_range("loss.lambda_aux_aux", lambda_aux_aux, 0 <= lambda_aux_aux <= 1, "0..1")
        _check_range("loss.smoothing", smoothing, 0 <= smoothing < 1, "0..1, 1 excluded")
        if mixing == "released" and (lambda_s != 0 or lambda_aux_aux not in (0, 1)):
            raise ConfigError(
                "loss.mixing=released with a mask: loss.lambda_s=0, and loss.lambda_aux_aux=0 or 1",
                f"loss.lambda_s={lambda_s} and loss.lambda_aux_aux={lambda_aux_aux}",
                "set loss.lambda_s=0 as the released code does, or loss.mixing=exact for soft weights",
            )
        _check_counts(counts, relation.num_target)
        # Whole numbers, since a module-wide cast to a half dtype rounds everything else.
        # Without a prior every class with images counts 1.
        counts = counts if tau > 0 else counts > 0
        # The last row can be read at full width too.
        neighbor = np.pad(relation.neighbor, (0, relation.width))
        self.register_buffer("counts", counts.to(torch.int64, copy=True), persistent=False)
        self.register_buffer("start", torch.tensor(relation.start), persistent=False)
        self.register_buffer("neighbor", torch.tensor(neighbor), persistent=False)
        self.num_target = relation.num_target
        self.width = relation.width
        self.tau = tau if tau > 0 else 1.0
        self.log_lambda_s = math.log(lambda_s) if lambda_s else -math.inf
        self.log_lambda_aux_aux = math.log(lambda_aux_aux) if lambda_aux_aux else -math.inf
        self.released = mixing == "released"
        self.smoothing = smoothing
        self.smoothed = relation.num_target if smoothing_over == "targets" else relation.num_classes

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
            logits: z, of any floating dtype; left unchanged.
            label: y_a, the label before mixing.
            mixed: y_b and lam for Mixup and CutMix: lam in 0..1 is the share of y_a, image by image.
        """
        label = label.long()
        labels = label[:, None] if mixed is None else torch.stack([label, mixed[0].long()], dim=1)
        smoothed = None
        if self.smoothing > 0:
            weighed = self._weighed(logits, label) if self._one_denominator else self._adjusted(logits)
            smoothed = F.log_softmax(weighed, dim=1)
        if smoothed is not None and self._one_denominator:
            loss = -smoothed.gather(1, labels)
        else:
            denominators = 1 if self._one_denominator else labels.shape[1]
            loss = _NegativeLogSoftmax.apply(logits, labels, self._weighed, denominators)
        if self.released:
            loss = loss.masked_fill(loss.isinf() & (self.counts[labels] > 0), 0.0)
        if mixed is None:
            loss = loss[:, 0]
        else:
            lam = mixed[1].to(loss.dtype)
            loss = lam * loss[:, 0] + (1 - lam) * loss[:, 1]
        if smoothed is not None:
            loss = (1 - self.smoothing) * loss + self.smoothing * self._uniform(smoothed)
        return loss

    @property
    def _one_denominator(self) -> bool:
        """Whether y_b and the smoothing share the denominator of y_a."""
        return self.released or (self.width == 0 and self.log_lambda_aux_aux == 0)

    def _uniform(self, log_p: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """Mean loss of the classes that share the smoothing."""
        if self.released:
            # A log-probability of 0 takes part in no loss: the mass on silenced columns is dropped.
            log_p = log_p.masked_fill(log_p.isneginf(), 0.0)
        shown = self.counts[: self.smoothed] > 0
        return -log_p[:, : self.smoothed].where(shown, 0.0).sum(dim=1) / shown.sum()

    def _weighed(
        self, logits: Float[Tensor, "batch classes"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """a_j + log lambda_kj: the logits as an image of class k = `label` weighs them."""
        return self._add_log_lambda(self._adjusted(logits), label)

    def _add_log_lambda(
        self, weighed: Float[Tensor, "batch classes"], label: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Add log lambda_kj to every column j of an image of class k = `label`, in place."""
        if self.log_lambda_aux_aux != 0:
            column = label[:, None]
            auxiliary = torch.arange(self.num_target, weighed.shape[1], device=label.device)
            others = (column >= self.num_target) & (column != auxiliary)
            offset = weighed.new_zeros(others.shape).masked_fill_(others, self.log_lambda_aux_aux)
            weighed[:, self.num_target :].add_(offset)
        if self.width > 0:
            # Every row is read at the width of the longest, so that no shape depends on data. What lies past
            # its end are columns of other rows, which get an offset of 0.
            row = self.start.unfold(0, 2, 1).index_select(0, label)
            place = row[:, :1] + torch.arange(self.width, dtype=torch.int32, device=row.device)
            offset = weighed.new_full(place.shape, self.log_lambda_s).masked_fill_(place >= row[:, 1:], 0.0)
            weighed.scatter_add_(1, self.neighbor[place].long(), offset)
        return weighed

    def _adjusted(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        """z_j + tau * log n_j in a buffer of its own; -inf for a class without images."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        return logits + torch.xlogy(self.tau, self.counts.to(dtype))


class _NegativeLogSoftmax(torch.autograd.Function):
    """-log softmax(a)[k] for the labels k of an image, a being its logits as k weighs them.

    torch's own keeps the logarithm, of which the backward pass takes the exponential again, and fills a gradient for
    each a. This keeps the softmax, and adds up into one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        weighed: Callable[[Tensor, Tensor], Tensor],
        denominators: int,
    ) -> Tensor:
        """Losses, [batch, labels]; of one denominator it is that of the first label."""
        losses, softmaxes = [], []
        for label in labels.chunk(denominators, dim=1):
            a = weighed(logits, label[:, 0])
            softmax = a.softmax(dim=1)
            # The largest entry is one over the sum. Neither term is negative, and both are exact where they are small.
            largest = a.amax(dim=1, keepdim=True)
            losses.append((largest - a.gather(1, label)) - softmax.amax(dim=1, keepdim=True).log())
            softmaxes.append(softmax)
        ctx.save_for_backward(labels, *softmaxes)
        return torch.cat(losses, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        labels, first, *others = ctx.saved_tensors
        shares = grad.chunk(1 + len(others), dim=1)
        of_logits = first * shares[0].sum(dim=1, keepdim=True)
        for softmax, share in zip(others, shares[1:], strict=True):
            of_logits.addcmul_(softmax, share)
        return of_logits.scatter_add_(1, labels, -grad), None, None, None


def _check_name(key: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ConfigError(f"{key} to be one of {', '.join(names)}", f"{value!r}", f"set {key}={names[0]}")


def _check_range(key: str, value: float, holds: bool, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{key} in {wanted}", f"{value}", f"set {key} to a number in {wanted}")


def _check_counts(counts: Tensor, num_target: int) -> None:
    wrong = ~((counts >= 0) & (counts.frac() == 0)) if counts.is_floating_point() else counts < 0
    if wrong.any():
        first = int(wrong.int().argmax())
        raise ConfigError(
            "image counts that are whole numbers, 0 and up",
            f"{counts[first].item()} images in column {first}",
            "count the images that one epoch shows",
        )
    if not counts[:num_target].any():
        raise ConfigError(
            "images of at least one target class",
            f"{num_target} targets without any",
            "check the target list",
        )
