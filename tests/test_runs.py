import json
import re

import pytest

from lt_extrap.errors import RunError
from lt_extrap.runs import open_run, run_folder, write_json


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ([], "default-seed+0"),
        (
            ["experiment=demo", "trainer.devices=1", "logger=csv", "loading.workers=4", "target.root=/x"],
            "default-seed+0",
        ),
        (["recipe.clip=2", "component=silencing"], "component+silencing-recipe.clip+2-seed+0"),
        (["loss.lambda_s=.1"], "loss.lambda_s+0.1-seed+0"),
        (["loss.lambda_s=1e-1"], "loss.lambda_s+0.1-seed+0"),
        (["loss.tau=1.0"], "loss.tau+1-seed+0"),
        (["auxiliary.sampling_ratio=[1,.5,3]"], "auxiliary.sampling_ratio+1.0.5.3-seed+0"),
        (["trainer.precision=bf16-mixed"], "trainer.precision+bf16-mixed-seed+0"),
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
    assert open_run(folder, small(), lists) is None
    record = json.loads((folder / "run.json").read_text())
    assert record["config"]["recipe"]["batch_size"] == 32
    assert record["versions"]["torch"]
    write_json(folder / "results.json", {"test": 1})
    assert open_run(folder, small("loading.workers=3", "logger=wandb", "trainer.devices=2"), lists) == {"test": 1}
    with pytest.raises(RunError, match=r"loss\.tau was 1\.0, now 0\.5"):
        open_run(folder, small("loss.tau=0.5"), lists)
    with pytest.raises(RunError, match=r"on_unreadable was error, now skip"):
        open_run(folder, small("loading.on_unreadable=skip"), lists)
    with pytest.raises(RunError, match=r"trainer\.precision"):
        open_run(folder, small("trainer.precision=bf16-mixed"), lists)


def test_a_folder_belongs_to_one_state_of_its_lists(tmp_path, small, lists):
    folder = tmp_path / "run"
    open_run(folder, small(), lists)
    write_json(folder / "results.json", {"test": 1})
    lists["target.train"].write_text("a 1\n")
    with pytest.raises(RunError, match=r"content of target\.train"):
        open_run(folder, small(), lists)


def test_a_run_that_did_not_end_is_begun_anew(tmp_path, small, lists):
    folder = tmp_path / "run"
    open_run(folder, small(), lists)
    assert open_run(folder, small("loss.tau=0.5"), lists) is None
    assert json.loads((folder / "run.json").read_text())["config"]["loss"]["tau"] == 0.5


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_record_is_named(tmp_path, small, lists, content):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "results.json").write_text("{}")
    (folder / "run.json").write_text(content)
    with pytest.raises(RunError, match="run.json"):
        open_run(folder, small(), lists)
