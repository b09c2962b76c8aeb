"""Where the time of a training goes."""

import resource
import sys
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from lt_extrap.data.loader import ResumableLoader

PARTS = ("data_wait", "forward", "backward", "optimizer", "logging", "validation")
MOST = 0.1  # of the training time, that may be data wait without a word
_WARM_UP = 20  # steps of a start that say nothing of those behind them: workers start, kernels are chosen or compiled
_EARLY = 120  # the step of a start at which its data wait is told


class Mark(Protocol):
    """A moment, with the interface of `torch.cuda.Event`."""

    def record(self) -> None:
        """Now."""

    def query(self) -> bool:
        """Whether it has come."""

    def synchronize(self) -> None:
        """Wait for it."""

    def elapsed_time(self, later: Any) -> float:
        """Milliseconds until another."""


class CpuMark:
    """A moment of the clock."""

    def record(self) -> None:
        self.at = perf_counter()

    def query(self) -> bool:
        return True

    def synchronize(self) -> None: ...

    def elapsed_time(self, later: "CpuMark") -> float:
        return 1000 * (later.at - self.at)


class Stopwatch(L.Callback):
    """Gives each moment of a fit, from its first step to its last, to one part.

    data_wait: from the question for a batch until it is on the device. forward: training_step, without the backward
    passes in it. backward. optimizer: clipping, the step, the average, the schedule. validation. logging: the rest:
    loggers, progress, checkpoints, and waiting for other processes between two steps.

    On a GPU the moments are events in its queue: its own time, for which nothing waits. What the CPU does while the
    GPU computes costs nothing and counts nothing: data_wait is the time in which the GPU stands idle for a batch.

    It has to be the first callback, or the hooks of those before it count as what went before.

    Args:
        batch_size: images a step, over all devices.
        remedy: says what to set, for a share of data wait; None where there is nothing to say.

    Attributes:
        seconds: by part, over all starts; work that a kill undid is not in it.
        steps: those that the seconds are of.
    """

    def __init__(self, batch_size: int, remedy: Callable[[float, L.Trainer], str | None]) -> None:
        self.batch_size, self.remedy = batch_size, remedy
        self.seconds, self.steps = dict.fromkeys(PARTS, 0.0), 0
        self._mark: Callable[[], Mark] = CpuMark
        self._marks: deque[tuple[str, Mark]] = deque()  # beginnings of parts; the first is that of the part being read
        self._begun = self._warm = self._lap = (0, 0.0, 0.0)  # steps, training and waiting seconds by then

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())

    @property
    def training(self) -> float:
        """Seconds without validation."""
        return self.total - self.seconds["validation"]

    @property
    def data_wait(self) -> float:
        """Its share of the training time of this start, without the first steps; 0 as long as there are no others."""
        steps, training, waited = (now - then for now, then in zip(self._now(), self._warm, strict=True))
        warm = self.steps - self._begun[0] > _WARM_UP and steps > 0
        return waited / training if warm and training > 0 else 0.0

    def warning(self, trainer: L.Trainer) -> str | None:
        """What to set where data wait is more than `MOST`."""
        share = self.data_wait
        remedy = self.remedy(share, trainer) if share > MOST else None
        return remedy and f"data wait takes {share:.0%} of the training time: {remedy}"

    def lap(self) -> float:
        """Images a second of training time since the last lap of this start."""
        self._read(wait=True)
        steps, training, _ = (now - then for now, then in zip(self._now(), self._lap, strict=True))
        self._lap = self._now()
        return steps * self.batch_size / max(training, 1e-9)

    def results(self, device: torch.device) -> dict[str, float]:
        """The node `time` of results.json: seconds by part, images a second, and bytes of memory.

        Args:
            device: the one that trained.
        """
        seconds = {part: round(seconds, 3) for part, seconds in self.seconds.items()}
        return seconds | {
            "images_per_second": round(self.steps * self.batch_size / max(self.training, 1e-9), 1),
            "peak_memory": _peak_memory(device),
        }

    def state_dict(self) -> dict[str, Any]:
        self._read(wait=True)
        return {"seconds": dict(self.seconds), "steps": self.steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.seconds, self.steps = dict(state_dict["seconds"]), state_dict["steps"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._mark = CpuMark
        if trainer.strategy.root_device.type == "cuda":
            self._mark = partial(torch.cuda.Event, enable_timing=True)
            torch.cuda.reset_peak_memory_stats()
        self._begun = self._warm = self._lap = self._now()
        self._marks.clear()
        loader = trainer.train_dataloader
        assert isinstance(loader, ResumableLoader)
        loader.on_ask = partial(self._enter, "data_wait")
        self._enter("logging")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._enter("forward")

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        self._enter("backward")

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._enter("forward")  # of the next part of the batch; behind the last part it is over at once

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        self._enter("optimizer")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._enter("logging")
        self.steps += 1
        done = self.steps - self._begun[0]
        self._read(wait=done == _WARM_UP)
        if done == _WARM_UP:
            self._warm = self._now()
        if done == _EARLY and trainer.is_global_zero and (warning := self.warning(trainer)):
            print(warning, flush=True)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._marks:  # else it is that of the end
            self._enter("validation")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._marks:
            self._enter("logging")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._read(wait=True)
        self._marks.clear()

    def _enter(self, part: str) -> None:
        mark = self._mark()
        mark.record()
        self._marks.append((part, mark))

    def _read(self, *, wait: bool) -> None:
        """Add up what is over: until now, or as far as the GPU has come."""
        if not self._marks:
            return
        if wait:
            self._enter(self._marks[-1][0])
            self._marks[-1][1].synchronize()
        while len(self._marks) > 1 and self._marks[1][1].query():
            part, begin = self._marks.popleft()
            self.seconds[part] += begin.elapsed_time(self._marks[0][1]) / 1000

    def _now(self) -> tuple[int, float, float]:
        return self.steps, self.training, self.seconds["data_wait"]


def _peak_memory(device: torch.device) -> int:
    """Bytes: of a GPU what its tensors took at most since this fit began, else what this process took in its life."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
