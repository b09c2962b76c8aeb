"""Train a long-tailed classifier: `python -m lt_extrap.train experiment=<name>`.

`train` is the plain function; `main` is its command line. With `-m` Hydra runs a job for each combination.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from rich.console import Console

from lt_extrap import checkpoints, cli, compose, runs, sweep
from lt_extrap.checkpoints import Checkpoints, StopSignal, WholeFileIO
from lt_extrap.config import TrainConfig, check
from lt_extrap.dashboard import Dashboard
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import TrainingSet, build_training_set
from lt_extrap.errors import ConfigError, TrainingError
from lt_extrap.gains import GAINS, baseline_of, largest_gains, write_gains
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.module import ExtrapolationModule, build_module
from lt_extrap.paths import conf_dir
from lt_extrap.plan import plan, plan_panel, size
from lt_extrap.progress import EpochLine, result_line, start_panel, time_line
from lt_extrap.stopwatch import Stopwatch
from lt_extrap.supply import supply_of
from lt_extrap.trainer import build_trainer, device_count, numbers, quiet


def train(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Train, select, test, and leave everything in the run folder; go on where an interrupted run stopped.

    Args:
        config: the run.
        folder: where run.json, checkpoints, results.json, tables and model.safetensors go.

    Returns:
        The content of results.json; at once if the folder holds the finished run.

    Raises:
        LtExtrapError: the configuration, the data or the folder is not what it should be, the loss is not finite, or
            the disk is full.
        Stopped: SIGTERM or SIGINT came; the state is saved.
    """
    console, stop = Console(), StopSignal()
    target = load_target(config.target, missing=config.data.missing)
    training = build_training_set(config.auxiliary, target, seed=config.seed, missing=config.data.missing)
    steps = _steps(config, training)
    module = build_module(config, target, training, steps=steps)
    data = ImageDataModule(
        target,
        training,
        recipe=config.recipe,
        preprocessing=module.model.backbone.preprocessing,
        loading=config.data,
        seed=config.seed,
    )
    if (devices := device_count(config.trainer)) > 1:
        raise ConfigError("one device", f"{devices}", "set trainer.devices=1 and trainer.num_nodes=1")
    kept = Checkpoints(folder / runs.CHECKPOINTS, stop, every=60 * config.checkpoint_minutes)
    stopwatch = Stopwatch(
        config.recipe.batch_size, lambda wait, trainer: supply_of(config, target, training, trainer).remedy(wait)
    )
    # The folder is touched only now: what was refused until here leaves no trace in it.
    with stop.listening(), runs.locked(folder):
        claim = runs.claim(folder, config, runs.files_of(config, target), begun=checkpoints.begun(kept.folder))
        if claim.results is not None:
            if (kept.folder / checkpoints.BEFORE).exists():  # a kill came between results and the line that does this
                checkpoints.strip(kept.folder)
            print(f"finished before: {folder}")
            return claim.results
        checkpoint = checkpoints.newest(kept.folder, print)
        console.print(start_panel(config, target, training, module.model, steps, str(folder)))
        for note in (*target.place.notes, *target.place.counts):
            print(note)
        runs.keep_lists(folder, target)
        for note in claim.notes:
            print(f"not as at the last start: {note}")
        with quiet(), _logger(config, folder) as logger:  # a logger warns of a run that goes on
            trainer = build_trainer(
                config.trainer,
                {
                    "max_steps": steps,
                    "max_epochs": math.ceil(steps / (len(training.draw) // config.recipe.batch_size)),  # begun
                    "logger": logger,
                    "callbacks": [
                        stopwatch,  # the first
                        EpochLine(stopwatch),
                        kept,
                        *([RichProgressBar()] if console.is_terminal else []),
                    ],
                    # Lightning would answer Slurm's signals with a checkpoint of its own, and load it into later tests.
                    "plugins": [WholeFileIO(), LightningEnvironment()],
                    "default_root_dir": folder,
                    "limit_val_batches": None if target.val is not None else 0,
                    "enable_progress_bar": console.is_terminal,
                },
            )
            try:
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
            finally:
                trainer.fit_loop.teardown()  # of an end during a validation Lightning leaves the training's workers
            stop.answer()
            if trainer.global_step != steps:
                raise TrainingError(
                    f"{steps} steps", f"an end after {trainer.global_step}", "run again, without trainer.<key>"
                )
            device = trainer.strategy.root_device
            time, warning = stopwatch.results(device), stopwatch.warning(trainer)
            results = _measure(trainer, module, data, kept) | {
                "seed": config.seed,
                "steps": steps,
                "views": steps * config.recipe.batch_size,
                "target_views": round(  # expected
                    steps * config.recipe.batch_size * training.target_views / len(training.draw)
                ),
                "target_classes": len(target.classes),
                "not_evaluated": target.untested,
                "auxiliary_classes": len(training.auxiliary_names),
                "pairs": training.pairs,
                "right_pairs": training.right_pairs,
                "seconds": round(kept.seconds, 1),
                "time": time,
                "left_out": {str(label): int(target.left_out[label]) for label in target.left_out.nonzero()[0]},
                "unreadable": list(module.unreadable),
            }
            direct = DirectClassifier(
                model=module.measured.direct(len(target.classes)),
                backbone=config.backbone,
                head=config.head,
                classes=target.classes.names,
                image_size=config.recipe.image_size,
                crop_fraction=config.recipe.crop_fraction,
            )
            direct.save(folder / runs.WEIGHTS)
            runs.write_per_class(folder / runs.PER_CLASS, target.classes, module.per_class)
            runs.write_confusions(folder / runs.CONFUSIONS, module.confusions)
            if (baseline := baseline_of(folder, config.seed)) is not None:
                write_gains(folder / GAINS, largest_gains(folder, baseline))
            runs.write_json(folder / runs.RESULTS, results)
            checkpoints.strip(kept.folder)
            if isinstance(logger, Dashboard):
                logger.log_results(results)
    console.print(time_line(time, device.type), highlight=False, soft_wrap=True)
    if warning is not None:
        print(warning)
    line = result_line(results["test"], results["selected"], str(folder), target.untested)
    console.print(line, highlight=False, soft_wrap=True)
    return results


def _steps(config: TrainConfig, training: TrainingSet) -> int:
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


def _measure(
    trainer: L.Trainer, module: ExtrapolationModule, data: ImageDataModule, kept: Checkpoints
) -> dict[str, Any]:
    """Test the last weights and, where there is a validation list, the selected ones: those are the headline."""
    results: dict[str, Any] = {"selected": "last"}
    if data.target.val is not None:
        # The budget may end within an epoch, after the last validation.
        results["val"] = numbers(trainer.validate(module, data, verbose=False)[0], "val")
        if results["val"]["acc"] < kept.best:
            module.split = "test_last"
            results["last"] = numbers(trainer.test(module, data, verbose=False)[0], "test_last")
            best = torch.load(kept.folder / checkpoints.BEST, map_location=module.device, weights_only=True)
            module.load_state_dict(best["state_dict"])
            results["selected"] = "best"
            results["val"] = numbers(trainer.validate(module, data, verbose=False)[0], "val")
    module.split = "test"
    results["test"] = numbers(trainer.test(module, data, verbose=False)[0], "test")
    results.setdefault("last", results["test"])
    return results


@contextmanager
def _logger(config: TrainConfig, folder: Path) -> Iterator[Logger | bool]:
    """The logger of a run, closed at its end whatever happens: the next job of a sweep wants its own."""
    if not config.logger:
        yield False
        return
    logger: Logger = hydra.utils.instantiate(config.logger, save_dir=str(folder))
    with logger if isinstance(logger, Dashboard) else nullcontext():
        logger.log_hyperparams(compose.to_dict(config))
        yield logger


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def task(composed: DictConfig) -> float:
    """Hydra's entry: returns test accuracy, so that any sweeper can maximise it; of a plan NaN."""
    config = compose.from_hydra(composed)
    if config.do == "plan":
        planned = plan(config)
        Console().print(plan_panel(planned, size(config, planned.epoch), config))
        return math.nan
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        sweep.check_devices(config.trainer)
    results = train(config, Path(HydraConfig.get().runtime.output_dir))
    return float(results["test"]["acc"])


def main() -> None:
    """The command."""
    cli.run(partial(sweep.run, task))


if __name__ == "__main__":
    main()
