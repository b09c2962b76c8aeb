"""SSF: a scale and a shift a channel behind each linear layer and norm."""

from typing import Any

import torch
from torch import Tensor, nn

from lt_extrap.errors import ConfigError


class Scaled(nn.Module):
    """A layer whose output channels are scaled and shifted; by 1 and 0 at first.

    Args:
        layer: as it was; it is frozen.
    """

    def __init__(self, layer: nn.Linear | nn.LayerNorm | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        channels = len(layer.weight)
        self.shape = (channels, 1, 1) if isinstance(layer, nn.Conv2d) else (channels,)
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = self.layer(x) * self.scale.view(self.shape) + self.shift.view(self.shape)
        return scaled

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The layer with both in its weights."""
        layer: Any = self.layer
        by_row = self.scale.view(-1, *[1] * (layer.weight.ndim - 1))
        bias = self.shift if layer.bias is None else layer.bias * self.scale + self.shift
        layer.weight, layer.bias = nn.Parameter(layer.weight * by_row), nn.Parameter(bias.clone())
        return layer  # type: ignore[no-any-return]


def put_scales(network: nn.Module) -> None:
    """Put a scale and a shift behind each linear layer, layer norm and convolution of a transformer.

    Raises:
        ConfigError: it has attention of torch's own, whose layers cannot be put behind.
    """
    if any(isinstance(part, nn.MultiheadAttention) for part in network.modules()):
        raise ConfigError(
            "a transformer without attention in its pooling, for adapter=ssf",
            type(network).__name__,
            "choose another adapter",
        )
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear | nn.LayerNorm | nn.Conv2d) and layer.weight is not None:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, Scaled(layer))
