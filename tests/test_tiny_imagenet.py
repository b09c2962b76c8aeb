"""The way from the public archive to the data set, on an archive with its layout and grey images; and the real one."""

import importlib.util
import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from lt_extrap.compose import configure
from lt_extrap.data.auxiliary import add_classes
from lt_extrap.data.target import load_target

LISTS = Path(__file__).parents[1] / "lists" / "tiny_imagenet"


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare", LISTS / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(config):
    target = load_target(config.target)
    shots = target.classes.shots
    assert (len(target.train), len(target.val), len(target.test)) == (6065, 1800, 3000)
    assert [shots.count(shot) for shot in ("many", "medium", "few")] == [20, 22, 18]
    assert target.classes.names[:2] == ("golden retriever", "orangutan")
    added = add_classes(config.auxiliary, target, seed=0)
    assert (len(added.names), len(added.pairs), len(added.index)) == (60, 179, 9000)
    return target, added


@pytest.mark.slow
def test_the_public_archive_becomes_the_data_set(prepare, tmp_path, monkeypatch):
    grey = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 90, 90)).save(grey, "JPEG")
    paths = {line.rsplit(" ", 1)[0] for file in LISTS.glob("lists/*.txt") for line in file.read_text().splitlines()}
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
        for path in paths:
            archive.writestr(prepare.member(path), grey.getvalue())
    assert prepare.prepare(tmp_path / "tiny-imagenet-200.zip", tmp_path / "data" / "tiny_imagenet") == len(paths)
    monkeypatch.setenv("LT_EXTRAP_DATA", str(tmp_path / "data"))
    check(configure("experiment=tiny_imagenet_lt", "component=silencing"))


def test_ranked_pairs_of_the_pool_fit_its_list(prepare, tmp_path):
    import json

    from lt_extrap.data.lists import read_list

    pool = read_list(LISTS / "lists" / "aux_pool_train.txt")
    ranks = json.loads((LISTS / "neighbor_ranks.json").read_text())
    assert len(ranks["ranks"]) == 60
    assert {entry[0] for entries in ranks["ranks"] for entry in entries} <= set(pool.labels.tolist())
    assert len(ranks["auxiliary"]) == pool.labels.max() + 1 == 140


def test_the_real_data_set(real_data, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_DATA", str(real_data))
    config = configure("experiment=tiny_imagenet_lt", "component=silencing")
    _, added = check(config)
    for file in LISTS.glob("lists/*.txt"):
        assert file.read_bytes() == (real_data / "tiny_imagenet" / "lists" / file.name).read_bytes()
    # the first target is the golden retriever: its matched neighbor is the labrador
    assert added.names[0].casefold() == "labrador retriever"
    assert [0, 60] in added.pairs.tolist()
