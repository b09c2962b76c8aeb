"""Runs with an adapter: only it and the head are kept, and they are read back on the same backbone alone."""

import dataclasses
import json
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from conftest import SMALL
from lt_extrap import runs
from lt_extrap.compose import configure
from lt_extrap.config import Balanced, NoAdapter, NoAuxiliary, Timm
from lt_extrap.config.curate_filter import RunFeatures
from lt_extrap.curate.features import load_extractor
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.export import ExportConfig, export
from lt_extrap.model.adapters.adapted import adapt
from lt_extrap.model.backbones import build_backbone, load_pretrained
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.model.heads import empty_head
from lt_extrap.model.weights import read_weights
from lt_extrap.module import ExtrapolationModule, build_model
from lt_extrap.retrained import retrained
from lt_extrap.signals import Stopped
from lt_extrap.studies.features.opened import OpenedRun
from lt_extrap.train import train

WITHOUT = [word for word in SMALL if not word.startswith(("backbone", "recipe.image_size", "budget"))]
BASE = (
    *WITHOUT,
    "backbone=timm",
    "backbone.model=test_vit",
    "recipe.image_size=32",
    "recipe.blr=0.05",
    "component=silencing",
    "budget={unit: steps, amount: 17, warmup: 0}",
)


def weights_of(folder, seed):
    file = folder / f"vit{seed}.pth"
    torch.save(build_backbone(Timm(model="test_vit"), image_size=160, seed=seed).network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return weights_of(tmp_path_factory.mktemp("weights"), 7)


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache, weights):
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        words = (*BASE, f"backbone.weights={weights}", "adapter=adaptformer", "adapter.bottleneck=4")
        train(configure(*words, "recipe.ema=0.9"), folder)
    return folder


def test_files_hold_adapter_and_head_alone(run):
    results = runs.read_json(run / runs.RESULTS)
    with safe_open(run / runs.WEIGHTS, "pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
        held = sum(file.get_tensor(key).numel() for key in keys)
    assert {key.split(".")[0] for key in keys} == {"backbone", "head"}
    assert all(".adapter." in key for key in keys if key.startswith("backbone."))
    assert len(metadata["frozen_backbone"]) == 16
    assert json.loads(metadata["adapter"]) == {"type": "AdaptFormer", "bottleneck": 4}
    columns = results["target_classes"] + results["auxiliary_classes"]
    head = 64 + 1
    assert held == results["trained_parameters"] - head * (columns - results["target_classes"])
    for name in ("last.ckpt", "best.ckpt"):
        state = torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]
        assert all(".adapter." in key for key in state if ".backbone." in key)
        assert any(key.startswith("average.module.backbone") for key in state)


def test_it_is_measured_again_to_the_same_numbers(run):
    measured = evaluate(EvaluateConfig(run=str(run), workers=0))
    assert measured["test"] == runs.read_json(run / runs.RESULTS)["test"]


def test_another_backbone_is_refused_by_name(run, weights, tmp_path):
    kept = weights.read_bytes()
    own = DirectClassifier.load(run / runs.WEIGHTS).model.backbone.identity
    opened = OpenedRun.open(run, weights="selected", root=None, workers=0)
    opened.start()
    try:
        weights.write_bytes(weights_of(tmp_path, 8).read_bytes())
        for read in (
            lambda: DirectClassifier.load(run / runs.WEIGHTS),
            lambda: evaluate(EvaluateConfig(run=str(run), workers=0)),
        ):
            with pytest.raises(RunError) as refused:
                read()
            assert own in refused.value.wanted
            assert str(weights) in refused.value.found
            assert own not in refused.value.found
        with pytest.raises(RunError, match="the weights that .* started from"):
            opened.start()
        weights.unlink()
        with pytest.raises(RunError, match="the file holds adapter and head alone"):
            DirectClassifier.load(run / runs.WEIGHTS)
    finally:
        weights.write_bytes(kept)


@pytest.mark.parametrize("name", [runs.WEIGHTS, "checkpoints/last.ckpt"])
def test_an_adapter_is_no_backbone_to_start_from(run, name):
    with pytest.raises(ConfigError, match="an adapter and a head alone"):
        read_weights(run / name)


def test_a_retrained_head_sees_each_image_once_whatever_the_sampling(run):
    loaded = runs.load(run)
    assert loaded.config.sampling == "all"
    balanced = dataclasses.replace(loaded.config, auxiliary=NoAuxiliary(), loss=Balanced(), sampling="balanced")
    assert retrained(dataclasses.replace(loaded, config=balanced)).sampling == "all"


def test_a_retrained_head_stands_on_the_adapter(run, tmp_path):
    config = retrained(runs.load(run))
    config = dataclasses.replace(config, budget=dataclasses.replace(config.budget, unit="steps", amount=1.0))
    results = train(config, tmp_path / "again")
    assert results["trained_parameters"] == results["target_classes"] * 65
    ours, again = (DirectClassifier.load(folder / runs.WEIGHTS) for folder in (run, tmp_path / "again"))
    images = torch.rand(2, 3, 32, 32) * 255
    assert torch.equal(ours.model.backbone(images), again.model.backbone(images))
    with pytest.raises(ConfigError, match="give the same backbone, adapter"):
        train(dataclasses.replace(config, adapter=NoAdapter()), tmp_path / "without")


def test_an_adapter_wants_weights_and_no_further_freezing(weights):
    with pytest.raises(ConfigError, match="pretrained ones with an adapter"):
        configure(*BASE, "adapter=lora")
    with pytest.raises(ConfigError, match="backbone.drop_path to be 0 with an adapter"):
        configure(*BASE, f"backbone.weights={weights}", "adapter=lora", "backbone.drop_path=0.1")
    with pytest.raises(ConfigError, match="recipe.freeze to be 0 with an adapter"):
        configure(*BASE, f"backbone.weights={weights}", "adapter=lora", "recipe.freeze=2")


@pytest.mark.slow
def test_a_width_by_the_number_of_classes_is_not_taken_over_by_another_target(weights, tmp_path, cache):
    words = (*BASE, f"backbone.weights={weights}", "adapter=adaptformer")
    config = configure(*words)
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    for classes, width, fits in ((10, 1, True), (48, 4, False)):
        body = build_backbone(config.backbone, image_size=32, seed=0)
        load_pretrained(body, config.backbone)
        adapt(body, config.adapter, classes=classes, seed=0)
        assert {value.numel() for name, value in body.named_parameters() if name.endswith("down.bias")} == {width}
        head = empty_head(config.head, dim=body.dim, classes=classes)
        names = tuple(map(str, range(classes)))
        file = tmp_path / f"{classes}.safetensors"
        model = Classifier(body, head)
        DirectClassifier(model, config.backbone, config.head, names, 32, 1.0, config.adapter).save(file)
        taken = configure(*words, f"features_from={file}")
        if fits:
            assert build_model(taken, target, training).backbone.frozen
        else:
            with pytest.raises(ConfigError, match="an adapter as wide as 9 target classes make it"):
                build_model(taken, target, training)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(run, weights, tmp_path, monkeypatch):
    words = (*BASE, f"backbone.weights={weights}", "adapter=adaptformer", "adapter.bottleneck=4", "recipe.ema=0.9")
    config = configure(*words)
    of_step = ExtrapolationModule.training_step

    def stopping(module, batch, batch_idx):
        if module.global_step == 9:
            signal.raise_signal(signal.SIGTERM)
        return of_step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ExtrapolationModule, "training_step", stopping)
        with pytest.raises(Stopped):
            train(config, tmp_path / "run")
    kept = weights.read_bytes()
    try:
        weights.write_bytes(weights_of(tmp_path, 8).read_bytes())
        with pytest.raises(RunError, match=r"the content of backbone\.weights is another"):
            train(config, tmp_path / "run")
        # Moved, and given where they are now, they are where whatever opens the run looks for them.
        (tmp_path / "moved.pth").write_bytes(kept)
        train(configure(*words, f"backbone.weights={tmp_path / 'moved.pth'}"), tmp_path / "run")
        measured = evaluate(EvaluateConfig(run=str(tmp_path / "run"), workers=0))
        assert measured["test"] == runs.read_json(tmp_path / "run" / runs.RESULTS)["test"]
        assert runs.load(tmp_path / "run").config.backbone.weights == str(tmp_path / "moved.pth")
    finally:
        weights.write_bytes(kept)
    straight, resumed = (load_file(folder / runs.WEIGHTS) for folder in (run, tmp_path / "run"))
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


def test_features_and_predictions_are_its_own(run):
    extractor = load_extractor(RunFeatures(run=str(run)))
    direct = DirectClassifier.load(run / runs.WEIGHTS)
    (features,) = extractor.of([Image.new("RGB", (40, 40), (200, 30, 90))], batch=2)
    with torch.no_grad():
        wanted = direct.model.backbone(torch.tensor([200.0, 30, 90]).view(1, 3, 1, 1).expand(2, 3, 32, 32))
    np.testing.assert_allclose(features, wanted[:1].numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torchscript", "onnx", "safetensors"])
def test_it_is_exported(run, form, tmp_path):
    done = export(ExportConfig(run=str(run), format=form, output=str(tmp_path / form)))
    assert done.files
    assert ("wants the frozen backbone too" in done.use) == (form == "safetensors")  # the others are whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "refused"),
    [
        ("lora", False),
        *(pytest.param(*of, marks=pytest.mark.long) for of in (("ssf", False), ("bitfit", False), ("vpt_deep", True))),
    ],
)
def test_timm_takes_what_can_be_merged(adapter, refused, weights, tmp_path):
    words = (*BASE, f"backbone.weights={weights}", f"adapter={adapter}", "budget.amount=3")
    train(configure(*words), tmp_path / "run")
    config = ExportConfig(run=str(tmp_path / "run"), format="timm", output=str(tmp_path / "timm"))
    if refused:
        with pytest.raises(ConfigError, match="an adapter that timm's own modules can hold"):
            export(config)
    else:
        assert export(config).files
    assert export(dataclasses.replace(config, format="torchscript", output=str(tmp_path / "torchscript"))).files
    assert export(dataclasses.replace(config, format="onnx", output=str(tmp_path / "onnx"))).files
