"""A run from pretrained weights, from its configuration to its end."""

import pytest
import torch

from conftest import SMALL
from lt_extrap import runs
from lt_extrap.compose import configure
from lt_extrap.config import Head, Timm
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.backbones import build_backbone
from lt_extrap.module import build_model
from lt_extrap.progress import _input, _node
from lt_extrap.train import train


@pytest.mark.parametrize(
    ("option", "model", "weights"),
    [("scratch", "vit_base_patch16_224.mae", None), ("dinov2", "vit_base_patch14_dinov2.lvd142m", "hub")],
)
def test_shipped_backbones_are_models_of_timm(option, model, weights):
    backbone = configure("experiment=demo", f"backbone={option}").backbone
    assert (backbone.model, backbone.weights) == (model, weights)


def test_the_size_of_the_weights_is_that_of_the_images():
    words = ("experiment=tiny_imagenet_lt", "recipe=finetune")
    assert configure(*words, "backbone=scratch").recipe.image_size == 224
    for backbone, remedy in (
        (("backbone=convnet",), "set recipe.image_size=<pixels>"),
        (("backbone=timm",), "give backbone.model=..."),
        (("backbone=timm", "backbone.model=vit_tiny_patch61_224"), "one of timm.list_models()"),
    ):
        with pytest.raises(ConfigError) as error:
            configure(*words, *backbone)
        assert error.value.remedy.startswith(remedy)


def test_what_a_run_says_of_its_model():
    backbone = Timm(model="vit_base_patch14_dinov2.lvd142m", weights="hub", pooling="mean", drop_path=0.1)
    assert _node(backbone) == "Timm model=vit_base_patch14_dinov2.lvd142m weights=hub pooling=mean drop_path=0.1"
    assert _node(Head()) == "Head"
    small = build_backbone(Timm(model="test_vit"), image_size=32, seed=0)
    assert _input(small, 32) == "32 pixels, bicubic, mean 0.5 0.5 0.5, std 0.5 0.5 0.5"  # and no weights


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe.image_size=40"], r"recipe\.image_size to 32 or 48"),
        (["recipe.freeze=3", "backbone.drop_path=0.1"], r"leave out backbone\.drop_path, or lower"),
        (["recipe.freeze=3", "backbone.gradient_checkpointing=true"], r"leave out backbone\.gradient_checkpointing"),
    ],
)
def test_what_does_not_fit_the_backbone_is_refused(words, said):
    base = [word for word in SMALL if not word.startswith(("backbone", "recipe.image_size"))]
    vit = ("backbone=scratch", "backbone.options={depth: 2, embed_dim: 24, num_heads: 2}", "recipe.image_size=32")
    config = configure(*base, *vit, *words)
    target = load_target(config.target)
    with pytest.raises(ConfigError, match=said):
        build_model(config, target, build_training_set(config.auxiliary, target, seed=0))


def test_patches_of_every_kind_of_transformer():
    for backbone, patch in (
        (Timm(model="test_vit"), 16),
        (Timm(model="test_vit", options={"dynamic_img_pad": True}), 1),
        (Timm(model="test_convnext"), 1),
    ):
        assert build_backbone(backbone, image_size=32, seed=0).patch_size == patch


@pytest.mark.slow
def test_a_run_from_a_file_and_from_the_files_of_a_run(tmp_path, capsys):
    base = [word for word in SMALL if not word.startswith(("backbone", "recipe.image_size", "budget"))]
    vit = ("backbone=timm", "backbone.model=test_vit", "recipe.image_size=32", "recipe.ema=0.5")

    def run(weights, name):
        budget = "budget={unit: steps, amount: 2, warmup: 0}"
        config = configure(*base, *vit, budget, "component=baseline", f"backbone.weights={weights}")
        return train(config, tmp_path / name)

    with pytest.raises(DataError, match="no file there"):
        run(tmp_path / "none.pth", "first")
    assert not (tmp_path / "first").exists()
    network = build_backbone(Timm(model="test_vit"), image_size=32, seed=7).network
    torch.save({"model": network.state_dict()}, tmp_path / "w.pth")
    results = run(tmp_path / "w.pth", "first")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "its model," in said
    assert "32 pixels (weights: 160), bicubic, mean 0.5 0.5 0.5" in said
    (tmp_path / "w.pth").rename(tmp_path / "moved.pth")
    assert run(tmp_path / "moved.pth", "first") == results
    # its own files are weights too: the exported classifier, and a checkpoint
    for file in (runs.WEIGHTS, f"{runs.CHECKPOINTS}/last.ckpt"):
        run(tmp_path / "first" / file, f"from {file.rpartition('/')[2]}")
