"""What a backbone wants its images to be: mean, deviation, size and interpolation travel with it."""

from typing import Literal, NamedTuple

import timm

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
    if not timm.is_model(model):
        near = timm.list_models(f"*{model.split('_')[0]}*")[:5]
        raise ConfigError(
            "backbone.model to be a model of timm",
            repr(model),
            f"one of timm.list_models(), such as {', '.join(near or timm.list_models('vit_*')[:5])}",
        )
    known = timm.get_pretrained_cfg(model)
    if known is None:
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, None, "bicubic")
    return Preprocessing(
        tuple(known.mean),
        tuple(known.std),
        known.input_size[-1],
        "bilinear" if known.interpolation == "bilinear" else "bicubic",
    )


def _of_open_clip(backbone: OpenClip) -> Preprocessing:
    raise NotImplementedError
