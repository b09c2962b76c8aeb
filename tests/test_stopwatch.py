"""On a clock that only the parts of a training move, each by a power of ten, in milliseconds."""

import json

import pytest

from lt_extrap import stopwatch, supply
from lt_extrap.checkpoints import Checkpoints
from lt_extrap.data.datamodule import ImageDataset
from lt_extrap.model.losses import OffsetCrossEntropy
from lt_extrap.module import ExtrapolationModule
from lt_extrap.progress import time_line
from lt_extrap.stopwatch import PARTS
from lt_extrap.train import train

READ, FORWARD, BACKWARD, OPTIMIZER, VALIDATION, SAVE = 1, 100, 1_000, 10_000, 100_000, 1_000_000
# 10 of the steps are an epoch.
BASELINE = ("component=baseline", "budget={unit: steps, amount: 12, warmup: 2}", "recipe.accumulate=4")


class Machine:
    """A clock that moves where it is told to. With a queue, as a GPU has, the compute of a step is only put into it.

    What is saved is then at once, so that the queue is full when its state is asked for.
    """

    def __init__(self, patch: pytest.MonkeyPatch, *, queue: bool = False) -> None:
        self.now = self.free = 0.0
        self.began = self.ended = 0.0
        compute = self.launch if queue else self.spend
        for owner, name, spend, amount in (
            (ImageDataset, "__getitem__", self.spend, READ),
            (OffsetCrossEntropy, "forward", compute, FORWARD),
            (ExtrapolationModule, "backward", compute, BACKWARD),
            (ExtrapolationModule, "configure_gradient_clipping", compute, OPTIMIZER),
            (ExtrapolationModule, "validation_step", self.spend, VALIDATION),
            (Checkpoints, "_save", self.spend, 0 if queue else SAVE),
        ):
            patch.setattr(owner, name, self._slower(getattr(owner, name), spend, amount))
        patch.setattr(stopwatch, "perf_counter", lambda: self.now / 1000)
        patch.setattr(ExtrapolationModule, "on_train_start", lambda module: setattr(self, "began", self.now))
        patch.setattr(ExtrapolationModule, "on_train_end", lambda module: setattr(self, "ended", self.now))

    def spend(self, milliseconds):
        self.now += milliseconds

    def launch(self, milliseconds):
        self.free = max(self.free, self.now) + milliseconds

    @property
    def total(self):
        """Of the last fit."""
        return self.ended - self.began

    @staticmethod
    def _slower(before, spend, milliseconds):
        def after(*args, **kwargs):
            spend(milliseconds)
            return before(*args, **kwargs)

        return after


SPENT = {
    "data_wait": 12 * 32 * READ,
    "forward": 12 * 4 * FORWARD,
    "backward": 12 * 4 * BACKWARD,
    "optimizer": 12 * OPTIMIZER,
    "logging": 3 * SAVE,  # the best and the last of the epoch, and the last of all
    "validation": 45 * READ + 6 * VALIDATION,  # in batches of 8
}


def spent(results):
    return {part: round(1000 * results["time"][part]) for part in PARTS}


def test_each_second_counts_once(small, tmp_path, monkeypatch, capsys):
    """A batch in parts has a backward pass for each; those within training_step are no forward pass."""
    machine = Machine(monkeypatch)
    results = train(small(*BASELINE), tmp_path)
    assert spent(results) == SPENT
    assert machine.total == sum(SPENT.values())
    assert results["time"] == json.loads((tmp_path / "results.json").read_text())["time"]
    assert results["time"]["images_per_second"] == round(12 * 32 / (machine.total - SPENT["validation"]) * 1000, 1)
    out = capsys.readouterr().out
    assert time_line(results["time"], "cpu") in out
    of_epoch = 10 * (32 * READ + 4 * FORWARD + 4 * BACKWARD + OPTIMIZER) + 2 * SAVE
    assert f", {320_000 / of_epoch:.0f} images/s" in out
    assert "data wait takes" not in out


@pytest.mark.slow
def test_a_start_adds_to_those_before(small, tmp_path, monkeypatch):
    """And what came after the last checkpoint is not counted, for it is done again."""
    machine = Machine(monkeypatch)
    before = ExtrapolationModule.on_before_optimizer_step

    def killed(self, optimizer):
        if self.global_step == 11:
            raise ZeroDivisionError
        before(self, optimizer)

    with monkeypatch.context() as patch:
        patch.setattr(ExtrapolationModule, "on_before_optimizer_step", killed)
        with pytest.raises(ZeroDivisionError):
            train(small(*BASELINE), tmp_path)
    assert spent(train(small(*BASELINE), tmp_path)) == SPENT
    assert machine.total < sum(SPENT.values())


class Event:
    """As `torch.cuda.Event`: its moment comes when the work queued before it is done."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def record(self):
        self.at = max(self.machine.free, self.machine.now)

    def query(self):
        return self.machine.now >= self.at

    def synchronize(self):
        self.machine.now = max(self.machine.now, self.at)

    def elapsed_time(self, later):
        assert self.query()  # CUDA raises otherwise
        assert later.query()
        return later.at - self.at


@pytest.mark.slow
def test_the_time_of_a_gpu_is_its_own(small, tmp_path, monkeypatch):
    """Reading is hidden behind its work but for the first batch, and that behind the validation, where it is idle."""
    machine = Machine(monkeypatch, queue=True)
    monkeypatch.setattr(stopwatch, "CpuMark", lambda: Event(machine))
    counted = spent(train(small(*BASELINE), tmp_path))
    assert counted["data_wait"] == 2 * 32 * READ
    for part in ("forward", "backward", "optimizer"):
        assert counted[part] == SPENT[part]
    assert sum(counted.values()) == machine.total


@pytest.mark.slow
@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_data_wait_is_told_early_and_at_the_end(small, tmp_path, monkeypatch, capsys, cold):
    """But not that of the first steps, in which workers start."""
    monkeypatch.setattr(stopwatch, "_WARM_UP", 2)
    monkeypatch.setattr(stopwatch, "_EARLY", 6)
    monkeypatch.setattr(supply, "cores", lambda processes: 9)
    machine = Machine(monkeypatch)
    before = ImageDataset.__getitem__

    def slow(self, key):
        machine.spend(5_000 if not cold or machine.now - machine.began < 200_000 else 0)
        return before(self, key)

    monkeypatch.setattr(ImageDataset, "__getitem__", slow)
    train(small(*BASELINE), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("data wait takes")]
    if cold:
        assert not told
    else:
        # 32 x 5,001 ms of reading for 14,400 of computing; at the end there are the checkpoints, too
        assert "92% of the training time: set data.resident=true" in told[0]
        assert "34%" in told[1]
        assert len(told) == 2
        assert lines.index(told[0]) < next(at for at, line in enumerate(lines) if line.startswith("epoch 1/"))
