"""A finished run measured again."""

import dataclasses
import json
import shutil

import pytest
import torch

import command
from conftest import SMALL
from lt_extrap import runs
from lt_extrap.compose import configure
from lt_extrap.config import Budget
from lt_extrap.data.target import load_target
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.evaluate import EvaluateConfig, evaluate, main
from lt_extrap.retrained import retrained
from lt_extrap.train import train
from test_resume import worsening

CPU = {"accelerator": "cpu", "devices": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache):
    """A finished run whose selected weights are not its last."""
    folder = tmp_path_factory.mktemp("run")
    long = ("budget={unit: epochs, amount: 2, warmup: 1}", "target.world.test_per_class=6")
    with pytest.MonkeyPatch.context() as patch:
        worsening(patch)
        train(configure(*SMALL, "component=silencing", "recipe.ema=0.5", "recipe.blr=0.05", *long), folder)
    return folder


def measured(run, **options):
    return evaluate(EvaluateConfig(run=str(run), workers=0, trainer=CPU, **options))["test"]


def test_the_same_numbers_again(run, capsys):
    results = json.loads((run / "results.json").read_text())
    assert results["selected"] == "best"
    assert results["test"] != results["last"]
    assert measured(run) == results["test"]
    assert measured(run, weights="last") == results["last"]
    assert capsys.readouterr().out.count("\nthe numbers of") == 2
    assert json.loads((run / "evaluation-direct-last.json").read_text())["test"] == results["last"]


def test_any_list(run, tmp_path):
    config = runs.load(run).config
    target = load_target(config.target)
    rows = [f"{target.test.path(i)} {target.test.labels[i]}" for i in range(len(target.test))]
    file = tmp_path / "list.txt"
    file.write_text("\n".join(rows))
    assert measured(run, images=str(file)) == measured(run)
    file.write_text("\n".join(row for row in rows if row.endswith(" 0")))
    few = measured(run, images=str(file), output=str(tmp_path / "few.json"))
    assert few["acc_many"] == few["acc"]
    assert few["acc_few"] is None
    assert json.loads((tmp_path / "few.json").read_text())["test"] == few
    file.write_text(f"{target.test.path(0)} 9\n")
    with pytest.raises(DataError, match=r"labels 0\.\.8"):
        measured(run, images=str(file))


@pytest.mark.slow
def test_the_retrained_classifier(run, capsys, monkeypatch):
    direct = measured(run)
    assert retrained(runs.load(run)).budget.amount == 30
    monkeypatch.setattr("lt_extrap.retrained.Budget", lambda **_: Budget(unit="epochs", amount=4.0, warmup=0.0))
    retrained_numbers = measured(run, classifier="retrained")
    record = runs.load(run / "retrained")
    recipe = record.config.recipe
    assert (recipe.lr, recipe.mixup, recipe.cutmix) == (pytest.approx(2e-3 * recipe.batch_size / 512), 0.8, 1.0)
    assert recipe.ema is None
    assert record.results["auxiliary_classes"] == 0
    assert retrained_numbers == record.results["test"] != direct
    # The backbone is that of the selected weights, running statistics included, and only the head has moved.
    before = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    after = torch.load(run / "retrained" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    body = [key for key in after if key.startswith("model.backbone.")]
    assert len(body) > 10
    for key in body:
        assert torch.equal(after[key], before[key.replace("model.", "average.module.")]), key
    assert after["model.head.weight"].shape[0] == 9
    capsys.readouterr()
    moved = run.with_name("moved")
    run.rename(moved)
    assert measured(moved, classifier="retrained") == retrained_numbers
    assert "finished before" in capsys.readouterr().out
    moved.rename(run)
    config = retrained(runs.load(run))
    other = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, image_size=20))
    with pytest.raises(ConfigError, match="same backbone"):
        train(other, run / "other")


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(run, tmp_path):
    """Gloo; 53 test images over two processes: the shares differ by one."""
    target = load_target(runs.load(run).config.target)
    rows = [f"{target.test.path(i)} {target.test.labels[i]}" for i in range(53)]
    images = tmp_path / "odd.txt"
    images.write_text("\n".join(rows))
    words = [f"run={run}", "workers=0", f"images={images}", "output=two.json"]
    words += ["trainer.accelerator=cpu", "trainer.devices=2"]
    status, said = command.run(main, *words, cwd=tmp_path, OMP_NUM_THREADS="1")
    assert status == 0, said
    assert said.count("test: overall") == 1
    two, one = json.loads((tmp_path / "two.json").read_text())["test"], measured(run, images=str(images))
    assert two.keys() == one.keys()
    for key, value in one.items():
        # Fractions of images are exact; mean probabilities may differ in the last bit of a logit.
        assert two[key] == (pytest.approx(value, abs=1e-6) if key in ("ece", "aux_mass") else value), key


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "results.json").unlink(), "run that has ended"),
        (lambda run: (run / "run.json").unlink(), "a run folder with run.json"),
        (lambda run: (run / "checkpoints" / "last.ckpt").unlink(), "copy the whole run folder"),
        (lambda run: runs.write_json(run / "run.json", {"format": 7}), "of this version"),
        (lambda run: edit(run, "results.json", auxiliary_classes=3), "a checkpoint of 12 classes"),
        (lambda run: edit(run, "results.json", target_classes=8), "trained on 8 target classes"),
    ],
)
def test_what_is_no_finished_run_of_this_target_is_refused(small, tmp_path, spoil, said):
    train(small("component=baseline", "budget={unit: steps, amount: 1, warmup: 0}"), tmp_path)
    spoil(tmp_path)
    with pytest.raises(RunError, match=said):
        measured(tmp_path)


def test_other_lists_than_those_of_the_training_are_refused(small, tmp_path, capsys):
    """The groups many, medium and few are of the training list."""
    source = load_target(small("component=baseline").target)
    root = tmp_path / "root"
    shutil.copytree(source.place.root, root)
    mine = ("target=lists", "target.archive=null", f"target.root={root}", "target.val=null")
    lists = ("target.train=lists/target_train.txt", "target.test=lists/target_test.txt", "target.names=names.txt")
    (root / "names.txt").write_text("\n".join(source.classes.names))
    without = [word for word in SMALL if not word.startswith("target.world")]
    config = configure(*without, *mine, *lists, "component=baseline", "budget={unit: steps, amount: 1, warmup: 0}")
    train(config, tmp_path / "run")
    before = measured(tmp_path / "run")
    test, names, train_list = (root / name for name in ("lists/target_test.txt", "names.txt", "lists/target_train.txt"))
    test.write_text("\n".join(test.read_text().splitlines()[1:]))
    assert measured(tmp_path / "run") != before
    assert "another test list" in capsys.readouterr().out
    rows = train_list.read_text()
    train_list.write_text(rows + rows.splitlines()[0])
    with pytest.raises(RunError, match=r"another content of target\.train"):
        measured(tmp_path / "run")
    train_list.write_text(rows)
    names.write_text("\n".join(reversed(names.read_text().splitlines())))
    with pytest.raises(RunError, match=r"another content of target\.names"):
        measured(tmp_path / "run")


def edit(run, name, **values):
    runs.write_json(run / name, {**json.loads((run / name).read_text()), **values})


def test_what_is_of_the_backbone_is_not_for_the_retrained_head(timm_run):
    run = runs.load(timm_run)
    recipe = dataclasses.replace(
        run.config.recipe, accumulate=8, head_lr_factor=9.0, head_warmup_factor=3.0, freeze=1, layer_decay=0.5
    )
    budget = dataclasses.replace(run.config.budget, amount=9.0, warmup=2.0, head_warmup=1.0)
    config = retrained(dataclasses.replace(run, config=dataclasses.replace(run.config, recipe=recipe, budget=budget)))
    assert config == retrained(run)


def test_a_head_is_retrained_on_one_device(convnet_run):
    options = EvaluateConfig(run=str(convnet_run), classifier="retrained", trainer={"accelerator": "cpu", "devices": 2})
    with pytest.raises(ConfigError, match="one device to train"):
        evaluate(options)
