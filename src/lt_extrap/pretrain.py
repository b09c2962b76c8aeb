"""Pretrain a backbone on images without labels: `python -m lt_extrap.pretrain experiment=<name>_mgp`.

Its model.safetensors is what a classifier starts from: `python -m lt_extrap.train ... backbone.weights=<run folder>`.
`pretrain` is the plain function; `main` is its command line. With `-m` Hydra runs a job for each combination.
"""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from rich.console import Console

from lt_extrap import checkpoints, cli, compose, runs, sweep
from lt_extrap.checkpoints import Checkpoints
from lt_extrap.config import PretrainConfig
from lt_extrap.course import Course, Parts, check_evaluation, check_shares, fitted, steps_of
from lt_extrap.data.datamodule import ImageDataModule, ImageDataset
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.model.masked import build_autoencoder
from lt_extrap.paths import conf_dir
from lt_extrap.plan import Size, plan, plan_panel
from lt_extrap.pretraining import PretrainingModule, build_pretraining, save_backbone
from lt_extrap.processes import Processes, one_voice
from lt_extrap.progress import pretraining_panel
from lt_extrap.reconstructions import Reconstructions
from lt_extrap.refusals import refuse_experiment
from lt_extrap.signals import StopSignal
from lt_extrap.stopwatch import Stopwatch
from lt_extrap.supply import supply_of
from lt_extrap.trainer import device_name, numbers, quiet


def pretrain(config: PretrainConfig, folder: Path) -> dict[str, Any]:
    """Pretrain, measure, and leave everything in the run folder; go on where an interrupted run stopped.

    Args:
        config: the run.
        folder: where run.json, checkpoints, results.json, reconstructions/ and model.safetensors go.

    Returns:
        The content of results.json; at once if the folder holds the finished run.

    Raises:
        LtExtrapError, Stopped: as `train`.
    """
    return _COURSE(config, folder)


def size(config: PretrainConfig) -> Size:
    """How large the autoencoder of a pretraining is, built without memory."""
    with torch.device("meta"):
        model = build_autoencoder(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    exported = sum(parameter.numel() for parameter in model.backbone.parameters())
    # Weights in float32, and two moments of AdamW.
    return Size(parameters=parameters, frozen=0, exported=exported, state=12 * parameters, weights=4 * parameters)


def _build(config: PretrainConfig, folder: Path, processes: Processes, stop: StopSignal) -> Parts:
    """Make the parts of a run; no file is written."""
    check_shares(config.recipe, processes.count)
    target = load_target(config.target, missing=config.data.missing)
    check_evaluation(target, processes.count)
    training = build_training_set(config.auxiliary, target, seed=config.seed, missing=config.data.missing)
    steps = steps_of(config, training)
    module = build_pretraining(config, training, steps=steps)
    data = ImageDataModule(
        target,
        training,
        recipe=config.recipe,
        preprocessing=module.model.backbone.preprocessing,
        loading=config.data,
        seed=config.seed,
    )
    kept = Checkpoints(folder / runs.CHECKPOINTS, stop, every=60 * config.checkpoint_minutes)
    stopwatch = Stopwatch(
        config.recipe.batch_size, lambda wait, trainer: supply_of(config, target, training, trainer).remedy(wait)
    )
    return Parts(config, folder, processes, stop, target, training, steps, module, data, kept, stopwatch)


def _tell(run: Parts) -> None:
    """Say what is about to be trained."""
    Console().print(pretraining_panel(run.config, run.training, run.module.model, run.steps, str(run.folder)))


def _fit(run: Parts, checkpoint: Path | None, *, logger: Logger | bool) -> dict[str, Any]:
    """Train and measure, in each process of a run; returns the content of results.json."""
    config, module, training = run.config, run.module, run.training
    with quiet():
        trainer, time = fitted(run, checkpoint, logger=logger, validates=False, callbacks=_pictures(run, module))
        split = "test" if run.target.val is None else "val"
        measure = trainer.test if split == "test" else trainer.validate
        trainer.limit_val_batches = 1.0  # none between epochs, for nothing is selected
        measured = numbers(measure(module, run.data, verbose=False)[0], split)
    views = run.steps * config.recipe.batch_size
    return {
        "selected": "last",
        split: measured,
        "seed": config.seed,
        "steps": run.steps,
        "views": views,
        "target_views": round(views * training.target_views / len(training.draw)),  # expected
        "auxiliary_classes": len(training.auxiliary_names),
        "trained_parameters": sum(p.numel() for p in module.model.parameters() if p.requires_grad),
        "device": device_name(trainer),
        "seconds": round(run.stopwatch.total, 1),
        "time": time,
        "unreadable": list(module.unreadable),
    }


def _pictures(run: Parts, module: PretrainingModule) -> list[Reconstructions]:
    """What draws reconstructions: of validation images, where there are some, for those were not trained on."""
    config, target = run.config, run.target
    if config.pictures_every == 0:
        return []
    index, images = (
        (run.training.index, run.training.images) if target.val is None else (target.val, target.place.images)
    )
    shown = EvalTransform(
        size=config.recipe.image_size,
        crop_fraction=config.recipe.crop_fraction,
        interpolation=module.model.backbone.preprocessing.interpolation,
    )
    dataset = ImageDataset(index, images, shown, config.seed)
    return [Reconstructions(run.folder, dataset, module.masking, every=config.pictures_every)]


def _leave(run: Parts, results: dict[str, Any]) -> None:
    """Write what a run leaves in its folder, results.json last of what makes it ended."""
    save_backbone(run.folder / runs.WEIGHTS, run.module.model, run.config)
    runs.write_json(run.folder / runs.RESULTS, results)
    checkpoints.strip(run.kept.folder)


def _say(run: Parts, results: dict[str, Any]) -> None:
    """Say how it ended."""
    split = "val" if "val" in results else "test"
    print(f"{split} loss {results[split]['loss']:.4f}; to train from it: backbone.weights={run.folder}")


_COURSE = Course(build=_build, tell=_tell, fit=_fit, leave=_leave, say=_say)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="pretrain")
def task(composed: DictConfig) -> float:
    """Hydra's entry: returns the loss, so that any sweeper can minimise it; of a plan NaN."""
    refuse_experiment(HydraConfig.get().runtime.choices.get("experiment"))
    config: PretrainConfig = compose.from_hydra(composed)
    if config.do == "plan":
        planned = replace(plan(config), validation_views=0)
        Console().print(plan_panel(planned, size(config), config))
        return math.nan
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        sweep.check_alone()
    results = pretrain(config, Path(HydraConfig.get().runtime.output_dir))
    return float(results["val" if "val" in results else "test"]["loss"])


def main() -> None:
    """The command."""
    with one_voice():
        cli.run(partial(sweep.run, task))


if __name__ == "__main__":
    main()
