"""Runs in processes of their own that are killed, on disks that are full."""

import hashlib
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command import Command, begin
from conftest import SMALL
from lt_extrap.train import main
from test_resume import assert_same_run

pytestmark = pytest.mark.slow

LONG = (
    *SMALL,
    "component=silencing",
    "budget={unit: epochs, amount: 3, warmup: 1}",
    "recipe.ema=0.9",
    "recipe.cutmix=1.0",
    "logger.version=null",
    "checkpoint_minutes=0.0003",  # several within an epoch
)


def start(cwd: Path, *words: str, log: Path | None = None, **environment: str) -> Command:
    return begin(main, *LONG, *words, log=log or cwd / "log", cwd=cwd, **environment)


def finished(cwd: Path, *words: str, **environment: str) -> str:
    command = start(cwd, *words, **environment)
    assert command.status() == 0, command.said
    return command.said


def folder(cwd: Path) -> Path:
    (found,) = (cwd / "runs" / "demo").iterdir()
    return found


def digest(run: Path) -> str:
    """One hash of all weights that a run leaves: model, average, exported classifier."""
    tensors = [
        *torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"].items(),
        *torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"].items(),
        *load_file(run / "model.safetensors").items(),
    ]
    total = hashlib.sha256()
    for name, tensor in tensors:
        total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()[:16]


@pytest.fixture(scope="module")
def straight(tmp_path_factory, cache):
    cwd = tmp_path_factory.mktemp("straight")
    finished(cwd, LT_EXTRAP_CACHE=str(cache))
    return folder(cwd)


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGKILL, 2), pytest.param(signal.SIGTERM, 0, marks=pytest.mark.long)]
)
def test_killed_again_and_again(tmp_path, straight, number, workers):
    """At random moments, until it gets through; the whole process group, workers and all."""
    when = random.Random(f"{number}{workers}")
    kills = 0
    while kills < 2:
        command = start(tmp_path, f"data.workers={workers}")
        checkpoint = tmp_path / "runs" / "demo" / straight.name / "checkpoints" / "last.ckpt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while not command.ended() and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(when.uniform(0, 0.3))
        if command.ended():
            break
        command.tell(number)
        assert command.status() == (-number if number == signal.SIGKILL else 128 + number), command.said
        kills += 1
    assert kills >= 2
    finished(tmp_path, f"data.workers={workers}")
    assert_same_run(straight, folder(tmp_path))
    print(f"\n{kills} x {signal.Signals(number).name}, {workers} workers: {digest(folder(tmp_path))}")
    print(f"straight:                {digest(straight)}")


def test_the_temporary_folder_is_not_used(tmp_path, tmpfs, straight):
    finished(tmp_path, TMPDIR=str(tmpfs("tmp", 16)))
    assert_same_run(straight, folder(tmp_path))


def test_a_full_disk(tmp_path, tmpfs, straight):
    place = tmpfs("disk", 400)
    command = start(place, log=tmp_path / "log")
    assert command.status() == 1
    assert "Traceback" not in command.said
    words = ("wanted:", "No space left", "run the same command again")
    assert all(word in command.said for word in words), command.said
    subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
    again = finished(place)
    assert "goes on from step" in again
    assert_same_run(straight, folder(place))


def test_two_at_once(tmp_path):
    first = start(tmp_path, log=tmp_path / "first")
    while not list(tmp_path.glob("runs/demo/*/run.json")):
        time.sleep(0.05)
    second = start(tmp_path, log=tmp_path / "second")
    status = second.status()
    assert first.status() == 0, first.said
    assert status == 1 or "finished before" in second.said
    assert status == 0 or "another process" in second.said
