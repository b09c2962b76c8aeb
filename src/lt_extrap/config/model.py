"""The nodes `backbone` and `head`."""

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of


@dataclass
class Backbone:
    """What turns images into features.

    Attributes:
        mean, std: of each channel, for values 0..1: what images are normalised by. null = those that belong to the
            backbone or to its pretrained weights.
        interpolation: `bilinear` or `bicubic`, with which images are resized; null = as the backbone wants it.
    """

    mean: list[float] | None = None
    std: list[float] | None = None
    interpolation: str | None = None

    def __post_init__(self) -> None:
        check(self.mean is None or len(self.mean) == 3, "backbone.mean", "three numbers, or null", self.mean)
        check(
            self.std is None or (len(self.std) == 3 and min(self.std) > 0),
            "backbone.std",
            "three positive numbers, or null",
            self.std,
        )
        if self.interpolation is not None:
            one_of("backbone.interpolation", self.interpolation, ("bilinear", "bicubic"))


@dataclass
class ConvNet(Backbone):
    """A small residual network for small images (1.2 million parameters at the default widths).

    Attributes:
        widths: channels of the stages; each halves the resolution, after a stem that halves it too. Of 4, torch 2.14
            writes past the end of a convolution's memory on a CPU with AVX2 alone.
    """

    widths: list[int] = field(default_factory=lambda: [64, 128, 256])

    def __post_init__(self) -> None:
        super().__post_init__()
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
        super().__post_init__()
        check(
            self.depth >= 8 and self.depth % 6 == 2,
            "backbone.depth",
            "6n + 2 with n at least 1, such as 20, 32, 44 or 56",
            self.depth,
        )


@dataclass
class Timm(Backbone):
    """Any timm model.

    Attributes:
        model: name in timm; its tag, behind the dot, names weights.
        weights: `hub` = those that timm names for the model, from the cache of the hub or else the hub; a file = .pth,
            .pt, .bin, .ckpt or .safetensors, such as those of a run of ours, or .npz; null = random ones. Mean,
            deviation, size and interpolation are those of `model` in every case; the model.safetensors of a run says
            its own mean and deviation, and is refused with others.
        pooling: `token` = the class token; `mean` = the mean of the patch tokens, without class and register tokens;
            both behind the last norm. null = as the model does it; another way than that is what the others are for.
        drop_path: largest probability of stochastic depth, 0..1; it grows linearly with depth. 0 = none, of models too
            that have some where timm is told nothing.
        gradient_checkpointing: compute activations again in the backward pass: less memory, the same numbers.
        options: further arguments of timm.create_model.
    """

    model: str = MISSING
    weights: str | None = None
    pooling: str | None = None
    drop_path: float = 0.0
    gradient_checkpointing: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling is not None:
            one_of("backbone.pooling", self.pooling, ("token", "mean"))
        check(0 <= self.drop_path < 1, "backbone.drop_path", "in 0 <= drop_path < 1", self.drop_path)
        owned = {"pretrained", "num_classes", "img_size", "drop_path_rate", "checkpoint_path"} & self.options.keys()
        check(
            not owned,
            "backbone.options",
            "without pretrained, checkpoint_path (backbone.weights), num_classes, img_size (recipe.image_size) and "
            "drop_path_rate (backbone.drop_path)",
            self.options,
        )


@dataclass
class OpenClip(Backbone):
    """The image tower of an open_clip model; features are its image embeddings, not normalised.

    Attributes:
        model: name in open_clip, such as ViT-B-16. OpenAI's weights, and some others, want the -quickgelu variant.
        weights: `hub` = those of `tag`, from the hub or its cache; a file = .pt, .pth, .bin or .safetensors, of both
            towers or of the image tower; OpenAI's TorchScript archives too; null = random ones, from scratch.
        tag: which weights, such as openai. Of a file, what it was downloaded as, or null: then nothing tells its
            activation and its mean, but for an open_clip_config.json beside it.
        projection: features are the image embeddings; false = what comes before the last projection, as LIFT has it
            (768 numbers of ViT-B/16 in place of 512). Of open_clip's own transformers alone.
        gradient_checkpointing: compute activations again in the backward pass: less memory, the same numbers.
    """

    model: str = MISSING
    weights: str | None = None
    tag: str | None = None
    projection: bool = True
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.tag is not None or self.weights != "hub",
            "backbone.tag",
            "the name of weights, for backbone.weights=hub",
            self.tag,
        )
        check(
            self.tag is None or self.weights is not None,
            "backbone.tag",
            "null without backbone.weights",
            self.tag,
        )


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
class BatchNormHead(Head):
    """A linear classifier behind a batch normalisation without learned scale and shift."""


@dataclass
class CosineHead(Head):
    """Scaled cosines between features and class weights.

    Attributes:
        scale: logits are between -scale and scale.
    """

    scale: float = 16.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.scale < math.inf, "head.scale", "positive", self.scale)


@dataclass
class ClassMeanHead:
    """Scaled cosines whose class weights start as mean features of the training images of each class.

    Features are those of the backbone before the first step, of images as evaluation shows them.

    Attributes:
        scale: logits are between -scale and scale.
    """

    scale: float = 25.0

    def __post_init__(self) -> None:
        check(0 < self.scale < math.inf, "head.scale", "positive", self.scale)


@dataclass
class TextHead:
    """Scaled cosines whose class weights start as text embeddings of the class names (backbone=clip).

    With backbone.projection=false they are taken back through the image tower's projection, as in LIFT.

    Attributes:
        scale: logits are between -scale and scale; CLIP was trained to 100.
        templates: sentences with {} in place of a class name; their normalised embeddings are averaged.
    """

    scale: float = 100.0
    templates: list[str] = field(default_factory=lambda: ["a photo of a {}."])

    def __post_init__(self) -> None:
        check(0 < self.scale < math.inf, "head.scale", "positive", self.scale)
        check(
            len(self.templates) > 0 and all(text.count("{}") == 1 for text in self.templates),
            "head.templates",
            "sentences with one {} each, in place of a class name",
            self.templates,
        )
