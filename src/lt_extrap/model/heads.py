"""Heads: features -> logits over target and auxiliary classes, target rows first."""

import math
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lt_extrap.config import BatchNormHead, ClassMeanHead, CosineHead, Head, TextHead
from lt_extrap.keys import Stream, generator


class LinearHead(nn.Linear):
    """A linear layer over classes."""

    def first(self, rows: int) -> "LinearHead":
        """The same head with the first classes alone: weight rows and biases. Shares them; nothing is copied."""
        return _shared(LinearHead(self.in_features, rows, device="meta"), self)

    def folded(self) -> tuple[Float[Tensor, "classes dim"], Float[Tensor, " classes"]]:
        """Weight and bias of a plain linear layer that computes the same in evaluation mode."""
        return self.weight.detach(), self.bias.detach()


class BatchNormLinearHead(LinearHead):
    """A linear layer behind a batch normalisation without learned scale and shift."""

    def __init__(self, in_features: int, out_features: int, device: str | None = None) -> None:
        super().__init__(in_features, out_features, device=device)
        self.norm = nn.BatchNorm1d(in_features, affine=False, device=device)

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        return super().forward(self.norm(features))

    def first(self, rows: int) -> "BatchNormLinearHead":
        """As of `LinearHead`; the statistics are shared too."""
        head = _shared(BatchNormLinearHead(self.in_features, rows, device="meta"), self)
        head.norm = self.norm
        return head

    def folded(self) -> tuple[Float[Tensor, "classes dim"], Float[Tensor, " classes"]]:
        """As of `LinearHead`: the statistics scale the weights and shift the biases."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        weight = self.weight.detach() * (self.norm.running_var + self.norm.eps).rsqrt()
        return weight, self.bias.detach() - weight @ self.norm.running_mean


class ScaledCosineHead(nn.Module):
    """scale * cosine of features and class weights, computed in float32 whatever the autocast."""

    def __init__(self, in_features: int, out_features: int, scale: float, device: str | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features, self.scale = in_features, out_features, scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device))

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Logits between -scale and scale."""
        with torch.autocast(features.device.type, enabled=False):
            logits = F.linear(F.normalize(features.float(), dim=1), F.normalize(self.weight.float(), dim=1))
            return self.scale * logits

    def first(self, rows: int) -> "ScaledCosineHead":
        """The same head with the first classes alone. Shares their weights; nothing is copied."""
        return _shared(ScaledCosineHead(self.in_features, rows, self.scale, device="meta"), self)


AnyHead = LinearHead | ScaledCosineHead
Built = TypeVar("Built", bound=nn.Module)


def empty_head(head: Head | TextHead | ClassMeanHead, *, dim: int, classes: int) -> AnyHead:
    """A head without values, made without drawing from the global generator."""
    if isinstance(head, CosineHead | TextHead | ClassMeanHead):
        return _empty(ScaledCosineHead(dim, classes, head.scale, device="meta"))
    if isinstance(head, BatchNormHead):
        return _empty(BatchNormLinearHead(dim, classes, device="meta"))
    return _empty(LinearHead(dim, classes, device="meta"))


def build_head(head: Head, *, dim: int, num_target: int, num_auxiliary: int, seed: int) -> AnyHead:
    """A head whose target rows start the same whatever the number of auxiliary classes."""
    built = empty_head(head, dim=dim, classes=num_target + num_auxiliary)
    with torch.no_grad():
        built.weight[:num_target] = _truncated_normal(Stream.HEAD_TARGET, seed, num_target, dim)
        built.weight[num_target:] = _truncated_normal(Stream.HEAD_AUXILIARY, seed, num_auxiliary, dim)
        built.weight *= head.init_std
        if isinstance(built, LinearHead):
            built.bias.zero_()
    return built


def started_head(head: TextHead | ClassMeanHead, rows: Float[Tensor, "classes dim"]) -> ScaledCosineHead:
    """A head whose class weights start as these rows: embeddings of class names, as in CLIP's zero-shot classifier."""
    built = ScaledCosineHead(rows.shape[1], len(rows), head.scale)
    with torch.no_grad():
        built.weight.copy_(rows)
    return built


def _shared(few: Built, head: AnyHead) -> Built:
    """Give a head of fewer classes the first rows of another one."""
    for name, values in head.named_parameters():
        setattr(few, name, nn.Parameter(values[: few.out_features].detach()))
    return few


def _empty(head: Built) -> Built:
    head = head.to_empty(device="cpu")
    if isinstance(head, BatchNormLinearHead):
        head.norm.reset_running_stats()
    return head


def _truncated_normal(stream: Stream, seed: int, rows: int, dim: int) -> Float[Tensor, "rows dim"]:
    """Standard normal values between -2 and 2, whose first rows do not depend on how many follow.

    torch.nn.init.trunc_normal_ has not this property: torch fills large and small tensors in different orders.
    """
    uniform = torch.from_numpy(generator(stream, seed).random((rows, dim)))
    inside = math.erf(2 / math.sqrt(2))
    return (math.sqrt(2) * torch.erfinv((2 * uniform - 1) * inside)).float()
