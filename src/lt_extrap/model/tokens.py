"""What a backbone says of each place of an image, before it pools."""

from math import isqrt
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lt_extrap.errors import ConfigError
from lt_extrap.model.backbones import NormalisedBackbone
from lt_extrap.model.clip import ImageTower


def patch_tokens(
    backbone: NormalisedBackbone, images: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, "batch rows columns dim"]:
    """The patch tokens of a transformer, or the positions of a convolutional network's last feature map.

    Tokens are those behind the last normalisation; class and register tokens, which have no place, are left out. A CLIP
    tower's are from before its projection, so that `dim` need not be the width of its embeddings.

    Args:
        backbone: in evaluation mode.
        images: square, values 0..255.

    Raises:
        ConfigError: the network keeps no square of them.
    """
    network: Any = backbone.network
    if isinstance(network, ImageTower):
        network = getattr(network.visual, "trunk", network.visual)
    images = (images - backbone.mean) / backbone.std
    found, prefix = _last(network, images)
    if found.ndim == 4:  # Swin and its kin put channels last
        return found if getattr(network, "output_fmt", "NCHW") == "NHWC" else found.permute(0, 2, 3, 1)
    edge = isqrt(found.shape[1] - prefix) if found.ndim == 3 else 0
    if edge == 0 or edge * edge != found.shape[1] - prefix:
        raise ConfigError(
            "a backbone with a square of patch tokens, or with a feature map",
            f"{type(network).__name__}, which puts out {tuple(found.shape[1:])} an image",
            "set tokens=0: no picture of them",
        )
    return found[:, prefix:].reshape(len(found), edge, edge, -1)


def _last(network: Any, images: Tensor) -> tuple[Tensor, int]:
    """What comes before the pooling: tokens with so many prefix tokens, or a map."""
    if hasattr(network, "forward_features"):  # timm's interface
        found: Tensor = network.forward_features(images)
        return found, getattr(network, "num_prefix_tokens", 0)
    # open_clip's own towers; where they pool by attention, their norm is behind that and has another width
    norm = getattr(network, "attn_pool", None) is None
    found = network.forward_intermediates(images, indices=1, normalize_intermediates=norm, intermediates_only=True)[
        "image_intermediates"
    ][-1]
    return found, 0
