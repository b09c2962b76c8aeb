"""A backbone with an adapter: what is put where, which parameters learn, and what a file of it holds."""

from typing import Any

import torch
from torch import nn

from lt_extrap.config import Adapter, AdaptFormer, Biases, LoRA, NoAdapter, Norms, Prompts, ScaleShift, check
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.model.adapters.adaptformer import lift_width, put_bottlenecks
from lt_extrap.model.adapters.blocks import Blocks, OpenAttention, blocks_of
from lt_extrap.model.adapters.lora import LowRank, put_low_ranks
from lt_extrap.model.adapters.prompts import put_prompts
from lt_extrap.model.adapters.scale_shift import Scaled, put_scales
from lt_extrap.model.backbones import NormalisedBackbone
from lt_extrap.model.weights import digest

# Resampled to the size of images, to last digits that are those of a machine; the rest tells backbones apart.
_POSITIONS = ("pos_embed", "positional_embedding")


def adapt(backbone: NormalisedBackbone, adapter: Adapter, *, classes: int, seed: int) -> None:
    """Freeze a backbone that has its weights, and put an adapter on it, which alone of it is trained.

    From now on its state dict holds the adapter alone; loading one leaves the rest as it is.

    Args:
        backbone: changed in place.
        adapter: what is put on it; with `NoAdapter` nothing happens.
        classes: of the target.
        seed: of the adapter's initial weights. Until it has learned the features are the backbone's (open_clip's up
            to rounding), but for prompts.

    Raises:
        ConfigError: it cannot be put on this network.
    """
    if isinstance(adapter, NoAdapter):
        return
    blocks = blocks_of(backbone.network, type(adapter).__name__)
    if not next(backbone.network.parameters()).is_meta:
        backbone.identity = identity(backbone.network)
    for parameter in backbone.network.parameters():
        parameter.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(Stream.ADAPTER, seed))
        _put(backbone, adapter, blocks, classes)
    learns = {f"network.{name}" for name, value in backbone.network.named_parameters() if value.requires_grad}
    backbone.adapter_keys = frozenset(learns)
    backbone.register_state_dict_post_hook(_without_frozen)  # type: ignore[no-untyped-call]
    backbone.register_load_state_dict_pre_hook(_with_frozen)  # type: ignore[no-untyped-call]
    backbone.train()


def identity(network: nn.Module) -> str:
    """What tells the weights of a network from others: a digest of all but its position tables."""
    state = {name: value for name, value in network.state_dict().items() if not name.endswith(_POSITIONS)}
    return digest(state)


def merge(backbone: NormalisedBackbone) -> None:
    """Fold into the network's own weights what can be: LoRA, and scales and shifts. Changes it in place.

    Its state dict is then that of the whole network.
    """
    for name, part in list(backbone.network.named_modules()):
        if isinstance(part, LowRank | Scaled):
            parent, _, own = name.rpartition(".")
            setattr(backbone.network.get_submodule(parent), own, part.merged())
    backbone.adapter_keys = None


def _put(backbone: NormalisedBackbone, adapter: Adapter, blocks: Blocks, classes: int) -> None:
    if blocks.open_clip:
        for block in blocks:
            block.attn = OpenAttention(block.attn)
    if isinstance(adapter, AdaptFormer):
        inner = adapter.bottleneck or lift_width(classes, len(blocks))
        check(inner <= blocks.width, "adapter.bottleneck", f"at most {blocks.width}, the width of the blocks", inner)
        put_bottlenecks(blocks, inner)
    elif isinstance(adapter, Prompts):
        put_prompts(blocks, adapter.count, backbone.patch_size, deep=adapter.deep)
    elif isinstance(adapter, Biases):
        for name, parameter in backbone.network.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    elif isinstance(adapter, Norms):
        for part in backbone.network.modules():
            if isinstance(part, nn.LayerNorm):
                part.requires_grad_()
    elif isinstance(adapter, LoRA):
        rank = adapter.rank or lift_width(classes, len(blocks))
        check(rank <= blocks.width, "adapter.rank", f"at most {blocks.width}, the width of the blocks", rank)
        put_low_ranks(blocks, rank, adapter.alpha)
    else:
        assert isinstance(adapter, ScaleShift)
        put_scales(blocks.network)


def _without_frozen(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    kept: frozenset[str] | None = module.adapter_keys  # type: ignore[assignment]
    if kept is None:
        return
    for key in [key for key in state if key.startswith(prefix) and key.removeprefix(prefix) not in kept]:
        del state[key]


def _with_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    kept: frozenset[str] | None = module.adapter_keys  # type: ignore[assignment]
    if kept is None:
        return
    network: nn.Module = module.network  # type: ignore[assignment]
    for key, value in network.state_dict(prefix="network.").items():
        if key not in kept:
            state.setdefault(prefix + key, value)
