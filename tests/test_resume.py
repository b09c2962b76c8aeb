"""A run that is stopped anywhere and started again equals the straight run, bit for bit."""

import contextlib
import csv
import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from lt_extrap import checkpoints
from lt_extrap.checkpoints import Checkpoints
from lt_extrap.errors import RunError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.model.metrics import LongTailMetrics
from lt_extrap.signals import Stopped, StopSignal
from lt_extrap.train import train

# 10 steps an epoch of the baseline, 13 of silencing.
LONG = ("budget={unit: epochs, amount: 3, warmup: 1}", "recipe.ema=0.9", "recipe.mixup=0.8")


STRIP = checkpoints.strip


@pytest.fixture(autouse=True)
def _keep_the_whole_last_state(monkeypatch):
    monkeypatch.setattr(checkpoints, "strip", lambda folder: None)


def stop_at(monkeypatch, *steps, number=signal.SIGTERM):
    """Send this process a signal during each of these steps, once."""
    left = list(steps)
    before = Checkpoints.on_train_batch_end

    def hook(self, trainer, pl_module, outputs, batch, batch_idx):
        if left and trainer.global_step == left[0]:
            left.pop(0)
            os.kill(os.getpid(), number)
        before(self, trainer, pl_module, outputs, batch, batch_idx)

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", hook)


def state(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def assert_equal(a, b, at=""):
    assert type(a) is type(b), at
    if isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for key in a:
            if key not in ("seconds", "time", "loops"):  # the clock; and Lightning's counters of how it got there
                assert_equal(a[key], b[key], f"{at}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), at
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{at}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at
    else:
        assert a == b, at


def assert_same_run(straight, resumed):
    assert_equal(state(straight), state(resumed))
    results = [json.loads((folder / "results.json").read_text()) for folder in (straight, resumed)]
    assert_equal(*results)
    assert (straight / "per_class.csv").read_bytes() == (resumed / "per_class.csv").read_bytes()
    assert_equal(*(load_file(folder / "model.safetensors") for folder in (straight, resumed)))


@pytest.fixture(scope="module")
def straight(tmp_path_factory, cache):
    """The straight run of a configuration, once."""
    from conftest import SMALL
    from lt_extrap.compose import configure

    done = {}

    def run(*overrides):
        if overrides not in done:
            folder = tmp_path_factory.mktemp("straight")
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                train(configure(*SMALL, *overrides), folder)
            done[overrides] = folder, epoch_lines(out.getvalue())
        return done[overrides]

    return run


def stopped_and_resumed(config, folder, monkeypatch, steps, number=signal.SIGTERM):
    stop_at(monkeypatch, *steps, number=number)
    for _ in steps:
        with pytest.raises(Stopped) as stopped:
            train(config, folder)
        assert stopped.value.code == 128 + number
        assert not (folder / "results.json").exists()
    train(config, folder)


@pytest.mark.slow
def test_the_rows_of_every_start_are_kept(small, tmp_path, monkeypatch):
    """A step that a signal came in is not left out; a kill (test_kill.py) may leave rows in two files."""
    config = small("component=baseline", "trainer.log_every_n_steps=1", *LONG)
    stopped_and_resumed(config, tmp_path / "run", monkeypatch, (7, 22))
    lengths, steps = [], []
    for start in range(3):
        with (tmp_path / "run" / "csv" / f"version_{start}" / "metrics.csv").open() as file:
            part = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
        lengths.append(len(part))
        steps += part
    assert lengths == [7, 15, 8]
    assert steps == list(range(30))


def epoch_lines(out):
    """What the epochs' lines say, without the clock."""
    return [line.split("  ")[:4] for line in out.splitlines() if line.startswith("epoch ")]


@pytest.mark.parametrize(
    ("steps", "workers"),
    [
        ((7, 9, 22), 0),
        *(pytest.param((10, 20, 30), workers, marks=pytest.mark.slow) for workers in (0, 2)),
        pytest.param((7, 9, 22), 2, marks=pytest.mark.slow),
        *(pytest.param(tuple(range(1, 31, 2)), of, marks=[pytest.mark.slow, pytest.mark.long]) for of in (0, 2)),
    ],
    ids=str,
)
def test_stopped_at_any_step(small, tmp_path, monkeypatch, capsys, straight, steps, workers):
    overrides = ("component=baseline", *LONG)
    expected, lines = straight(*overrides)
    capsys.readouterr()
    stopped_and_resumed(small(*overrides, f"data.workers={workers}"), tmp_path, monkeypatch, steps)
    assert_same_run(expected, tmp_path)
    assert epoch_lines(capsys.readouterr().out) == lines


@pytest.mark.parametrize("steps", [pytest.param(at, marks=pytest.mark.slow) for at in [(1,), (2, 3, 5)]], ids=str)
def test_stopped_while_the_head_learns_alone_and_a_step_has_parts(small, tmp_path, monkeypatch, straight, steps):
    overrides = (
        "component=baseline",
        "recipe.accumulate=4",
        "recipe.head_warmup_factor=10",
        "budget={unit: steps, amount: 6, warmup: 2, head_warmup: 3}",
        *LONG[1:],
    )
    expected, _ = straight(*overrides)
    stopped_and_resumed(small(*overrides), tmp_path, monkeypatch, steps)
    assert_same_run(expected, tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_a_run_may_go_on_compiled_and_be_measured_without(small, tmp_path, monkeypatch, straight):
    """No key has a prefix. Compiled in a process of its own: the checks of shapes here are not for the compiler."""
    from conftest import SMALL

    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    overrides = ("component=baseline", "backbone.widths=[8]", "recipe.mixup=0.8", "budget.amount=6")
    expected, _ = straight(*overrides)
    stop_at(monkeypatch, 2)
    with pytest.raises(Stopped):
        train(small(*overrides), tmp_path)
    words = (*SMALL, *overrides, "compile=true", f"hydra.run.dir={tmp_path}")
    subprocess.run([sys.executable, "-m", "lt_extrap.train", *words], check=True)
    there, here = (torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (expected, tmp_path))
    assert there["state_dict"].keys() == here["state_dict"].keys()
    for key, value in there["state_dict"].items():
        torch.testing.assert_close(here["state_dict"][key], value, atol=1e-4, rtol=1e-3)
    again = evaluate(EvaluateConfig(run=str(tmp_path), workers=0, trainer={"accelerator": "cpu"}))
    assert again["test"] == json.loads((tmp_path / "results.json").read_text())["test"]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(13, 14, 35)], ids=str)  # 13 an epoch: at its end, and behind it
@pytest.mark.parametrize(
    "override",
    [
        "target.val=null",  # nothing is validated
        "+trainer.check_val_every_n_epoch=2",
        "budget={unit: steps, amount: 35, warmup: 3}",  # ends in the third epoch, after the last validation
        pytest.param("trainer.precision=bf16-mixed", marks=pytest.mark.long),
    ],
)
def test_stopped_where_validation_is_not_after_every_epoch(
    small, tmp_path, monkeypatch, capsys, straight, override, steps
):
    overrides = ("component=silencing", *LONG, override)
    expected, lines = straight(*overrides)
    capsys.readouterr()
    stopped_and_resumed(small(*overrides), tmp_path, monkeypatch, steps, number=signal.SIGINT)
    assert_same_run(expected, tmp_path)
    assert epoch_lines(capsys.readouterr().out) == lines


def worsening(monkeypatch):
    """An accuracy on the validation list that only worsens: the first epoch stays the best."""
    compute = LongTailMetrics.compute
    accuracy = iter(range(99, 0, -1))

    def worse(self):
        values = compute(self)
        if int(self.support.sum()) == 9 * 5:
            values["acc"] = torch.tensor(next(accuracy) / 100)
        return values

    monkeypatch.setattr(LongTailMetrics, "compute", worse)


@pytest.mark.parametrize("steps", [pytest.param(at, marks=pytest.mark.slow) for at in [(9,), (10, 20, 30)]], ids=str)
def test_a_metric_that_only_worsens(small, tmp_path, monkeypatch, straight, steps):
    overrides = ("component=baseline", *LONG, "target.world.test_per_class=6")
    with monkeypatch.context() as patch:
        worsening(patch)
        expected, _ = straight(*overrides)
    with monkeypatch.context() as patch:
        worsening(patch)
        stopped_and_resumed(small(*overrides), tmp_path, patch, steps)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["selected"] == "best"
    for folder in (expected, tmp_path):
        best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
        assert best["global_step"] == 10
    assert_same_run(expected, tmp_path)


@pytest.mark.parametrize("step", [10, pytest.param(15, marks=pytest.mark.slow)])
def test_a_stop_leaves_no_worker_behind(small, tmp_path, monkeypatch, step):
    """At the end of a validation and in the middle of an epoch; torch waits five seconds for each that is left."""
    stop_at(monkeypatch, step)
    with pytest.raises(Stopped):
        train(small("component=baseline", *LONG, "data.workers=1"), tmp_path)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_stop_during_the_test_keeps_what_was_trained(small, tmp_path, monkeypatch, straight):
    overrides = ("component=baseline", *LONG)
    with monkeypatch.context() as patch:
        patch.setattr(LongTailMetrics, "per_class", lambda self: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            train(small(*overrides), tmp_path)
    calls = []
    monkeypatch.setattr(Checkpoints, "on_train_batch_end", lambda *_: calls.append(1))
    train(small(*overrides), tmp_path)
    assert not calls
    assert_same_run(straight(*overrides)[0], tmp_path)


@pytest.mark.slow
def test_a_folder_may_move_between_two_starts(small, tmp_path, monkeypatch, straight):
    overrides = ("component=baseline", *LONG)
    stop_at(monkeypatch, 15)
    with pytest.raises(Stopped):
        train(small(*overrides), tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    train(small(*overrides), tmp_path / "there")
    assert_same_run(straight(*overrides)[0], tmp_path / "there")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_is_not_lost_where_python_drops_what_its_handler_raises():
    stop = StopSignal()

    class Dropped:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # the handler raises here, and Python only writes that down

    def work():
        with stop.listening():
            Dropped()

    with pytest.raises(Stopped):
        work()


def test_what_fails_because_it_was_interrupted_is_a_stop():
    stop = StopSignal()

    def work():
        with stop.listening():
            stop.received = signal.SIGINT
            raise RuntimeError("a worker exited unexpectedly")

    with pytest.raises(Stopped) as stopped:
        work()
    assert stopped.value.code == 128 + signal.SIGINT
    with pytest.raises(RunError), stop.listening():
        raise RunError("room for the state", "a full disk", "free some")
    with pytest.raises(RuntimeError), StopSignal().listening():
        raise RuntimeError("of its own")


def test_a_second_interrupt_stops_at_once(small, tmp_path, monkeypatch):
    def twice(self, *_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second stops at once")

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", twice)
    with pytest.raises(Stopped):
        train(small("component=baseline", *LONG), tmp_path)
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", ["truncated", "missing", *(pytest.param(how, marks=pytest.mark.long) for how in ("empty", "garbage"))]
)
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(small, tmp_path, monkeypatch, capsys, straight, damage):
    overrides = ("component=baseline", *LONG)
    stop_at(monkeypatch, 15)
    with pytest.raises(Stopped):
        train(small(*overrides), tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    if damage == "missing":
        last.unlink()
    else:
        last.write_bytes({"truncated": content[:-1000], "empty": b"", "garbage": b"x" * len(content)}[damage])
    train(small(*overrides), tmp_path)
    out = capsys.readouterr().out
    assert ("cannot be read" in out) == (damage != "missing")
    assert (tmp_path / "checkpoints" / "last.unreadable").exists() == (damage != "missing")
    assert "goes on from step 10/30" in out
    assert_same_run(straight(*overrides)[0], tmp_path)


def test_no_readable_checkpoint_is_an_error_and_nothing_is_lost(small, tmp_path, monkeypatch):
    stop_at(monkeypatch, 15)
    with pytest.raises(Stopped):
        train(small("component=baseline", *LONG), tmp_path)
    for name in ("last.ckpt", "before.ckpt"):
        (tmp_path / "checkpoints" / name).write_bytes(b"x")
    with pytest.raises(RunError, match=r"last\.ckpt[\s\S]*before\.ckpt"):
        train(small("component=baseline", *LONG), tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == b"x"


def test_a_finished_run_needs_no_checkpoint(small, tmp_path):
    results = train(small("component=baseline"), tmp_path)
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"x")
    assert train(small("component=baseline"), tmp_path) == results


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(small, tmp_path, monkeypatch, straight):
    overrides = ("component=baseline", *LONG)
    save, calls = torch.save, []

    def full(content, file):
        calls.append(1)
        if len(calls) == 3:  # best and last of the first epoch are written
            file.write(b"x" * 100)
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(RunError, match=r"No space left[\s\S]*run the same command again"):
            train(small(*overrides), tmp_path)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt"}
    train(small(*overrides), tmp_path)
    assert_same_run(straight(*overrides)[0], tmp_path)


@pytest.mark.parametrize("last", [pytest.param(how, marks=pytest.mark.slow) for how in ("unreadable", "missing")])
def test_a_kill_between_two_renames(small, tmp_path, monkeypatch, straight, last):
    """The new state has its first name, the one before is under another; none takes the place of a good one."""
    overrides = ("component=baseline", *LONG)
    stop_at(monkeypatch, 15, 17)
    with pytest.raises(Stopped):
        train(small(*overrides), tmp_path)
    folder = tmp_path / "checkpoints"
    (folder / "last.ckpt").rename(folder / "new.ckpt")
    (folder / "before.ckpt").write_bytes(b"x")
    if last == "unreadable":
        (folder / "last.ckpt").write_bytes(b"x")
    with pytest.raises(Stopped):
        train(small(*overrides), tmp_path)
    train(small(*overrides), tmp_path)
    assert_same_run(straight(*overrides)[0], tmp_path)


@pytest.mark.slow
def test_slurm_signals_do_not_exchange_the_weights(small, tmp_path, monkeypatch, straight):
    overrides = ("component=baseline", *LONG)
    for key, value in {"JOB_ID": "7", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    arrived = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: arrived.append(number))
    try:
        with monkeypatch.context() as patch:
            stop_at(patch, 13, number=signal.SIGUSR1)
            train(small(*overrides), tmp_path)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert arrived
    assert not list(tmp_path.rglob("hpc_ckpt*"))
    assert_same_run(straight(*overrides)[0], tmp_path)


@pytest.mark.slow
def test_seconds_are_those_of_all_starts(small, tmp_path, monkeypatch):
    stop_at(monkeypatch, 15)
    with pytest.raises(Stopped):
        train(small("component=baseline", *LONG), tmp_path)
    before = sum(state(tmp_path)["callbacks"]["Stopwatch"]["seconds"].values())
    assert before > 0
    results = train(small("component=baseline", *LONG), tmp_path)
    assert results["seconds"] >= round(before, 1)


def test_a_finished_run_keeps_weights_alone(small, tmp_path, monkeypatch):
    """Also where a kill came between its results and the line that does it."""
    config = small("component=baseline", "budget={unit: epochs, amount: 2, warmup: 0}")
    train(config, tmp_path)  # strip does nothing in this file
    whole = (tmp_path / "checkpoints" / "last.ckpt").stat().st_size
    assert (tmp_path / "checkpoints" / "before.ckpt").exists()
    monkeypatch.setattr(checkpoints, "strip", STRIP)
    train(config, tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert (tmp_path / "checkpoints" / "last.ckpt").stat().st_size < whole / 2
    (tmp_path / "results.json").unlink()
    with pytest.raises(RunError, match=r"weights alone[\s\S]*results\.json"):
        train(config, tmp_path)


def test_checkpoints_within_an_epoch(small, tmp_path, monkeypatch):
    saved = []
    save_last = Checkpoints._save_last
    monkeypatch.setattr(
        Checkpoints, "_save_last", lambda self, trainer: (saved.append(trainer.global_step), save_last(self, trainer))
    )
    train(small("component=baseline", "checkpoint_minutes=0.0"), tmp_path / "often")
    assert saved == list(range(1, 13))
    saved.clear()
    train(small("component=baseline"), tmp_path / "seldom")
    assert saved == [10, 12]
