"""Class weights that start as mean features."""

import pytest
import torch
from torch.nn import functional as F

from lt_extrap.checkpoints import LAST
from lt_extrap.class_means import class_means, start_from_means
from lt_extrap.compose import configure
from lt_extrap.data.datamodule import ImageDataModule, collate
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.module import build_module
from lt_extrap.train import train
from test_processes import of_two

CPU = torch.device("cpu")


@pytest.fixture
def parts(small):
    config = small("head=class_mean", "component=silencing", "recipe.ema=0.5")
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    module = build_module(config, target, training, steps=1)
    data = ImageDataModule(
        target,
        training,
        recipe=config.recipe,
        preprocessing=module.model.backbone.preprocessing,
        loading=config.data,
        seed=0,
    )
    return module, training, list(data.still_dataloader())


def test_they_are_means_whatever_the_order_and_the_batches(parts):
    module, training, batches = parts
    backbone, classes = module.model.backbone, module.model.head.out_features
    label = torch.cat([batch.label for batch in batches])
    assert label.tolist() == training.index.labels.tolist()  # auxiliary images too, each once
    means = class_means(backbone, batches, classes=classes, device=CPU)
    with torch.no_grad():
        features = torch.cat([backbone.eval()(batch.images.float()) for batch in batches])
    for column in range(classes):
        torch.testing.assert_close(means[column], features[label == column].mean(0))
    halves = [
        type(batch)(batch.images[part], batch.label[part], batch.sample[part], [])
        for batch in reversed(batches)
        for part in (slice(5, None), slice(5))
    ]
    again = class_means(backbone, halves, classes=classes, device=CPU)
    torch.testing.assert_close(again, means, rtol=1e-5, atol=1e-6)
    assert backbone.train().training
    class_means(backbone, batches, classes=classes, device=CPU)
    assert backbone.training  # left as it was


def test_a_class_without_an_image_and_an_unreadable_one_are_told(parts):
    module, _, batches = parts
    backbone, classes = module.model.backbone, module.model.head.out_features
    with pytest.raises(ConfigError, match=rf"none of 2 classes, column {classes} first"):
        class_means(backbone, batches, classes=classes + 2, device=CPU)
    spoilt = [batches[0]._replace(unreadable=["x.png: truncated"]), *batches[1:]]
    with pytest.raises(DataError, match=r"x\.png"):
        class_means(backbone, spoilt, classes=classes, device=CPU)
    class_means(backbone, spoilt, classes=classes, device=CPU, skip_unreadable=True)


def test_a_head_and_its_average_start_as_rows_of_length_one(parts):
    module, _, _ = parts
    means = 3 + torch.rand(module.model.head.weight.shape)
    start_from_means(module, means)
    assert torch.equal(module.model.head.weight, F.normalize(means, dim=1))
    assert torch.equal(module.measured.head.weight, module.model.head.weight)
    assert module.measured is not module.model


def test_a_run_starts_from_them_and_is_measured_again(small, tmp_path, capsys):
    few = "budget={unit: steps, amount: 1, warmup: 0}"
    still = ("recipe.blr=1e-12", "recipe.weight_decay=0", few, "target.val=null")
    config = small("head=class_mean", "component=silencing", *still)
    results = train(config, tmp_path / "run")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "head from the mean feature of each class" in said
    assert "head: class means of" in said
    assert torch.allclose(head_of(tmp_path / "run"), expected(config), atol=1e-6)
    cpu = {"accelerator": "cpu", "devices": 1}
    assert evaluate(EvaluateConfig(run=str(tmp_path / "run"), workers=0, trainer=cpu))["test"] == results["test"]
    train(config, tmp_path / "run")
    assert "class means of" not in capsys.readouterr().out  # it has ended


def head_of(run):
    return torch.load(run / "checkpoints" / LAST, weights_only=True)["state_dict"]["model.head.weight"]


def expected(config):
    """By a pass of its own over all training images."""
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    backbone = build_module(config, target, training, steps=1).model.backbone
    loader = ImageDataModule(
        target, training, recipe=config.recipe, preprocessing=backbone.preprocessing, loading=config.data, seed=0
    ).still_dataloader()
    (batch,) = [collate([loader.dataset[0, i] for i in range(len(training.index))])]
    with torch.no_grad():
        features = backbone.eval()(batch.images.float())
    columns = range(len(training.counts))
    return F.normalize(torch.stack([features[batch.label == column].mean(0) for column in columns]), dim=1)


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_start_from_those_of_one(tmp_path):
    more = ("head=class_mean", "recipe.blr=1e-12", "recipe.weight_decay=0")
    config = configure(*of_two(*more))
    train(config, tmp_path / "two")
    assert torch.allclose(head_of(tmp_path / "two"), expected(config), atol=1e-6)
