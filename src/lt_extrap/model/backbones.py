"""Backbones: images -> features, with the normalisation that belongs to them."""

from itertools import pairwise
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lt_extrap.config import Backbone, CifarResNet, ConvNet, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, torch_seed

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR100_MEAN = (0.5071, 0.4867, 0.4408)
CIFAR100_STD = (0.2675, 0.2565, 0.2761)


class ResidualStage(nn.Module):
    """A strided residual block: two 3x3 convolutions beside a 1x1, halving the resolution."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride=2, bias=False), nn.BatchNorm2d(width))

    def forward(
        self, x: Float[Tensor, "batch width_in height_in columns_in"]
    ) -> Float[Tensor, "batch width height columns"]:
        return torch.relu(self.block(x) + self.shortcut(x))


class ResidualNet(nn.Module):
    """The small network of `backbone=convnet`: a stem, a block a stage, mean pooling."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.Sequential(*(ResidualStage(a, b) for a, b in zip([widths[0], *widths], widths, strict=False)))
        self.num_features = widths[-1]
        # Convolutions run about a third faster on a CPU when channels come last.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.stages(x).mean(dim=(2, 3))
        return features


class CifarBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, to which new channels are zeros (option A: no parameters)."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.stride, self.new = width // width_in, (width - width_in) // 2
        self.block = nn.Sequential(
            nn.Conv2d(width_in, width, 3, stride=self.stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(
        self, x: Float[Tensor, "batch width_in height_in columns_in"]
    ) -> Float[Tensor, "batch width height columns"]:
        identity = x
        if self.new:
            identity = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new, self.new))
        return torch.relu(self.block(x) + identity)


class CifarResidualNet(nn.Module):
    """The network of `backbone=resnet32`: a stem, three stages of 16, 32 and 64 channels, mean pooling."""

    num_features = 64

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        widths = [16] * (blocks + 1) + [32] * blocks + [64] * blocks
        self.blocks = nn.Sequential(*(CifarBlock(a, b) for a, b in pairwise(widths)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        # As above: convolutions run faster on a CPU when channels come last.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 64"]:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        return features


class NormalisedBackbone(nn.Module):
    """A network with the mean and standard deviation that it wants its images normalised by.

    Attributes:
        dim: width of the features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, dim: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.dim = network, dim
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Features of images whose values are 0..255."""
        features: Tensor = self.network((images - self.mean) / self.std)
        return features


def build_backbone(backbone: Backbone, *, image_size: int, seed: int) -> NormalisedBackbone:
    """A backbone with initial weights that are a function of the seed alone.

    Raises:
        ConfigError: timm has no such model, or the model refuses its options.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(Stream.BACKBONE, seed))
        if isinstance(backbone, ConvNet):
            network = ResidualNet(backbone.widths)
            return NormalisedBackbone(network, network.num_features, IMAGENET_MEAN, IMAGENET_STD)
        if isinstance(backbone, CifarResNet):
            return NormalisedBackbone(
                CifarResidualNet(backbone.depth), CifarResidualNet.num_features, CIFAR100_MEAN, CIFAR100_STD
            )
        assert isinstance(backbone, Timm)
        return _build_timm(backbone, image_size)


def _build_timm(backbone: Timm, image_size: int) -> NormalisedBackbone:
    if not timm.is_model(backbone.model):
        near = timm.list_models(f"*{backbone.model.split('_')[0]}*")[:5]
        raise ConfigError(
            "backbone.model to be a model of timm",
            repr(backbone.model),
            f"one of timm.list_models(), such as {', '.join(near or timm.list_models('vit_*')[:5])}",
        )
    pretrained = timm.get_pretrained_cfg(backbone.model)
    options = timm_options(backbone, image_size)
    try:
        network = timm.create_model(backbone.model, pretrained=False, num_classes=0, **options)
        # Asked of the network itself: num_features is not always the width of what comes out.
        with torch.no_grad():
            dim = network.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1]
        network.train()
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"options that timm's {backbone.model} takes at {image_size} pixels",
            f"{options}: {error}",
            "correct backbone.options or recipe.image_size",
        ) from error
    mean = pretrained.mean if pretrained is not None else IMAGENET_MEAN
    std = pretrained.std if pretrained is not None else IMAGENET_STD
    return NormalisedBackbone(network, dim, tuple(mean), tuple(std))


def timm_options(backbone: Timm, image_size: int) -> dict[str, Any]:
    """Arguments of timm.create_model beside the name and the number of classes."""
    options = dict(backbone.options)
    pretrained = timm.get_pretrained_cfg(backbone.model)
    if pretrained is not None and pretrained.fixed_input_size:
        # Transformers have a position for each patch, so their size is fixed when they are built.
        options["img_size"] = image_size
    return options
