"""What a run keeps on disk while it trains, and what it goes on from."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from lt_extrap.agreement import Agreement
from lt_extrap.errors import RunError
from lt_extrap.files import write_whole
from lt_extrap.signals import Stopped, StopSignal

NEW, LAST, BEFORE, BEST = "new.ckpt", "last.ckpt", "before.ckpt", "best.ckpt"


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
        stop: answered after the step during which it came, or, of several processes, the step after that: all answer
            at one step, whichever it came to.
        every: seconds between two checkpoints within an epoch.

    Attributes:
        best: val/acc of best.ckpt; -inf before the first.
    """

    def __init__(self, folder: Path, stop: StopSignal, *, every: float) -> None:
        self.folder, self.stop, self.every = folder, stop, every
        self.best = -float("inf")
        self._saved = time.monotonic()
        self._agreement, self._stopping = Agreement(), 0

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: Mapping[str, float]) -> None:
        self.best = state_dict["best"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop.patient = True
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        late = int(time.monotonic() - self._saved >= self.every)
        stopping, late = self._agreement.of_step(self.stop.received, late)
        self._stopping = max(self._stopping, stopping)
        # Lightning 2.6 goes on rightly from here and from the end of a validation, and from nowhere else: from the
        # end of an epoch it skips a number, and between a step and its validation it leaves out the validation.
        epoch_ends = batch_idx + 1 == trainer.num_training_batches
        if epoch_ends and _validates(trainer):
            return
        ends = epoch_ends or trainer.global_step == trainer.max_steps
        if ends or self._stopping or late:
            self._save_last(trainer)
        if self._stopping and not ends:
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
        self._stopping = max(self._stopping, *self._agreement.now(self.stop.received))
        self._answer(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stop.patient = False

    def _answer(self, trainer: L.Trainer) -> None:
        if self._stopping and trainer.global_step < trainer.max_steps:  # else the fit ends by itself
            if trainer.is_global_zero:
                step = f"{trainer.global_step}/{trainer.max_steps}"
                print(f"stopped at step {step}: the same command goes on", flush=True)
            raise Stopped(self._stopping)

    def _save_last(self, trainer: L.Trainer) -> None:
        new, last = self.folder / NEW, self.folder / LAST
        self._save(trainer, NEW, weights_only=False)
        if trainer.is_global_zero:
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


def newest(folder: Path, warn: Callable[[str], None], *, processes: int = 1) -> Path | None:
    """The state to go on from; None if there is none.

    The last one, or, if it cannot be read, the one before; where a kill between two renames left the last one under its
    first name, it gets its own. What cannot be read is put aside, so that it never takes the place of what can.

    Args:
        folder: of the checkpoints.
        warn: is told what cannot be read.
        processes: that the run has now.

    Raises:
        RunError: there are some, and none can be read; or it is that of a run that had ended, or of another number of
            processes, which draw dropout and mixing by process.
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
        if (before := content.get("processes", 1)) != processes:
            raise RunError(
                f"as many devices as at the first start of this run, {before}",
                f"{processes}",
                f"set trainer.devices and trainer.num_nodes to {before} in all, or give a run on {processes} its own "
                "name=...: dropout and mixing are drawn by process",
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
    weights = {key: content.get(key) for key in ("state_dict", "frozen_backbone", "global_step", "epoch")}
    write_whole(folder / LAST, lambda file: torch.save(weights, file))
    (folder / BEFORE).unlink(missing_ok=True)
