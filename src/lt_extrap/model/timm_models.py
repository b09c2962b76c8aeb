"""Models of timm: built at a size, checked for their pooling, and given weights.

timm is imported where it is used: that takes seconds, and other backbones need none of it.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lt_extrap.config import Timm
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.hub import hub_file
from lt_extrap.model.weights import put, read_weights, refuse_pointer, weights_path

# What timm's builders, forward passes and converters raise where they do not expect what they get.
_REFUSALS = (TypeError, AssertionError, ValueError, RuntimeError, KeyError, IndexError, AttributeError)
# Parts of a JAX file that only its own task needed.
_JAX_PRETRAINING = ("head", "pre_logits", "MAPHead_0")
_JAX_ROOTS = ("opt/target/", "params/img/", "params/", "resnet/")


def build_timm(backbone: Timm, image_size: int) -> tuple[nn.Module, int]:
    """A timm model without its classifier, and the width of its features.

    Raises:
        ConfigError: it refuses its options, or an option would change nothing.
    """
    import timm
    from timm.layers.drop import DropPath

    options = timm_options(backbone, image_size)
    try:
        network: nn.Module = timm.create_model(backbone.model, pretrained=False, num_classes=0, **options).eval()
        with torch.no_grad():
            # Asked of the network itself: num_features is not always the width of what comes out.
            images = torch.rand(1, 3, image_size, image_size)
            features: Tensor = network(images)
            if features.ndim != 2:
                raise ValueError(f"features of {features.ndim - 1} dimensions")
            if backbone.pooling is not None:
                tokens = network.forward_features(images)  # type: ignore[operator]
                features = _checked_pooling(backbone, network, features, tokens)
    except _REFUSALS as error:
        raise ConfigError(
            f"options that timm's {backbone.model} takes at {image_size} pixels",
            f"{options}: {error}",
            "correct backbone.options or recipe.image_size",
        ) from error
    if backbone.drop_path > 0 and not any(getattr(part, "drop_prob", 0) for part in network.modules()):
        raise ConfigError(
            "a model with stochastic depth for backbone.drop_path",
            f"{backbone.model}, which has none",
            "set backbone.drop_path=0",
        )
    if backbone.drop_path == 0:
        # Swin and some others have a rate of their own where none is given.
        for part in network.modules():
            if isinstance(part, DropPath):
                part.drop_prob = 0.0
    return network.train(), features.shape[1]


def timm_options(backbone: Timm, image_size: int) -> dict[str, Any]:
    """Arguments of timm.create_model beside the name and the number of classes."""
    import timm

    options = dict(backbone.options)
    known = timm.get_pretrained_cfg(backbone.model)
    if known is not None and known.fixed_input_size:
        # Transformers have a position for each patch, so their size is fixed when they are built.
        options["img_size"] = image_size
    if backbone.drop_path > 0:
        options["drop_path_rate"] = backbone.drop_path
    return options


def pooled(network: nn.Module, tokens: Tensor, pooling: str) -> Tensor:
    """The class token, or the mean of the patch tokens, of what a transformer's last norm puts out."""
    prefix: int = network.num_prefix_tokens  # type: ignore[assignment]
    return tokens[:, 0] if pooling == "token" else tokens[:, prefix:].mean(dim=1)


def load_timm(network: nn.Module, backbone: Timm) -> str:
    """Give a model the weights that its node names, whole or not at all.

    Position tables are resampled to the size that the model was built at, as timm does it.

    Returns:
        Which, and what was left out, in words.

    Raises:
        ConfigError: they are of another model, or there is neither a network nor a cached copy.
        DataError: the file cannot be read.
    """
    hub = backbone.weights == "hub"
    path = hub_file(backbone.model) if hub else weights_path(str(backbone.weights))
    read = _read_jax if path.suffix == ".npz" else _read_state_dict
    weights, keys, source = read(path, network, backbone)
    return put(weights, network, f"timm's {backbone.model}" if hub else source, file=keys)


def _checked_pooling(backbone: Timm, network: nn.Module, own: Tensor, tokens: Any) -> Tensor:
    """Features by the pooling of the node, beside those by the model's own.

    Raises:
        ConfigError: this model cannot have that pooling, or has it anyway.
    """
    wanted, remedy = f"a transformer that can have backbone.pooling={backbone.pooling}", "set backbone.pooling=null"
    prefix = getattr(network, "num_prefix_tokens", None)
    if prefix is None or not isinstance(tokens, Tensor) or tokens.ndim != 3:
        raise ConfigError(wanted, f"{backbone.model}, which keeps no class token apart from patch tokens", remedy)
    if backbone.pooling == "token" and getattr(network, "cls_token", None) is None:
        raise ConfigError(wanted, f"{backbone.model}, which has no class token", "set backbone.pooling=mean, or null")
    if isinstance(getattr(network, "norm", None), nn.Identity):
        raise ConfigError(wanted, f"{backbone.model}, whose last norm is behind its own pooling", remedy)
    if getattr(network, "attn_pool", None) is not None:
        raise ConfigError(wanted, f"{backbone.model}, which pools by attention, with weights of its own", remedy)
    features = pooled(network, tokens, str(backbone.pooling))
    # On the meta device, where a plan builds it, there are no values to compare.
    if features.shape == own.shape and not own.is_meta and torch.allclose(features, own):
        raise ConfigError(
            "a backbone.pooling that changes something", f"{backbone.model}, which pools so by itself", remedy
        )
    return features


def _read_state_dict(path: Path, network: nn.Module, backbone: Timm) -> tuple[Mapping[str, Tensor], list[str], str]:
    weights: Mapping[str, Tensor]
    weights, source = read_weights(path)
    keys = list(weights)
    if "mask_token" in weights:  # DINOv2 trains its blocks in chunks, and each knows its place among all
        weights = {re.sub(r"^blocks\.\d+\.(\d+\.)", r"blocks.\1", key): value for key, value in weights.items()}
    patches = _patches(weights)
    positions = weights.get("pos_embed")
    if convert := _converter(backbone):
        try:
            weights = dict(convert(dict(weights), network))
        except _REFUSALS as error:
            raise _not_of_this_model(source, backbone, f"{type(error).__name__}: {error}") from error
    if "fc_norm.weight" in network.state_dict() and "norm.weight" in weights and "fc_norm.weight" not in weights:
        # As masked autoencoders are fine-tuned: the norm behind the pooling is another than that behind the last block.
        weights = {key: value for key, value in weights.items() if key not in ("norm.weight", "norm.bias")}
        weights |= {key: value for key, value in network.state_dict().items() if key.startswith("fc_norm.")}
        source += ", without its last norm: the one behind the pooling begins anew"
    if patches is not None and (built := _patches(network.state_dict())) is not None and patches != built:
        # timm would resample them without a word
        raise _not_of_this_model(source, backbone, f"patches of {patches[0]} pixels, not {built[0]}")
    if positions is not None and "pos_embed" in weights and weights["pos_embed"].shape != positions.shape:
        source += f", its {positions.shape[1]} positions resampled to {weights['pos_embed'].shape[1]}"
    return weights, keys, source


def _patches(weights: Mapping[str, Tensor]) -> torch.Size | None:
    """Height and width of the patches that a state dict embeds; None where it does not say."""
    kernel = weights.get("patch_embed.proj.weight")
    return kernel.shape[2:] if kernel is not None and kernel.ndim == 4 else None


def _converter(backbone: Timm) -> Callable[[dict[str, Tensor], nn.Module], Mapping[str, Tensor]] | None:
    """What timm does to published files of a model: other names, and position tables of another size."""
    from timm.models import model_entrypoint

    module = sys.modules[model_entrypoint(backbone.model.partition(".")[0]).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is not None and module.__name__ == "timm.models.deit":
        return partial(convert, adapt_layer_scale=True)  # DeiT III names its layer scale otherwise
    return convert


def _read_jax(path: Path, network: nn.Module, backbone: Timm) -> tuple[Mapping[str, Tensor], list[str], str]:
    """The state dict that timm's reader of JAX files makes of one, once it is sure that it used all of it."""
    if not hasattr(network, "load_pretrained"):
        raise ConfigError("a model that timm reads .npz for", backbone.model, "give a .pth or .safetensors file")
    refuse_pointer(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            sizes = {key: arrays[key].size for key in arrays}
    except (OSError, EOFError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"a .npz archive in backbone.weights={path}",
            str(error) if isinstance(error, OSError) else f"{type(error).__name__}, so a damaged or another file",
            "give another file",
        ) from error
    # The reader passes over parameters that the file has nothing for, and arrays that the model has no place for.
    filled = deepcopy(network)
    for parameter in filled.parameters():
        nn.init.constant_(parameter, math.nan)
    try:
        filled.load_pretrained(str(path))  # type: ignore[operator]
    except _REFUSALS as error:
        raise _not_of_this_model(str(path), backbone, f"{type(error).__name__}: {error}") from error
    weights = {key: value for key, value in filled.state_dict().items() if not value.isnan().any()}
    root = next((root for root in _JAX_ROOTS if any(key.startswith(root) for key in sizes)), "")
    has_pool = getattr(network, "attn_pool", None) is not None
    left = [part for part in _JAX_PRETRAINING if not (part == "MAPHead_0" and has_pool)]
    inside = {key.removeprefix(root): size for key, size in sizes.items() if key.startswith(root)}
    used = sum(
        size for key, size in inside.items() if key.split("/")[0] not in left and not key.endswith("pos_embedding")
    )
    room = sum(value.numel() for key, value in weights.items() if not key.endswith("pos_embed"))
    if len(weights) == len(filled.state_dict()) and used != room:
        raise _not_of_this_model(
            str(path), backbone, f"{used:,} values beside its position table and its classifier, not {room:,}"
        )
    found = [part for part in left if any(key.startswith(f"{part}/") for key in inside)]
    return weights, [], str(path) + (f", without its {', '.join(found)}" if found else "")


def _not_of_this_model(source: str, backbone: Timm, found: str) -> ConfigError:
    return ConfigError(
        f"weights of timm's {backbone.model} in {source}",
        found,
        "correct backbone.model or backbone.options, or give other weights",
    )
