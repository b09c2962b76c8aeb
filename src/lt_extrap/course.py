"""The course of a run, whatever it trains: its folder is claimed, it begins or goes on, and it leaves its results."""

import gc
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import nn

from lt_extrap import checkpoints, compose, runs
from lt_extrap.checkpoints import Checkpoints, WholeFileIO
from lt_extrap.claim import claim, keep_lists, locked
from lt_extrap.config import Recipe, RunConfig, check
from lt_extrap.dashboard import Dashboard
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.errors import ConfigError, TrainingError
from lt_extrap.processes import Processes, environment
from lt_extrap.progress import EpochLine, time_line
from lt_extrap.signals import StopSignal
from lt_extrap.stopwatch import Stopwatch
from lt_extrap.trainer import build_trainer, emulation, leave_signals_to_us, processes_of


@dataclass(frozen=True)
class Parts:
    """What a run is made of, the same in each of its processes."""

    config: Any  # of the command that it is a run of
    folder: Path
    processes: Processes
    stop: StopSignal
    target: TargetSet
    training: TrainingSet
    steps: int
    module: Any  # likewise
    data: ImageDataModule
    kept: Checkpoints
    stopwatch: Stopwatch


@dataclass(frozen=True)
class Course:
    """What a command does in the course of a run.

    Attributes:
        build: makes the parts; writes no file.
        tell: says what is about to be trained.
        fit: trains and measures, in each process; returns the content of results.json.
        leave: writes what the run leaves in its folder, results.json last of what makes it ended.
        say: says how it ended.
        start: makes what a new run starts from, in the first process, whose weights all get.
    """

    build: Callable[[Any, Path, Processes, StopSignal], Parts]
    tell: Callable[[Parts], None]
    fit: Callable[..., dict[str, Any]]
    leave: Callable[[Parts, dict[str, Any]], None]
    say: Callable[[Parts, dict[str, Any]], None]
    start: Callable[[Parts], None] = lambda run: None

    def __call__(self, config: RunConfig, folder: Path) -> dict[str, Any]:
        """Run it, or go on where it stopped; `train` says the rest.

        Returns:
            The content of results.json; at once if the folder holds the finished run.
        """
        gc.collect()  # parts of an earlier run of this process refer to each other, and keep its images on the device
        torch.cuda.empty_cache()  # of which jobs beside this one may have need
        stop, processes = StopSignal(), processes_of(config.trainer)
        with stop.listening(), processes:
            checkpoint = processes.wait()
            run = self.build(config, folder, processes, stop)
            if not processes.first:
                return self._fitted(run, checkpoint, logger=False)
            # The folder is touched only now: what was refused until here leaves no trace in it.
            with locked(folder):
                begun = checkpoints.begun(run.kept.folder)
                owned = claim(
                    folder,
                    config,
                    runs.files_of(config, run.target),
                    begun=begun,
                    longest_edges=run.training.images.longest_edges,
                )
                if owned.results is not None:
                    if (run.kept.folder / checkpoints.BEFORE).exists():  # a kill came between results and `strip`
                        checkpoints.strip(run.kept.folder)
                    print(f"finished before: {folder}")
                    return owned.results
                checkpoint = checkpoints.newest(run.kept.folder, print, processes=processes.count)
                self.tell(run)
                for note in (*run.target.place.notes, *run.target.place.counts):
                    print(note)
                for note in owned.notes:
                    print(f"not as at the last start: {note}")
                keep_lists(folder, run.target)
                if checkpoint is None:
                    self.start(run)
                processes.begin(
                    {"config": compose.to_dict(config), "kinds": compose.kinds(config), "folder": str(folder)},
                    checkpoint,
                )
                with _logger(config, folder) as logger:
                    results = self._fitted(run, checkpoint, logger=logger)
                    self.leave(run, results)
                    if isinstance(logger, Dashboard):
                        logger.log_results(results)
        self.say(run, results)
        return results

    def _fitted(self, run: Parts, checkpoint: Path | None, *, logger: Logger | bool) -> dict[str, Any]:
        try:
            return self.fit(run, checkpoint, logger=logger)
        except torch.OutOfMemoryError as error:
            raise _memory(run, error) from error


def fitted(
    run: Parts,
    checkpoint: Path | None,
    *,
    logger: Logger | bool,
    validates: bool,
    callbacks: Sequence[L.Callback] = (),
) -> tuple[L.Trainer, dict[str, float]]:
    """Train.

    Args:
        run: its parts.
        checkpoint: to go on from.
        logger: of the first process.
        validates: after epochs.
        callbacks: beside those of every run, before the one that keeps checkpoints.

    Returns:
        The trainer, and the node `time` of results.json.

    Raises:
        TrainingError: it ended too early.
    """
    config, bar = run.config, run.processes.first and Console().is_terminal
    trainer = build_trainer(
        config.trainer,
        {
            "max_steps": run.steps,
            "max_epochs": math.ceil(run.steps / (len(run.training.draw) // config.recipe.batch_size)),  # begun
            "logger": logger,
            "callbacks": [
                run.stopwatch,  # the first
                EpochLine(run.stopwatch),
                *callbacks,
                run.kept,
                *([RichProgressBar()] if bar else []),
            ],
            "plugins": [WholeFileIO(), environment()],
            "strategy": run.processes.strategy,
            "default_root_dir": run.folder,
            "limit_val_batches": None if validates else 0,
            "enable_progress_bar": bar,
        },
    )
    leave_signals_to_us(trainer)
    slow = emulation(trainer.precision, trainer.strategy.root_device.type)
    if slow is not None and run.processes.first:
        print(slow)
    try:
        trainer.fit(run.module, run.data, ckpt_path=checkpoint, weights_only=True)
    finally:
        trainer.fit_loop.teardown()  # of an end during a validation Lightning leaves the training's workers
    run.stop.answer()
    if trainer.global_step != run.steps:
        raise TrainingError(
            f"{run.steps} steps", f"an end after {trainer.global_step}", "run again, without trainer.<key>"
        )
    device = trainer.strategy.root_device
    time = run.stopwatch.results(device)
    if run.processes.first:
        Console().print(time_line(time, device.type), highlight=False, soft_wrap=True)
        if (warning := run.stopwatch.warning(trainer)) is not None:
            print(warning)
    return trainer, time


def _memory(run: Parts, error: torch.OutOfMemoryError) -> TrainingError:
    """What to do where images and steps do not fit into the memory of a GPU: first what changes no result."""
    config, recipe, backbone = run.config, run.config.recipe, run.module.model.backbone
    same, other = [], []
    if config.data.resident:
        same.append("data.resident=false")
    norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())
    if getattr(config.backbone, "gradient_checkpointing", True) is False and not norms and not backbone.frozen:
        same.append("backbone.gradient_checkpointing=true")
    of_each = recipe.batch_size // run.processes.count
    more = next((parts for parts in range(recipe.accumulate + 1, of_each + 1) if of_each % parts == 0), None)
    if more is not None:
        other.append(f"recipe.accumulate={more} (the same batch in more parts)")
    if config.trainer.get("precision", "32-true") == "32-true":
        other.append("trainer.precision=bf16-mixed")
    ways = ["end what else uses that device"]
    ways += [f"go on with {' and '.join(same)}, which changes no result"] if same else []
    ways += [f"begin another run with {' or '.join(other)}"] if other else []
    said = re.match(r".*?Tried to allocate [\d.]+ \wi?B", str(error))  # before what torch knows of its settings
    return TrainingError(
        f"memory for {of_each // recipe.accumulate} images of {recipe.image_size} pixels at once",
        said.group() if said else str(error),
        ", or ".join(ways),
    )


def check_evaluation(target: TargetSet, processes: int) -> None:
    """Let every device have an image to measure.

    Raises:
        ConfigError: there are fewer than devices.
    """
    fewest = min(len(index) for index in (target.val, target.test) if index is not None)
    if fewest < processes:
        raise ConfigError(
            "an image of each evaluation list for every device", f"{fewest}, {processes} devices", "use fewer devices"
        )


def check_shares(recipe: Recipe, processes: int) -> None:
    """Let every device have as many images of each part of a batch.

    Raises:
        ConfigError: it cannot.
    """
    parts = processes * recipe.accumulate
    check(
        recipe.batch_size % parts == 0,
        "recipe.batch_size",
        f"a multiple of {parts}, {processes} devices x recipe.accumulate={recipe.accumulate}: it is over all devices",
        recipe.batch_size,
    )


def steps_of(config: RunConfig, training: TrainingSet) -> int:
    """Optimizer steps of the budget.

    Raises:
        ConfigError: an epoch is no batch, or the budget no step.
    """
    batch, budget = config.recipe.batch_size, config.budget
    if len(training.draw) < batch:
        raise ConfigError(
            "an epoch of at least one batch",
            f"{len(training.draw)} images an epoch and recipe.batch_size={batch}",
            f"set recipe.batch_size to at most {len(training.draw)}",
        )
    steps = training.steps(budget.unit, budget.amount, batch)
    check(steps >= 1, "budget", "at least one step", budget)
    return steps


@contextmanager
def _logger(config: RunConfig, folder: Path) -> Iterator[Logger | bool]:
    """The logger of a run, closed at its end whatever happens: the next job of a sweep wants its own."""
    if not config.logger:
        yield False
        return
    logger: Logger = hydra.utils.instantiate(config.logger, save_dir=str(folder))
    with logger if isinstance(logger, Dashboard) else nullcontext():
        logger.log_hyperparams(compose.to_dict(config))
        yield logger
