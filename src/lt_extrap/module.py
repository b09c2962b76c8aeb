"""The LightningModule: the one training step, its optimizer, what is measured, and how it is built."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lt_extrap.config import Backbone, Balanced, Loss, OpenClip, Recipe, Silencing, TextHead, TrainConfig
from lt_extrap.data.datamodule import Batch
from lt_extrap.data.erasing import Erasing
from lt_extrap.data.mixing import Mixing
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.errors import ConfigError, DataError, TrainingError
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.model.backbones import build_backbone, load_pretrained
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.clip import TextTower
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.model.heads import AnyHead, build_head, text_head
from lt_extrap.model.losses import OffsetCrossEntropy, balanced_softmax, cross_entropy, neighbor_silencing
from lt_extrap.model.metrics import Confusions, LongTailMetrics, PerClass
from lt_extrap.model.shots import Shot
from lt_extrap.optimizer import build_optimizer, lr_share


class ExtrapolationModule(L.LightningModule):
    """Trains a classifier over target and auxiliary classes; measures its target columns alone.

    Attributes:
        model: what is trained.
        measured: what is validated, tested and exported: the model, or its average over steps (recipe.ema).
        loss: of training; its prior never enters a prediction. None where nothing is trained.
        split: the name under which test metrics are logged.
        unreadable: images that were left out of their batches, each once.
        per_class, confusions: of the last test.
    """

    per_class: PerClass
    confusions: Confusions

    def __init__(
        self,
        *,
        model: Classifier,
        loss: OffsetCrossEntropy | None,
        recipe: Recipe,
        steps: int,
        warmup: int,
        shots: Sequence[Shot],
        seed: int,
        skip_unreadable: bool,
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.average: AveragedModel | None = None
        if recipe.ema is not None:
            # Of the model alone: the loss holds counts and the relation, which no average may touch.
            ema = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=ema, use_buffers=True)
            self.average.requires_grad_(False)
        self.metrics = LongTailMetrics(shots)
        self.recipe, self.steps, self.warmup, self.seed = recipe, steps, warmup, seed
        self.erasing = Erasing(seed=seed, probability=recipe.erasing) if recipe.erasing > 0 else None
        self.mixing = (
            Mixing(seed=seed, mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix)
            if recipe.mixup > 0 or recipe.cutmix > 0
            else None
        )
        self.split = "test"
        self.skip_unreadable = skip_unreadable
        self.unreadable: dict[str, None] = {}

    @property
    def measured(self) -> Classifier:
        return self.model if self.average is None else cast(Classifier, self.average.module)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        self._account(batch, skip=self.skip_unreadable)
        if len(batch.label) == 0:
            return None
        # Dropout and drop path are a function of (seed, step, rank), like everything else.
        torch.manual_seed(torch_seed(Stream.FORWARD, self.seed, self.global_step, self.global_rank))
        images, mixed = batch.images.float(), None
        if self.erasing is not None:
            backbone = self.model.backbone
            self.erasing(images, batch.sample, mean=backbone.mean, std=backbone.std, epoch=self.current_epoch)
        if self.mixing is not None:
            images, label_b, lam = self.mixing(images, batch.label, step=self.global_step, rank=self.global_rank)
            mixed = (label_b, lam)
        assert self.loss is not None
        loss: Tensor = self.loss(self.model(images), batch.label, mixed)
        if not torch.isfinite(loss):
            raise TrainingError(
                "a finite loss",
                f"{loss.item()} at step {self.global_step}, for the samples {batch.sample.tolist()}",
                "lower recipe.blr, set recipe.clip=1, or look at those images (rows of the training list, "
                "auxiliary rows after them)",
            )
        self.log("train/loss", loss, batch_size=len(batch.label))
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self.per_class, self.confusions = self.metrics.per_class(), self.metrics.confusions()
        self._report(self.split)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = build_optimizer(self.recipe, self.model)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: lr_share(self.recipe, step, warmup=self.warmup, steps=self.steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["unreadable"] = list(self.unreadable)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.unreadable = dict.fromkeys(checkpoint["unreadable"])

    def _measure(self, batch: Batch) -> None:
        # Never skipped: an accuracy over fewer images would be another number under the same name.
        self._account(batch, skip=False)
        logits: Float[Tensor, "batch classes"] = self.measured(batch.images)
        self.metrics.update(logits, batch.label)

    def _report(self, split: str) -> None:
        values = self.metrics.compute()
        self.metrics.reset()
        self.log_dict({f"{split}/{name}": value for name, value in values.items()}, sync_dist=False)

    def _account(self, batch: Batch, *, skip: bool) -> None:
        """Stop at an unreadable image, or name it once and go on without it."""
        for image in batch.unreadable:
            if not skip:
                raise DataError(
                    "images that can be read",
                    image,
                    "replace the file, or take it off its list or out of its folder: python -m lt_extrap.check finds "
                    "all such files (data.on_unreadable=skip leaves out training images)",
                )
            if image not in self.unreadable:
                self.unreadable[image] = None
                self.print(f"left out, unreadable: {image}")


def build_module(config: TrainConfig, target: TargetSet, training: TrainingSet, *, steps: int) -> ExtrapolationModule:
    """The module of a run, every part of it a function of the configuration and the data.

    Args:
        config: the run.
        target: its target set.
        training: its training set.
        steps: optimizer steps of the whole run.
    """
    return ExtrapolationModule(
        model=build_model(config, target, training),
        loss=build_loss(config.loss, training, len(target.classes)),
        recipe=config.recipe,
        steps=steps,
        warmup=training.steps(config.budget.unit, config.budget.warmup, config.recipe.batch_size),
        shots=target.classes.shots,
        seed=config.seed,
        skip_unreadable=config.data.on_unreadable == "skip",
    )


def build_model(config: TrainConfig, target: TargetSet, training: TrainingSet) -> Classifier:
    """The classifier over target and auxiliary classes, its initial weights a function of the seed.

    Raises:
        ConfigError: `features_from` holds another backbone than the configuration, or pretrained weights do not fit.
        RunError: it cannot be read.
    """
    image_size, frozen = config.recipe.image_size, config.features_from is not None
    if config.features_from is None:
        backbone = build_backbone(config.backbone, image_size=image_size, seed=config.seed)
        backbone.start = load_pretrained(backbone, config.backbone) or backbone.start
    else:
        donor = DirectClassifier.load(Path(config.features_from))
        wanted, found = (config.backbone, image_size), (donor.backbone, donor.image_size)
        if wanted != found:
            raise ConfigError(
                f"features_from with the backbone {wanted[0]} at {wanted[1]} pixels",
                f"{found[0]} at {found[1]} in {config.features_from}",
                "give the same backbone and recipe.image_size as that run",
            )
        backbone = donor.model.backbone
        backbone.start = f"{config.features_from}, kept frozen"
    if isinstance(config.head, TextHead):
        head: AnyHead = _named_head(config.head, config.backbone, target.classes.names, training.auxiliary_names)
    else:
        head = build_head(
            config.head,
            dim=backbone.dim,
            num_target=len(target.classes),
            num_auxiliary=len(training.auxiliary_names),
            seed=config.seed,
        )
    return Classifier(backbone, head, frozen=frozen)


def _named_head(head: TextHead, backbone: Backbone, target: Sequence[str], auxiliary: Sequence[str]) -> AnyHead:
    """A head that starts from the names of the classes; the text tower is dropped behind it."""
    if not isinstance(backbone, OpenClip):
        raise ConfigError("backbone=clip for head=text", type(backbone).__name__, "choose it, or head=cosine")
    tower = TextTower(backbone)
    return text_head(head, tower.embed(target, head.templates), tower.embed(auxiliary, head.templates))


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
