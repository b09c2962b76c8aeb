"""The nodes `backbone` and `head`."""

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from lt_extrap.config.checks import check


@dataclass
class Backbone:
    """What turns images into features."""


@dataclass
class ConvNet(Backbone):
    """A small residual network for small images (1.2 million parameters at the default widths).

    Attributes:
        widths: channels of the stages; each halves the resolution, after a stem that halves it too.
    """

    widths: list[int] = field(default_factory=lambda: [64, 128, 256])

    def __post_init__(self) -> None:
        check(
            len(self.widths) > 0 and min(self.widths) > 0,
            "backbone.widths",
            "a list of positive numbers",
            self.widths,
        )


@dataclass
class CifarResNet(Backbone):
    """The residual network for CIFAR (He et al. 2015, Section 4.2): ResNet-32 has 0.46 million parameters.

    Attributes:
        depth: layers with weights, 6n + 2 for n blocks a stage: 20, 32, 44, 56, ...
    """

    depth: int = 32

    def __post_init__(self) -> None:
        check(
            self.depth >= 8 and self.depth % 6 == 2,
            "backbone.depth",
            "6n + 2 with n at least 1, such as 20, 32, 44 or 56",
            self.depth,
        )


@dataclass
class Timm(Backbone):
    """Any timm model, from scratch.

    Attributes:
        model: name in timm.
        options: further arguments of timm.create_model, such as drop_path_rate.
    """

    model: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Head:
    """A linear classifier.

    Attributes:
        init_std: standard deviation of the initial weights; biases start at 0.
    """

    init_std: float = 0.02

    def __post_init__(self) -> None:
        check(0 < self.init_std < math.inf, "head.init_std", "positive", self.init_std)
