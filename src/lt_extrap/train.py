"""Train a long-tailed classifier: `python -m lt_extrap.train experiment=<name>`.

`train` is the plain function; `main` is its command line. With `-m` Hydra runs a job for each combination.
"""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from rich.console import Console

from lt_extrap import checkpoints, cli, compose, runs, sweep
from lt_extrap.checkpoints import Checkpoints
from lt_extrap.class_means import class_means, start_from_means
from lt_extrap.config import BatchNormHead, ClassMeanHead, TrainConfig, check
from lt_extrap.course import Course, Parts, check_evaluation, check_shares, fitted, steps_of
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError
from lt_extrap.gains import GAINS, baseline_of, largest_gains, write_gains
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.module import ExtrapolationModule, build_module
from lt_extrap.paths import conf_dir
from lt_extrap.plan import plan, plan_panel, size
from lt_extrap.processes import Processes, one_voice
from lt_extrap.progress import result_line, start_panel
from lt_extrap.retrained import FOLDER, retrained
from lt_extrap.signals import StopSignal
from lt_extrap.stopwatch import Stopwatch
from lt_extrap.supply import supply_of
from lt_extrap.trainer import device_name, numbers, processes_of, quiet, root_device


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
    return _COURSE(config, folder)


def _build(config: TrainConfig, folder: Path, processes: Processes, stop: StopSignal) -> Parts:
    """Make the parts of a run; no file is written."""
    check_shares(config.recipe, processes.count)
    _check_batchnorm(config, processes.count)
    target = load_target(config.target, missing=config.data.missing)
    check_evaluation(target, processes.count)
    training = build_training_set(
        config.auxiliary,
        target,
        seed=config.seed,
        missing=config.data.missing,
        balanced=config.sampling == "balanced",
    )
    steps = steps_of(config, training)
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
    return Parts(config, folder, processes, stop, target, training, steps, module, data, kept, stopwatch)


def _tell(run: Parts) -> None:
    """Say what is about to be trained."""
    Console().print(
        start_panel(
            run.config, run.target, run.training, run.module.model, run.steps, str(run.folder), run.processes.count
        )
    )


def _start(run: Parts) -> None:
    """Let a head of class means start from the training images of its classes."""
    config, module = run.config, run.module
    if not isinstance(config.head, ClassMeanHead):
        return
    began, images = time.monotonic(), len(run.training.index)
    means = class_means(
        module.model.backbone,
        run.data.still_dataloader(),
        classes=module.model.head.out_features,
        device=root_device(config.trainer),
        skip_unreadable=config.data.on_unreadable == "skip",
    )
    start_from_means(module, means)
    print(f"head: class means of {images:,} training images, {time.monotonic() - began:.0f} s")


def _fit(run: Parts, checkpoint: Path | None, *, logger: Logger | bool) -> dict[str, Any]:
    """Train and measure, in each process of a run.

    Args:
        run: its parts.
        checkpoint: to go on from.
        logger: of the first process.

    Returns:
        The content of results.json.
    """
    config, training, target, module = run.config, run.training, run.target, run.module
    with quiet():  # a logger warns of a run that goes on
        trainer, time = fitted(run, checkpoint, logger=logger, validates=target.val is not None)
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
            "device": device_name(trainer),
            "seconds": round(run.stopwatch.total, 1),
            "time": time,
            "left_out": {str(label): int(target.left_out[label]) for label in target.left_out.nonzero()[0]},
            "unreadable": list(module.unreadable),
        }


def _leave(run: Parts, results: dict[str, Any]) -> None:
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


def _say(run: Parts, results: dict[str, Any]) -> None:
    """Say how it ended."""
    line = result_line(results["test"], results["selected"], str(run.folder), run.target.untested)
    Console().print(line, highlight=False, soft_wrap=True)


_COURSE = Course(build=_build, tell=_tell, fit=_fit, leave=_leave, say=_say, start=_start)


def _check_batchnorm(config: TrainConfig, processes: int) -> None:
    """Let every device have two images at once, where the head wants them.

    Raises:
        ConfigError: it cannot.
    """
    parts = processes * config.recipe.accumulate
    check(
        config.recipe.batch_size > parts or processes == 1 or not isinstance(config.head, BatchNormHead),
        "recipe.batch_size",
        f"more than {parts} with head=batchnorm, which wants two images at once",
        config.recipe.batch_size,
    )


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


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def task(composed: DictConfig) -> float:
    """Hydra's entry: returns test accuracy, so that any sweeper can maximise it; of a plan NaN."""
    config = compose.from_hydra(composed)
    compose.refuse_misnamed(HydraConfig.get().runtime.choices, config)
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
