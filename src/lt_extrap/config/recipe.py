"""The nodes `recipe` and `budget`: how the network is trained, and how long."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of


@dataclass
class Recipe:
    """How the network is trained, whatever the optimizer: batches, learning rate, augmentation.

    The learning rate warms up linearly by optimizer step (budget.warmup), and then falls.

    Attributes:
        batch_size: images of an optimizer step, over all devices.
        accumulate: equal parts in which a step computes them, one after the other, for less memory; divides
            batch_size. Only a batch normalisation sees the parts, and dropout draws by part.
        blr: base learning rate; lr = blr * batch_size / 256.
        milestones: shares of the budget, 0..1 and rising, at each of which the learning rate falls to `gamma` times
            what it was; empty = a cosine to 0.
        gamma: 0 < gamma < 1; null without milestones.
        head_lr_factor: the head learns at this times the rate of the backbone.
        head_warmup_factor: during budget.head_warmup, where the head alone learns, it does so at this times its rate of
            the warm-up; null without.
        freeze: first layers of the backbone that are not trained, 1 = its embeddings, or `all`: the head alone is
            trained; they are in evaluation mode. Of a transformer of d blocks, d + 1 - n leaves its last n to learn.
        clip: largest gradient norm; null = no clipping.
        image_size: pixels, height and width, of what the network sees.
        padding: black pixels around the image at that size, of which training sees a random window of that size;
            null = a random crop, resized.
        crop_scale: smallest and largest share of the image that a random crop keeps; null with padding; null without
            it = training sees images as evaluation does, without augmentation.
        crop_ratio: narrowest and widest width / height of that crop before it is made square; null where crop_scale is.
        flip: probability of a horizontal flip, 0..1.
        randaugment: [magnitude, std] of RandAugment, 0 < magnitude <= 10: two of 15 operations, each with probability
            1/2, at a magnitude from that normal distribution, clipped to 0..10. [9, 0.5] is timm's
            rand-m9-mstd0.5-inc1; null = none.
        color_jitter: brightness, contrast and saturation change by a random factor each, from 1 - color_jitter to
            1 + color_jitter, 0..1; 0 is off, and with randaugment it is.
        erasing: probability that a random box of an image is noise, 0..1; 0 is off.
        crop_fraction: share of the shorter side that evaluation's central crop keeps, 0..1.
        ema: decay of an exponential moving average of the weights, 0 < ema < 1, a step; the average is what is
            validated, tested and exported. null = none.
        mixup, cutmix: alpha of the Beta distribution; 0 is off (.001 is not: it swaps whole images).
    """

    batch_size: int = MISSING
    accumulate: int = 1
    blr: float = MISSING
    milestones: list[float] = field(default_factory=list)
    gamma: float | None = None
    head_lr_factor: float = 1.0
    head_warmup_factor: float | None = None
    freeze: int | str = 0
    clip: float | None = None
    image_size: int = MISSING
    padding: int | None = None
    crop_scale: list[float] | None = field(default_factory=lambda: [0.08, 1.0])
    crop_ratio: list[float] | None = field(default_factory=lambda: [3 / 4, 4 / 3])
    flip: float = 0.5
    randaugment: list[float] | None = None
    color_jitter: float = 0.0
    erasing: float = 0.0
    crop_fraction: float = 1.0
    ema: float | None = None
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check(self.batch_size >= 1, "recipe.batch_size", "at least 1", self.batch_size)
        check(
            self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
            "recipe.accumulate",
            f"a divisor of recipe.batch_size={self.batch_size}",
            self.accumulate,
        )
        check(0 < self.blr < math.inf, "recipe.blr", "positive", self.blr)
        stones = [0.0, *self.milestones, 1.0]
        check(
            all(before < after for before, after in pairwise(stones)),
            "recipe.milestones",
            "rising shares of the budget, each in 0 < milestone < 1",
            self.milestones,
        )
        check(
            (self.gamma is not None and 0 < self.gamma < 1) if self.milestones else self.gamma is None,
            "recipe.gamma",
            "in 0 < gamma < 1 with recipe.milestones, and null without",
            self.gamma,
        )
        check(0 < self.head_lr_factor < math.inf, "recipe.head_lr_factor", "positive", self.head_lr_factor)
        check(
            self.head_warmup_factor is None or 0 < self.head_warmup_factor < math.inf,
            "recipe.head_warmup_factor",
            "positive, or null",
            self.head_warmup_factor,
        )
        freeze = self.freeze
        check(
            freeze == "all" or (isinstance(freeze, int) and freeze >= 0), "recipe.freeze", "at least 0, or all", freeze
        )
        check(self.clip is None or self.clip > 0, "recipe.clip", "positive, or null", self.clip)
        check(self.image_size >= 1, "recipe.image_size", "at least 1", self.image_size)
        check(
            self.padding is None or 0 <= self.padding < self.image_size,
            "recipe.padding",
            "in 0 <= padding < recipe.image_size, or null",
            self.padding,
        )
        scale, ratio = self.crop_scale, self.crop_ratio
        if self.padding is None and scale is None:
            off = {
                "crop_ratio": ratio,
                "flip": self.flip,
                "randaugment": self.randaugment,
                "color_jitter": self.color_jitter,
            }
            for key, value in off.items():
                check(
                    not value,
                    f"recipe.{key}",
                    "null or 0 with recipe.crop_scale=null, for images as evaluation sees",
                    value,
                )
        elif self.padding is None:
            check(
                scale is not None and len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1,
                "recipe.crop_scale",
                "[smallest, largest] with 0 < smallest <= largest <= 1, or null for images as evaluation sees them",
                scale,
            )
            check(
                ratio is not None and len(ratio) == 2 and 0 < ratio[0] <= ratio[1],
                "recipe.crop_ratio",
                "[narrowest, widest] with 0 < narrowest <= widest",
                ratio,
            )
        else:
            check(scale is None, "recipe.crop_scale", "null with recipe.padding, whose crop has one size", scale)
            check(ratio is None, "recipe.crop_ratio", "null with recipe.padding, whose crop is a square", ratio)
        check(0 <= self.flip <= 1, "recipe.flip", "in 0..1", self.flip)
        rand = self.randaugment
        check(
            rand is None or (len(rand) == 2 and 0 < rand[0] <= 10 and 0 <= rand[1] <= 10),
            "recipe.randaugment",
            "[magnitude, std] with 0 < magnitude <= 10 and 0 <= std <= 10, or null for none",
            rand,
        )
        check(0 <= self.color_jitter <= 1, "recipe.color_jitter", "in 0..1", self.color_jitter)
        check(
            rand is None or self.color_jitter == 0,
            "recipe.color_jitter",
            "0 with recipe.randaugment, which changes colours itself",
            self.color_jitter,
        )
        check(0 <= self.erasing <= 1, "recipe.erasing", "in 0..1", self.erasing)
        check(
            0 < self.crop_fraction <= 1,
            "recipe.crop_fraction",
            "in 0 < crop_fraction <= 1",
            self.crop_fraction,
        )
        check(self.ema is None or 0 < self.ema < 1, "recipe.ema", "in 0 < ema < 1, or null", self.ema)
        check(self.mixup >= 0, "recipe.mixup", "at least 0", self.mixup)
        check(self.cutmix >= 0, "recipe.cutmix", "at least 0", self.cutmix)

    @property
    def plain(self) -> bool:
        """Whether training sees images as evaluation does, so that each is always the same."""
        return self.padding is None and self.crop_scale is None

    @property
    def lr(self) -> float:
        """The peak learning rate."""
        return self.blr * self.batch_size / 256

    @property
    def part(self) -> int:
        """Images that are computed at once."""
        return self.batch_size // self.accumulate


@dataclass
class AdamW(Recipe):
    """AdamW.

    Attributes:
        betas: decay of the averages of gradients and of their squares.
        weight_decay: on weights; never on biases, norms, tokens, position embeddings and other parameters of one
            dimension.
        layer_decay: each layer of the backbone learns at this times the rate of the layer above it, 0..1, the last at
            this times the rate of the head; 1 = all learn alike.
        fused: torch's kernel for the whole step: faster, the same numbers up to rounding.
    """

    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    fused: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "recipe.betas",
            "two numbers in 0 <= beta < 1",
            self.betas,
        )
        check(self.weight_decay >= 0, "recipe.weight_decay", "at least 0", self.weight_decay)
        check(0 < self.layer_decay <= 1, "recipe.layer_decay", "in 0 < layer_decay <= 1", self.layer_decay)


@dataclass
class Sgd(Recipe):
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: 0 <= momentum < 1.
        weight_decay: on all parameters, biases and norms among them, as the recipes of the field have it.
    """

    momentum: float = 0.9
    weight_decay: float = 2e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.momentum < 1, "recipe.momentum", "in 0 <= momentum < 1", self.momentum)
        check(self.weight_decay >= 0, "recipe.weight_decay", "at least 0", self.weight_decay)


@dataclass
class Budget:
    """How long a run is. Auxiliary data makes an epoch longer, so a fair table needs more than epochs.

    Attributes:
        unit: `epochs`, `steps` (of the optimizer) or `target_views` (target images shown).
        amount: how many of them.
        warmup: how many of them warm up, in the same unit.
        head_warmup: for how many of them, before that, the head alone learns (recipe.head_warmup_factor).
    """

    unit: str = "epochs"
    amount: float = 100.0
    warmup: float = 10.0
    head_warmup: float = 0.0

    def __post_init__(self) -> None:
        one_of("budget.unit", self.unit, ("epochs", "steps", "target_views"))
        check(0 < self.amount < math.inf, "budget.amount", "positive", self.amount)
        check(0 <= self.warmup < self.amount, "budget.warmup", "in 0 <= warmup < budget.amount", self.warmup)
        check(
            self.head_warmup == 0 or (self.warmup > 0 and 0 < self.head_warmup < self.amount - self.warmup),
            "budget.head_warmup",
            "0, or positive and with budget.warmup, whose slope it has, less than budget.amount",
            self.head_warmup,
        )
