"""Runs on two devices of this machine: gloo, on the loopback."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from safetensors.torch import load_file
from torch.distributed import TCPStore

from command import Command, begin
from conftest import SMALL
from lt_extrap import checkpoints, compose, processes
from lt_extrap.agreement import Agreement
from lt_extrap.compose import configure
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError, RunError, TrainingError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.processes import Processes
from lt_extrap.signals import Stopped
from lt_extrap.train import main, train

# Without batch normalisation, which sees its own share of a batch; 16 steps an epoch, 5 test images.
TRANSFORMER = (
    *(
        override
        for override in SMALL
        if not override.startswith(("backbone", "recipe.image_size", "budget", "target.world.test"))
    ),
    *("backbone=timm", "backbone.model=test_vit", "recipe.image_size=32", "recipe.ema=0.9", "component=silencing"),
    *("target.world.test_per_class=1", "budget={unit: epochs, amount: 2, warmup: 1}", "trainer.log_every_n_steps=1"),
    *("trainer.accelerator=cpu", "logger.version=null"),
)
TWO = "trainer.devices=2"


@pytest.fixture(autouse=True)
def _loopback(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _nobody_is_left():
    yield
    left = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "lt_extrap.sibling"], capture_output=True, text=True)
    for pid in left.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    assert not left.stdout


def losses(run: Path) -> list[float]:
    with next(run.glob("csv/version_0/metrics.csv")).open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def of_two(*overrides: str) -> list[str]:
    return [*TRANSFORMER, TWO, *overrides]


@pytest.fixture(scope="module")
def two(tmp_path_factory, cache):
    """A run on two devices."""
    folder = tmp_path_factory.mktemp("two") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        patch.setattr(checkpoints, "strip", lambda folder: None)
        train(configure(*of_two()), folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["recipe.accumulate=4"]])
def test_two_devices_train_as_one(two, tmp_path, more):
    """The same images in each step, so that losses, weights and what is measured are those of one."""
    train(configure(*TRANSFORMER, *more), tmp_path / "one")
    assert losses(two) == pytest.approx(losses(tmp_path / "one"), abs=2e-6)
    weights = [load_file(run / "model.safetensors") for run in (tmp_path / "one", two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-5)
    measured = [json.loads((run / "results.json").read_text())["test"] for run in (tmp_path / "one", two)]
    for key in measured[0].keys() - {"ece", "aux_mass"}:
        assert measured[0][key] == measured[1][key]
    assert (tmp_path / "one/per_class.csv").read_bytes() == (two / "per_class.csv").read_bytes()


@pytest.mark.slow
def test_a_run_of_two_is_read_by_one(two, capfd):
    test = evaluate(EvaluateConfig(run=str(two), workers=0, trainer={"accelerator": "cpu"}))["test"]
    expected = json.loads((two / "results.json").read_text())["test"]
    assert all(test[key] == pytest.approx(value, abs=1e-6) for key, value in expected.items() if value is not None)
    again = train(configure(*TRANSFORMER), two)
    assert (again["test"], again["device"]) == (expected, "2 x CPU")
    assert "finished before" in capfd.readouterr().out


def srun(cwd: Path, port: int, *overrides: str) -> list[Command]:
    """Start two tasks as srun does."""
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "run", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    job |= {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": "0", "SLURM_NNODES": "1", "SLURM_NODELIST": "localhost"}
    job |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    tasks = []
    for rank in map(str, range(2)):
        place = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}
        tasks.append(begin(main, *overrides, log=cwd.with_name(f"{cwd.name}.{rank}"), cwd=cwd, **job, **place))
    return tasks


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
def test_a_job_of_slurm_is_requeued(two, tmp_path):
    """SIGTERM to both tasks, at another moment each; then the same command."""
    tasks = srun(tmp_path, free_port(), *of_two())
    try:
        while not list(tmp_path.glob("runs/demo/*/checkpoints/last.ckpt")) and not tasks[0].ended():
            time.sleep(0.01)
        for task in reversed(tasks):
            task.send_signal(signal.SIGTERM)
        assert [task.status() for task in tasks] == [143, 143], [task.said for task in tasks]
        assert "stopped at step" in tasks[0].said
        assert not tasks[1].said
        assert not list(tmp_path.glob("runs/demo/*/hpc*"))
        (folder,) = tmp_path.glob("runs/demo/*")
        with pytest.raises(RunError, match="as many devices as at the first start of this run, 2"):
            train(configure(*TRANSFORMER), folder)
        tasks = srun(tmp_path, free_port(), *of_two())
        assert [task.status() for task in tasks] == [0, 0], [task.said for task in tasks]
    finally:
        for task in tasks:
            task.process.kill()
    assert "goes on from step" in tasks[0].said
    straight, resumed = (load_file(run / "model.safetensors") for run in (two, folder))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in straight.items())


@pytest.mark.slow
def test_a_task_of_slurm_that_dies_is_missed_in_our_words(tmp_path):
    tasks = srun(tmp_path, free_port(), *of_two())
    try:
        while not list(tmp_path.glob("runs/demo/*/checkpoints/last.ckpt")) and not tasks[0].ended():
            time.sleep(0.01)
        tasks[1].process.kill()
        assert [task.status() for task in tasks] == [1, -signal.SIGKILL]
        assert "found:  one that has gone without a word" in tasks[0].said
        assert "Traceback" not in tasks[0].said
    finally:
        for task in tasks:
            task.process.kill()


def spoil(target, *rows: int) -> str:
    for row in rows:
        (target.place.images.path / target.train.path(row)).write_bytes(b"")
    return target.train.path(rows[0])


@pytest.mark.slow
def test_the_error_of_another_process_is_that_of_the_run(tmp_path, monkeypatch):
    """An image that the second process has: of the last step, so that all have begun."""
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    config = configure(*of_two("component=baseline"))
    target = load_target(config.target)
    draw = build_training_set(config.auxiliary, target, seed=0).draw.draw(0)
    image = spoil(target, int(draw[3 * 32 + 16]))  # the fourth step, the first image of the second half
    began = time.monotonic()
    with pytest.raises(DataError, match="images that can be read") as error:
        train(config, tmp_path / "run")
    assert image in str(error.value)
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_process_without_images_takes_part(tmp_path, monkeypatch):
    """The second half of a step cannot be read, nor any image of the next: both are left out as in one process."""
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    more = (
        "component=baseline",
        "data.on_unreadable=skip",
        "budget={unit: steps, amount: 6, warmup: 1}",
        "recipe.accumulate=2",
    )
    config = configure(*of_two(*more))
    target = load_target(config.target)
    draw = build_training_set(config.auxiliary, target, seed=0).draw.draw(0)
    spoil(target, *(int(row) for row in draw[3 * 32 + 16 : 5 * 32]), int(draw[5]))
    two = train(config, tmp_path / "two")
    one = train(configure(*TRANSFORMER, *more), tmp_path / "one")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-6)
    assert sorted(two["unreadable"]) == sorted(one["unreadable"])
    assert len(one["unreadable"]) == 17 + 32
    weights = [load_file(tmp_path / run / "model.safetensors") for run in ("one", "two")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run(tmp_path, monkeypatch):
    """As where memory runs out."""
    began = processes.Processes.begin

    def begin(self, *order):
        began(self, *order)
        self._others[0].kill()

    monkeypatch.setattr(Processes, "begin", begin)
    with pytest.raises(TrainingError, match="process 1 ended with status -9"):
        train(configure(*of_two()), tmp_path / "run")


@pytest.mark.slow
def test_a_process_that_does_not_start_ends_the_run(tmp_path, monkeypatch, capfd):
    """Nor does the first wait for it."""
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no interpreter starts there
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")  # of a torchrun that has started this process alone
    with pytest.raises(TrainingError, match="process 1 ended with status"):
        train(configure(*of_two()), tmp_path / "run")


@pytest.mark.slow
def test_a_stop_at_the_start_waits_for_nobody(tmp_path, monkeypatch):
    """Ctrl-C while the others are being started."""

    def join(self, store):
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(Processes, "_join", join)
    began = time.monotonic()
    with pytest.raises(Stopped):
        train(configure(*of_two()), tmp_path / "run")
    assert time.monotonic() - began < processes._GRACE


@pytest.mark.slow
def test_a_process_ends_with_the_first():
    """Which is killed before it has taken the other's call, for which torch waits 5 minutes."""
    order = {"config": compose.to_dict(configure(*of_two())), "kinds": compose.kinds(configure(*of_two()))}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "RANK": "1"}
    other = subprocess.Popen(
        [sys.executable, "-m", "lt_extrap.sibling"],
        env={**os.environ, **where, "LOCAL_RANK": "1"},
        stdin=subprocess.PIPE,
    )
    other.communicate(json.dumps(order | {"folder": "/nowhere"}).encode() + b"\n", timeout=60)
    assert other.returncode == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.devices=3", "a multiple of 3"),
        ("recipe.accumulate=32", "a multiple of 64"),
        ("trainer.num_nodes=2", "srun or torchrun"),
        ("+trainer.strategy=ddp_spawn", "auto, or ddp"),
    ],
)
def test_refused(tmp_path, override, said):
    with pytest.raises(ConfigError, match=said):
        train(configure(*of_two(override)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_image_for_every_device(small, tmp_path):
    with pytest.raises(ConfigError, match="an image of each evaluation list for every device"):
        train(small("trainer.accelerator=cpu", "trainer.devices=16", "target.world.val_per_class=1"), tmp_path / "run")


def test_others_than_were_started(monkeypatch):
    for key, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match="4, started by TorchElastic"):
        Processes(devices=2, nodes=1, device="cpu")
    with pytest.raises(SystemExit) as end, processes.one_voice():
        sys.exit("a mistake")
    assert end.value.code == 1


def test_all_are_waited_for_together(monkeypatch):
    """So that a stop takes no longer on 8 devices than on 2."""
    monkeypatch.setattr(processes, "_GRACE", 0.5)
    run = Processes(devices=9, nodes=1, device="cpu")
    run._began, run._before = True, {}
    run._others = others = [subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE) for _ in range(8)]
    began = time.monotonic()
    run._stop_others()
    assert time.monotonic() - began < 2.5
    assert {other.returncode for other in others} == {-signal.SIGKILL}


def test_one_that_never_comes(monkeypatch):
    """As where srun has started it, and it has died before it could speak."""
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "RANK": "0", "WORLD_SIZE": "2"}
    for key, value in here.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(processes, "_COME", 0.0)
    monkeypatch.setattr(processes, "_GRACE", 0.0)
    with pytest.raises(TrainingError, match="1 after 0 minutes"), Processes(devices=2, nodes=1, device="cpu"):
        pass


def test_where_they_meet(monkeypatch):
    """torchrun's store still has the words of those that it has started again."""
    agent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    words = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    words |= {"MASTER_PORT": str(agent.port), "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "x"}
    for key, value in words.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    processes._met(holds=True).set("end", "")
    assert processes._met(holds=True).check(["end"])
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not processes._met(holds=True).check(["end"])
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    with pytest.raises(RunError, match="a port that no other run has"), Processes(devices=2, nodes=1, device="cpu"):
        pass
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    held = processes._met(holds=True)
    held.set("here", "")
    assert processes._met(holds=False).check(["here"])


def test_an_end_is_told_in_words():
    one = Processes(devices=1, nodes=1, device="cpu")
    for error in (DataError("a", "b", "c"), Stopped(signal.SIGTERM)):
        again = one._end(json.loads(json.dumps(processes._said(error))))
        assert (type(again), str(again)) == (type(error), str(error))
    assert "ZeroDivisionError: x" in str(one._end(processes._said(ZeroDivisionError("x"))))


def test_lightning_has_the_parts_that_are_put_out_of_use():
    """Under another name, they would be in use again without a word: see `build_trainer`."""
    assert {"register_signal_handlers"} <= vars(_SignalConnector).keys()
    assert {"_broadcast_sigterm_tensor"} <= vars(_TrainingEpochLoop).keys()
    assert {"update_train_step_metrics"} <= vars(_LoggerConnector).keys()


def test_one_process_agrees_with_itself_at_once():
    assert Agreement().of_step(15, 0) == Agreement().now(15, 0) == [15, 0]
