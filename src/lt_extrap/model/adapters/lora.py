"""LoRA: additions of low rank to the query and value projections."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LowRank(nn.Module):
    """A projection to queries, keys and values with additions to the first and the last; they are zero at first.

    Args:
        qkv: as it was, its outputs query, key and value of one width; it is frozen.
        rank: of the additions.
        alpha: they are scaled by alpha / rank.
    """

    def __init__(self, qkv: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.qkv, self.scale = qkv, alpha / rank
        self.width = qkv.out_features // 3
        self.down_query, self.down_value = (nn.Parameter(torch.empty(rank, qkv.in_features)) for _ in range(2))
        self.up_query, self.up_value = (nn.Parameter(torch.zeros(self.width, rank)) for _ in range(2))
        for down in (self.down_query, self.down_value):
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens qkv"]:
        query, key, value = self.qkv(tokens).split(self.width, dim=-1)
        added = [
            self.scale * F.linear(F.linear(tokens, down), up)
            for down, up in ((self.down_query, self.up_query), (self.down_value, self.up_value))
        ]
        return torch.cat([query + added[0], key, value + added[1]], dim=-1)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The projection with the additions in its weights."""
        weight = self.qkv.weight.clone()
        weight[: self.width] += self.scale * self.up_query @ self.down_query
        weight[-self.width :] += self.scale * self.up_value @ self.down_value
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=self.qkv.bias is not None, device=weight.device)
        linear.weight.copy_(weight)
        if self.qkv.bias is not None:
            linear.bias.copy_(self.qkv.bias)
        return linear


def put_low_ranks(blocks: Any, rank: int, alpha: float) -> None:
    """Give the attention of each block additions of that rank."""
    for block in blocks:
        block.attn.qkv = LowRank(block.attn.qkv, rank, alpha)
