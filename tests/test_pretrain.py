"""Masked pretraining on the small world: a run like others, and a backbone for them."""

import json

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from conftest import SMALL
from lt_extrap import checkpoints
from lt_extrap.compose import configure, configure_command
from lt_extrap.config import Timm
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.model.backbones import build_backbone, load_pretrained
from lt_extrap.paths import conf_dir
from lt_extrap.pretrain import pretrain
from lt_extrap.report.__main__ import ReportConfig  # noqa: F401 (brings the schema of the command)
from lt_extrap.runs import load
from lt_extrap.table import find_runs
from lt_extrap.train import train
from test_resume import assert_equal, state, stop_at

VIT = (
    "backbone.model=vit_tiny_patch16_224",
    "+backbone.options={patch_size: 8, depth: 2, embed_dim: 24, num_heads: 2}",
    "recipe.image_size=32",
)
WORLD = tuple(word for word in SMALL if word.startswith(("target.world", "data")))
TINY = (
    *("target=embedded", "name=mgp", *WORLD, *VIT),
    "decoder={depth: 1, width: 16, heads: 2}",
    *("recipe.batch_size=32", "recipe.accumulate=2", "recipe.blr=1e-2"),
    *("budget={unit: epochs, amount: 2, warmup: 1}", "pictures_every=1", "logger=csv", "trainer.accelerator=cpu"),
)


def tiny(*overrides):
    return configure_command("pretrain", *TINY, *overrides)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, cache):
    """A finished pretraining that keeps its whole last state."""
    folder = tmp_path_factory.mktemp("mgp") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        patch.setattr(checkpoints, "strip", lambda folder: None)
        pretrain(tiny(), folder)
    return folder


def test_it_leaves_a_backbone_that_a_classifier_starts_from(straight, tmp_path, capsys):
    results = json.loads((straight / "results.json").read_text())
    assert results["steps"] == 20
    assert 0 < results["val"]["loss"] < 1.2
    pictures = sorted(path.name for path in (straight / "reconstructions").iterdir())
    assert pictures == ["epoch-0001.png", "epoch-0002.png"]
    with Image.open(straight / "reconstructions" / "epoch-0002.png") as picture:
        assert picture.size == (3 * 36, 8 * 36)
    start = [*SMALL, "backbone=scratch", *VIT, "component=silencing", "budget={unit: steps, amount: 1, warmup: 0}"]
    start = [word for word in start if not word.startswith(("backbone.widths", "recipe.image_size=16"))]
    train(configure(*start, f"backbone.weights={straight}", "recipe.blr=1e-12"), tmp_path / "run")
    said = "".join(character for character in capsys.readouterr().out if character not in "\n │")
    assert f"{straight}/model.safetensors" in said
    assert "weights:" not in said  # they were trained at the size of this run
    trained = load_file(tmp_path / "run" / "model.safetensors")
    for name, value in load_file(straight / "model.safetensors").items():
        torch.testing.assert_close(trained[f"backbone.network.{name}"], value, atol=1e-6, rtol=0)
    options = {"patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 2}
    other = Timm(model="vit_base_patch16_224.mae", options=options, weights=str(straight))
    with pytest.raises(ConfigError, match="preprocessing that"):
        load_pretrained(build_backbone(other, image_size=32, seed=0), other)


def test_the_norm_behind_the_pooling_begins_anew(straight, tmp_path, capsys):
    words = [*SMALL, "backbone=scratch", *VIT, "+backbone.options.global_pool=avg", f"backbone.weights={straight}"]
    words = [word for word in words if not word.startswith(("backbone.widths", "recipe.image_size=16", "budget"))]
    config = configure(*words, "component=baseline", "budget={unit: steps, amount: 1, warmup: 0}", "loss.bce=true")
    train(config, tmp_path / "run")
    assert "without its last norm" in " ".join(capsys.readouterr().out.replace("│", "").split())


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(3, 10, 17), pytest.param((20,), marks=pytest.mark.slow)], ids=str)
def test_stopped_at_any_step_it_ends_as_the_straight_one(straight, tmp_path, monkeypatch, steps):
    from lt_extrap.signals import Stopped

    monkeypatch.setattr(checkpoints, "strip", lambda folder: None)
    stop_at(monkeypatch, *steps)
    folder = tmp_path / "run"
    for _ in steps:
        with pytest.raises(Stopped):
            pretrain(tiny(), folder)
    pretrain(tiny(), folder)
    assert_equal(state(straight), state(folder))
    assert_equal(*(json.loads((run / "results.json").read_text()) for run in (straight, folder)))
    assert_equal(*(load_file(run / "model.safetensors") for run in (straight, folder)))
    for picture in (straight / "reconstructions").iterdir():
        assert picture.read_bytes() == (folder / "reconstructions" / picture.name).read_bytes()


def test_a_finished_one_returns_and_is_no_classifier(straight, capsys):
    results = json.loads((straight / "results.json").read_text())
    assert pretrain(tiny("logger=none"), straight) == results
    assert "finished before" in capsys.readouterr().out
    with pytest.raises(RunError, match=r"mask_ratio was 0.75, now 0.5"):
        pretrain(tiny("mask_ratio=0.5"), straight)
    with pytest.raises(RunError, match="the run of a classifier"):
        load(straight)
    with pytest.raises(RunError, match="the run of a classifier"):
        evaluate(EvaluateConfig(run=str(straight)))
    assert find_runs(straight) == ([], [straight], [])


@pytest.mark.slow
def test_parts_of_a_batch_and_auxiliary_images(straight, tmp_path):
    """The parts are those of one batch up to rounding; auxiliary images make epochs longer."""
    pretrain(tiny("recipe.accumulate=1", "pictures_every=0"), tmp_path / "one")
    one = load_file(tmp_path / "one" / "model.safetensors")
    for name, value in load_file(straight / "model.safetensors").items():
        torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-4)
    assert not (tmp_path / "one" / "reconstructions").exists()
    budget = "budget={unit: epochs, amount: 1, warmup: 0}"
    results = pretrain(tiny("auxiliary=neighbors", budget), tmp_path / "more")
    assert (results["auxiliary_classes"], results["steps"]) == (9, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["backbone=convnet"], "backbone to be scratch or timm"),
        (["backbone.weights=x"], "backbone.weights to be null"),
        (["recipe.mixup=0.8"], "recipe.mixup to be 0.0 in a pretraining"),
        (["recipe.layer_decay=0.75"], "recipe.layer_decay to be 1.0"),
        (["data.features_once=true"], "data.features_once to be false in a pretraining"),
        (["recipe.fused=true", "recipe.clip=1", "trainer.precision=16-mixed"], "recipe.fused to be false"),
        (["mask_rato=0.5"], "did you mean mask_ratio?"),
        (["mask_ratio=1"], "mask_ratio to be in 0 < mask_ratio < 1"),
        (["decoder.heads=3"], "decoder.heads to be a divisor of decoder.width=16"),
        (["loss=balanced"], "loss"),
        (["experiment=imagenet_lt_lift"], "run python -m lt_extrap.train experiment=imagenet_lt_lift"),
    ],
)
def test_what_means_nothing_in_a_pretraining_is_refused(overrides, said):
    words = [
        word for word in TINY if not overrides[0].startswith("backbone=") or not word.lstrip("+").startswith("backbone")
    ]
    with pytest.raises(ConfigError) as error:
        configure_command("pretrain", *words, *overrides)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+backbone.options.global_pool=avg"], "last norm before its pooling"),
        (["recipe.image_size=36"], "a multiple of the patch, 8 pixels"),
        (["backbone.model=resnet18", "backbone.options={}"], "resnet18"),
    ],
)
def test_other_networks_are_refused(overrides, said, tmp_path):
    with pytest.raises(ConfigError) as error:
        pretrain(tiny(*overrides), tmp_path / "run")
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_sweep_says_its_command_and_its_words_are_understood():
    text = (conf_dir() / "sweep" / "pretraining.yaml").read_text()
    assert "python -m lt_extrap.pretrain experiment=tiny_imagenet_lt_mgp sweep=pretraining" in text
    swept = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    assert swept == {"auxiliary": "none,neighbors"}
    kinds = [
        type(configure_command("pretrain", "experiment=tiny_imagenet_lt_mgp", f"auxiliary={word}").auxiliary).__name__
        for word in swept["auxiliary"].split(",")
    ]
    assert kinds == ["NoAuxiliary", "AuxiliaryClasses"]
