"""What a run says on the terminal: a panel at the start, a line an epoch."""

import time
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

import lightning as L
import torch
from rich.panel import Panel
from torch import Tensor

from lt_extrap.agreement import mean
from lt_extrap.config import (
    OPTIONS,
    AdamW,
    ClassMeanHead,
    NoAdapter,
    OfficialTarget,
    PretrainConfig,
    Recipe,
    Sgd,
    TextHead,
    TrainConfig,
)
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.errors import some
from lt_extrap.model.backbones import RANDOM_START, NormalisedBackbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.masked import MaskedAutoencoder
from lt_extrap.model.shots import Shot
from lt_extrap.optimizer import parameter_groups
from lt_extrap.panel import panel
from lt_extrap.stopwatch import PARTS, Stopwatch

_SHOTS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)
_FASTEST = 7e-4  # lr of AdamW with which a published script fine-tunes all layers alike (docs/recipes.md)


def percent(value: float | None) -> str:
    """A fraction as a percentage; "-" for the NaN (in JSON null) of an empty group."""
    return "-" if value is None or value != value else f"{100 * value:.1f}"


def result_line(test: Mapping[str, float | None], weights: str, place: str, untested: int) -> str:
    """The test accuracies of a run, how many classes are in none of them, and where the rest is."""
    accuracies = ", ".join(f"{shot} {percent(test[f'acc_{shot}'])}" for shot in _SHOTS)
    without = f", classes not evaluated: {untested}" if untested else ""
    return f"test: overall {percent(test['acc'])}, {accuracies} ({weights} weights){without}; {place}"


def time_line(time: Mapping[str, float], device: str) -> str:
    """Where the time of a training went, its speed and its memory.

    Args:
        time: the node `time` of results.json.
        device: that the memory is of: `cuda`, or else this process.
    """
    total = sum(time[part] for part in PARTS)
    shares = ", ".join(f"{part.replace('_', ' ')} {time[part] / max(total, 1e-9):.0%}" for part in PARTS)
    where = "of the GPU" if device == "cuda" else "in this process"
    return (
        f"time: {_minutes(total)}; {shares}; {time['images_per_second']:,.0f} images/s; "
        f"peak {time['peak_memory'] / 1e9:.1f} GB {where}"
    )


def start_panel(
    config: TrainConfig,
    target: TargetSet,
    training: TrainingSet,
    model: Classifier,
    steps: int,
    folder: str,
    devices: int = 1,
) -> Panel:
    """What is about to be trained on what, and how."""
    shots = target.classes.shots
    recipe = config.recipe
    body, whole = (sum(p.numel() for p in part.parameters() if p.requires_grad) for part in (model.backbone, model))
    extra = len(training.index) - len(target.train)
    shown = len(training.draw)
    repeated = len(target.train.duplicates())
    rows = {
        "run": folder,
        "target": f"{len(shots)} classes, {len(target.train):,} images; "
        + ", ".join(f"{shots.count(shot)} {shot}" for shot in _SHOTS)
        + (f"; {repeated} rows repeat an image, and count" if repeated else ""),
        "auxiliary": f"{len(training.auxiliary_names)} classes, {training.pairs} neighbor pairs"
        + (f" ({training.right_pairs} of them right)" if training.right_pairs < training.pairs else "")
        + f", {extra:,} further images, "
        f"{min(extra, shown - len(target.train)):,} of them an epoch" + "".join(f"; {note}" for note in training.notes),
        "epoch": f"{shown:,} images, {shown // recipe.batch_size} steps; {steps:,} steps in all",
        "loss": ", ".join(
            [_option("loss", config.loss), *(f"{key}={value}" for key, value in vars(config.loss).items())]
        ),
        "model": f"{_node(config.backbone)}; head {_node(config.head)}; "
        + ("" if isinstance(config.adapter, NoAdapter) else f"adapter {_node(config.adapter)}; ")
        + f"{whole:,} parameters trained, {body:,} without the head",
        "start": model.backbone.start + _head_start(config),
        "input": _input(model.backbone, recipe.image_size),
        "optimizer": f"{type(recipe).__name__}, {_batch(recipe, devices)}, lr {recipe.lr:g} "
        f"(blr {recipe.blr:g} x batch / 256), "
        + (f"x {recipe.gamma:g} at {recipe.milestones} of the budget, " if recipe.milestones else "cosine to 0, ")
        + (f"momentum {recipe.momentum:g}, " if isinstance(recipe, Sgd) else f"betas {recipe.betas}, ")
        + f"weight decay {recipe.weight_decay:g}, clip {recipe.clip}"
        + _head_warmup(config),
        "selection": f"best val/acc on {config.target.val}"
        if target.val is not None
        else "last weights (there is no validation list)",
        "test": f"{config.target.test}, {len(target.test):,} images" + _plays_test(config),
    }
    if isinstance(recipe, AdamW) and recipe.layer_decay < 1:
        rows["layer decay"] = _layer_decay(recipe, model)
    if caution := _caution(config, model):
        rows["caution"] = caution
    if "exclude" in target.files or target.left_out.any():
        rows["left out"] = _left_out(target)
    return panel(f"lt_extrap: {config.name}, seed {config.seed}", rows)


def pretraining_panel(
    config: PretrainConfig, training: TrainingSet, model: MaskedAutoencoder, steps: int, folder: str
) -> Panel:
    """What is about to be pretrained on what, and how."""
    recipe, shown = config.recipe, len(training.draw)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    patches = len(model.head.positions)
    rows = {
        "run": folder,
        "images": f"without labels; {training.target_views:,} of the target and {shown - training.target_views:,} "
        f"auxiliary ones an epoch, {shown // recipe.batch_size} steps; {steps:,} steps in all",
        "model": f"{_node(config.backbone)}; {_node(config.decoder)}; {trained:,} parameters trained",
        "masking": f"{config.mask_ratio:g} of {patches} patches of {model.patch} pixels"
        + (", normalised pixels" if config.normalised else ", pixels"),
        "input": _input(model.backbone, recipe.image_size),
        "optimizer": f"{type(recipe).__name__}, {_batch(recipe, 1)}, lr {recipe.lr:g} (blr {recipe.blr:g} x batch / "
        f"256), cosine to 0, betas {recipe.betas}, weight decay {recipe.weight_decay:g}, clip {recipe.clip}",
        "selection": "last weights",
    }
    return panel(f"lt_extrap: {config.name}, seed {config.seed}", rows)


def _node(node: Any) -> str:
    """The class of a configuration node, and those of its options that are not as they come."""
    shown = [
        (field.name, getattr(node, field.name))
        for field in fields(node)
        # Those of preprocessing have a row of their own.
        if field.name not in ("mean", "std", "interpolation") and getattr(node, field.name) != _default(field)
    ]
    return " ".join([type(node).__name__, *(f"{name}={value}" for name, value in shown)])


def _option(group: str, node: Any) -> str:
    """The option of a group that a node is of."""
    return next(option for option, kind in OPTIONS[group].items() if type(node) is kind)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _input(backbone: NormalisedBackbone, size: int) -> str:
    """How images become input."""
    preprocessing = backbone.preprocessing
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    pretrained = backbone.start != RANDOM_START
    native = f" (weights: {preprocessing.size})" if pretrained and preprocessing.size not in (None, size) else ""
    return f"{size} pixels{native}, {preprocessing.interpolation}, mean {mean}, std {std}"


def _batch(recipe: Recipe, devices: int) -> str:
    """The batch, in how many parts, and how many images of a part are on each device."""
    factors = [f"{devices} devices"] if devices > 1 else []
    factors += [str(recipe.accumulate)] if recipe.accumulate > 1 else []
    parts = " = " + " x ".join([*factors, str(recipe.part // devices)]) if factors else ""
    return f"batch {recipe.batch_size}{parts}"


def _head_warmup(config: TrainConfig) -> str:
    budget, factor = config.budget, config.recipe.head_warmup_factor
    return "" if factor is None else f"; {budget.head_warmup:g} {budget.unit} of the head alone before, x {factor:g}"


def _head_start(config: TrainConfig) -> str:
    """What the class weights start from, where it is not random numbers."""
    if isinstance(config.head, ClassMeanHead):
        return "; head from the mean feature of each class, over its training images"
    if isinstance(config.head, TextHead):
        return f"; head from the class names, in {len(config.head.templates)} sentences each"
    return ""


def _layer_decay(recipe: AdamW, model: Classifier) -> str:
    """The learning rates of the layers, lowest and highest by name."""
    groups = sorted(parameter_groups(recipe, model), key=lambda group: float(group["lr"]))
    named = [f"{group['lr']:.3g} ({group['name'].removesuffix(', no decay')})" for group in (groups[0], groups[-1])]
    rates = len({group["lr"] for group in groups})
    return f"{recipe.layer_decay:g}: {rates} rates, {named[0]} to {named[1]}".replace("(layer 0)", "(embeddings)")


def _caution(config: TrainConfig, model: Classifier) -> str:
    """What is no mistake for certain, and mostly one: rates of random weights for pretrained ones."""
    recipe, pretrained = config.recipe, getattr(config.backbone, "weights", None) is not None
    if not pretrained or model.backbone.frozen or model.backbone.adapter_keys is not None:
        return ""  # what learns is new
    if not isinstance(recipe, AdamW):
        return ""
    if recipe.layer_decay < 1 or recipe.lr <= _FASTEST:
        return ""
    return (
        f"lr {recipe.lr:g} for every layer of pretrained weights, which such rates mostly destroy: recipe=finetune has "
        f"3e-5; no published recipe is above {_FASTEST:g} without recipe.layer_decay"
    )


def _left_out(target: TargetSet) -> str:
    """How many listed training images are not trained on, and of which classes."""
    labels = target.left_out.nonzero()[0]
    classes = some([f"{target.classes.names[label]} {target.left_out[label]}" for label in labels])
    return f"{target.left_out.sum():,} of the training list" + (f": {classes}" if len(labels) else "")


def _plays_test(config: TrainConfig) -> str:
    official = config.target.official if isinstance(config.target, OfficialTarget) else None
    if official is None or official.val is not None:
        return ""
    return "; a validation list plays the test, for the set has no other"


class EpochLine(L.Callback):
    """A line an epoch: all that a log gets, and what stays above the bar on a terminal.

    Args:
        stopwatch: of this run; it knows the images a second.
    """

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch
        self._start_epoch()
        self.epoch = 0
        self.started, self.first = time.monotonic(), 0

    def _start_epoch(self) -> None:
        self.loss: Tensor | float = 0.0
        self.steps, self.accuracies = 0, ""

    def state_dict(self) -> dict[str, Any]:
        loss = float(mean(torch.as_tensor(self.loss)))
        return {"loss": loss, "steps": self.steps, "accuracies": self.accuracies, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loss, self.steps, self.accuracies = (state_dict[key] for key in ("loss", "steps", "accuracies"))
        self.epoch = state_dict.get("epoch", -1)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started, self.first = time.monotonic(), trainer.global_step
        if trainer.global_step:
            pl_module.print(f"goes on from step {trainer.global_step}/{trainer.max_steps}")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch != self.epoch:  # a run that was stopped behind a last step has no end of that epoch
            self._start_epoch()
            self.epoch = trainer.current_epoch
        if outputs:  # nothing of a batch without an image
            self.loss = self.loss + outputs["loss"].detach()
            self.steps += 1

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit":
            return  # of the end, behind the last line
        metrics = trainer.callback_metrics
        self.accuracies = "  ".join(
            f"{name} {percent(float(metrics[key]))}"
            for name, key in [("acc", "val/acc"), *((str(shot), f"val/acc_{shot}") for shot in _SHOTS)]
        )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        done, total = trainer.global_step, trainer.max_steps
        seconds = time.monotonic() - self.started
        left = seconds / max(1, done - self.first) * (total - done)
        pl_module.print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  step {done}/{total}  "
            f"loss {float(mean(torch.as_tensor(self.loss))) / max(1, self.steps):.3f}  {self.accuracies}  "
            f"{_minutes(seconds)}"
            + (f", {self.stopwatch.lap():,.0f} images/s, {_minutes(left)} left" if done > self.first else "")
        )
        self._start_epoch()


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"
