"""The command on auxiliary sets, and a run on what it makes."""

import dataclasses
import json
import shlex

import hydra
import numpy as np
import pytest
from PIL import Image

from command import interpreted, run
from conftest import SMALL
from lt_extrap import runs
from lt_extrap.auxiliary_set import AuxiliarySetConfig, check_set, convert, import_released, main
from lt_extrap.claim import claim
from lt_extrap.compose import configure, from_hydra
from lt_extrap.config import AuxiliaryClasses, Target
from lt_extrap.data.stored.reader import read_images, read_set
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.paths import conf_dir
from lt_extrap.run_name import run_folder
from lt_extrap.train import train
from test_sweep import jobs_of

WORLD = [override for override in SMALL if override.startswith("target.")]
CLEARED = ("target.neighbors.train=null", "target.neighbors.names=null", "target.neighbors.pairs=null")


def composed(*overrides: str) -> AuxiliarySetConfig:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return from_hydra(hydra.compose("auxiliary_set", list(overrides)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cache):
    """The neighbors of the small world as a set that holds its images."""
    folder = tmp_path_factory.mktemp("sets") / "neighbors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        convert(composed("do=convert", f"folder={folder}", "target=embedded", *WORLD, "copy=true", "hashes=true"))
    return folder


@pytest.fixture(scope="module")
def world():
    """The small world as a target."""
    return configure(*SMALL).target


def test_a_converted_set_has_no_finding(folder, capsys):
    check_set(composed("do=verify", f"folder={folder}", "target=embedded", *WORLD, "hashes=true"))
    assert capsys.readouterr().out == f"nothing is wrong with {folder}: 9 classes, 27 pairs, 180 images\n"
    (_, image), *_ = read_images(folder)
    assert (image.width, image.height) == (24, 24)
    assert read_set(folder).pairs[0].rank == 1


@pytest.mark.parametrize(("k", "copied"), [(1, True), (2, False), (None, True)])
def test_a_set_trains_as_its_lists_do(folder, world, tmp_path, k, copied):
    target = load_target(world)
    files = {"folder": str(folder)}
    if not copied:
        convert(AuxiliarySetConfig(do="convert", folder=str(tmp_path / "set"), target=world))
        files = {"folder": str(tmp_path / "set"), "images": str(target.place.images)}
    lists = AuxiliaryClasses(**vars(world.neighbors) | {"neighbors_per_class": k})
    stored = AuxiliaryClasses(**files, neighbors_per_class=k)
    a, b = (build_training_set(auxiliary, target, seed=0) for auxiliary in (lists, stored))
    assert a.auxiliary_names == b.auxiliary_names
    assert a.counts.tolist() == b.counts.tolist()
    assert a.relation.neighbor.tolist() == b.relation.neighbor.tolist()
    assert a.index.labels.tolist() == b.index.labels.tolist()
    assert a.draw.draw(3).tolist() == b.draw.draw(3).tolist()
    assert b.index.path(len(b.index) - 1).endswith(a.index.path(len(a.index) - 1))


def test_a_run_on_a_set_gives_the_numbers_of_its_lists(folder, small, convnet_run, tmp_path, capsys):
    options = ("component=silencing", "target.val=null", "recipe.crop_fraction=0.8")
    config = small(*options, *CLEARED, f"target.neighbors.folder={folder}")
    results = train(config, tmp_path / "run")
    assert results["test"] == runs.load(convnet_run).results["test"]
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "9 of 9 targets have fewer neighbors than asked: " in said
    files = json.loads((tmp_path / "run" / "run.json").read_text())["files"]
    assert {f"auxiliary.folder/{name}.jsonl" for name in ("manifest", "classes", "pairs")} <= files.keys()
    assert "auxiliary.train" not in files


def test_a_sweep_over_neighbors_takes_a_set(folder):
    set_ = [f"target.neighbors.folder={folder}", *CLEARED]
    jobs = jobs_of("experiment=demo", "sweep=neighbors_per_class", "auxiliary.neighbors_per_class=1,2", *set_)
    assert [(c.auxiliary.folder, c.auxiliary.neighbors_per_class) for _, c in jobs] == [
        (str(folder), 1),
        (str(folder), 2),
    ]


def test_the_place_of_the_images_is_no_part_of_a_run(folder, small, tmp_path):
    here = small("component=silencing", *CLEARED, f"target.neighbors.folder={folder}")
    moved = dataclasses.replace(here, auxiliary=dataclasses.replace(here.auxiliary, images="/elsewhere"))
    target = load_target(here.target)
    assert runs.files_of(here, target) == runs.files_of(moved, target)
    first = claim(tmp_path / "run", here, runs.files_of(here, target), begun=False)
    assert claim(tmp_path / "run", moved, runs.files_of(moved, target), begun=True).id == first.id
    another = dataclasses.replace(here, auxiliary=dataclasses.replace(here.auxiliary, folder="/elsewhere"))
    with pytest.raises(RunError, match=r"auxiliary\.folder was"):
        claim(tmp_path / "run", another, runs.files_of(here, target), begun=True)
    words = ["target.neighbors.images=/x", "target.neighbors.folder=/sets/a"]
    assert run_folder(words, 0) == "target.neighbors.folder+.sets.a-seed+0"


def test_further_target_images_match_the_budget_of_a_set(folder, small):
    config = small("component=target_extra", *CLEARED, f"target.neighbors.folder={folder}")
    target = load_target(config.target)
    assert build_training_set(config.auxiliary, target, seed=0).target_views == len(target.train) + 180
    assert runs.files_of(config, target)["auxiliary.budget_folder/manifest.jsonl"] == folder / "manifest.jsonl"


def test_random_classes_have_no_pairs(small, tmp_path):
    convert(AuxiliarySetConfig(do="convert", of="random", folder=str(tmp_path / "set"), target=small().target))
    assert read_set(tmp_path / "set").pairs == ()
    cleared = ("target.random.train=null", "target.random.names=null", f"target.random.folder={tmp_path / 'set'}")
    config = small("component=random", *cleared)
    target = load_target(config.target)
    auxiliary = dataclasses.replace(config.auxiliary, images=str(target.place.images))
    training = build_training_set(auxiliary, target, seed=0)
    assert (len(training.auxiliary_names), training.pairs) == (9, 0)


def test_findings_end_the_command(folder, fish, tmp_path, capsys):
    with pytest.raises(DataError, match=r"9 in pairs\.jsonl"):
        check_set(AuxiliarySetConfig(do="verify", folder=str(folder), target=fish))
    assert capsys.readouterr().out.count("which is no id here") == 9
    with pytest.raises(DataError, match=r"180 in manifest\.jsonl"):
        check_set(AuxiliarySetConfig(do="verify", folder=str(folder), images=str(tmp_path)))
    assert capsys.readouterr().out.count("not there, or no file") == 180


@pytest.fixture
def fish(tmp_path) -> Target:
    """Three classes with WordNet ids, and a folder of ImageNet-21k with two of three neighbors."""
    (tmp_path / "names.txt").write_text("n01440764 tench\nn01443537 goldfish\nn02012849 crane\n")
    Image.new("RGB", (8, 6)).save(tmp_path / "x.png")
    (tmp_path / "list.txt").write_text("x.png 0\nx.png 1\nx.png 2\n")
    for wnid, count in (("n01441117", 3), ("n03126707", 2), ("n01443537", 1)):
        (tmp_path / "pool" / wnid).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 6)).save(tmp_path / "pool" / wnid / f"{wnid}_{i}.png")
    relation = {"0": ["n01441117", "n01443537"], "1": ["n01441117", "n01442972"], "2": ["n03126707"]}
    np.save(tmp_path / "conp_cls.npy", relation, allow_pickle=True)
    return Target(
        root=str(tmp_path), folder="fish", train="list.txt", test="list.txt", names="names.txt", ids_in_names=True
    )


def test_the_images_of_the_target_are_not_wanted(fish, tmp_path):
    """A relation is imported, and a set verified, on machines that have none of them."""
    (tmp_path / "x.png").unlink()
    options = {"target": fish, "relation": f"{tmp_path}/conp_cls.npy", "images": f"{tmp_path}/pool"}
    import_released(AuxiliarySetConfig(do="import", folder=str(tmp_path / "set"), copy=True, **options))
    check_set(AuxiliarySetConfig(do="verify", folder=str(tmp_path / "set"), target=fish))


@pytest.mark.parametrize("copied", [True, False])
def test_the_released_relation_becomes_a_set_that_trains(fish, tmp_path, capsys, copied):
    options = {"target": fish, "relation": f"{tmp_path}/conp_cls.npy", "images": f"{tmp_path}/pool"}
    folder = tmp_path / "a set, for me"
    import_released(
        AuxiliarySetConfig(do="import", folder=str(folder), images_per_class=2, copy=copied, hashes=copied, **options)
    )
    said = capsys.readouterr().out
    assert "target classes: 1: n01443537" in said
    assert f"without images in {tmp_path}/pool: 1: n01442972" in said
    assert "2 classes, 3 pairs, 4 images" in said
    told = shlex.split(said.splitlines()[-1].removeprefix("train on it by: "))
    words = dict(word.split("=") for word in told)
    assert words.get("target.neighbors.images") == (None if copied else f"{tmp_path}/pool")
    assert words["target.neighbors.neighbors_per_class"] == "null"
    assert ((folder / "n01441117").is_dir(), (folder / "README.md").is_file()) == (copied, True)
    check_set(AuxiliarySetConfig(do="verify", folder=str(folder), images=words.get("target.neighbors.images")))
    mine = ["name=mine", "target=lists", f"target.root={tmp_path}", "target.train=list.txt", "target.test=list.txt"]
    mine += ["target.names=names.txt", "target.ids_in_names=true", "component=silencing"]
    config = configure(*mine, *told)
    training = build_training_set(config.auxiliary, load_target(config.target), seed=0)
    assert training.auxiliary_names == ("dace", "crane (n03126707)")
    assert training.pairs == 3
    assert training.counts.tolist() == [1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"do": "check"}, "verify, convert or import"),
        ({"do": "convert"}, "target=<name>"),
        ({"do": "verify", "copy": True}, "copy"),
        ({"do": "verify", "of": "random"}, "of to be left alone"),
        ({"do": "verify", "images_per_class": 3}, "images_per_class"),
        ({"do": "import", "target": Target()}, "relation"),
        ({"do": "import", "target": Target(), "relation": "y"}, "ImageNet-21k"),
        ({"do": "convert", "target": Target(), "images": "y"}, "where the target's are"),
    ],
)
def test_options_that_change_nothing_are_refused(options, said):
    with pytest.raises(ConfigError) as error:
        AuxiliarySetConfig(folder="x", **options)
    assert said in str(error.value)


def test_options_that_are_missing_are_named():
    with pytest.raises(ConfigError, match=r"give do=\.\.\."):
        composed("folder=x")


def test_lists_that_can_be_no_set(fish, tmp_path):
    (tmp_path / "aux.txt").write_text(f"{tmp_path}/x.png 0\n")
    fish.neighbors.train = "aux.txt"
    with pytest.raises(DataError, match="not relative"):
        convert(AuxiliarySetConfig(do="convert", folder=str(tmp_path / "set"), target=fish))
    assert not (tmp_path / "set").exists()
    fish.neighbors.train = None
    with pytest.raises(DataError, match=r"lists of target\.neighbors"):
        convert(AuxiliarySetConfig(do="convert", folder=str(tmp_path / "set"), target=fish))


@pytest.mark.slow
def test_the_command(folder, tmp_path):
    good = interpreted("lt_extrap.auxiliary_set", "do=verify", f"folder={folder}", cwd=tmp_path)
    assert (good.returncode, good.stdout[:16]) == (0, "nothing is wrong")
    status, said = run(main, "do=verify", f"folder={tmp_path}", cwd=tmp_path)
    assert status == 1
    assert "set.json" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
