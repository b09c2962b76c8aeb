import re

import pytest

from lt_extrap.config import AdamW, CifarResNet, Sgd
from lt_extrap.errors import ConfigError

BOTH = {"batch_size": 8, "blr": 0.1, "image_size": 32}
PADDED = {"crop_scale": None, "crop_ratio": None, "padding": 4}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"padding": 4}, "recipe.crop_scale to be null with recipe.padding"),
        ({"padding": 4, "crop_scale": None}, "recipe.crop_ratio to be null with recipe.padding"),
        ({**PADDED, "padding": 32}, "recipe.padding to be in 0 <= padding < recipe.image_size"),
        ({"crop_scale": None}, "recipe.crop_ratio to be null or 0 with recipe.crop_scale=null"),
        ({"crop_ratio": None}, "recipe.crop_ratio to be [narrowest, widest]"),
        ({"milestones": [0.5]}, "recipe.gamma to be in 0 < gamma < 1 with recipe.milestones"),
        ({"milestones": [0.5], "gamma": 1.0}, "recipe.gamma"),
        ({"accumulate": 3}, "recipe.accumulate to be a divisor of recipe.batch_size=8"),
        ({"accumulate": 0}, "recipe.accumulate"),
        ({"head_warmup_factor": 0.0}, "recipe.head_warmup_factor to be positive"),
        ({"freeze": -1}, "recipe.freeze to be at least 0"),
        ({"gamma": 0.1}, "recipe.gamma to be in 0 < gamma < 1 with recipe.milestones, and null without"),
        ({"milestones": [0.5, 0.4], "gamma": 0.1}, "recipe.milestones to be rising"),
        ({"milestones": [0.5, 1.0], "gamma": 0.1}, "recipe.milestones to be rising"),
        ({"milestones": [0.0], "gamma": 0.1}, "recipe.milestones to be rising"),
        ({"randaugment": [0.0, 0.0]}, "recipe.randaugment to be [magnitude, std] with 0 < magnitude <= 10"),
        ({"randaugment": [10.5, 0.5]}, "recipe.randaugment"),
        ({"randaugment": [9.0, -0.5]}, "recipe.randaugment"),
        ({"randaugment": [9.0]}, "recipe.randaugment"),
        ({"color_jitter": -0.1}, "recipe.color_jitter to be in 0..1"),
        ({"color_jitter": 1.1}, "recipe.color_jitter to be in 0..1"),
        ({"color_jitter": 0.4, "randaugment": [9.0, 0.5]}, "recipe.color_jitter to be 0 with recipe.randaugment"),
        ({"erasing": -0.1}, "recipe.erasing to be in 0..1"),
        ({"erasing": 1.1}, "recipe.erasing to be in 0..1"),
    ],
)
@pytest.mark.parametrize("kind", [AdamW, Sgd])
def test_what_both_kinds_refuse(kind, options, said):
    kind(**BOTH)
    kind(**BOTH, **PADDED, milestones=[0.5], gamma=0.1)
    kind(**BOTH, randaugment=[10.0, 0.0], erasing=1.0)
    kind(**BOTH, color_jitter=1.0)
    with pytest.raises(ConfigError, match=re.escape(said)):
        kind(**{**BOTH, **options})


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Sgd, {"momentum": 1.0}),
        (Sgd, {"momentum": -0.1}),
        (Sgd, {"weight_decay": -1.0}),
        (AdamW, {"betas": [0.9]}),
        (AdamW, {"weight_decay": -1.0}),
    ],
)
def test_what_one_kind_refuses(kind, options):
    with pytest.raises(ConfigError, match=f"recipe.{next(iter(options))}"):
        kind(**BOTH, **options)


@pytest.mark.parametrize("depth", [2, 33, 18])
def test_depths_that_the_cifar_network_does_not_have(depth):
    with pytest.raises(ConfigError, match="backbone.depth to be 6n \\+ 2"):
        CifarResNet(depth=depth)
