"""The LightningModule of a masked pretraining, and the file that it leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from lt_extrap.agreement import gathered
from lt_extrap.config import PretrainConfig
from lt_extrap.data.batch import Batch
from lt_extrap.data.masking import Masking
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.files import write_whole
from lt_extrap.model.masked import MaskedAutoencoder, build_autoencoder
from lt_extrap.model.weights import write_safetensors
from lt_extrap.step import StepModule

FORMAT = "lt_extrap backbone 1"  # of the file; its mean and deviation are compared where it is read (backbones.py)


class PretrainingModule(StepModule[MaskedAutoencoder]):
    """Trains a masked autoencoder; measures its loss on images as evaluation shows them.

    Attributes:
        masking: which patches are hidden. What is measured hides those of epoch 0.
    """

    def __init__(self, *, masking: Masking, **step: Any) -> None:
        super().__init__(**step)
        self.masking = masking
        self._sum, self._images = 0.0, 0

    def losses(self, batch: Batch) -> Callable[[slice], Tensor]:
        images, (shown, hidden) = batch.images.float(), self.drawn(batch, self.current_epoch)
        return lambda part: self.model.loss(images[part], shown[part], hidden[part])

    def drawn(self, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        """Which patches of a batch are shown, and which are hidden."""
        patches = len(self.model.head.positions)
        return self.masking(batch.sample, patches=patches, epoch=epoch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _measure(self, batch: Batch) -> None:
        self._account(batch.unreadable, skip=False)
        self._sum += len(batch.label) * float(self.model.loss(batch.images.float(), *self.drawn(batch, 0)))
        self._images += len(batch.label)

    def _report(self, split: str) -> None:
        sums, images = zip(*gathered((self._sum, self._images)), strict=True)
        self._sum, self._images = 0.0, 0
        self.log(f"{split}/loss", sum(sums) / sum(images), sync_dist=False)


def build_pretraining(config: PretrainConfig, training: TrainingSet, *, steps: int) -> PretrainingModule:
    """The module of a pretraining, a function of the configuration and the data."""
    return PretrainingModule(
        model=build_autoencoder(config),
        masking=Masking(seed=config.seed, ratio=config.mask_ratio),
        recipe=config.recipe,
        steps=steps,
        warmup=training.steps(config.budget.unit, config.budget.warmup, config.recipe.batch_size),
        seed=config.seed,
        skip_unreadable=config.data.on_unreadable == "skip",
    )


def save_backbone(path: Path, model: MaskedAutoencoder, config: PretrainConfig) -> None:
    """Write the backbone, without its decoder, by timm's own keys, and what belongs to it; whole or not at all."""
    weights = {key: value.detach().cpu().contiguous() for key, value in model.backbone.network.state_dict().items()}
    preprocessing = model.backbone.preprocessing
    header = {
        "format": FORMAT,
        "backbone": json.dumps({"type": type(config.backbone).__name__, **vars(config.backbone)}),
        "image_size": str(config.recipe.image_size),
        "interpolation": preprocessing.interpolation,
        "mean": json.dumps(preprocessing.mean),
        "std": json.dumps(preprocessing.std),
    }
    write_whole(path, lambda file: write_safetensors(file, weights, header))
