"""Runs with the losses beside the balanced softmax, over target and auxiliary columns, mixed and stopped."""

import pytest
from safetensors.torch import load_file

from lt_extrap.errors import ConfigError
from lt_extrap.train import train

COSINE = ("head=cosine", "head.scale=30")
LOSSES = {
    "focal": ("loss=focal", "loss.smoothing=0.1"),
    "class_balanced": ("loss=class_balanced", "loss.gamma=0.5"),
    "ldam": ("loss=ldam", "loss.reweight_from=0.5", *COSINE),
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_they_train(loss, small, tmp_path):
    config = small("component=neighbors", *LOSSES[loss], "recipe.mixup=0.8", "recipe.cutmix=1")
    results = train(config, tmp_path / "run")
    assert results["auxiliary_classes"] == 9
    assert 0 <= results["test"]["acc"] <= 1


@pytest.mark.slow
def test_late_weights_change_what_follows(small, tmp_path):
    weights = []
    for begins in ("null", "0.5", "0"):
        words = ("component=baseline", "loss=ldam", f"loss.reweight_from={begins}", "loss.beta=0.99", *COSINE)
        train(small(*words, "target.val=null"), tmp_path / begins)
        weights.append(load_file(tmp_path / begins / "model.safetensors")["head.weight"])
    never, late, always = weights
    assert 0 < (late - never).abs().max() < (always - never).abs().max()


def test_margins_without_cosines_and_smoothing_are_refused(small, tmp_path):
    with pytest.raises(ConfigError, match=r"head=cosine head\.scale=30"):
        train(small("component=baseline", "loss=ldam"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"loss\.smoothing"):
        small("component=baseline", "loss=ldam", *COSINE, "loss.smoothing=0.1")
