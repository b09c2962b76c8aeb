"""The small networks that are ours: images, already normalised -> features."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


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

    def forward_features(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch dim rows columns"]:
        """The last feature map."""
        features: Tensor = self.stages(self.stem(images.contiguous(memory_format=torch.channels_last)))
        return features

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        return self.forward_features(images).mean(dim=(2, 3))


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

    def forward_features(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 64 rows columns"]:
        """The last feature map."""
        features: Tensor = self.blocks(self.stem(images.contiguous(memory_format=torch.channels_last)))
        return features

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 64"]:
        return self.forward_features(images).mean(dim=(2, 3))
