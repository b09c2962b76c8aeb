"""What a run would take, said before it begins."""

import math
import re

import pytest
from rich.console import Console

from command import run
from conftest import SMALL
from lt_extrap.compose import configure, configure_command
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.module import build_module
from lt_extrap.paths import conf_dir
from lt_extrap.plan import plan, plan_panel, size
from lt_extrap.train import main

HEADERS = {
    file.stem: text.split("defaults:")[0]
    for file in (conf_dir() / "experiment").glob("*.yaml")
    if "images_per_second" in (text := file.read_text())
}


def said(config):
    console = Console(width=200)
    with console.capture() as captured:
        planned = plan(config)
        console.print(plan_panel(planned, size(config, planned.epoch), config))
    return captured.get()


def test_it_says_what_the_run_does(small):
    config = small("component=silencing")
    planned = plan(config)
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    assert planned.epoch.images == len(training.draw)
    assert planned.epoch.target_images == training.target_views
    assert planned.epoch.auxiliary_classes == len(training.auxiliary_names) == 9
    assert (planned.steps, planned.views) == (12, 12 * 32)
    module = build_module(config, target, training, steps=12)
    sized = size(config, planned.epoch)
    assert sized.parameters == sum(p.numel() for p in module.model.parameters())
    direct = module.model.direct(len(target.classes))
    assert sized.exported == sum(p.numel() for p in direct.parameters())
    assert sized.state == 3 * sized.weights == 3 * 4 * sized.parameters
    averaged = size(small("component=silencing", "recipe.ema=0.9"), planned.epoch)
    assert (averaged.state, averaged.weights) == (2 * averaged.weights, 2 * sized.weights)
    assert sized.on_disk(selects=True)[1] == 2 * sized.weights + 4 * sized.exported
    probe = size(small("component=silencing", "recipe.freeze=all"), planned.epoch)  # the optimizer has the head alone
    head = sum(p.numel() for p in module.model.head.parameters())
    assert (probe.weights, probe.state) == (sized.weights, sized.weights + 2 * 4 * head)
    assert planned.missing == ()
    assert planned.hours(0.1) == pytest.approx(12 * 32 / 360)


def test_epochs_are_counted(small):
    config = small("component=baseline", "budget={unit: epochs, amount: 3, warmup: 1}")
    planned = plan(config)
    assert planned.steps == 3 * (planned.epoch.images // 32)
    assert planned.target_views == planned.views
    assert planned.validation_views == 3 * 45
    seldom = plan(
        small("component=baseline", "budget={unit: steps, amount: 50, warmup: 1}", "+trainer.check_val_every_n_epoch=2")
    )
    assert seldom.validation_views == 50 // (planned.epoch.images // 32) // 2 * 45


@pytest.mark.parametrize("word", ["recipe.batch_size=100000", "budget={unit: target_views, amount: 1, warmup: 0}"])
def test_what_a_run_would_not_begin_has_no_plan(small, word):
    with pytest.raises(ConfigError, match=word.split("=")[0]):
        plan(small("component=baseline", word))


def test_a_published_set_needs_no_lists():
    words = ("name=x", "target=imagenet_lt", "target.neighbors.folder=neighbors", "recipe.batch_size=512")
    planned = plan(configure(*words, "component=silencing"))
    epoch = planned.epoch
    assert (epoch.target_classes, epoch.target_images) == (1000, 115846)
    assert epoch.auxiliary_classes == 5 * (385 + 479) + 15 * 136  # 1:1:3
    assert epoch.auxiliary_images == 50 * epoch.auxiliary_classes
    assert planned.steps == 100 * ((115846 + 318000) // 512)
    assert [note.split(":")[0] for note in epoch.notes] == ["the lists are not there", "the auxiliary set is not there"]
    assert "LT_EXTRAP_DATA" in planned.missing[0]


def write_lists(folder, classes=3):
    """Lists of images that are not there."""
    for name, images in (("train", 30), ("test", 2)):
        lines = [f"{name}/{label}/{i}.jpg {label}" for label in range(classes) for i in range(images)]
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return ("name=x", "target=lists", f"target.root={folder}", "target.train=train.txt", "target.test=test.txt")


def test_lists_are_enough_and_missing_images_are_named(tmp_path):
    words = write_lists(tmp_path)
    planned = plan(configure(*words, "recipe.batch_size=10"))
    assert (planned.steps, planned.views) == (100 * 9, 100 * 90)
    assert planned.missing == (
        "90 of 90 training images, such as train/0/0.jpg",
        "6 of 6 test images, such as test/0/0.jpg",
    )
    with pytest.raises(DataError, match="are not there"):
        load_target(configure(*words).target)  # which a run would do


def test_an_auxiliary_set_that_is_not_there_is_estimated(tmp_path):
    words = (*write_lists(tmp_path), "target.neighbors.train=aux.txt", "target.neighbors.pairs=p.json")
    planned = plan(configure(*words, "component=neighbors", "auxiliary.neighbors_per_class=2"))
    assert (planned.epoch.auxiliary_classes, planned.epoch.auxiliary_images) == (2 * 3, 2 * 3 * 50)
    assert any(line == f"auxiliary.train: {tmp_path / 'aux.txt'}" for line in planned.missing)


def test_lists_of_ones_own_have_to_be_there(tmp_path):
    words = ("name=x", "target=lists", f"target.root={tmp_path}", "target.train=a.txt", "target.test=b.txt")
    with pytest.raises(DataError, match="target.train: .*a.txt"):
        plan(configure(*words))


def test_weights_that_are_not_there_are_named(small, tmp_path):
    words = ("experiment=demo", "backbone=timm", "backbone.model=test_vit", "recipe.image_size=32")
    missing = plan(configure(*SMALL[1:12], *words, f"backbone.weights={tmp_path}/w.pth")).missing
    assert missing == (f"backbone.weights: {tmp_path}/w.pth",)


@pytest.mark.parametrize(
    ("experiment", "name", "repository", "file"),
    [
        (
            "imagenet_lt_clip",
            "ViT-B-16-quickgelu openai",
            "timm--vit_base_patch16_clip_224.openai",
            "open_clip_model.safetensors",
        ),
        (
            "imagenet_lt_dinov2",
            "vit_base_patch14_dinov2.lvd142m",
            "timm--vit_base_patch14_dinov2.lvd142m",
            "model.safetensors",
        ),
    ],
)
def test_weights_in_the_cache_are_there(tmp_path, monkeypatch, experiment, name, repository, file):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = configure(f"experiment={experiment}", "do=plan")
    assert f"weights of {name}: not in the hub's cache" in plan(config).missing
    folder = tmp_path / f"models--{repository}"
    for path, content in ((folder / "refs/main", "0" * 40), (folder / "snapshots" / ("0" * 40) / file, "")):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert f"weights of {name}: in the hub's cache" in plan(config).there


def test_hours_are_for_the_rate_that_is_given(small):
    assert "at 500 images/s" in said(small("do=plan"))
    assert "0.0384 at 2.78 images/s, without" in said(small("do=plan", "images_per_second=2.78"))
    with pytest.raises(ConfigError, match="images_per_second"):
        small("images_per_second=5")


@pytest.mark.slow
def test_it_leaves_nothing_on_disk(tmp_path, cache):
    status, said = run(main, "do=plan", *SMALL, cwd=tmp_path)
    assert status == 0, said
    assert "plan of demo, seed 0" in said
    status, said = run(main, "do=plan", *SMALL, "component=baseline,silencing", "-m", cwd=tmp_path)
    assert status == 0, said
    assert said.count("plan of demo") == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("experiment", sorted(HEADERS))
def test_headers_say_what_a_plan_says(experiment):
    assert len(HEADERS) == 21
    (cost,) = re.findall(r"Cost \(do=plan images_per_second=(\d+)\): (.*)", HEADERS[experiment])
    views = [int(number.replace(",", "")) for number in re.findall(r"[\d,]{7,}(?=[ ,])", cost[1])]
    hours = [float(number) for number in re.findall(r"([\d.]+) h\b", cost[1])]
    if experiment.endswith("_mgp"):
        configs = [configure_command("pretrain", f"experiment={experiment}")]
    else:
        configs = [configure(f"experiment={experiment}", f"component={of}") for of in ("baseline", "silencing")]
    for config, shown, taken in zip(configs, views, hours, strict=True):
        planned = plan(config)
        assert planned.views == shown
        assert math.isclose(planned.hours(float(cost[0])), taken, rel_tol=5e-3)
