"""Train a long-tailed classifier: `python -m lt_extrap.train experiment=<name>`.

`train` is the plain function; `main` is its command line. With `-m` Hydra runs a job for each combination.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from rich.console import Console

from lt_extrap import checkpoints, cli, compose, runs, sweep
from lt_extrap.checkpoints import Checkpoints, WholeFileIO
from lt_extrap.class_means import class_means, computing_device, start_from_means
from lt_extrap.config import BatchNormHead, ClassMeanHead, TrainConfig, check
from lt_extrap.dashboard import Dashboard
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.target import TargetSet, load_target
from lt_extrap.data.training_set import TrainingSet, build_training_set
from lt_extrap.errors import ConfigError, TrainingError
from lt_extrap.gains import GAINS, baseline_of, largest_gains, write_gains
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.module import ExtrapolationModule, build_module
from lt_extrap.paths import conf_dir
from lt_extrap.plan import plan, plan_panel, size
from lt_extrap.processes import Processes, environment, one_voice
from lt_extrap.progress import EpochLine, result_line, start_panel, time_line
from lt_extrap.retrained import FOLDER, retrained
from lt_extrap.signals import StopSignal
from lt_extrap.stopwatch import Stopwatch
from lt_extrap.supply import supply_of
from lt_extrap.trainer import build_trainer, leave_signals_to_us, numbers, processes_of, quiet


@dataclass(frozen=True)
class _Run:
    """What a run is made of, the same in each of its processes."""

    config: TrainConfig
    folder: Path
    processes: Processes
    stop: StopSignal
    target: TargetSet
    training: TrainingSet
    steps: int
    module: ExtrapolationModule
    data: ImageDataModule
    kept: Checkpoints
    stopwatch: Stopwatch


def train(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Train, select, test, and leave everything in the run folder; go on where an interrupted run stopped.

    On several devices this is the first process, which starts the others, or one of those that torchrun or srun has
    started: see `Processes`.

    Args:
        config: the run.
        folder: where run.json, checkpoints, results.json, tables and model.safetensors go.

    Returns:
        The content of results.json; at once if the folder holds the finished run.

    Raises:
        LtExtrapError: the configuration, the data or the folder is not what it should be, the loss is not finite, the
            disk is full, or another process has failed.
        Stopped: SIGTERM or SIGINT came; the state is saved.
    """
    console, stop, processes = Console(), StopSignal(), processes_of(config.trainer)
    with stop.listening(), processes:
        checkpoint = processes.wait()
        run = _build(config, folder, processes, stop)
        if not processes.first:
            return _fit(run, checkpoint, logger=False)
        # The folder is touched only now: what was refused until here leaves no trace in it.
        with runs.locked(folder):
            begun = checkpoints.begun(run.kept.folder)
            claim = runs.claim(
                folder,
                config,
                runs.files_of(config, run.target),
                begun=begun,
                longest_edges=run.training.images.longest_edges,
            )
            if claim.results is not None:
                if (run.kept.folder / checkpoints.BEFORE).exists():  # a kill came between results and `strip`
                    checkpoints.strip(run.kept.folder)
                print(f"finished before: {folder}")
                return claim.results
            checkpoint = checkpoints.newest(run.kept.folder, print, processes=processes.count)
            _tell(run, claim, console)
            runs.keep_lists(folder, run.target)
            if checkpoint is None and isinstance(config.head, ClassMeanHead):
                _start_head(run)  # of the first process alone: at their start all get its weights
            processes.begin(
                {"config": compose.to_dict(config), "kinds": compose.kinds(config), "folder": str(folder)}, checkpoint
            )
            with _logger(config, folder) as logger:
                results = _fit(run, checkpoint, logger=logger)
                _leave(run, results)
                if isinstance(logger, Dashboard):
                    logger.log_results(results)
    line = result_line(results["test"], results["selected"], str(folder), run.target.untested)
    console.print(line, highlight=False, soft_wrap=True)
    return results


def _build(config: TrainConfig, folder: Path, processes: Processes, stop: StopSignal) -> _Run:
    """Make the parts of a run; no file is written."""
    _check_shares(config, processes.count)
    target = load_target(config.target, missing=config.data.missing)
    _check_evaluation(target, processes.count)
    training = build_training_set(
        config.auxiliary,
        target,
        seed=config.seed,
        missing=config.data.missing,
        balanced=config.sampling == "balanced",
    )
    steps = _steps(config, training)
    module = build_module(config, target, training, steps=steps)
    data = ImageDataModule(
        target,
        training,
        recipe=config.recipe,
        preprocessing=module.model.backbone.preprocessing,
        loading=config.data,
        seed=config.seed,
        backbone=module.model.backbone,
    )
    kept = Checkpoints(folder / runs.CHECKPOINTS, stop, every=60 * config.checkpoint_minutes)
    stopwatch = Stopwatch(
        config.recipe.batch_size, lambda wait, trainer: supply_of(config, target, training, trainer).remedy(wait)
    )
    return _Run(config, folder, processes, stop, target, training, steps, module, data, kept, stopwatch)


def _tell(run: _Run, claim: runs.Claim, console: Console) -> None:
    """Say what is about to be trained."""
    console.print(
        start_panel(
            run.config, run.target, run.training, run.module.model, run.steps, str(run.folder), run.processes.count
        )
    )
    for note in (*run.target.place.notes, *run.target.place.counts):
        print(note)
    for note in claim.notes:
        print(f"not as at the last start: {note}")


def _start_head(run: _Run) -> None:
    """Let the head start from the mean features of the training images of its classes."""
    config, module = run.config, run.module
    began, images = time.monotonic(), len(run.training.index)
    means = class_means(
        module.model.backbone,
        run.data.still_dataloader(),
        classes=module.model.head.out_features,
        device=computing_device(config.trainer.get("accelerator", "auto")),
        skip_unreadable=config.data.on_unreadable == "skip",
    )
    start_from_means(module, means)
    print(f"head: class means of {images:,} training images, {time.monotonic() - began:.0f} s")


def _fit(run: _Run, checkpoint: Path | None, *, logger: Logger | bool) -> dict[str, Any]:
    """Train and measure, in each process of a run.

    Args:
        run: its parts.
        checkpoint: to go on from.
        logger: of the first process.

    Returns:
        The content of results.json.
    """
    config, training, target, module = run.config, run.training, run.target, run.module
    bar = run.processes.first and Console().is_terminal
    with quiet():  # a logger warns of a run that goes on
        trainer = build_trainer(
            config.trainer,
            {
                "max_steps": run.steps,
                "max_epochs": math.ceil(run.steps / (len(training.draw) // config.recipe.batch_size)),  # begun
                "logger": logger,
                "callbacks": [
                    run.stopwatch,  # the first
                    EpochLine(run.stopwatch),
                    run.kept,
                    *([RichProgressBar()] if bar else []),
                ],
                "plugins": [WholeFileIO(), environment()],
                "strategy": run.processes.strategy,
                "default_root_dir": run.folder,
                "limit_val_batches": None if target.val is not None else 0,
                "enable_progress_bar": bar,
            },
        )
        leave_signals_to_us(trainer)
        try:
            trainer.fit(module, run.data, ckpt_path=checkpoint, weights_only=True)
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
        views = run.steps * config.recipe.batch_size
        return _measure(trainer, module, run.data, run.kept) | {
            "seed": config.seed,
            "steps": run.steps,
            "views": views,
            "target_views": round(views * training.target_views / len(training.draw)),  # expected
            "target_classes": len(target.classes),
            "not_evaluated": target.untested,
            "auxiliary_classes": len(training.auxiliary_names),
            "pairs": training.pairs,
            "right_pairs": training.right_pairs,
            "trained_parameters": sum(p.numel() for p in module.model.parameters() if p.requires_grad),
            "seconds": round(run.stopwatch.total, 1),
            "time": time,
            "left_out": {str(label): int(target.left_out[label]) for label in target.left_out.nonzero()[0]},
            "unreadable": list(module.unreadable),
        }


def _leave(run: _Run, results: dict[str, Any]) -> None:
    """Write what a run leaves in its folder, results.json last of what makes it ended."""
    config, folder, target, module = run.config, run.folder, run.target, run.module
    direct = DirectClassifier(
        model=module.measured.direct(len(target.classes)),
        backbone=config.backbone,
        head=config.head,
        classes=target.classes.names,
        image_size=config.recipe.image_size,
        crop_fraction=config.recipe.crop_fraction,
        adapter=config.adapter,
    )
    direct.save(folder / runs.WEIGHTS)
    relation = run.training.relation
    runs.write_per_class(folder / runs.PER_CLASS, target.classes, module.per_class, module.per_image, relation)
    runs.write_confusions(folder / runs.CONFUSIONS, module.confusions)
    if (baseline := baseline_of(folder, config.seed)) is not None:
        write_gains(folder / GAINS, largest_gains(folder, baseline))
    runs.write_json(folder / runs.RESULTS, results)
    checkpoints.strip(run.kept.folder)


def _check_shares(config: TrainConfig, processes: int) -> None:
    """Let every device have as many images of each part of a batch.

    Raises:
        ConfigError: it cannot.
    """
    recipe = config.recipe
    parts = processes * recipe.accumulate
    check(
        recipe.batch_size % parts == 0,
        "recipe.batch_size",
        f"a multiple of {parts}, {processes} devices x recipe.accumulate={recipe.accumulate}: it is over all devices",
        recipe.batch_size,
    )
    check(
        recipe.batch_size > parts or processes == 1 or not isinstance(config.head, BatchNormHead),
        "recipe.batch_size",
        f"more than {parts} with head=batchnorm, which wants two images at once",
        recipe.batch_size,
    )


def _check_evaluation(target: TargetSet, processes: int) -> None:
    """Let every device have an image to measure.

    Raises:
        ConfigError: there are fewer than devices.
    """
    fewest = min(len(index) for index in (target.val, target.test) if index is not None)
    if fewest < processes:
        raise ConfigError(
            "an image of each evaluation list for every device", f"{fewest}, {processes} devices", "use fewer devices"
        )


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
        sweep.check_alone()
    folder = Path(HydraConfig.get().runtime.output_dir)
    if config.retrained and processes_of(config.trainer).count > 1:
        raise ConfigError(
            "one device for the retrained classifier",
            f"retrained=true, {config.trainer}",
            "train without it, then: python -m lt_extrap.evaluate classifier=retrained run=<folder>",
        )
    results = train(config, folder)
    if (
        config.retrained and not (folder / FOLDER / runs.RESULTS).is_file()
    ):  # the weights that it starts from may be gone
        train(retrained(runs.load(folder)), folder / FOLDER)
    return float(results["test"]["acc"])


def main() -> None:
    """The command."""
    with one_voice():
        cli.run(partial(sweep.run, task))


if __name__ == "__main__":
    main()
