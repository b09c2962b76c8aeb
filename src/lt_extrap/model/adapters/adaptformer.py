"""AdaptFormer: a bottleneck beside the feed-forward part of each block."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lt_extrap.model.adapters.blocks import Blocks


def lift_width(classes: int, blocks: int) -> int:
    """LIFT's width of a bottleneck: the largest power of two of at most classes / (2 x blocks), and at least 1.

    With it the adapter has fewer parameters than a linear classifier of that many classes.

    Args:
        classes: of the target; auxiliary ones do not count.
        blocks: of the transformer.
    """
    return 1 << max(0, math.floor(math.log2(classes / (2 * blocks))))


class Bottleneck(nn.Module):
    """Norm, down, ReLU, up, times a scale that is learned; puts out zeros at first.

    Args:
        width: channels of a token.
        inner: of the bottleneck.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.kaiming_normal_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        added: Tensor = self.scale * self.up(torch.relu(self.down(self.norm(tokens))))
        return added


class ParallelBlock(nn.Module):
    """A block of timm's with a bottleneck beside its feed-forward part: both see the tokens behind the attention.

    Args:
        block: as it was; it is frozen.
        adapter: what is added.
    """

    def __init__(self, block: Any, adapter: Bottleneck) -> None:
        super().__init__()
        self.block, self.adapter = block, adapter

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        block: Any = self.block
        seen = block.attn(block.norm1(x), attn_mask=attn_mask, is_causal=is_causal)
        x = x + block.drop_path1(block.ls1(seen))
        # The layer scale, tiny at the start of some backbones, is of the frozen part alone.
        out: Tensor = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x)))) + self.adapter(x)
        return out


class OpenParallelBlock(ParallelBlock):
    """The same of open_clip's, which hands on keys and values of other tokens, of which a tower of images has none."""

    def forward(  # type: ignore[override]
        self, q_x: Tensor, k_x: None = None, v_x: None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        block: Any = self.block
        x = q_x + block.ls_1(block.attention(q_x=block.ln_1(q_x), attn_mask=attn_mask))
        out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x))) + self.adapter(x)
        return out


def put_bottlenecks(blocks: Blocks, inner: int) -> None:
    """Give each block a bottleneck of that width."""
    kind = OpenParallelBlock if blocks.open_clip else ParallelBlock
    for place, block in enumerate(blocks):
        blocks[place] = kind(block, Bottleneck(blocks.width, inner))
