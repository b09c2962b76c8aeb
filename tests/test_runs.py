import json
import re
import subprocess
import sys

import pytest

from lt_extrap.claim import claim, locked
from lt_extrap.compose import configure, from_dict, kinds, to_dict
from lt_extrap.errors import RunError
from lt_extrap.run_name import run_folder
from lt_extrap.runs import load, settings, write_json


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ([], "default-seed+0"),
        (
            [
                "experiment=demo",
                "trainer.devices=1",
                "logger=csv",
                "data.workers=4",
                "target.root=/x",
                "target.download=true",
            ],
            "default-seed+0",
        ),
        (["target.official=null", "target.official.test=6", "target.package=x"], "default-seed+0"),
        (["target.label_order=name"], "target.label_order+name-seed+0"),
        (["target.split_seed=1", "target.val_fraction=.2"], "target.split_seed+1-target.val_fraction+0.2-seed+0"),
        (["recipe.clip=3", "component=silencing", "recipe.clip=2"], "component+silencing-recipe.clip+2-seed+0"),
        (["recipe.clip=2", "component=silencing"], "component+silencing-recipe.clip+2-seed+0"),
        (["loss.lambda_s=.1"], "loss.lambda_s+0.1-seed+0"),
        (["loss.lambda_s=1e-1"], "loss.lambda_s+0.1-seed+0"),
        (["loss.tau=1.0"], "loss.tau+1-seed+0"),
        (["auxiliary.sampling_ratio=[1,.5,3]"], "auxiliary.sampling_ratio+1_0.5_3-seed+0"),
        (["trainer.precision=bf16-mixed"], "trainer.precision+bf16-mixed-seed+0"),
        (["compile=true", "recipe.accumulate=2"], "recipe.accumulate+2-seed+0"),
        (["backbone.weights=/some/where/vit.pth"], "backbone.weights+vit.pth-seed+0"),
        (["auxiliary.neighbors_per_class=null"], "auxiliary.neighbors_per_class+null-seed+0"),
    ],
)
def test_folder_names(overrides, folder):
    assert run_folder(overrides, 0) == folder


def test_long_names_are_cut_and_stay_apart():
    long = [f"recipe.option{i}=value{i}" for i in range(20)]
    a, b = run_folder([*long, "seed=1"], 1), run_folder(long, 2)
    assert len(a) == 80 + len("-") + 6 + len("-seed+1")
    assert a.removesuffix("-seed+1") == b.removesuffix("-seed+2")
    assert run_folder([*long, "loss.tau=2"], 0) != run_folder([*long, "loss.tau=3"], 0)
    assert re.fullmatch(r"[A-Za-z0-9.+_-]+", a)


@pytest.fixture
def lists(tmp_path):
    file = tmp_path / "train.txt"
    file.write_text("a 0\n")
    return {"target.train": file}


def test_a_finished_run_returns_its_results_to_its_own_configuration(tmp_path, small, lists):
    folder = tmp_path / "run"
    first = claim(folder, small(), lists, begun=False)
    assert first.results is None
    record = json.loads((folder / "run.json").read_text())
    assert record["config"]["recipe"]["batch_size"] == 32
    assert record["starts"][0]["versions"]["torch"]
    write_json(folder / "results.json", {"test": 1})
    again = claim(
        folder,
        small("data.workers=3", "data.resident=true", "checkpoint_minutes=1.0", "logger=wandb", "trainer.devices=2"),
        lists,
        begun=True,
    )
    assert again.results == {"test": 1}
    assert again.id == first.id


def test_a_configuration_survives_and_so_does_one_of_before_recipes_had_kinds(small):
    for config, kind in ((small("component=silencing"), "AdamW"), (configure("experiment=cifar100_lt"), "Sgd")):
        assert kinds(config)["recipe"] == kind
        assert from_dict(to_dict(config), kinds(config)) == config
    config = small("component=silencing")
    assert from_dict(to_dict(config), {**kinds(config), "recipe": "Recipe"}) == config


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.tau=0.5", r"loss\.tau was 1\.0, now 0\.5"),
        *(
            pytest.param(*of, marks=pytest.mark.slow)
            for of in (
                ("data.on_unreadable=skip", r"on_unreadable was error, now skip"),
                ("trainer.precision=bf16-mixed", r"trainer\.precision"),
                ("loss=ce", "loss was Balanced, now Loss"),
                ("recipe.ema=0.9", "recipe.ema was None, now 0.9"),
            )
        ),
    ],
)
def test_another_run_is_refused_and_named(tmp_path, small, lists, ended, override, said):
    folder = tmp_path / "run"
    claim(folder, small(), lists, begun=False)
    if ended:
        write_json(folder / "results.json", {"test": 1})
    with pytest.raises(RunError, match=said):
        claim(folder, small(override), lists, begun=not ended)


def test_a_key_that_a_newer_version_has_more_is_at_its_default(tmp_path, small, lists):
    claim(tmp_path, small(), lists, begun=False)
    write_json(tmp_path / "results.json", {"test": 1})
    record = json.loads((tmp_path / "run.json").read_text())
    del record["config"]["target"]["reshuffle"], record["config"]["retrained"]
    write_json(tmp_path / "run.json", record)
    assert claim(tmp_path, small(), lists, begun=True).results == {"test": 1}
    with pytest.raises(RunError, match=r"target\.reshuffle was 0, now 2"):
        claim(tmp_path, small("target.reshuffle=2"), lists, begun=True)
    record["config"]["target"]["gone"] = 1  # of another version: what differs is named all the same
    write_json(tmp_path / "run.json", record)
    with pytest.raises(RunError, match=r"target\.gone was 1, now None"):
        claim(tmp_path, small(), lists, begun=True)


def test_a_run_of_an_older_version_has_the_settings_of_its_row(tmp_path, small, lists):
    claim(tmp_path, small(), lists, begun=False)
    whole, record = settings(tmp_path), json.loads((tmp_path / "run.json").read_text())
    assert "target.reshuffle" in whole
    del record["config"]["target"]["reshuffle"], record["config"]["retrained"]
    record["kinds"]["recipe"] = "Recipe"  # its name of old
    write_json(tmp_path / "run.json", record)
    assert settings(tmp_path) == whole
    assert claim(tmp_path, small(), lists, begun=True).results is None  # and it is no other run
    record["config"]["target"]["gone"] = 1  # of a version whose keys this one lacks: as it is
    write_json(tmp_path / "run.json", record)
    assert settings(tmp_path)["target.gone"] == 1
    assert "target.reshuffle" not in settings(tmp_path)


def test_a_folder_belongs_to_one_state_of_its_lists(tmp_path, small, lists):
    folder = tmp_path / "run"
    claim(folder, small(), lists, begun=False)
    lists["target.train"].write_text("a 1\n")
    with pytest.raises(RunError, match=r"content of target\.train"):
        claim(folder, small(), lists, begun=True)


@pytest.mark.slow
def test_a_file_of_weights_may_move_and_may_not_change(tmp_path, lists):
    folder, file = tmp_path / "run", tmp_path / "w.pth"
    file.write_bytes(b"weights")

    def start(weights, *, begun=True):
        config = configure("experiment=demo", "backbone=scratch", f"backbone.weights={weights}")
        files = lists | ({"backbone.weights": file} if weights.startswith("/") else {})
        return claim(folder, config, files, begun=begun)

    start("/old/w.pth", begun=False)
    start("/new/w.pth")
    for other, shown in (("hub", "hub"), ("null", None)):
        with pytest.raises(RunError, match=f"backbone.weights was /new/w.pth, now {shown}"):
            start(other)
    file.write_bytes(b"others")
    with pytest.raises(RunError, match="the content of backbone.weights is another"):
        start("/old/w.pth")


def test_a_run_that_trained_nothing_is_taken_over(tmp_path, small, lists):
    folder = tmp_path / "run"
    claim(folder, small(), lists, begun=False)
    assert claim(folder, small("loss.tau=0.5"), lists, begun=False).results is None
    assert json.loads((folder / "run.json").read_text())["config"]["loss"]["tau"] == 0.5


def test_other_versions_are_told_and_kept(tmp_path, small, lists):
    folder = tmp_path / "run"
    claim(folder, small(), lists, begun=False)
    record = json.loads((folder / "run.json").read_text())
    assert claim(folder, small(), lists, begun=True).notes == ()
    record["starts"][0]["versions"]["torch"] = "1.0"
    write_json(folder / "run.json", record)
    (note,) = claim(folder, small(), lists, begun=True).notes
    assert note.startswith("torch was 1.0, now ")
    assert len(json.loads((folder / "run.json").read_text())["starts"]) == 2


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_record_is_named(tmp_path, small, lists, content):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "results.json").write_text("{}")
    (folder / "run.json").write_text(content)
    with pytest.raises(RunError, match="run.json"):
        claim(folder, small(), lists, begun=True)


def test_a_folder_of_another_version_is_refused(tmp_path, small, lists):
    folder = tmp_path / "run"
    claim(folder, small(), lists, begun=False)
    write_json(folder / "results.json", {"test": 1})
    record = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**record, "format": 0})
    for read in (lambda: load(folder), lambda: claim(folder, small(), lists, begun=True)):
        with pytest.raises(RunError, match=r"format 1[\s\S]*format 0[\s\S]*to do"):
            read()
    for wrong in ({"kinds": {**record["kinds"], "loss": "Focal"}}, {"config": {**record["config"], "zed": 1}}):
        write_json(folder / "run.json", {**record, **wrong})
        with pytest.raises(RunError, match=r"Focal|zed"):
            load(folder)


@pytest.mark.parametrize("component", ["baseline", "silencing", "target_extra"])
def test_a_configuration_comes_back_from_its_record(tmp_path, small, lists, component):
    folder = tmp_path / "run"
    config = small(f"component={component}")
    claim(folder, config, lists, begun=False)
    write_json(folder / "results.json", {"test": 1})
    assert load(folder).config == config


def test_a_folder_has_one_process(tmp_path):
    """The other process has the lock alone: to import what a run needs would take seconds."""
    with locked(tmp_path / "run"):
        lock = next((tmp_path / "run").iterdir())
    program = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n    print('in', flush=True)\n    input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(lock)], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(RunError, match="another process"), locked(tmp_path / "run"):
            pass
        other.communicate("\n")
    with locked(tmp_path / "run"):
        pass
