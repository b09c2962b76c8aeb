"""The configuration of a masked pretraining."""

from dataclasses import dataclass, field

from lt_extrap.config.checks import check
from lt_extrap.config.model import Timm
from lt_extrap.config.recipe import AdamW, Budget
from lt_extrap.config.run import RunConfig

# What a recipe has for classifiers alone.
_OF_CLASSIFIERS = ("layer_decay", "head_lr_factor", "head_warmup_factor", "freeze", "erasing", "ema", "mixup", "cutmix")


@dataclass
class Decoder:
    """The transformer that fills in the masked patches, and that is thrown away when the pretraining has ended.

    Attributes:
        depth: blocks.
        width: of its tokens.
        heads: of its attention; divides width.
    """

    depth: int = 8
    width: int = 512
    heads: int = 16

    def __post_init__(self) -> None:
        check(self.depth >= 1, "decoder.depth", "at least 1", self.depth)
        check(self.width >= 4 and self.width % 4 == 0, "decoder.width", "a multiple of 4", self.width)
        check(
            self.heads >= 1 and self.width % self.heads == 0,
            "decoder.heads",
            f"a divisor of decoder.width={self.width}",
            self.heads,
        )


@dataclass
class PretrainConfig(RunConfig):
    """One pretraining: a transformer of timm learns to fill in masked patches of images, whose labels it never sees.

    Attributes:
        mask_ratio: share of the patches that is masked, 0 < mask_ratio < 1.
        normalised: what is to be filled in are pixels less the mean of their patch, over its deviation; else pixels.
        decoder: what fills them in.
        pictures_every: epochs between two pictures of reconstructions; 0 = none.
    """

    mask_ratio: float = 0.75
    normalised: bool = True
    decoder: Decoder = field(default_factory=Decoder)
    pictures_every: int = 20
    budget: Budget = field(default_factory=lambda: Budget(amount=800.0, warmup=40.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.mask_ratio < 1, "mask_ratio", "in 0 < mask_ratio < 1", self.mask_ratio)
        check(self.pictures_every >= 0, "pictures_every", "at least 0", self.pictures_every)
        check(isinstance(self.backbone, Timm), "backbone", "scratch or timm", type(self.backbone).__name__)
        for key, default in (("weights", None), ("pooling", None)):
            value = getattr(self.backbone, key)
            check(value == default, f"backbone.{key}", "null in a pretraining", value)
        check(isinstance(self.recipe, AdamW), "recipe", "one of AdamW", type(self.recipe).__name__)
        for key in _OF_CLASSIFIERS:
            value, default = getattr(self.recipe, key), getattr(AdamW, key)
            check(value == default, f"recipe.{key}", f"{default} in a pretraining, which has no use for it", value)
        check(self.budget.head_warmup == 0, "budget.head_warmup", "0 in a pretraining", self.budget.head_warmup)
        check(not self.data.features_once, "data.features_once", "false in a pretraining, which learns features", True)
