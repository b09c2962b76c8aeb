"""The classifier: a backbone and a linear head over target and auxiliary classes."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lt_extrap.config import Head
from lt_extrap.keys import Stream, generator
from lt_extrap.model.backbones import NormalisedBackbone


class Classifier(nn.Module):
    """Images -> logits of `classes` columns: target classes first, auxiliary classes after them.

    Args:
        backbone: images -> features.
        head: features -> logits.
        frozen: the backbone is not trained: it has no gradients and stays in evaluation mode.
    """

    def __init__(self, backbone: NormalisedBackbone, head: nn.Linear, *, frozen: bool = False) -> None:
        super().__init__()
        self.backbone, self.head, self.frozen = backbone, head, frozen
        if frozen:
            backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(
        self, images: Float[Tensor, "batch 3 height width"] | UInt8[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Logits of images whose values are 0..255."""
        logits: Tensor = self.head(self.backbone(images.float()))
        return logits

    def direct(self, num_target: int) -> "Classifier":
        """The paper's direct classifier (Section 3.2): the same weights without the auxiliary rows.

        Shares the backbone and the target rows with this classifier; nothing is copied.
        """
        head = empty_linear(self.head.in_features, num_target)
        head.weight = nn.Parameter(self.head.weight[:num_target].detach())
        head.bias = nn.Parameter(self.head.bias[:num_target].detach())
        return Classifier(self.backbone, head)


def build_head(head: Head, *, dim: int, num_target: int, num_auxiliary: int, seed: int) -> nn.Linear:
    """A linear head whose target rows start the same whatever the number of auxiliary classes."""
    linear = empty_linear(dim, num_target + num_auxiliary)
    with torch.no_grad():
        linear.weight[:num_target] = _truncated_normal(Stream.HEAD_TARGET, seed, num_target, dim)
        linear.weight[num_target:] = _truncated_normal(Stream.HEAD_AUXILIARY, seed, num_auxiliary, dim)
        linear.weight *= head.init_std
        linear.bias.zero_()
    return linear


def empty_linear(dim: int, rows: int) -> nn.Linear:
    """A linear layer without values, made without drawing from the global generator."""
    return nn.Linear(dim, rows, device="meta").to_empty(device="cpu")


def _truncated_normal(stream: Stream, seed: int, rows: int, dim: int) -> Float[Tensor, "rows dim"]:
    """Standard normal values between -2 and 2, whose first rows do not depend on how many follow.

    torch.nn.init.trunc_normal_ has not this property: torch fills large and small tensors in different orders.
    """
    uniform = torch.from_numpy(generator(stream, seed).random((rows, dim)))
    inside = math.erf(2 / math.sqrt(2))
    return (math.sqrt(2) * torch.erfinv((2 * uniform - 1) * inside)).float()
