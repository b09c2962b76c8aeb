"""The LightningModule of a classifier: its loss, what is measured, and how it is built."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lt_extrap.agreement import from_first
from lt_extrap.config import (
    Backbone,
    Balanced,
    ClassMeanHead,
    Focal,
    Ldam,
    Loss,
    NoAdapter,
    OpenClip,
    Recipe,
    Silencing,
    TextHead,
    TrainConfig,
)
from lt_extrap.data.batch import Batch
from lt_extrap.data.erasing import Erasing
from lt_extrap.data.mixing import Mixing
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.model.adapters.adapted import adapt
from lt_extrap.model.backbones import build_backbone, load_pretrained
from lt_extrap.model.bce import balanced_bce, silencing_bce
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.clip import TextTower
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.model.heads import AnyHead, build_head, empty_head, started_head
from lt_extrap.model.losses import OffsetCrossEntropy, balanced_softmax, cross_entropy, neighbor_silencing
from lt_extrap.model.measured import Confusions, PerClass, PerImage
from lt_extrap.model.metrics import LongTailMetrics
from lt_extrap.model.rebalancing import Deferred, LabelLoss, rebalancing_loss
from lt_extrap.model.shots import Shot
from lt_extrap.optimizer import parameter_groups
from lt_extrap.step import StepModule

TrainingLoss = OffsetCrossEntropy | LabelLoss | Deferred


class ExtrapolationModule(StepModule[Classifier]):
    """Trains a classifier over target and auxiliary classes; measures its target columns alone.

    Attributes:
        measured: what is validated, tested and exported: the model, or its average over steps (recipe.ema).
        loss: of training; its prior never enters a prediction. None where nothing is trained.
        split: the name under which test metrics are logged.
        per_class, confusions, per_image: of the last test.
    """

    per_class: PerClass
    confusions: Confusions
    per_image: PerImage

    def __init__(
        self,
        *,
        model: Classifier,
        loss: TrainingLoss | None,
        recipe: Recipe,
        steps: int,
        warmup: int,
        head_warmup: int = 0,
        shots: Sequence[Shot],
        seed: int,
        skip_unreadable: bool,
    ) -> None:
        super().__init__(
            model=model,
            recipe=recipe,
            steps=steps,
            warmup=warmup,
            head_warmup=head_warmup,
            seed=seed,
            skip_unreadable=skip_unreadable,
        )
        self.loss = loss
        self.average: AveragedModel | None = None
        if recipe.ema is not None:
            # Of the model alone: the loss holds counts and the relation, which no average may touch.
            ema = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=ema, use_buffers=True)
            self.average.requires_grad_(False)
        self.metrics = LongTailMetrics(shots)
        self.erasing = Erasing(seed=seed, probability=recipe.erasing) if recipe.erasing > 0 else None
        self.mixing = (
            Mixing(seed=seed, mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix)
            if recipe.mixup > 0 or recipe.cutmix > 0
            else None
        )
        self.split = "test"

    @property
    def measured(self) -> Classifier:
        return self.model if self.average is None else cast(Classifier, self.average.module)

    def losses(self, batch: Batch) -> Callable[[slice], Tensor]:
        images, label, mixed = batch.images.float(), batch.label, None
        if self.erasing is not None:
            backbone = self.model.backbone
            self.erasing(images, batch.sample, mean=backbone.mean, std=backbone.std, epoch=self.current_epoch)
        if self.mixing is not None:
            images, label_b, lam = self.mixing(images, label, step=self.global_step, rank=self.global_rank)
            mixed = (label_b, lam)
        assert self.loss is not None
        criterion = self.loss.at(self.global_step, self.steps) if isinstance(self.loss, Deferred) else self.loss

        def of_part(part: slice) -> Tensor:
            logits = self.model(images[part])
            loss: Tensor = criterion(logits, label[part], mixed and (mixed[0][part], mixed[1][part]))
            return loss

        return of_part

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def on_validation_start(self) -> None:
        from_first(self.measured.buffers())  # statistics of the shares of the first, which are those that are kept

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self.per_class, self.confusions = self.metrics.per_class(), self.metrics.confusions()
        self.per_image = self.metrics.per_image()
        self._report(self.split)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["frozen_backbone"] = self.model.backbone.identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        wanted, found = checkpoint.get("frozen_backbone"), self.model.backbone.identity
        if wanted != found:
            raise RunError(
                f"the backbone of the first start, with digest {wanted}",
                f"{self.model.backbone.start}: digest {found}",
                "give back its weights: checkpoints hold adapter and head alone",
            )

    def _measure(self, batch: Batch) -> None:
        # Never skipped: an accuracy over fewer images would be another number under the same name.
        self._account(batch.unreadable, skip=False)
        # forward itself is never compiled: `evaluate` gives the same numbers.
        images = batch.images
        logits: Float[Tensor, "batch classes"]
        if images.ndim == 5:  # the test-time ensemble: the mean over the crops of an image
            logits = self.measured.forward(images.flatten(0, 1)).float().view(*images.shape[:2], -1).mean(dim=1)
        else:
            logits = self.measured.forward(images)
        self.metrics.update(logits, batch.label, batch.sample)

    def _report(self, split: str) -> None:
        values = self.metrics.compute()
        self.metrics.reset()
        self.log_dict({f"{split}/{name}": value for name, value in values.items()}, sync_dist=False)


def build_module(config: TrainConfig, target: TargetSet, training: TrainingSet, *, steps: int) -> ExtrapolationModule:
    """The module of a run, every part of it a function of the configuration and the data.

    Args:
        config: the run.
        target: its target set.
        training: its training set.
        steps: optimizer steps of the whole run.
    """
    recipe, budget = config.recipe, config.budget
    model = build_model(config, target, training)
    parameter_groups(recipe, model)  # refuses what changes nothing for this backbone before anything is written
    module = ExtrapolationModule(
        model=model,
        loss=build_loss(config.loss, training, len(target.classes), scale=getattr(config.head, "scale", None)),
        recipe=recipe,
        steps=steps,
        warmup=training.steps(budget.unit, budget.warmup, recipe.batch_size),
        head_warmup=training.steps(budget.unit, budget.head_warmup, recipe.batch_size),
        shots=target.classes.shots,
        seed=config.seed,
        skip_unreadable=config.data.on_unreadable == "skip",
    )
    if config.compile:
        # In place, so that no key has a prefix; with torch's own random numbers.
        module.model.compile(options={"fallback_random": True})
    return module


def build_model(config: TrainConfig, target: TargetSet, training: TrainingSet) -> Classifier:
    """The classifier over target and auxiliary classes, its initial weights a function of the seed.

    Raises:
        ConfigError: `features_from` holds another backbone than the configuration, pretrained weights do not fit, or
            there are fewer layers than are to be frozen, all are and an option is for training them, or the size cuts a
            patch.
        RunError: it cannot be read.
    """
    image_size = config.recipe.image_size
    if config.features_from is None:
        backbone = build_backbone(config.backbone, image_size=image_size, seed=config.seed)
        patch = backbone.patch_size
        if image_size % patch and image_size != backbone.preprocessing.size:
            low = image_size // patch * patch
            raise ConfigError(
                f"recipe.image_size to be a multiple of the patch, {patch} pixels",
                f"{image_size}, of which the last {image_size - low} would never be seen",
                f"set recipe.image_size to {low} or {low + patch}; recipe=finetune has the backbone's own up to 224",
            )
        backbone.start = load_pretrained(backbone, config.backbone) or backbone.start
        adapt(backbone, config.adapter, classes=len(target.classes), seed=config.seed)
    else:
        donor = DirectClassifier.load(Path(config.features_from))
        wanted = (config.backbone, config.adapter, image_size)
        found = (donor.backbone, donor.adapter, donor.image_size)
        if wanted != found:
            raise ConfigError(
                f"features_from with the backbone {wanted[0]}, {wanted[1]}, at {wanted[2]} pixels",
                f"{found[0]}, {found[1]}, at {found[2]} in {config.features_from}",
                "give the same backbone, adapter and recipe.image_size as that run",
            )
        _check_width(config, donor, len(target.classes))
        backbone = donor.model.backbone
        backbone.start = f"{config.features_from}, kept frozen"
        backbone.preprocessing = backbone.preprocessing._replace(size=image_size)  # at which that run trained it
        backbone.freeze()
    if config.recipe.freeze:
        backbone.freeze(None if config.recipe.freeze == "all" else config.recipe.freeze)
        for key in ("drop_path", "gradient_checkpointing"):
            if backbone.frozen and getattr(config.backbone, key, False):
                raise ConfigError(
                    f"a backbone that learns, for backbone.{key}",
                    f"a frozen one, by recipe.freeze={config.recipe.freeze}",
                    f"leave out backbone.{key}, or lower recipe.freeze",
                )
    if isinstance(config.head, ClassMeanHead):
        columns = len(target.classes) + len(training.auxiliary_names)
        head: AnyHead = empty_head(config.head, dim=backbone.dim, classes=columns)
        torch.nn.init.zeros_(head.weight)  # `class_means.start_from_means` comes where a run begins
    elif isinstance(config.head, TextHead):
        head = _named_head(config.head, config.backbone, target.classes.names, training.auxiliary_names)
    else:
        head = build_head(
            config.head,
            dim=backbone.dim,
            num_target=len(target.classes),
            num_auxiliary=len(training.auxiliary_names),
            seed=config.seed,
        )
    return Classifier(backbone, head)


def _check_width(config: TrainConfig, donor: DirectClassifier, classes: int) -> None:
    """Refuse an adapter whose width, by the number of target classes, would be another one where this run is read."""
    if isinstance(config.adapter, NoAdapter) or len(donor.classes) == classes:
        return
    with torch.device("meta"):
        here = build_backbone(config.backbone, image_size=config.recipe.image_size, seed=config.seed)
        adapt(here, config.adapter, classes=classes, seed=config.seed)
    wanted, found = (
        {name: parameter.shape for name, parameter in body.named_parameters()} for body in (here, donor.model.backbone)
    )
    if wanted != found:
        raise ConfigError(
            f"features_from with an adapter as wide as {classes} target classes make it",
            f"one of {len(donor.classes)} classes in {config.features_from}",
            "train that run with a width of its own (adapter.bottleneck or adapter.rank), and give the same here",
        )


def _named_head(head: TextHead, backbone: Backbone, target: Sequence[str], auxiliary: Sequence[str]) -> AnyHead:
    """A head that starts from the names of the classes; the text tower is dropped behind it."""
    if not isinstance(backbone, OpenClip):
        raise ConfigError("backbone=clip for head=text", type(backbone).__name__, "choose it, or head=cosine")
    tower = TextTower(backbone)
    return started_head(head, torch.cat([tower.embed(names, head.templates) for names in (target, auxiliary)]))


def build_loss(
    loss: Loss | Ldam, training: TrainingSet, num_target: int, *, scale: float | None = None
) -> TrainingLoss:
    """The loss of a configuration, with the prior and the relation of the training set.

    Args:
        loss: the node.
        training: what is trained on.
        num_target: columns that are target classes.
        scale: of a head of cosines; None of any other.

    Raises:
        ConfigError: silencing without a pair to silence, which would be the balanced softmax; margins of cosines
            where the head has none.
    """
    counts = torch.from_numpy(training.counts)
    if isinstance(loss, Focal | Ldam):
        return rebalancing_loss(loss, counts, num_target=num_target, scale=scale)
    smoothing: Any = {"smoothing": loss.smoothing, "smoothing_over": loss.smoothing_over}
    if isinstance(loss, Silencing):
        if len(training.relation.neighbor) == 0:
            raise ConfigError(
                "neighbor pairs for loss=silencing",
                "a training set without any, on which it is the balanced softmax",
                "choose auxiliary=neighbors, or loss=balanced",
            )
        weights: Any = {"lambda_s": loss.lambda_s, "lambda_aux_aux": loss.lambda_aux_aux}
        which: Any = {"relation": training.relation, "silence": loss.silence}
        if loss.bce:
            return silencing_bce(counts, num_target=num_target, tau=loss.tau, **which, **weights, **smoothing)
        mixing = loss.mixing
        return neighbor_silencing(
            counts, num_target=num_target, tau=loss.tau, mixing=mixing, **which, **weights, **smoothing
        )
    if isinstance(loss, Balanced):
        build = balanced_bce if loss.bce else balanced_softmax
        return build(counts, num_target=num_target, tau=loss.tau, **smoothing)
    return cross_entropy(counts, num_target=num_target, **smoothing)
