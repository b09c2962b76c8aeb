"""The study of two finished runs: pictures, numbers, what is refused."""

import csv
import re
import shutil
import sys

import pytest
import torch

from conftest import SMALL
from lt_extrap.compose import configure
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.studies.features.__main__ import FeaturesConfig, look, main
from lt_extrap.studies.features.opened import OpenedRun
from lt_extrap.studies.features.study import study
from lt_extrap.train import train

FILES = ["numbers.csv", "numbers.md", "pair.svg", "tokens.svg"]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory, cache):
    """A run of the same target as `convnet_run`, without auxiliary classes."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        train(configure(*SMALL, "component=baseline", "target.val=null", "recipe.crop_fraction=0.8"), folder)
    # After so few steps it may confuse no head with any tail.
    (folder / "confusions.csv").write_text("class,predicted,images\n2,1,5\n7,0,3\n0,7,1\n6,0,2\n")
    return folder


def options(baseline, ours, folder, **changed):
    settings = {"projection": "pca", "tokens": 2, "format": "svg", "workers": 0} | changed
    return FeaturesConfig(baseline=str(baseline), ours=str(ours), output=str(folder), **settings)


@pytest.mark.slow
def test_two_runs(baseline, convnet_run, tmp_path):
    found = look(options(baseline, convnet_run, tmp_path / "a"))
    assert [panel.title for panel in found.panels] == [
        "(a) raw, random weights: training images",
        "(b) baseline: training images",
        "(c) baseline: test images",  # this target has no validation list
        "(d) ours: test images and auxiliary",
    ]
    counts = [[int((panel.group == group).sum()) for group in range(6)] for panel in found.panels]
    opened = OpenedRun.open(convnet_run, weights="selected", root=None, workers=0)
    classes, pair = opened.target.classes, found.pair
    assert counts[0] == counts[1] == [classes.counts[pair.head], classes.counts[pair.tail], 0, 0, 0, 0]
    assert counts[2] == [5, 5, 0, 0, 0, 0]
    assert counts[3][:2] == [5, 5]
    # At most two neighbors of each, named, each with as many images as an epoch shows.
    neighbors = [opened.training.relation.row(label)[:2] for label in (pair.head, pair.tail)]
    expected = list(dict.fromkeys(int(column) for row in neighbors for column in row))
    assert expected
    assert [name.split(" (")[0] for name in found.panels[3].groups[2:]] == [opened.name(column) for column in expected]
    assert counts[3][2:] == [20] * len(expected) + [0] * (4 - len(expected))
    assert pair == (0, 7, 3, 1)
    assert re.match(r"The baseline takes 3 of 5 test images of .* for .*, and 1 of 5 of ", found.about)

    with (tmp_path / "a" / "numbers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["features"], row["images"]) for row in rows[:6]] == [
        (name, split) for name in ("start", "baseline", "ours") for split in ("training", "test")
    ]
    assert [row["classes"] for row in rows] == ["the pair"] * 6 + [
        f"all {classes.shots.count('few')} of the few group"
    ] * 6
    silhouettes = [float(row["silhouette"]) for row in rows]
    assert silhouettes == pytest.approx([row.measures.silhouette for row in found.rows], abs=1e-6)
    assert silhouettes[2] != silhouettes[4]  # one start, and two trainings
    told = (tmp_path / "a" / "numbers.md").read_text()
    assert "random weights of seed 0" in told
    assert "places an image are too coarse" in told

    look(options(baseline, convnet_run, tmp_path / "b"))
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_features_are_what_the_head_sees(baseline):
    opened = OpenedRun.open(baseline, weights="selected", root=None, workers=0)
    images = opened.unseen().of([0, 3])
    direct = DirectClassifier.load(baseline / "model.safetensors")
    shown, _ = opened.tokens(images)
    with torch.inference_mode():
        logits = direct.model.head(torch.from_numpy(opened.features(images)))
        expected = direct.model(torch.from_numpy(shown.transpose(0, 3, 1, 2)))
    torch.testing.assert_close(logits, expected)


def test_a_pair_of_ones_own_and_no_auxiliary_classes(baseline):
    opened = OpenedRun.open(baseline, weights="last", root=None, workers=0)
    found = study(opened, opened, pair=[opened.name(8), opened.name(0)], method="pca", tokens=0)
    assert found.pair[:2] == (0, 8)
    assert found.colored is None
    assert found.panels[3].title == "(d) ours: test images"
    assert "(d) ours: no auxiliary class is a neighbor of either" in found.notices
    assert found.rows[2].measures == found.rows[4].measures


def test_what_is_refused(baseline, convnet_run, tmp_path):
    with pytest.raises(ConfigError, match="two classes"):
        options(baseline, convnet_run, tmp_path, pair=["one"])
    with pytest.raises(ConfigError, match=r"in 0\.\.4"):
        options(baseline, convnet_run, tmp_path, auxiliary=5)
    other = tmp_path / "other"
    shutil.copytree(baseline, other)
    record = (other / "run.json").read_text()
    (other / "run.json").write_text(record.replace('"target.test": "', '"target.test": "0'))
    with pytest.raises(RunError, match=r"another content of target\.test"):
        look(options(other, convnet_run, tmp_path / "none"))
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["pca", pytest.param("umap", marks=pytest.mark.long)])  # which compiles itself
def test_the_command_draws_the_same(baseline, timm_run, tmp_path, monkeypatch, projection):
    """A transformer beside a convolutional network."""
    pytest.importorskip("umap")
    look(options(baseline, timm_run, tmp_path / "a", projection=projection, format="png"))
    words = [f"baseline={baseline}", f"ours={timm_run}", "tokens=2", "workers=0", f"output={tmp_path / 'b'}"]
    monkeypatch.setattr(sys, "argv", ["features", *words, f"projection={projection}"])
    main()
    for name in ("pair.png", "tokens.png", "numbers.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
