"""Predictions by runs that were really trained."""

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import interpreted
from lt_extrap import runs
from lt_extrap.data.decode import decode_rgb
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.module import build_model
from lt_extrap.predict import PredictConfig, predict


def read(output):
    """The rows of both files, which say the same."""
    with Path(f"{output}.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    with Path(f"{output}.jsonl").open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert len(table) == len(lines)
    for cells, line in zip(table, lines, strict=True):
        assert cells["path"] == line["path"]
        assert (cells["error"] or None) == line["error"]
        ranks = [key.removeprefix("class_") for key in cells if key.startswith("class_") and cells[key]]
        assert len(ranks) == len(line["top"])
        for suffix, label in zip(["", *(f"_{rank}" for rank in ranks)], [line, *line["top"]], strict=True):
            values = [cells[f"{key}{suffix}"] for key in ("class", "name", "probability")]
            assert values == ["" if label[key] is None else str(label[key]) for key in ("class", "name", "probability")]
    return lines


@pytest.fixture
def photos(tmp_path):
    """Eleven images that differ, an unreadable one, a text file with the name of an image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(11):
        Image.fromarray(rng.integers(0, 255, (20 + i, 30 - i, 3), np.uint8)).save(folder / f"{i:02}.png")
    (folder / "05b.png").write_bytes((folder / "05.png").read_bytes()[:100])
    (folder / "07b.jpg").write_text("I am no image")
    return folder


def test_predictions_are_those_of_the_target_columns_that_were_trained(convnet_run, tmp_path):
    config = runs.load(convnet_run).config
    target = load_target(config.target)
    model = build_model(config, target, build_training_set(config.auxiliary, target, seed=config.seed)).eval()
    state = torch.load(convnet_run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    transform = EvalTransform(size=config.recipe.image_size, crop_fraction=config.recipe.crop_fraction)
    files = [target.place.images.path / target.test.path(i) for i in range(len(target.test))]
    with torch.no_grad():
        logits = model(torch.stack([transform(decode_rgb(file)) for file in files]))
    assert logits.shape == (45, 18)
    expected = logits[:, :9].softmax(dim=1)

    summary = predict(
        PredictConfig(
            run=str(convnet_run),
            images=str(target.place.root / config.target.test),
            root=str(target.place.images),
            output=str(tmp_path / "sub" / "out.v1"),
            top=100,
            workers=0,
        )
    )
    rows = read(tmp_path / "sub" / "out.v1")
    assert (summary.images, summary.errors) == (45, 0)
    assert [row["path"] for row in rows] == [target.test.path(i) for i in range(45)]
    for row, probabilities in zip(rows, expected, strict=True):
        assert sorted(label["class"] for label in row["top"]) == list(range(9))
        for label in row["top"]:
            assert label["probability"] == pytest.approx(float(probabilities[label["class"]]), abs=1e-5)
            assert label["name"] == target.classes.names[label["class"]]
        assert [label["probability"] for label in row["top"]] == sorted(
            (label["probability"] for label in row["top"]), reverse=True
        )
        assert {key: row[key] for key in ("class", "name", "probability")} == row["top"][0]


def test_rows_depend_on_neither_workers_nor_batch_size(convnet_run, photos, tmp_path):
    def rows(workers, batch_size):
        output = str(tmp_path / f"{workers}-{batch_size}")
        options = {"workers": workers, "batch_size": batch_size, "device": "cpu"}
        summary = predict(PredictConfig(run=str(convnet_run), images=str(photos), output=output, top=2, **options))
        assert (summary.images, summary.errors) == (13, 2)
        return read(output)

    first = rows(0, 64)
    assert [row["path"] for row in first] == sorted(path.name for path in photos.iterdir())
    assert [row["path"] for row in first if row["error"]] == ["05b.png", "07b.jpg"]
    assert [row["top"] for row in first if row["error"]] == [[], []]
    assert len({row["probability"] for row in first}) == 12
    for workers, batch_size in ((0, 1), (2, 3)):
        for row, same in zip(first, rows(workers, batch_size), strict=True):
            assert (row["path"], row["class"], row["error"]) == (same["path"], same["class"], same["error"])
            assert len(row["top"]) == len(same["top"])
            for a, b in zip(row["top"], same["top"], strict=True):
                assert a["class"] == b["class"]
                assert a["probability"] == pytest.approx(b["probability"], abs=1e-5)


def test_names_of_all_kinds_survive(convnet_run, photos, tmp_path):
    """Class names come from the file of the classifier; both tables can spell them and the names of the images."""
    odd = ('a, "b"', "zwei\nZeilen", "日本", " blank ", "x", "y", "=1+1", "\u2028", "\\")
    direct = dataclasses.replace(DirectClassifier.load(convnet_run / runs.WEIGHTS), classes=odd)
    direct.save(tmp_path / "other.safetensors")
    (tmp_path / "odd").mkdir()
    files = [b'a,"b".png', b"new\nline.png", "ü.png".encode(), b"caf\xe9.png", b"blank .png"]
    for name in files:
        shutil.copy(photos / "00.png", tmp_path / "odd" / os.fsdecode(name))
    output = str(tmp_path / "out")
    options = {"run": str(tmp_path / "other.safetensors"), "images": str(tmp_path / "odd"), "workers": 0, "top": 9}
    assert predict(PredictConfig(output=output, **options)).errors == 0
    rows = read(output)
    assert [row["path"] for row in rows] == [name.decode(errors="backslashreplace") for name in sorted(files)]
    assert "caf\\xe9.png" in [row["path"] for row in rows]
    assert {label["class"]: label["name"] for label in rows[0]["top"]} == dict(enumerate(odd))


def test_if_nothing_can_be_read_nothing_is_written(convnet_run, tmp_path):
    (tmp_path / "list.txt").write_text("nope.png\nneither.png\n")
    output = str(tmp_path / "out")
    with pytest.raises(DataError, match="none of 2; .*neither.png: No such file"):
        predict(PredictConfig(run=str(convnet_run), images=str(tmp_path / "list.txt"), output=output, workers=0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="images in"):
        predict(PredictConfig(run=str(convnet_run), images=str(tmp_path / "empty"), output=output))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "list.txt"]


def test_a_place_that_cannot_be_written_is_named(convnet_run, photos, tmp_path):
    output = str(photos / "00.png" / "out")
    with pytest.raises(RunError, match="a place to write"):
        predict(PredictConfig(run=str(convnet_run), images=str(photos), output=output, workers=0))


def test_runs_that_are_none_are_refused(convnet_run, photos, tmp_path):
    def refused(run, said):
        with pytest.raises(RunError, match=said):
            predict(PredictConfig(run=str(run), images=str(photos), output=str(tmp_path / "out")))

    refused(tmp_path / "nope", "a run folder with run.json")
    refused(photos / "00.png", "a classifier of format")
    copy = tmp_path / "copy"
    shutil.copytree(convnet_run, copy)
    record = json.loads((copy / runs.RUN).read_text())
    (copy / runs.RUN).write_text(json.dumps({**record, "format": 0}))
    refused(copy, "a run folder of this version")
    shutil.copy(convnet_run / runs.RUN, copy / runs.RUN)
    (copy / runs.RESULTS).unlink()
    refused(copy, "a run that has ended")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("top", 0), ("batch_size", 0), ("workers", -1), ("output", ""), ("output", "folder/")]
)
def test_values_out_of_range_are_named(key, value):
    with pytest.raises(ConfigError, match=f"{key} to be"):
        PredictConfig(**{"run": "run", "images": "images", key: value})


@pytest.mark.parametrize("device", ["abacus", "cpu:none", "cuda:999"])
def test_a_device_that_is_not_there_is_named(convnet_run, photos, tmp_path, device):
    config = PredictConfig(run=str(convnet_run), images=str(photos), output=str(tmp_path / "out"), device=device)
    with pytest.raises(ConfigError, match=f"found:  {device}: "):
        predict(config)


@pytest.mark.slow
def test_the_command_line(convnet_run, photos, tmp_path):
    words = (f"run={convnet_run}", f"images={photos}", "output=labels", "top=1", "workers=0")
    result = interpreted("lt_extrap.predict", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("13 images, 2 errors, ")
    assert result.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "labels.jsonl", "photos"]
    assert len(read(tmp_path / "labels")) == 13
