"""Visual prompts: learned tokens behind those of the image, taken off again before anything is pooled."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lt_extrap.model.adapters.blocks import Blocks


class PromptedBlock(nn.Module):
    """A block before which tokens are added, or behind which they end.

    They stand behind all others, where no position is: attention does not care, and whatever reads class, register and
    patch tokens by their place finds them there.

    Args:
        block: as it was; it is frozen.
        prompts: tokens that are added; None = none.
        ends: so many tokens end here.
    """

    prompts: nn.Parameter | None

    def __init__(self, block: nn.Module, prompts: Tensor | None, ends: int) -> None:
        super().__init__()
        self.block, self.ends = block, ends
        self.register_parameter("prompts", None if prompts is None else nn.Parameter(prompts))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.prompts is not None:
            x = torch.cat([x, self.prompts.to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)
        x = self.block(x, *args, **kwargs)
        return x[:, : x.shape[1] - self.ends] if self.ends else x


def put_prompts(blocks: Blocks, count: int, patch: int, *, deep: bool) -> None:
    """Give the first block prompts, or each block its own.

    Args:
        blocks: of the transformer.
        count: how many prompts.
        patch: edge of a patch, pixels, which with the width says how large they are at first (Jia et al. 2022).
        deep: each block has its own.
    """
    bound = math.sqrt(6 / (3 * patch**2 + blocks.width))
    last = len(blocks) - 1
    for place, block in enumerate(blocks):
        prompts = torch.empty(count, blocks.width).uniform_(-bound, bound) if deep or place == 0 else None
        ends = count if deep or place == last else 0
        if prompts is not None or ends:
            blocks[place] = PromptedBlock(block, prompts, ends)
