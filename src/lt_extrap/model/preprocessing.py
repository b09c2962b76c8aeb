"""What a backbone wants its images to be: mean, deviation, size and interpolation travel with it."""

import difflib
from typing import Literal, NamedTuple

from lt_extrap.config import Backbone, CifarResNet, OpenClip, Timm
from lt_extrap.errors import ConfigError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)

Interpolation = Literal["bilinear", "bicubic"]


class Preprocessing(NamedTuple):
    """How images become input.

    Attributes:
        mean, std: of each channel, for values 0..1.
        size: pixels, height and width, that the weights were trained at; None = any.
        interpolation: of resizing.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None
    interpolation: Interpolation


def preprocessing_of(backbone: Backbone) -> Preprocessing:
    """The preprocessing of a backbone: its own, but for what its node overrides.

    That of `backbone.model` (its tag included) counts for weights in a file too: a file does not say how it was
    trained.

    Raises:
        ConfigError: there is no such model.
    """
    own = _own(backbone)
    return Preprocessing(
        tuple(backbone.mean) if backbone.mean is not None else own.mean,
        tuple(backbone.std) if backbone.std is not None else own.std,
        own.size,
        "bilinear" if (backbone.interpolation or own.interpolation) == "bilinear" else "bicubic",
    )


def _own(backbone: Backbone) -> Preprocessing:
    if isinstance(backbone, Timm):
        return _of_timm(backbone.model)
    if isinstance(backbone, OpenClip):
        return _of_open_clip(backbone)
    if isinstance(backbone, CifarResNet):
        return Preprocessing(CIFAR100_MEAN, CIFAR100_STD, None, "bicubic")
    return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None, "bicubic")


def _of_timm(model: str) -> Preprocessing:
    import timm  # seconds, as below

    if not timm.is_model(model):
        near = timm.list_models(f"*{model.split('_')[0]}*")[:5]
        raise ConfigError(
            "backbone.model to be a model of timm",
            repr(model),
            f"one of timm.list_models(), such as {', '.join(near or timm.list_models('vit_*')[:5])}",
        )
    try:
        known = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        name, _, tag = model.partition(".")
        tags = [other.partition(".")[2] for other in timm.list_pretrained(f"{name}.*")]
        raise ConfigError(
            f"weights that timm has for {name}, behind the dot of backbone.model",
            repr(tag),
            f"choose {', '.join(tags)}" if tags else f"set backbone.model={name}",
        ) from error
    if known is None:
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None, "bicubic")
    return Preprocessing(
        tuple(known.mean),
        tuple(known.std),
        known.input_size[-1],
        "bilinear" if known.interpolation == "bilinear" else "bicubic",
    )


def _of_open_clip(backbone: OpenClip) -> Preprocessing:
    import open_clip  # seconds that other backbones need not wait

    if backbone.model not in open_clip.list_models():
        near = difflib.get_close_matches(backbone.model, open_clip.list_models(), n=5, cutoff=0.5)
        raise ConfigError(
            "backbone.model to be a model of open_clip",
            repr(backbone.model),
            f"one of open_clip.list_models(), such as {', '.join(near or ['ViT-B-16', 'ViT-B-16-quickgelu'])}",
        )
    tags = open_clip.pretrained.list_pretrained_tags_by_model(backbone.model)
    if backbone.tag is not None and not open_clip.is_pretrained_cfg(backbone.model, backbone.tag):
        raise ConfigError(
            f"backbone.tag to be one of {backbone.model}", repr(backbone.tag), f"choose {', '.join(tags) or 'null'}"
        )
    # What open_clip takes for a model without published weights.
    known = [open_clip.get_pretrained_cfg(backbone.model, tag) for tag in tags] or [
        {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "interpolation": "bicubic"}
    ]
    if backbone.tag is not None:
        known = [open_clip.get_pretrained_cfg(backbone.model, backbone.tag)]
    if backbone.weights is not None and backbone.mean is None and len({cfg["mean"] for cfg in known}) > 1:
        raise ConfigError(
            f"the mean and deviation that {backbone.weights} was trained with",
            f"weights of {backbone.model} with different ones",
            f"set backbone.tag to what the file is: {', '.join(tags)}; or backbone.mean and backbone.std",
        )
    return Preprocessing(
        tuple(known[0]["mean"]),
        tuple(known[0]["std"]),
        open_clip.get_model_config(backbone.model)["vision_cfg"].get("image_size", 224),
        "bilinear" if known[0]["interpolation"] == "bilinear" else "bicubic",
    )
