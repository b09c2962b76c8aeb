"""A person's own folder of images from the first command to the exported classifier."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from command import interpreted, run
from lt_extrap.compose import configure
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.export import ExportConfig, export
from lt_extrap.predict import PredictConfig, predict
from lt_extrap.signals import Stopped
from lt_extrap.train import main as train_command
from lt_extrap.train import train
from test_resume import stop_at

CLASSES = {"snow leopard": 30, "cat": 12, "Dog": 6, "yak": 3}
TINY = (
    "recipe.image_size=16",
    "recipe.batch_size=16",
    "backbone.widths=[8,16]",
    "data.workers=0",
    "budget={unit: steps, amount: 3, warmup: 0}",
    "logger=none",
    "trainer.accelerator=cpu",
)


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)).save(path)


def make(root):
    """Photographs as they come: spaces, extensions in any case, a folder within a class."""
    for label, (name, count) in enumerate(CLASSES.items()):
        for i in range(count):
            below = "second visit/" if i % 2 else ""
            picture(root / name / f"{below}img {i}.{('JPG', 'jpeg', 'png')[i % 3]}", seed=100 * label + i)
    return root


def make_auxiliary(root):
    """Two auxiliary classes, kept where no class of the target is."""
    rows = []
    for label in range(2):
        for i in range(6):
            picture(root / ".auxiliary" / f"{label} {i}.png", seed=1000 + 10 * label + i)
            rows.append(f".auxiliary/{label} {i}.png {label}\n")
    (root / "aux.txt").write_text("".join(rows))
    (root / "aux_names.txt").write_text("lynx\nwolf\n")
    (root / "pairs.json").write_text('{"edges": [[2, 0], [1, 0], [0, 1]]}')
    files = {"train": "aux.txt", "names": "aux_names.txt", "pairs": "pairs.json", "neighbors_per_class": "null"}
    return [f"target.neighbors.{key}={value}" for key, value in files.items()]


def words(root, *more):
    return ("experiment=folder", f"target.root={root}", *TINY, *more)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return make(tmp_path_factory.mktemp("data") / "mine")


def test_from_a_folder_to_an_exported_classifier(mine, tmp_path, capsys):
    root = shutil.copytree(mine, tmp_path / "mine")
    folder = tmp_path / "run"
    method = ("component=silencing", *make_auxiliary(root))
    results = train(configure(*words(root, *method)), folder)
    said = capsys.readouterr().out
    assert "label 2: snow leopard (train 21, val 3, test 6)" in said
    assert "classes without test images, not evaluated: 1 (yak)" in said
    assert "classes not evaluated: 1" in said.splitlines()[-1]
    assert (results["auxiliary_classes"], results["pairs"]) == (2, 3)
    assert (results["target_classes"], results["not_evaluated"]) == (4, 1)
    with (folder / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["name"], row["train_images"], row["test_images"]) for row in rows] == [
        ("Dog", "Dog", "4", "1"),
        ("cat", "cat", "9", "2"),
        ("snow leopard", "snow leopard", "21", "6"),
        ("yak", "yak", "3", "0"),
    ]
    assert rows[3]["accuracy"] == ""
    assert sorted(path.name for path in (folder / "lists").iterdir()) == [
        *("classes.json", "test.txt", "train.txt", "val.txt")
    ]
    names = [entry["name"] for entry in json.loads((folder / "lists" / "classes.json").read_text())["target"]]
    assert names == [row["name"] for row in rows]
    assert len((folder / "lists" / "train.txt").read_text().splitlines()) == 37

    cpu = {"accelerator": "cpu", "devices": 1}
    assert evaluate(EvaluateConfig(run=str(folder), workers=0, trainer=cpu))["test"] == results["test"]
    output = str(tmp_path / "predictions")
    predict(PredictConfig(run=str(folder), images=str(root / "yak"), output=output, workers=0, device="cpu"))
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 3
    export(ExportConfig(run=str(folder), format="safetensors"))

    moved = shutil.copytree(root, tmp_path / "moved", copy_function=shutil.copyfile)  # with other times
    assert train(configure(*words(moved, *method)), folder) == results  # it is the same run, and has ended
    picture(root / "cat" / "new.png", seed=5)
    with pytest.raises(RunError, match="the content of target.train is another"):
        train(configure(*words(moved, *method), f"target.root={root}"), folder)
    # What has ended is measured on the split that it was trained with, which is kept with it.
    assert evaluate(EvaluateConfig(run=str(folder), workers=0, trainer=cpu))["test"] == results["test"]
    export(ExportConfig(run=str(folder), format="safetensors", output=str(tmp_path / "exported")))


@pytest.mark.slow
def test_a_folder_that_changed_does_not_go_on(mine, tmp_path, monkeypatch):
    root = shutil.copytree(mine, tmp_path / "mine")
    config, folder = configure(*words(root)), tmp_path / "run"
    stop_at(monkeypatch, 1)
    with pytest.raises(Stopped):
        train(config, folder)
    new = root / "cat" / "new.png"
    picture(new, seed=5)
    with pytest.raises(RunError, match="the content of target.train is another"):
        train(config, folder)
    other = make(tmp_path / "other")
    picture(other / "cat" / "new.png", seed=5)
    with pytest.raises(RunError) as error:
        train(configure(*words(other)), folder)
    assert f"target.root was {root}, now {other}" in error.value.found
    assert "name=" in error.value.remedy
    new.unlink()
    assert train(config, folder)["steps"] == 3


def test_without_a_root():
    with pytest.raises(ConfigError) as error:
        configure("experiment=folder")
    assert "target.root" in error.value.found


@pytest.mark.slow
def test_the_command_line(mine, tmp_path):
    status, said = run(train_command, *words(mine), cwd=tmp_path)
    assert status == 0, said
    assert "label 0: Dog (train 4, val 1, test 1)" in said
    (folder,) = (tmp_path / "runs" / "folder").iterdir()
    done = interpreted("lt_extrap.evaluate", f"run={folder}", "workers=0", "trainer.accelerator=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the numbers of" in done.stdout
