"""Sweeps: what their files expand to, and how a multirun ends."""

import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import open_dict

from conftest import SMALL
from lt_extrap import train
from lt_extrap.compose import from_hydra
from lt_extrap.config import Budget, TrainConfig
from lt_extrap.errors import ConfigError
from lt_extrap.paths import conf_dir
from lt_extrap.signals import Stopped
from lt_extrap.sweep import Sweep, check_alone

SWEEPS = {
    "components": [
        f"component={name}" for name in ("baseline", "random", "neighbors", "silencing", "permuted", "target_extra")
    ],
    "distance": [f"target.world.distance={value}" for value in (0, 25, 50, 75, 100)],
    "lambda_s": [f"loss.lambda_s={value}" for value in ("0", "0.01", "0.1", "0.3", "0.5", "1")],
    "neighbors_per_class": [f"auxiliary.neighbors_per_class={value}" for value in (1, 3, 5, 7, 8)],
    "samples_per_class": [f"auxiliary.samples_per_class={value}" for value in (10, 30, 50, 100, 150)],
    "sampling_ratio": [f"auxiliary.sampling_ratio={value}" for value in ("[1,1,3]", "[0,1,3]", "[1,0.5,3]", "[1,1,1]")],
}
FIXED = {
    "components": [],
    "sampling_ratio": ["component=silencing", "auxiliary.neighbors_per_class=5"],
}


class Listing(Launcher):
    """Launches nothing: keeps what Hydra's sweeper wants launched, composed."""

    def setup(self, *, hydra_context, task_function, config):
        self.loader, self.config, self.jobs = hydra_context.config_loader, config, []

    def launch(self, job_overrides, initial_job_idx):
        for overrides in job_overrides:
            config = self.loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                del config["hydra"]
            self.jobs.append((list(overrides), from_hydra(config)))
        return [JobReturn(status=JobStatus.COMPLETED) for _ in job_overrides]


@contextmanager
def multirun(*overrides: str):
    """Hydra at the beginning of a multirun: its loader and its configuration."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        yield loader, loader.load_configuration("train", list(overrides), run_mode=RunMode.MULTIRUN)


def jobs_of(*overrides: str) -> list[tuple[list[str], TrainConfig]]:
    """What Hydra's own sweeper makes of a command line."""
    with multirun(*overrides) as (loader, config):
        launcher, context = Listing(), HydraContext(config_loader=loader, callbacks=None)
        launcher.setup(hydra_context=context, task_function=None, config=config)
        sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=None, config=config)
        sweeper.launcher = launcher
        sweeper.validate_batch_is_legal = lambda batch: None  # composes every job, as the launcher does once more
        sweeper.sweep(list(config.hydra.overrides.task))
    return launcher.jobs


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Runs go to runs/ of the folder we are in."""
    monkeypatch.chdir(tmp_path)


def test_every_file_is_tried():
    of_pretrain = {"pretraining"}
    assert {file.stem for file in (conf_dir() / "sweep").glob("*.yaml")} == SWEEPS.keys() | of_pretrain


@pytest.mark.parametrize(
    "name", ["lambda_s", *(pytest.param(name, marks=pytest.mark.slow) for name in SWEEPS if name != "lambda_s")]
)
def test_a_file_says_its_command_and_expands_to_its_jobs(name):
    text = (conf_dir() / "sweep" / f"{name}.yaml").read_text()
    assert f"python -m lt_extrap.train experiment=demo sweep={name}" in text
    assert f"# {len(SWEEPS[name])} jobs" in text
    fixed = FIXED.get(name, ["component=silencing"])
    # In this experiment the pairs have no order, and as a rule all of them count: the hardest to sweep over.
    experiment = "experiment=demo" if name == "distance" else "experiment=tiny_imagenet_lt"
    jobs = jobs_of(experiment, f"sweep={name}")
    assert [overrides for overrides, _ in jobs] == [[*fixed, own, experiment, f"sweep={name}"] for own in SWEEPS[name]]


@pytest.mark.slow
def test_the_command_line_wins_over_the_file_and_adds_seeds():
    jobs = jobs_of("experiment=demo", "sweep=lambda_s", "loss.lambda_s=0.2", "seed=0,1,2", "loss.tau=0.5")
    assert [(c.loss.lambda_s, c.seed, c.loss.tau) for _, c in jobs] == [(0.2, seed, 0.5) for seed in (0, 1, 2)]
    other = jobs_of("experiment=demo", "sweep=samples_per_class", "component=permuted")
    assert len(other) == 5
    assert all(config.auxiliary.permute for _, config in other)


@pytest.mark.slow
def test_three_ways_are_their_product():
    jobs = jobs_of(
        "experiment=demo",
        "component=silencing",
        "loss.lambda_s=0,0.1,1",
        "auxiliary.neighbors_per_class=3,5",
        "auxiliary.sampling_ratio=[1,1,3],[1,1,1]",
    )
    found = {(c.loss.lambda_s, c.auxiliary.neighbors_per_class, tuple(c.auxiliary.sampling_ratio)) for _, c in jobs}
    assert len(jobs) == len(found) == 12
    assert {lambda_s for lambda_s, _, _ in found} == {0, 0.1, 1}
    assert {ratio for _, _, ratio in found} == {(1, 1, 3), (1, 1, 1)}


@pytest.fixture
def command(monkeypatch, capsys):
    """The command in this process: its status or message, and what it printed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*words: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["train", *words])
        status: object = 0
        try:
            train.main()
        except SystemExit as error:
            status = error.code
        return status, "".join(capsys.readouterr())

    yield run
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level


def listed(printed: str) -> list[str]:
    """The status of each job, as the conclusion lists them."""
    conclusion = printed.split("sweep of ")[-1]
    return re.findall(r"^  (finished|failed|stopped|not begun) ", conclusion, re.MULTILINE)


@pytest.mark.slow
def test_a_failed_job_neither_ends_the_sweep_nor_hides(command, monkeypatch):
    build = train.build_module

    def broken(config, *args, **options):
        if config.loss.lambda_s == 0.5:
            raise KeyError("unforeseen")
        return build(config, *args, **options)

    words = ("-m", *SMALL, "component=silencing", "loss.lambda_s=2,0.1,0.5")
    with monkeypatch.context() as patched:
        patched.setattr(train, "build_module", broken)
        # Batches of one job: Hydra itself would begin none after a failure.
        status, printed = command(*words, "hydra.sweeper.max_batch_size=1")
    assert status == 1
    assert listed(printed) == ["failed", "finished", "failed"]
    conclusion = printed.split("sweep of ")[1]
    assert conclusion.startswith("3 jobs: 2 failed, 1 finished")
    assert conclusion.count("ConfigError wanted: loss.lambda_s to be in 0..1 found: 2.0") == 1
    assert conclusion.count("KeyError: 'unforeseen'") == 1
    assert conclusion.rstrip().endswith("interrupted ones go on")
    assert "Traceback" not in conclusion
    assert printed.count("Traceback") == 1
    logs = [file.read_text() for file in Path("runs/demo").glob("*/train.log")]
    assert sum("Traceback" in log and "unforeseen" in log for log in logs) == 1
    assert sum("wanted: loss.lambda_s" in log and "Traceback" not in log for log in logs) == 1
    (table,) = Path("runs/demo").glob("sweep-*.md")
    assert [line.split()[1] for line in table.read_text().splitlines()[2:]] == ["loss.lambda_s+0.1"]

    # What was wrong in the program is mended; what was wrong in the command stays.
    status, printed = command(*words)
    assert status == 1
    assert listed(printed) == ["failed", "finished", "finished"]
    assert printed.count("finished before") == 1
    assert [line.split()[1] for line in table.read_text().splitlines()[2:]] == [
        "loss.lambda_s+0.1",
        "loss.lambda_s+0.5",
    ]
    assert table.with_suffix(".csv").is_file()
    assert table.with_suffix(".png").is_file()
    assert not list(Path("runs/demo").glob(".sweep-*"))


@pytest.mark.slow
def test_a_sweep_that_is_stopped_says_what_is_missing(command, monkeypatch):
    build = train.build_module

    def interrupted(config, *args, **options):
        if config.seed == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return build(config, *args, **options)

    monkeypatch.setattr(train, "build_module", interrupted)
    status, printed = command("-m", *SMALL, "component=baseline", "seed=0,1,2")
    assert status == 143
    assert listed(printed) == ["finished", "stopped", "not begun"]
    assert printed.rstrip().endswith("interrupted ones go on")
    assert not list(Path("runs/demo").glob("*.png"))
    assert not list(Path("runs/demo").glob(".sweep-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep=lambda_s,components"], "one sweep a command"),
        (["component=baseline,silencing", "loss.lambda_s=0.1,0.5"], "loss.lambda_s"),
        (["component=silencing", "loss.lambda_s=0.1,much"], "loss.lambda_s=much"),
    ],
)
def test_what_cannot_be_composed_is_refused_before_the_first_job(command, words, said):
    status, printed = command("-m", *SMALL, *words)
    assert said in str(status)
    assert "to do:" in str(status)
    assert "sweep of" not in printed
    assert not list(Path("runs/demo").glob("*/"))


def name_of(*overrides: str) -> str:
    sweep = Sweep()
    with multirun("experiment=demo", "component=silencing", *overrides) as (_, config):
        sweep.on_multirun_start(config)
    return sweep.name


@pytest.mark.slow
def test_sweeps_of_other_runs_have_other_names():
    name = name_of("loss.lambda_s=0.1,0.5")
    assert re.fullmatch(r"sweep-loss\.lambda_s-[0-9a-f]{6}", name)
    assert name_of("loss.lambda_s=.5,1e-1", "logger=csv") == name
    others = [
        name_of("loss.lambda_s=0.1,0.6"),
        name_of("loss.lambda_s=0.1,0.5", "seed=1"),
        name_of("loss.lambda_s=0.1,0.5", "loss.tau=2"),
    ]
    assert len({name, *others}) == 4
    assert name_of("loss.tau=1,2", "loss.lambda_s=0,1", "seed=1,2").startswith("sweep-loss.tau-loss.lambda_s-")
    assert name_of("seed=1,2").startswith("sweep-seed-")
    assert name_of("sweep=lambda_s", "loss.lambda_s=0", "seed=1,2").startswith("sweep-seed-")


def test_a_sweep_is_begun_once(monkeypatch):
    check_alone()
    for key, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match="several, started by torchrun or srun"):
        check_alone()


def test_rows_of_a_table_are_whole_however_many_keys_are_swept():
    keys = ("auxiliary.neighbors_per_class", "auxiliary.samples_per_class", "loss.lambda_s", "recipe.head_lr_factor")
    words = [f"{key}=1,2" for key in keys]
    sweep = Sweep()
    with multirun("experiment=demo", "component=silencing", *words) as (_, config):
        sweep.on_multirun_start(config)
    rows = {sweep._row(job) for job in sweep.jobs}
    assert len(rows) == 16
    assert "-".join(f"{key}+2" for key in keys) in rows


def test_a_stop_survives_its_way_between_processes():
    assert pickle.loads(pickle.dumps(Stopped(signal.SIGTERM))).code == 143


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lt_extrap.train", "-m", *SMALL, "component=silencing", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_launcher_that_uses_processes():
    """In other processes all is as in this one: folders, failures, table and figure."""
    process = start("hydra/launcher=submitit_local", "loss.lambda_s=0.1,2", "data.workers=1")
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1, printed
    assert listed(printed) == ["finished", "failed"]
    assert "ConfigError wanted: loss.lambda_s to be in 0..1" in printed
    (results,) = Path("runs/demo").glob("*/results.json")
    assert results.parent.name.startswith("component+silencing")
    assert len(list(Path("runs/demo").glob("sweep-loss.lambda_s-*.png"))) == 1
    assert not list(Path("runs/demo").glob(".sweep-*"))


@pytest.mark.slow
@pytest.mark.long
def test_jobs_side_by_side_are_stopped_together_and_go_on():
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "loss.lambda_s=0,0.1,0.5"]
    budget = "budget={unit: epochs, amount: 15, warmup: 2}"
    process = start(*words, budget)
    begun = time.monotonic()
    while len(list(Path("runs/demo").glob("*/checkpoints/last.ckpt"))) < 2:
        assert process.poll() is None
        assert time.monotonic() - begun < 90
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert listed(printed)[2] == "not begun"
    assert "stopped" in listed(printed)
    assert "to do: run the same command again" in printed
    process = start(*words, budget)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert listed(printed) == ["finished"] * 3
    starts = [len(json.loads(file.read_text())["starts"]) for file in Path("runs/demo").glob("*/run.json")]
    assert max(starts) == 2


@pytest.mark.slow
def test_a_run_ends_with_its_retrained_classifier(command, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lt_extrap.retrained.Budget", lambda **_: Budget(unit="epochs", amount=1.0, warmup=0.0))
    words = (*SMALL, "component=baseline", "name=both", "retrained=true")
    status, _ = command(*words)
    (folder,) = Path("runs/both").iterdir()
    direct, retrained = (json.loads((of / "results.json").read_text()) for of in (folder, folder / "retrained"))
    assert (status, retrained["auxiliary_classes"]) == (0, 0)
    assert direct["trained_parameters"] > retrained["trained_parameters"] > 0
    (start,) = json.loads((folder / "run.json").read_text())["starts"]
    assert start["command"] == ["lt_extrap.train", *words]
    assert retrained["test"] != direct["test"]
    (folder / "model.safetensors").unlink()
    assert command(*words)[0] == 0
    status, _ = command(*words, "trainer.devices=2")
    assert "one device for the retrained classifier" in str(status)
