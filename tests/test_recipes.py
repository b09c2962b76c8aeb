"""Each published experiment runs: a small backbone of its kind, from weights in the format of that kind."""

import json

import open_clip
import pytest
import torch

from conftest import SMALL
from lt_extrap.compose import configure, configure_command
from lt_extrap.config import Timm
from lt_extrap.model.backbones import build_backbone
from lt_extrap.paths import conf_dir
from lt_extrap.pretrain import pretrain
from lt_extrap.train import train

PUBLISHED = [*(conf_dir() / "recipe/scripts").glob("*.yaml"), *(conf_dir() / "experiment").glob("*_lift.yaml")]
EXPERIMENTS = sorted(path.stem for path in PUBLISHED)
ADAPTED = sorted(path.stem for path in (conf_dir() / "experiment").glob("*_adaptformer.yaml"))
TINY = {"depth": 2, "embed_dim": 24, "num_heads": 2}
MODEL = {"scratch": "vit_tiny_patch16_224", "dinov2": "vit_small_patch14_dinov2.lvd142m", "clip": "tiny-recipe-clip"}
SIZE = {"scratch": 32, "dinov2": 28, "clip": 32}
CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 1, "width": 16, "heads": 2, "context_length": 16},
    "quick_gelu": True,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights of each kind, as its authors publish it."""
    folder = tmp_path_factory.mktemp("weights")
    mae = build_backbone(Timm(model=MODEL["scratch"], options=TINY), image_size=32, seed=7).network.state_dict()
    decoder = {"mask_token": torch.zeros(1, 1, 16), "decoder_embed.weight": torch.zeros(16, 24)}
    torch.save({"model": mae | decoder}, folder / "scratch.pth")
    dino = build_backbone(Timm(model=MODEL["dinov2"], options=TINY), image_size=56, seed=7).network.state_dict()
    torch.save(dino | {"mask_token": torch.zeros(1, 24)}, folder / "dinov2.pth")
    (folder / f"{MODEL['clip']}.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder)
    torch.manual_seed(7)
    torch.save(open_clip.create_model(MODEL["clip"], pretrained_text=False).state_dict(), folder / "clip.pth")
    return folder


def shrunk(experiment, weights, *overrides):
    """An experiment on the small world with a small backbone; all else is its own."""
    kind = next(
        kind for kind in MODEL if f"_{kind}" in experiment.replace("_lift", "_clip").replace("_livt", "_scratch")
    )
    head_warmup = int(kind == "dinov2" and experiment in EXPERIMENTS)
    return configure(
        f"experiment={experiment}",
        "target=embedded",
        *(word for word in SMALL if word.startswith("target.world")),
        "target.neighbors.folder=null",
        "target.random.folder=null",
        f"backbone.model={MODEL[kind]}",
        f"backbone.weights={weights / kind}.pth",
        *(["backbone.tag=null"] if kind == "clip" else [f"+backbone.options.{key}={TINY[key]}" for key in TINY]),
        "recipe.batch_size=8",
        "recipe.accumulate=2",
        f"recipe.image_size={SIZE[kind]}",
        f"budget={{unit: steps, amount: 4, warmup: 1, head_warmup: {head_warmup}}}",
        "data.workers=0",
        "logger=none",
        *overrides,
    )


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [*EXPERIMENTS, *ADAPTED])
def test_it_runs(experiment, weights, tmp_path):
    config = shrunk(experiment, weights, "component=silencing")
    results = train(config, tmp_path / "run")
    assert results["steps"] == 4
    assert results["auxiliary_classes"] == 9
    assert 0 <= results["test"]["acc"] <= 1
    assert (tmp_path / "run" / "model.safetensors").is_file()
    if experiment in ADAPTED:  # two blocks of a bottleneck of 2, for 9 classes; a cosine head has no bias
        assert results["trained_parameters"] == 2 * (2 * 24 + 2 * 24 + 2 + 2 * 24 + 24 + 1) + 24 * 18


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["imagenet_lt_mgp", "inat18_mgp", "places_lt_mgp", "tiny_imagenet_lt_mgp"])
def test_a_pretraining_runs(experiment, tmp_path):
    config = configure_command(
        "pretrain",
        f"experiment={experiment}",
        *("target=embedded", *(word for word in SMALL if word.startswith("target.world"))),
        *([] if experiment.startswith("tiny") else ["target.neighbors.folder=null", "target.random.folder=null"]),
        *("auxiliary=neighbors", "backbone.model=vit_tiny_patch16_224", "recipe.image_size=32"),
        *(f"+backbone.options.{key}={TINY[key]}" for key in TINY if key not in config_options(experiment)),
        *("decoder={depth: 1, width: 16, heads: 2}", "recipe.batch_size=8", "recipe.accumulate=2"),
        *("budget={unit: steps, amount: 4, warmup: 1}", "data.workers=0", "logger=none"),
    )
    results = pretrain(config, tmp_path / "run")
    assert (results["steps"], results["auxiliary_classes"]) == (4, 9)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def config_options(experiment):
    return configure_command("pretrain", f"experiment={experiment}").backbone.options
