"""Train a long-tailed classifier: `python -m lt_extrap.train experiment=<name>`.

`train` is the plain function; `main` is its command line. With `-m` Hydra runs a job for each combination.
"""

import json
import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from rich.console import Console
from safetensors.torch import save_file

from lt_extrap import config as schema
from lt_extrap import runs
from lt_extrap.config import Balanced, Loss, Silencing, TrainConfig
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.target import TargetSet, load_target
from lt_extrap.data.training_set import TrainingSet, build_training_set
from lt_extrap.errors import ConfigError, TrainingError
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier, build_head
from lt_extrap.model.losses import OffsetCrossEntropy, balanced_softmax, cross_entropy, neighbor_silencing
from lt_extrap.module import ExtrapolationModule
from lt_extrap.paths import conf_dir
from lt_extrap.progress import EpochLine, result_line, start_panel

schema.register()
runs.register()

# What train() decides itself, so that it means the same in every configuration.
_OWN_TRAINER_KEYS = {
    "max_steps": "budget",
    "max_epochs": "budget",
    "gradient_clip_val": "recipe.clip",
    "logger": "logger",
    "callbacks": "nothing: train() makes them",
    "default_root_dir": "hydra.run.dir",
    "use_distributed_sampler": "nothing: the samplers are ours",
    "num_sanity_val_steps": "nothing: it would feed the metrics",
    "limit_val_batches": "nothing: a share of the classes is no measure of all",
    "enable_checkpointing": "nothing: the last weights are always kept",
    "accumulate_grad_batches": "recipe.batch_size",
    **dict.fromkeys(("fast_dev_run", "overfit_batches", "max_time", "min_steps", "min_epochs"), "budget"),
    **dict.fromkeys(("limit_train_batches", "limit_test_batches"), "budget, or shorter lists"),
}


def configure(*overrides: str) -> TrainConfig:
    """The configuration that these overrides make, as on the command line: for notebooks and tests.

    Raises:
        ConfigError: it cannot mean anything.
    """
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return schema.from_hydra(hydra.compose("train", list(overrides)))


def train(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Train, select, test, and leave everything in the run folder.

    Args:
        config: the run.
        folder: where run.json, checkpoints, results.json, per_class.csv and model.safetensors go.

    Returns:
        The content of results.json; at once if the folder holds the finished run.

    Raises:
        LtExtrapError: the configuration, the data or the folder is not what it should be, or the loss is
            not finite.
    """
    console = Console()
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=config.seed)
    batch, budget = config.recipe.batch_size, config.budget
    _check_batches(config, training)
    steps = training.steps(budget.unit, budget.amount, batch)
    schema.check(steps >= 1, "budget", "at least one step", budget)
    epochs = math.ceil(steps / (len(training.draw) // batch))  # begun, not all ended
    model = build_model(config, target, training)
    loss = build_loss(config.loss, training, len(target.classes))
    # Claimed only now: what was refused until here leaves no trace in the folder.
    interrupted = (folder / runs.RUN).exists()
    finished = runs.open_run(folder, config, _files(config, target.root))
    if finished is not None:
        console.print(f"finished before: {folder}")
        return finished
    if interrupted:
        console.print(f"begun anew: the run before in {folder} did not end")

    module = ExtrapolationModule(
        model=model,
        loss=loss,
        recipe=config.recipe,
        steps=steps,
        warmup=training.steps(budget.unit, budget.warmup, batch),
        shots=target.classes.shots,
        seed=config.seed,
        skip_unreadable=config.loading.on_unreadable == "skip",
    )
    data = ImageDataModule(target, training, recipe=config.recipe, loading=config.loading, seed=config.seed)
    console.print(start_panel(config, target, training, model, steps, str(folder)))

    best = ModelCheckpoint(
        folder / "checkpoints",
        filename="best",
        monitor="val/acc" if target.val is not None else None,
        mode="max",
        save_weights_only=True,
        save_on_train_epoch_end=False,  # after validations only: a short budget may end before the first
        enable_version_counter=False,
    )
    with _logger(config, folder) as logger, _quiet():
        trainer = _trainer(config, folder, steps, epochs, logger, best if target.val is not None else None, console)
        began = time.monotonic()
        trainer.fit(module, data)
        seconds = time.monotonic() - began
        if trainer.global_step != steps:
            raise TrainingError(
                f"{steps} steps", f"an end after {trainer.global_step}", "run again, without trainer.<key>"
            )
        trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt", weights_only=True)
        results = _measure(trainer, module, data, best) | {
            "seed": config.seed,
            "steps": steps,
            "views": steps * batch,
            "target_views": round(steps * batch * training.target_views / len(training.draw)),  # expected
            "target_classes": len(target.classes),
            "auxiliary_classes": len(training.auxiliary_names),
            "pairs": training.pairs,
            "right_pairs": training.right_pairs,
            "seconds": round(seconds, 1),
            "unreadable": list(module.unreadable),
        }
    _save_direct(folder, config, target, module)
    runs.write_per_class(folder / runs.PER_CLASS, target.classes, module.per_class)
    runs.write_json(folder / runs.RESULTS, results)
    console.print(result_line(results, str(folder)), highlight=False, soft_wrap=True)
    return results


def build_model(config: TrainConfig, target: TargetSet, training: TrainingSet) -> Classifier:
    """The classifier over target and auxiliary classes, its initial weights a function of the seed."""
    backbone = build_backbone(config.backbone, image_size=config.recipe.image_size, seed=config.seed)
    head = build_head(
        config.head,
        dim=backbone.dim,
        num_target=len(target.classes),
        num_auxiliary=len(training.auxiliary_names),
        seed=config.seed,
    )
    return Classifier(backbone, head)


def build_loss(loss: Loss, training: TrainingSet, num_target: int) -> OffsetCrossEntropy:
    """The loss of a configuration, with the prior and the relation of the training set.

    Raises:
        ConfigError: silencing without a pair to silence, which would be the balanced softmax.
    """
    counts = torch.from_numpy(training.counts)
    if isinstance(loss, Silencing):
        if len(training.relation.neighbor) == 0:
            raise ConfigError(
                "neighbor pairs for loss=silencing",
                "a training set without any, on which it is the balanced softmax",
                "choose auxiliary=neighbors, or loss=balanced",
            )
        return neighbor_silencing(
            counts,
            relation=training.relation,
            num_target=num_target,
            tau=loss.tau,
            lambda_s=loss.lambda_s,
            lambda_aux_aux=loss.lambda_aux_aux,
            silence=loss.silence,
            mixing=loss.mixing,
            smoothing=loss.smoothing,
            smoothing_over=loss.smoothing_over,
        )
    if isinstance(loss, Balanced):
        return balanced_softmax(
            counts,
            num_target=num_target,
            tau=loss.tau,
            smoothing=loss.smoothing,
            smoothing_over=loss.smoothing_over,
        )
    return cross_entropy(counts, num_target=num_target, smoothing=loss.smoothing, smoothing_over=loss.smoothing_over)


def _measure(
    trainer: L.Trainer, module: ExtrapolationModule, data: ImageDataModule, best: ModelCheckpoint
) -> dict[str, Any]:
    """Test the last weights and, where there is a validation list, the selected ones: those are the headline."""
    results: dict[str, Any] = {"selected": "last"}
    if data.target.val is not None:
        # The budget may end within an epoch, after the last validation.
        results["val"] = _numbers(trainer.validate(module, data, verbose=False)[0], "val")
        last_is_best = best.best_model_score is None or results["val"]["acc"] >= float(best.best_model_score)
        if not last_is_best:
            module.split = "test_last"
            results["last"] = _numbers(trainer.test(module, data, verbose=False)[0], "test_last")
            module.load_state_dict(
                torch.load(best.best_model_path, map_location=module.device, weights_only=True)["state_dict"]
            )
            results["selected"] = "best"
            results["val"] = _numbers(trainer.validate(module, data, verbose=False)[0], "val")
    module.split = "test"
    results["test"] = _numbers(trainer.test(module, data, verbose=False)[0], "test")
    results.setdefault("last", results["test"])
    return results


def _numbers(logged: Mapping[str, float], split: str) -> dict[str, float | None]:
    """Metrics without their prefix; None for the NaN of an empty group, since JSON has no NaN."""
    return {key.removeprefix(f"{split}/"): None if value != value else float(value) for key, value in logged.items()}


def _trainer(
    config: TrainConfig,
    folder: Path,
    steps: int,
    epochs: int,
    logger: Logger | bool,
    best: ModelCheckpoint | None,
    console: Console,
) -> L.Trainer:
    for key in _OWN_TRAINER_KEYS.keys() & config.trainer.keys():
        raise ConfigError(f"trainer.{key} to be left alone", repr(config.trainer[key]), f"use {_OWN_TRAINER_KEYS[key]}")
    callbacks: list[L.Callback] = [EpochLine()]
    if best is not None:
        callbacks.append(best)
    if console.is_terminal:
        callbacks.append(RichProgressBar())
    try:
        trainer = L.Trainer(
            max_steps=steps,
            max_epochs=epochs,
            gradient_clip_val=config.recipe.clip,
            logger=logger,
            callbacks=callbacks,
            default_root_dir=folder,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            limit_val_batches=None if best is not None else 0,
            enable_checkpointing=best is not None,
            enable_progress_bar=console.is_terminal,
            enable_model_summary=False,
            **config.trainer,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(
            "arguments that lightning.Trainer takes", f"{config.trainer}: {error}", "correct trainer.<key>"
        ) from error
    if trainer.world_size > 1:
        raise ConfigError("one device", f"{trainer.world_size}", "set trainer.devices=1 and trainer.num_nodes=1")
    return trainer


@contextmanager
def _logger(config: TrainConfig, folder: Path) -> Iterator[Logger | bool]:
    """The logger of a run, closed at its end whatever happens: the next job of a sweep wants its own."""
    if not config.logger:
        yield False
        return
    logger: Logger = hydra.utils.instantiate(config.logger, save_dir=str(folder))
    logger.log_hyperparams(schema.to_dict(config))
    status = "failed"
    try:
        yield logger
        status = "success"
    finally:
        logger.finalize(status)
        if config.logger["_target_"].endswith("WandbLogger"):
            import wandb  # a second to import, and only here needed

            wandb.finish(exit_code=0 if status == "success" else 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's hints, and its warnings of what is decided here; errors and other warnings stay."""
    lightning = logging.getLogger("lightning.pytorch")
    level = lightning.level
    lightning.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # loading.workers says how many
        warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # short epochs are no mistake
        warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # a run begun anew, which train() says
        warnings.filterwarnings("ignore", ".*treespec.*", FutureWarning)  # Lightning 2.6 on torch 2.14
        try:
            yield
        finally:
            lightning.setLevel(level)


def _check_batches(config: TrainConfig, training: TrainingSet) -> None:
    batch = config.recipe.batch_size
    if len(training.draw) < batch:
        raise ConfigError(
            "an epoch of at least one batch",
            f"{len(training.draw)} images an epoch and recipe.batch_size={batch}",
            f"set recipe.batch_size to at most {len(training.draw)}",
        )


def _files(config: TrainConfig, root: Path) -> dict[str, Path]:
    """The text files that decide what this run trains and tests on, by configuration key."""
    keys = {"target": ("train", "val", "test", "names"), "auxiliary": ("train", "names", "pairs", "budget_list")}
    files = {
        f"{node}.{key}": getattr(getattr(config, node), key, None) for node, names in keys.items() for key in names
    }
    return {key: root / file.partition(":")[0] for key, file in files.items() if file}


def _save_direct(folder: Path, config: TrainConfig, target: TargetSet, module: ExtrapolationModule) -> None:
    """Save the direct classifier (Section 3.2) with what a reader needs to use it."""
    direct = module.model.direct(len(target.classes))
    metadata = {
        "format": "lt_extrap 1",
        "classes": json.dumps(target.classes.names, ensure_ascii=False),
        "backbone": json.dumps({"type": type(config.backbone).__name__, **vars(config.backbone)}),
        "image_size": str(config.recipe.image_size),
        "crop_fraction": str(config.recipe.crop_fraction),
        "mean": json.dumps((direct.backbone.mean.flatten() / 255).tolist()),
        "std": json.dumps((direct.backbone.std.flatten() / 255).tolist()),
    }
    save_file(
        {key: value.detach().cpu().contiguous() for key, value in direct.state_dict().items()},
        folder / runs.WEIGHTS,
        metadata,
    )


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def main(composed: DictConfig) -> float:
    """Hydra's entry: returns test accuracy, so that any sweeper can maximise it."""
    config = schema.from_hydra(composed)
    results = train(config, Path(HydraConfig.get().runtime.output_dir))
    return float(results["test"]["acc"])


if __name__ == "__main__":
    main()
