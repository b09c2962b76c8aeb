"""What a run keeps on disk while it trains, what it goes on from, and how it stops when it is told to."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from lt_extrap.errors import LtExtrapError, RunError
from lt_extrap.files import write_whole

NEW, LAST, BEFORE, BEST = "new.ckpt", "last.ckpt", "before.ckpt", "best.ckpt"


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """A run that was told to stop: ends the process, and with it a sweep, with the status of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __reduce__(self) -> tuple[type["Stopped"], tuple[int]]:
        return type(self), (self.number,)  # a job of a sweep may be stopped in another process


class StopSignal:
    """SIGTERM and SIGINT as a request, which the training loop answers after its next step.

    Attributes:
        patient: a request waits for `answer`; otherwise, and at the second SIGINT, it stops at once.
        received: the number of the signal, if one came.
    """

    def __init__(self) -> None:
        self.patient, self.received = False, 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received == signal.SIGINT, number
        if again or not self.patient:
            raise Stopped(number)

    def install(self) -> None:
        """Take the signals, in the main thread, where alone they arrive; Lightning takes SIGTERM when a fit begins."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self)

    def answer(self) -> None:
        """Stop, if a signal asked for it."""
        if self.received:
            raise Stopped(self.received)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen within this block."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.install()
        try:
            yield
            self.answer()  # Python drops what a handler raises in some places, such as a lock of logging
        except LtExtrapError:
            raise  # such as a full disk, where the state was to be saved: that has to be told
        except Exception as error:
            if self.received:  # and what was interrupted may fail in ways of its own
                raise Stopped(self.received) from error
            raise
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)


class WholeFileIO(CheckpointIO):
    """Checkpoints that are there whole or not at all.

    Lightning's own goes through the temporary folder of the machine and a move, which is a copy where that folder
    is another file system: a kill leaves half a file under the final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        write_whole(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        content: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return content

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


class Checkpoints(L.Callback):
    """Keeps the best weights by val/acc, and the whole state at every epoch's end, in between, and when stopping.

    Lightning's ModelCheckpoint is not used: with a monitor its `last` is the last *best* (2.6), a NaN can be its
    best, and it forgets the best when the folder was moved.

    Args:
        folder: of the checkpoints.
        stop: answered after the step during which it came.
        every: seconds between two checkpoints within an epoch.

    Attributes:
        best: val/acc of best.ckpt; -inf before the first.
        seconds: trained so far, over all starts.
    """

    def __init__(self, folder: Path, stop: StopSignal, *, every: float) -> None:
        self.folder, self.stop, self.every = folder, stop, every
        self.best = -float("inf")
        self.seconds, self._began, self._saved = 0.0, time.monotonic(), time.monotonic()

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best, "seconds": self._total()}

    def load_state_dict(self, state_dict: Mapping[str, float]) -> None:
        self.best, self.seconds = state_dict["best"], state_dict["seconds"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop.install()
        self.stop.patient = True
        self._began = self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning 2.6 goes on rightly from here and from the end of a validation, and from nowhere else: from the
        # end of an epoch it skips a number, and between a step and its validation it leaves out the validation.
        epoch_ends = batch_idx + 1 == trainer.num_training_batches
        if epoch_ends and _validates(trainer):
            return
        ends = epoch_ends or trainer.global_step == trainer.max_steps
        if ends or self.stop.received or time.monotonic() - self._saved >= self.every:
            self._save_last(trainer)
        if self.stop.received and not ends:
            # Lightning gives a step to the loggers after this hook, which does not return; the next start is behind it.
            trainer._logger_connector.update_train_step_metrics()
        self._answer(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        accuracy = float(trainer.callback_metrics["val/acc"])
        if accuracy > self.best:  # never a NaN
            self.best = accuracy
            self._save(trainer, BEST, weights_only=True)
        self._save_last(trainer)
        self._answer(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds, self._began = self._total(), time.monotonic()
        self.stop.patient = False

    def _answer(self, trainer: L.Trainer) -> None:
        if self.stop.received and trainer.global_step < trainer.max_steps:  # else the fit ends by itself
            print(f"stopped at step {trainer.global_step}/{trainer.max_steps}: the same command goes on", flush=True)
            self.stop.answer()

    def _total(self) -> float:
        return self.seconds + time.monotonic() - self._began

    def _save_last(self, trainer: L.Trainer) -> None:
        new, last = self.folder / NEW, self.folder / LAST
        self._save(trainer, NEW, weights_only=False)
        if last.exists():
            last.replace(self.folder / BEFORE)
        new.replace(last)
        self._saved = time.monotonic()

    def _save(self, trainer: L.Trainer, name: str, *, weights_only: bool) -> None:
        try:
            trainer.save_checkpoint(self.folder / name, weights_only=weights_only)
        except OSError as error:
            raise RunError(
                f"room for a checkpoint in {self.folder}",
                str(error),
                "free disk and run the same command again: it goes on from the checkpoint before",
            ) from error


def _validates(trainer: L.Trainer) -> bool:
    """Whether a validation follows this epoch."""
    every = trainer.check_val_every_n_epoch
    return trainer.limit_val_batches != 0 and every is not None and (trainer.current_epoch + 1) % every == 0


def begun(folder: Path) -> bool:
    """Whether a run has left a state there, readable or not."""
    return any((folder / name).exists() for name in (NEW, LAST, BEFORE))


def newest(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """The state to go on from; None if there is none.

    The last one, or, if it cannot be read, the one before; where a kill between two renames left the last one under its
    first name, it gets its own. What cannot be read is put aside, so that it never takes the place of what can.

    Raises:
        RunError: there are some, and none can be read; or it is that of a run that had ended.
    """
    unreadable: list[tuple[Path, str]] = []
    for path in (folder / NEW, folder / LAST, folder / BEFORE):
        if not path.exists():
            continue
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises what its parts raise: RuntimeError, EOFError, UnpicklingError...
            unreadable.append((path, f"{type(error).__name__} {str(error).splitlines()[:1]}"))
            continue
        if "optimizer_states" not in content:
            raise RunError(
                f"a state to go on from in {path}",
                "weights alone, as of a run that had ended",
                "put its results.json back, or move the run folder away to begin anew",
            )
        for damaged, reason in unreadable:
            warn(f"cannot be read, so {path.name} is used: {damaged}: {reason}")
            damaged.replace(damaged.with_suffix(".unreadable"))
        return path.replace(folder / LAST) if path.name == NEW else path
    if unreadable:
        raise RunError(
            "a checkpoint that can be read",
            "; ".join(f"{path}: {reason}" for path, reason in unreadable),
            f"put a good copy there, or move {folder} away to begin anew",
        )
    return None


def strip(folder: Path) -> None:
    """Keep of the last state its weights alone: nothing goes on from a run that has its results."""
    content = torch.load(folder / LAST, map_location="cpu", weights_only=True)
    weights = {key: content[key] for key in ("state_dict", "global_step", "epoch")}
    write_whole(folder / LAST, lambda file: torch.save(weights, file))
    (folder / BEFORE).unlink(missing_ok=True)
