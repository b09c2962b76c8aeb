"""What a run would take: `python -m lt_extrap.train experiment=<name> do=plan`. Needs neither images nor weights."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.panel import Panel

from lt_extrap.config import (
    AuxiliaryClasses,
    AuxiliaryFiles,
    Backbone,
    CifarTarget,
    NoAuxiliary,
    OfficialTarget,
    OpenClip,
    RunConfig,
    Sgd,
    Target,
    TargetExtra,
    Timm,
    TrainConfig,
    check,
)
from lt_extrap.data.auxiliary_set import set_folder
from lt_extrap.data.layout import laid_out
from lt_extrap.data.pairs import asked
from lt_extrap.data.place import Place, find_place
from lt_extrap.data.stored.schema import MANIFEST
from lt_extrap.data.target import ClassTable, TargetSet, load_target, numbered, target_files
from lt_extrap.data.training_set import build_training_set, optimizer_steps
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model import clip, hub
from lt_extrap.model.adapters.adapted import adapt
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.heads import empty_head
from lt_extrap.model.weights import weights_path
from lt_extrap.panel import panel
from lt_extrap.retrained import EPOCHS

_BYTES = 4  # of a parameter: weights are kept in float32 whatever the precision


@dataclass(frozen=True)
class Epoch:
    """What an epoch shows.

    Attributes:
        target_classes, auxiliary_classes: their numbers.
        target_images: images of target classes, further ones among them.
        auxiliary_images: images of auxiliary classes.
        notes: what of that is no count of lists, a line each.
    """

    target_classes: int
    auxiliary_classes: int
    target_images: int
    auxiliary_images: int
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """All images."""
        return self.target_images + self.auxiliary_images


@dataclass(frozen=True)
class Plan:
    """What a run would take.

    Attributes:
        epoch: what an epoch shows.
        steps: of the optimizer.
        views: images shown in all.
        target_views: those of target classes among them, expected.
        validation_views: images that are classified between epochs.
        there, missing: files that the run needs, a line each.
    """

    epoch: Epoch
    steps: int
    views: int
    target_views: int
    validation_views: int
    there: tuple[str, ...]
    missing: tuple[str, ...]

    def hours(self, images_per_second: float) -> float:
        """Hours of training, without validation."""
        return self.views / images_per_second / 3600


def plan(config: RunConfig) -> Plan:
    """Work out what a run would take.

    Lists are read, and no image is. Where the lists of a published set are not there, its known figures stand in; where
    an auxiliary set is not there, its size is estimated. Nothing is written but what any command makes in the cache
    (the embedded world, the splits of a folder).

    Raises:
        LtExtrapError: the configuration or a file is not what it should be; or the lists of a set that is not a
            published one are not there.
    """
    there, missing = list[str](), list[str]()
    place = _place(config.target)
    files = {} if isinstance(place, str) else _files(config, place)
    for key, file in files.items():
        (there if file.is_file() else missing).append(f"{key}: {file}")
    if isinstance(place, str):
        missing.append(place)
        epoch, validation = _estimated(config, None), config.target.official.val or 0
    elif any(key.startswith("target.") and not file.is_file() for key, file in files.items()):
        if not _published(config.target):
            raise DataError("the lists that a plan counts", "; ".join(missing), "correct target.<key>")
        epoch, validation = _estimated(config, None), config.target.official.val or 0
    else:
        target = load_target(_listed(config.target), missing="keep")
        validation = 0 if target.val is None else len(target.val)
        epoch = _estimated(config, target) if missing else _counted(config, target, place, there, missing)
    if (donor := getattr(config, "features_from", None)) is not None:
        (there if Path(donor).is_file() else missing).append(f"features_from: {donor}")
    _look_for_weights(config.backbone, there, missing)
    batch, budget = config.recipe.batch_size, config.budget
    steps = optimizer_steps(budget.unit, budget.amount, batch, shown=epoch.images, target_views=epoch.target_images)
    check(epoch.images >= batch, "recipe.batch_size", f"at most {epoch.images:,}, the images of an epoch", batch)
    check(steps >= 1, "budget", "at least one step", budget)
    validates_every = config.trainer.get("check_val_every_n_epoch", 1)
    return Plan(
        epoch=epoch,
        steps=steps,
        views=steps * batch,
        target_views=round(steps * batch * epoch.target_images / epoch.images),
        validation_views=validation * (steps // max(1, epoch.images // batch) // validates_every),
        there=tuple(there),
        missing=tuple(missing),
    )


@dataclass(frozen=True)
class Size:
    """How large a model is.

    Attributes:
        parameters: of the classifier over all classes, but for a backbone that is frozen beside an adapter.
        frozen: parameters of that one, which no file of the run holds.
        exported: parameters of the direct classifier, but for those.
        state, weights: bytes of a checkpoint to go on from, and of one with weights alone.
    """

    parameters: int
    frozen: int
    exported: int
    state: int
    weights: int

    def on_disk(self, *, selects: bool) -> tuple[int, int]:
        """Bytes that a run takes while it trains, and when it has ended; `selects`: it keeps the best weights too."""
        after = (1 + selects) * self.weights + _BYTES * self.exported
        return 3 * self.state + selects * self.weights, after  # the last, the one before, and one that is being written


def size(config: TrainConfig, epoch: Epoch) -> Size:
    """How large the model of a run is, built without memory and without weights."""
    with torch.device("meta"):
        backbone = build_backbone(config.backbone, image_size=config.recipe.image_size, seed=config.seed)
        adapt(backbone, config.adapter, classes=epoch.target_classes, seed=config.seed)
        if config.recipe.freeze or config.features_from is not None:
            backbone.freeze(None if config.recipe.freeze in (0, "all") else config.recipe.freeze)
    kept = [p.requires_grad or backbone.adapter_keys is None for p in backbone.parameters()]
    body, frozen = (
        sum(p.numel() for p, keep in zip(backbone.parameters(), kept, strict=True) if keep is which)
        for which in (True, False)
    )
    row = sum(parameter.numel() for parameter in empty_head(config.head, dim=backbone.dim, classes=1).parameters())
    parameters = body + row * (epoch.target_classes + epoch.auxiliary_classes)
    copies = 1 + (config.recipe.ema is not None)
    moments = 1 if isinstance(config.recipe, Sgd) else 2  # of what learns
    learns = (
        parameters - body + sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
    )
    return Size(
        parameters=parameters,
        frozen=frozen,
        exported=body + row * epoch.target_classes,
        state=_BYTES * (parameters * copies + learns * moments),
        weights=_BYTES * parameters * copies,
    )


def plan_panel(plan: Plan, size: Size, config: RunConfig) -> Panel:
    """A plan for the terminal."""
    epoch, batch = plan.epoch, config.recipe.batch_size
    rates = [config.images_per_second] if config.images_per_second else [500.0, 1000.0, 2000.0]
    during, after = size.on_disk(selects=plan.validation_views > 0)
    rows = {
        "target": f"{epoch.target_classes:,} classes, {epoch.target_images:,} images an epoch",
        "auxiliary": f"{epoch.auxiliary_classes:,} classes, {epoch.auxiliary_images:,} images an epoch",
        "steps": f"{plan.steps:,} of {batch:,} images, {plan.steps / max(1, epoch.images // batch):.4g} epochs",
        "views": f"{plan.views:,}: {plan.target_views:,} target, {plan.views - plan.target_views:,} auxiliary",
        "validation": f"{plan.validation_views:,} further images between epochs, without a backward pass",
        "hours": ", ".join(f"{plan.hours(rate):.3g} at {rate:,g} images/s" for rate in rates) + ", without validation",
        "parameters": f"{size.parameters:,}; {size.exported:,} exported"
        + (f"; beside a frozen backbone of {size.frozen:,}" if size.frozen else ""),
        "disk": f"{_bytes(during)} while it trains, then {_bytes(after)}; of that weights {_bytes(size.weights)}, "
        f"a state to go on from {_bytes(size.state)}",
        "there": "\n".join(plan.there) or "-",
        "missing": "\n".join(plan.missing) or "-",
        "note": "\n".join([*epoch.notes, *_start(config)]) or "-",
    }
    if isinstance(config, TrainConfig) and config.retrained:
        rows["retrained"] = f"then {EPOCHS} epochs of the target set alone, through the frozen backbone"
    return panel(f"plan of {config.name}, seed {config.seed}", rows)


def _start(config: RunConfig) -> list[str]:
    """A note where a transformer is trained from random weights, which an experiment leaves to who runs it."""
    backbone, donor = config.backbone, getattr(config, "features_from", None)
    if not isinstance(config, TrainConfig) or not isinstance(backbone, Timm) or backbone.weights or donor:
        return []
    return [f"{backbone.model} starts from random weights: backbone.weights=null"]


def _published(target: Target) -> bool:
    """Whether the figures of a target are known without its lists."""
    return isinstance(target, OfficialTarget) and target.official is not None


def _listed(target: Target) -> Target:
    """The target as one whose images are neither looked for nor fetched."""
    if isinstance(target, CifarTarget):
        return replace(target, download=False)
    return replace(target, images=None, archive=None) if type(target) in (Target, OfficialTarget) else target


def _place(target: Target) -> Place | str:
    """Where the files of a target are; of a published set whose folder is not there, what is missing."""
    try:
        return find_place(_listed(target))
    except (ConfigError, DataError) as error:
        if not _published(target):
            raise
        return f"target.root: {error.found}"


def _files(config: RunConfig, place: Place) -> dict[str, Path]:
    """The files that a run reads beside images and pretrained weights, by configuration key."""
    auxiliary = config.auxiliary
    files = {f"target.{key}": file for key, file in target_files(config.target, place).items()}
    for key in ("folder", "budget_folder"):
        if (folder := getattr(auxiliary, key, None)) is not None:
            files[f"auxiliary.{key}"] = set_folder(folder, place) / MANIFEST
    for key in ("train", "names", "pairs", "budget_list"):
        if (file := getattr(auxiliary, key, None)) is not None:
            files[f"auxiliary.{key}"] = place.root / (file.partition(":")[0] if key == "names" else file)
    return files


def _counted(config: RunConfig, target: TargetSet, place: Place, there: list[str], missing: list[str]) -> Epoch:
    """What an epoch shows by the lists, and how many of their images are there."""
    images = None
    if config.target.archive is not None:
        archive = place.root / config.target.archive
        (there if archive.is_file() else missing).append(f"target.archive: {archive}")
    else:
        try:
            images = find_place(config.target).images
            target = replace(target, place=target.place._replace(images=images))
        except DataError as error:
            missing.append(f"target.images: {error.found}")
    balanced = isinstance(config, TrainConfig) and config.sampling == "balanced"
    training = build_training_set(config.auxiliary, target, seed=config.seed, missing="keep", balanced=balanced)
    if images is not None:
        lists = {"training": training.index, "validation": target.val, "test": target.test}
        for name, index in ((name, index) for name, index in lists.items() if index is not None):
            index = laid_out(index, images) if name != "training" else index
            gone = (training.images if name == "training" else images).missing(index)
            if len(gone):
                missing.append(f"{len(gone):,} of {len(index):,} {name} images, such as {index.path(gone[0])}")
            else:
                there.append(f"{len(index):,} {name} images")
    return Epoch(
        target_classes=len(target.classes),
        auxiliary_classes=len(training.auxiliary_names),
        target_images=training.target_views,
        auxiliary_images=len(training.draw) - training.target_views,
        notes=training.notes,
    )


def _estimated(config: RunConfig, target: TargetSet | None) -> Epoch:
    """What an epoch would show, where the lists or the auxiliary set are not there."""
    notes = []
    if target is not None:
        classes, images = target.classes, len(target.train)
    else:
        official = config.target.official
        # Only the groups are of interest: a count of each, many to few.
        counts = np.repeat([101, 100, 1], [official.many, official.medium, official.few]).astype(np.int64)
        classes, images = ClassTable(*numbered(official.classes), counts), official.train
        if config.target.samples_per_class is not None:
            images = min(images, config.target.samples_per_class * official.classes)
        notes.append("the lists are not there: target figures are those known of the published set")
    auxiliary = config.auxiliary
    if isinstance(auxiliary, NoAuxiliary):
        return Epoch(len(classes), 0, images, 0, tuple(notes))
    sampled = auxiliary if isinstance(auxiliary, AuxiliaryClasses) else AuxiliaryClasses(train="as many as neighbors")
    k = sampled.neighbors_per_class or AuxiliaryFiles().neighbors_per_class
    assert k is not None
    most = int(asked(classes, k, sampled.sampling_ratio, sampled.scale).sum())
    added = most * auxiliary.samples_per_class
    notes.append(
        f"the auxiliary set is not there: at most {most:,} classes ({k} neighbors a class by the ratio of the groups; "
        f"neighbors of several classes are counted for each) of at most {auxiliary.samples_per_class} images an epoch"
    )
    if isinstance(auxiliary, TargetExtra):
        return Epoch(len(classes), 0, images + (auxiliary.images_per_epoch or added), 0, tuple(notes))
    return Epoch(len(classes), most, images, added, tuple(notes))


def _look_for_weights(backbone: Backbone, there: list[str], missing: list[str]) -> None:
    """Whether the pretrained weights of a backbone are on this machine."""
    if not isinstance(backbone, Timm | OpenClip) or backbone.weights is None:
        return
    if backbone.weights != "hub":
        found = weights_path(backbone.weights).is_file()
        (there if found else missing).append(f"backbone.weights: {backbone.weights}")
        return
    cached = clip.is_cached(backbone) if isinstance(backbone, OpenClip) else hub.cached_file(backbone.model) is not None
    name = backbone.model + (f" {backbone.tag}" if isinstance(backbone, OpenClip) else "")
    (there if cached else missing).append(f"weights of {name}: {'' if cached else 'not '}in the hub's cache")


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
