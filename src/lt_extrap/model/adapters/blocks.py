"""The blocks of a vision transformer, by one interface for timm's and for open_clip's.

timm and open_clip are imported where they are used: that takes seconds, and other backbones need none of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lt_extrap.errors import ConfigError
from lt_extrap.model.clip import ImageTower


@dataclass(frozen=True)
class Blocks:
    """Where the blocks of a transformer are, so that each can be replaced by one around it.

    Attributes:
        network: the transformer.
        holder: its blocks, in their order.
        width: channels of a token.
        open_clip: whose they are; else timm's.
    """

    network: nn.Module
    holder: nn.ModuleList | nn.Sequential
    width: int
    open_clip: bool

    def __len__(self) -> int:
        return len(self.holder)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.holder)

    def __setitem__(self, place: int, block: nn.Module) -> None:
        self.holder[place] = block


def blocks_of(network: nn.Module, name: str) -> Blocks:
    """The blocks of a backbone's network.

    Args:
        network: of a backbone.
        name: of the adapter that is to be put on them, for the message.

    Raises:
        ConfigError: it is no transformer of the usual blocks of timm or open_clip.
    """
    inside: Any = network
    if isinstance(network, ImageTower):
        inside = getattr(network.visual, "trunk", network.visual)
    found = type(inside).__name__
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block, VisionTransformer

    if isinstance(inside, VisionTransformer):
        of_blocks = {type(block).__name__ for block in inside.blocks}
        if all(type(block) is Block and type(block.attn) is Attention for block in inside.blocks):
            return Blocks(inside, inside.blocks, inside.embed_dim, open_clip=False)
        found += f" of {', '.join(sorted(of_blocks))}"
    elif isinstance(network, ImageTower):
        from open_clip.transformer import ResidualAttentionBlock
        from open_clip.transformer import VisionTransformer as OpenVisionTransformer

        if isinstance(inside, OpenVisionTransformer):
            blocks = inside.transformer.resblocks
            if all(type(block) is ResidualAttentionBlock and block.attn.batch_first for block in blocks):
                return Blocks(inside, blocks, inside.transformer.width, open_clip=True)
            found += f" of {', '.join(sorted({type(block).__name__ for block in blocks}))}"
    raise ConfigError(
        f"a vision transformer of the plain blocks of timm (ViT, DeiT, DINOv2) or open_clip, for the adapter {name}",
        found,
        "choose such a backbone, or adapter=none with recipe.freeze",
    )


class OpenAttention(nn.Module):
    """open_clip's attention with the projections as modules, as timm has them, on which something can be put.

    It has one way to compute, where torch's own takes another for inference once its weights are frozen, which neither
    ONNX nor TorchScript knows.

    Args:
        attention: whose weights it shares; of tokens to themselves, batch first.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        # Without memory: its weights are those of the other.
        self.qkv: nn.Module = nn.Linear(attention.embed_dim, 3 * attention.embed_dim, device="meta")
        self.qkv.weight, self.qkv.bias = attention.in_proj_weight, attention.in_proj_bias
        self.proj: nn.Module = nn.Linear(attention.embed_dim, attention.embed_dim, device="meta")
        self.proj.weight, self.proj.bias = attention.out_proj.weight, attention.out_proj.bias

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """What open_clip's block asks for; key and value are the query."""
        batch, tokens, width = query.shape
        split = self.qkv(query).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = split.unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)), None
