"""The LightningModule: the one training step, its optimizer, and what is measured."""

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from lt_extrap.config import Recipe
from lt_extrap.data.datamodule import Batch
from lt_extrap.data.mixing import Mixing
from lt_extrap.errors import DataError, TrainingError
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.losses import OffsetCrossEntropy
from lt_extrap.model.metrics import LongTailMetrics
from lt_extrap.model.shots import Shot


class ExtrapolationModule(L.LightningModule):
    """Trains a classifier over target and auxiliary classes; measures its target columns alone.

    Attributes:
        model: all that is saved and averaged.
        loss: of training; its prior never enters a prediction.
        split: the name under which test metrics are logged.
        unreadable: images that were left out of their batches, each once.
    """

    def __init__(
        self,
        *,
        model: Classifier,
        loss: OffsetCrossEntropy,
        recipe: Recipe,
        steps: int,
        warmup: int,
        shots: Sequence[Shot],
        seed: int,
        skip_unreadable: bool,
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.metrics = LongTailMetrics(shots)
        self.recipe, self.steps, self.warmup, self.seed = recipe, steps, warmup, seed
        self.mixing = (
            Mixing(seed=seed, mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix)
            if recipe.mixup > 0 or recipe.cutmix > 0
            else None
        )
        self.split = "test"
        self.skip_unreadable = skip_unreadable
        self.unreadable: dict[str, None] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        self._account(batch, skip=self.skip_unreadable)
        if len(batch.label) == 0:
            return None
        # Dropout and drop path are a function of (seed, step, rank), like everything else.
        torch.manual_seed(torch_seed(Stream.FORWARD, self.seed, self.global_step, self.global_rank))
        images, mixed = batch.images.float(), None
        if self.mixing is not None:
            images, label_b, lam = self.mixing(images, batch.label, step=self.global_step, rank=self.global_rank)
            mixed = (label_b, lam)
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

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self.per_class = self.metrics.per_class()
        self._report(self.split)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        weights = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.model.parameters() if p.requires_grad and p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": self.recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.recipe.lr,
            betas=(self.recipe.betas[0], self.recipe.betas[1]),
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def lr_share(self, step: int) -> float:
        """Share of the peak learning rate at an optimizer step: linear warm-up, then a cosine to 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The metrics are empty between epochs, and the loss is built from the data: only the model is kept.
        checkpoint["state_dict"] = {
            key: value for key, value in checkpoint["state_dict"].items() if key.startswith("model.")
        }

    def _measure(self, batch: Batch) -> None:
        # Never skipped: an accuracy over fewer images would be another number under the same name.
        self._account(batch, skip=False)
        logits: Float[Tensor, "batch classes"] = self.model(batch.images)
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
                    "replace the file or take it off its list (loading.on_unreadable=skip leaves out training images)",
                )
            if image not in self.unreadable:
                self.unreadable[image] = None
                self.print(f"left out, unreadable: {image}")
