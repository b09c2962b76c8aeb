"""The schema: a dataclass for every configuration node that we own, with its ranges.

`compose.py` puts the values of conf/ and of the command line into these classes, which checks the ranges. The nodes
`trainer` and `logger` belong to Lightning and stay open dictionaries.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from lt_extrap.errors import ConfigError


def check(holds: bool, key: str, wanted: str, found: object) -> None:
    """Raise a `ConfigError` naming the key and its legal values, unless the condition holds."""
    if not holds:
        raise ConfigError(f"{key} to be {wanted}", repr(found), f"correct {key}")


def _one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    check(value in choices, key, "one of " + ", ".join(choices), value)


@dataclass
class AuxiliaryFiles:
    """Where an auxiliary set of a target lies, relative to the target's root.

    Attributes:
        train: list of images, `path auxiliary-id` a line, ids 0..K-1; null = there is no such set.
        names: class names: a text file, a name a line, or `file.json:key`.
        pairs: which auxiliary class is a neighbor of which target: JSON with `edges` (unranked pairs) or
            `ranks` (nearest first); null where the classes are nobody's neighbors.
        neighbors_per_class: k, the number of neighbors a target of ratio 1 keeps, nearest first; null = all pairs.
    """

    train: str | None = None
    names: str | None = None
    pairs: str | None = None
    neighbors_per_class: int | None = 5

    def __post_init__(self) -> None:
        k = self.neighbors_per_class
        check(k is None or k >= 1, "neighbors_per_class", "at least 1, or null for all pairs", k)


@dataclass
class Target:
    """The long-tailed data set that is to be recognised.

    Attributes:
        root: folder of the lists and images; null = `$LT_EXTRAP_DATA/<folder>`.
        folder: the data set's folder below `$LT_EXTRAP_DATA`.
        archive: a tar of the images, unpacked once to the cache; null where images lie below the root.
        train, val, test: list files, `path label` a line. `val` null = nothing is selected, the last weights count.
        names: class names: a text file, a name a line, or `file.json:key`; null = the labels themselves.
        allow_empty: accept classes without training images (reported as `zero`, left out of the prior).
        neighbors, random: the auxiliary sets of this target. extra: a list of further target images.
    """

    root: str | None = None
    folder: str = MISSING
    archive: str | None = None
    train: str = MISSING
    val: str | None = None
    test: str = MISSING
    names: str | None = None
    allow_empty: bool = False
    neighbors: AuxiliaryFiles = field(default_factory=AuxiliaryFiles)
    random: AuxiliaryFiles = field(default_factory=AuxiliaryFiles)
    extra: str | None = None


@dataclass
class EmbeddedTarget(Target):
    """The embedded world: images made on this machine, written once to the cache; it has no root.

    Attributes:
        world: fields of `lt_extrap.data.embedded.World`, which checks them.
    """

    world: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.root is None, "target.root", "null: the embedded world is written to LT_EXTRAP_CACHE", self.root)


@dataclass
class NoAuxiliary:
    """Target images only: the baseline."""


@dataclass
class AuxiliaryClasses(AuxiliaryFiles):
    """Auxiliary classes beside the target classes (paper, Section 3.1 and 4.2).

    Attributes:
        sampling_ratio: [many, medium, few]; a class of group g gets ceil(k * ratio_g) neighbors. null =
            1 : ceil(C_many / C_medium) : ceil(C_many / C_few) with C the number of classes of a group.
        scale: `base`: k is what ratio 1 gets; `largest`: k is what the largest ratio gets.
        samples_per_class: most images of an auxiliary class that an epoch shows, drawn afresh each epoch.
        repeat: repeat the images of smaller classes up to samples_per_class; the copies of one epoch are alike.
        permute: exchange the auxiliary classes of the pairs at random, the control for "the right pairs".
    """

    sampling_ratio: list[float] | None = None
    scale: str = "base"
    samples_per_class: int = 50
    repeat: bool = False
    permute: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.train is not None,
            "auxiliary.train",
            "a list: this target comes without one (target.neighbors.train, target.random.train)",
            self.train,
        )
        k, ratio = self.neighbors_per_class, self.sampling_ratio
        check(
            self.pairs is not None or (k is None and not self.permute),
            "auxiliary.neighbors_per_class",
            "null for classes without pairs, of which all are used",
            k,
        )
        check(
            k is not None or (ratio is None and self.scale == "base"),
            "auxiliary.sampling_ratio and auxiliary.scale",
            "left alone when neighbors_per_class is null, which keeps every pair",
            (ratio, self.scale),
        )
        check(
            ratio is None or (len(ratio) == 3 and min(ratio) >= 0 and 0 < max(ratio) < math.inf),
            "auxiliary.sampling_ratio",
            "three numbers [many, medium, few], none negative, not all 0",
            ratio,
        )
        _one_of("auxiliary.scale", self.scale, ("base", "largest"))
        check(self.samples_per_class >= 1, "auxiliary.samples_per_class", "at least 1", self.samples_per_class)


@dataclass
class TargetExtra:
    """The control that every reviewer asks for: the same budget of further *target* images of the tail.

    Attributes:
        train: list of further target images, `path label` a line.
        shots: the groups that get them.
        images_per_epoch: how many an epoch shows, drawn afresh each epoch and spread evenly over the classes;
            null = as many as an epoch would show of the classes of `budget_list`.
        budget_list: the auxiliary list whose budget is matched.
        samples_per_class: the cap under which `budget_list` is counted.
    """

    train: str | None = None
    shots: list[str] = field(default_factory=lambda: ["medium", "few"])
    images_per_epoch: int | None = None
    budget_list: str | None = None
    samples_per_class: int = 50

    def __post_init__(self) -> None:
        check(self.train is not None, "auxiliary.train", "a list: this target comes without target.extra", self.train)
        for shot in self.shots:
            _one_of("auxiliary.shots", shot, ("many", "medium", "few"))
        check(len(self.shots) > 0, "auxiliary.shots", "at least one group", self.shots)
        n = self.images_per_epoch
        check(n is None or n >= 1, "auxiliary.images_per_epoch", "at least 1, or null", n)
        check(self.samples_per_class >= 1, "auxiliary.samples_per_class", "at least 1", self.samples_per_class)
        check(
            n is not None or self.budget_list is not None,
            "auxiliary.images_per_epoch",
            "a number where the target has no neighbors whose budget could be matched",
            n,
        )


@dataclass
class Loss:
    """Cross entropy.

    Attributes:
        smoothing: label smoothing, 0..1.
        smoothing_over: `all` columns or the `targets` only.
    """

    smoothing: float = 0.0
    smoothing_over: str = "all"

    def __post_init__(self) -> None:
        check(0 <= self.smoothing < 1, "loss.smoothing", "in 0 <= smoothing < 1", self.smoothing)
        _one_of("loss.smoothing_over", self.smoothing_over, ("all", "targets"))


@dataclass
class Balanced(Loss):
    """Balanced softmax (Eq. 2; with auxiliary classes Eq. 3).

    Attributes:
        tau: scale of the log prior, at least 0.
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.tau >= 0, "loss.tau", "at least 0", self.tau)


@dataclass
class Silencing(Balanced):
    """Neighbor silencing (Eq. 4).

    Attributes:
        lambda_s: weight of the classes of a neighbor pair in each other's denominator, 0..1.
        silence: whose images silence: `pair` (both, the paper), `target_only`, `aux_only`, `none`.
        lambda_aux_aux: weight of all other auxiliary classes for an auxiliary image, 0..1.
        mixing: `exact` (a mixed image silences by both labels) or `released` (as the paper's code does;
            a hard mask, so it wants lambda_s 0).
    """

    lambda_s: float = 0.1
    silence: str = "pair"
    lambda_aux_aux: float = 1.0
    mixing: str = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.lambda_s <= 1, "loss.lambda_s", "in 0..1", self.lambda_s)
        check(0 <= self.lambda_aux_aux <= 1, "loss.lambda_aux_aux", "in 0..1", self.lambda_aux_aux)
        _one_of("loss.silence", self.silence, ("pair", "target_only", "aux_only", "none"))
        _one_of("loss.mixing", self.mixing, ("exact", "released"))
        check(
            self.mixing == "exact" or self.lambda_s == 0,
            "loss.lambda_s",
            "0 with loss.mixing=released, which masks",
            self.lambda_s,
        )


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


@dataclass
class Recipe:
    """How the network is trained: AdamW, linear warm-up and cosine to 0 by optimizer step.

    Attributes:
        batch_size: images of an optimizer step, over all devices.
        blr: base learning rate; lr = blr * batch_size / 256.
        betas: of AdamW.
        weight_decay: on weights; never on biases, norms and other one-dimensional parameters.
        clip: largest gradient norm; null = no clipping.
        image_size: pixels, height and width, of what the network sees.
        crop_scale: smallest and largest share of the image that a random crop keeps.
        crop_ratio: narrowest and widest width / height of that crop before it is made square.
        flip: probability of a horizontal flip, 0..1.
        crop_fraction: share of the shorter side that evaluation's central crop keeps, 0..1.
        ema: decay of an exponential moving average of the weights, 0 < ema < 1, a step; the average is what is
            validated, tested and exported. null = none.
        mixup, cutmix: alpha of the Beta distribution; 0 is off (.001 is not: it swaps whole images).
    """

    batch_size: int = MISSING
    blr: float = MISSING
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    weight_decay: float = 0.05
    clip: float | None = None
    image_size: int = MISSING
    crop_scale: list[float] = field(default_factory=lambda: [0.08, 1.0])
    crop_ratio: list[float] = field(default_factory=lambda: [3 / 4, 4 / 3])
    flip: float = 0.5
    crop_fraction: float = 1.0
    ema: float | None = None
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check(self.batch_size >= 1, "recipe.batch_size", "at least 1", self.batch_size)
        check(0 < self.blr < math.inf, "recipe.blr", "positive", self.blr)
        check(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "recipe.betas",
            "two numbers in 0 <= beta < 1",
            self.betas,
        )
        check(self.weight_decay >= 0, "recipe.weight_decay", "at least 0", self.weight_decay)
        check(self.clip is None or self.clip > 0, "recipe.clip", "positive, or null", self.clip)
        check(self.image_size >= 1, "recipe.image_size", "at least 1", self.image_size)
        check(
            len(self.crop_scale) == 2 and 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1,
            "recipe.crop_scale",
            "[smallest, largest] with 0 < smallest <= largest <= 1",
            self.crop_scale,
        )
        check(
            len(self.crop_ratio) == 2 and 0 < self.crop_ratio[0] <= self.crop_ratio[1],
            "recipe.crop_ratio",
            "[narrowest, widest] with 0 < narrowest <= widest",
            self.crop_ratio,
        )
        check(0 <= self.flip <= 1, "recipe.flip", "in 0..1", self.flip)
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
    def lr(self) -> float:
        """The peak learning rate."""
        return self.blr * self.batch_size / 256


@dataclass
class Budget:
    """How long a run is. Auxiliary data makes an epoch longer, so a fair table needs more than epochs.

    Attributes:
        unit: `epochs`, `steps` (of the optimizer) or `target_views` (target images shown).
        amount: how many of them.
        warmup: how many of them warm up, in the same unit.
    """

    unit: str = "epochs"
    amount: float = 100.0
    warmup: float = 10.0

    def __post_init__(self) -> None:
        _one_of("budget.unit", self.unit, ("epochs", "steps", "target_views"))
        check(0 < self.amount < math.inf, "budget.amount", "positive", self.amount)
        check(0 <= self.warmup < self.amount, "budget.warmup", "in 0 <= warmup < budget.amount", self.warmup)


@dataclass
class Loading:
    """How images reach the device.

    Attributes:
        workers: loader processes; 0 = in the training process. They change no result. Resident images are decoded by
            them at the start, and need none afterwards.
        prefetch: batches that each worker prepares ahead; null = torch's own number, 2.
        resident: decode all images once and keep them on the device as bytes, cropped and resized there to the same
            pixels. The images of a list have one size then, and all of them take at most half of the GPU's free
            memory, or of the machine's.
        on_unreadable: `error` (stop and name the file) or `skip` (leave a training image out of its batch, name it
            once, count it). Validation and test images are never skipped.
    """

    workers: int = 2
    prefetch: int | None = None
    resident: bool = False
    on_unreadable: str = "error"

    def __post_init__(self) -> None:
        check(self.workers >= 0, "data.workers", "at least 0", self.workers)
        check(self.prefetch is None or self.prefetch >= 1, "data.prefetch", "at least 1, or null", self.prefetch)
        check(
            self.prefetch is None or (self.workers > 0 and not self.resident),
            "data.prefetch",
            "null where no worker could prepare a batch: with data.workers=0 and with data.resident=true",
            self.prefetch,
        )
        _one_of("data.on_unreadable", self.on_unreadable, ("error", "skip"))


@dataclass
class TrainConfig:
    """One training run.

    Attributes:
        name: of the folder below runs/ that holds the runs of this experiment.
        seed: of everything random, 0..2**63-1.
        features_from: a model.safetensors whose backbone is taken over and kept frozen, so that only a new head is
            trained; null = everything is trained.
        checkpoint_minutes: between two checkpoints within an epoch; each epoch's end is kept anyway.
        trainer: arguments of lightning.Trainer. logger: `_target_` and arguments of a Lightning logger.
    """

    name: str = "default"
    seed: int = 0
    target: Any = MISSING
    auxiliary: Any = MISSING
    loss: Any = MISSING
    backbone: Any = MISSING
    head: Head = MISSING
    recipe: Recipe = MISSING
    budget: Budget = field(default_factory=Budget)
    data: Loading = field(default_factory=Loading)
    features_from: str | None = None
    checkpoint_minutes: float = 10.0
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] = MISSING

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**63, "seed", "in 0..2**63-1", self.seed)
        check(self.checkpoint_minutes >= 0, "checkpoint_minutes", "at least 0", self.checkpoint_minutes)


# Every class that a group of conf/ can be, by the name that its option files start from.
OPTIONS: dict[str, dict[str, type]] = {
    "target": {"lists": Target, "embedded": EmbeddedTarget},
    "auxiliary": {"none": NoAuxiliary, "classes": AuxiliaryClasses, "target_extra": TargetExtra},
    "loss": {"ce": Loss, "balanced": Balanced, "silencing": Silencing},
    "backbone": {"convnet": ConvNet, "timm": Timm},
    "head": {"linear": Head},
    "recipe": {"adamw": Recipe},
}
