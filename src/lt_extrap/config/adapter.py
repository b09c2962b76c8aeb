"""The node `adapter`: small modules beside a frozen backbone, which alone are trained with the head."""

import math
from dataclasses import dataclass

from lt_extrap.config.checks import check


@dataclass
class Adapter:
    """What of a network is trained beside the head."""


@dataclass
class NoAdapter(Adapter):
    """The backbone itself, but for its first layers (recipe.freeze)."""


@dataclass
class AdaptFormer(Adapter):
    """A bottleneck beside the feed-forward part of each block (Chen et al. 2022, as LIFT has it, Shi et al. 2024).

    Attributes:
        bottleneck: its width; null = LIFT's, a function of the numbers of target classes and of blocks: 32 for
            ImageNet-LT, 8 for Places-LT, 256 for iNaturalist 2018 on 12 blocks. Auxiliary classes do not change it.
    """

    bottleneck: int | None = None

    def __post_init__(self) -> None:
        check(
            self.bottleneck is None or self.bottleneck >= 1, "adapter.bottleneck", "positive, or null", self.bottleneck
        )


@dataclass
class LoRA(Adapter):
    """Low-rank additions to the query and value projections of each block (Hu et al. 2022).

    Attributes:
        rank: of the additions; null = the bottleneck that AdaptFormer would have.
        alpha: they are scaled by alpha / rank.
    """

    rank: int | None = None
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check(self.rank is None or self.rank >= 1, "adapter.rank", "positive, or null", self.rank)
        check(0 < self.alpha < math.inf, "adapter.alpha", "positive", self.alpha)


@dataclass
class Prompts(Adapter):
    """Learned tokens beside those of the image (visual prompt tuning, Jia et al. 2022).

    Attributes:
        count: how many.
        deep: each block has its own, those of the block before end there; else the first block's go through all.
    """

    count: int = 10
    deep: bool = True

    def __post_init__(self) -> None:
        check(self.count >= 1, "adapter.count", "positive", self.count)


@dataclass
class ScaleShift(Adapter):
    """A scale and a shift a channel behind each linear layer and norm (SSF, Lian et al. 2022)."""


@dataclass
class Biases(Adapter):
    """The biases that the backbone has (BitFit, Ben Zaken et al. 2022)."""


@dataclass
class Norms(Adapter):
    """The scales and shifts of the layer norms that the backbone has."""
