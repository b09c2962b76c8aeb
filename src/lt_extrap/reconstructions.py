"""Pictures of what a masked autoencoder fills in, of the same images each time."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from lt_extrap.dashboard import Dashboard
from lt_extrap.data.datamodule import ImageDataset
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.data.masking import Masking
from lt_extrap.files import write_whole
from lt_extrap.model.masked import MaskedAutoencoder

FOLDER = "reconstructions"  # in the folder of the run
_IMAGES, _GREY, _GAP = 8, 128.0, 2  # how many; of what is hidden; pixels between them


class Reconstructions(L.Callback):
    """Writes `reconstructions/epoch-<n>.png`: a row an image, as it is, as it is shown, and as it is filled in.

    The images are evenly spaced in a list, and the same patches of them are hidden each time. Nothing of the training
    depends on it.

    Args:
        folder: of the run.
        images: of the list, without augmentation.
        masking: which patches are hidden.
        every: epochs between two pictures; one is written at the end too.
    """

    def __init__(self, folder: Path, images: ImageDataset, masking: Masking, *, every: int) -> None:
        self.folder, self.images, self.masking, self.every = folder / FOLDER, images, masking, every

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        epoch_ends = batch_idx + 1 == trainer.num_training_batches
        due = epoch_ends and (trainer.current_epoch + 1) % self.every == 0
        # Before the checkpoint of this step: a run that goes on from there has its picture.
        if not trainer.is_global_zero or not (due or trainer.global_step == trainer.max_steps):
            return
        model = pl_module.model
        assert isinstance(model, MaskedAutoencoder)
        file = self.folder / f"epoch-{trainer.current_epoch + 1:04d}.png"
        picture = self.draw(model)
        if picture is None:
            return
        write_whole(file, lambda to: Image.fromarray(picture).save(to, "PNG"))
        if isinstance(trainer.logger, Dashboard):
            trainer.logger.log_picture("reconstructions", file, trainer.global_step)

    def draw(self, model: MaskedAutoencoder) -> UInt8[np.ndarray, "rows columns 3"] | None:
        """The picture; None where no image can be read."""
        places = np.unique(np.linspace(0, len(self.images) - 1, _IMAGES, dtype=int)).tolist()
        read = [item for place in places if not isinstance(item := self.images[0, place], UnreadableImage)]
        if not read:
            return None
        device = model.backbone.mean.device
        images = torch.stack([image for image, _, _ in read]).float().to(device)
        sample = torch.tensor([sample for _, _, sample in read])
        patches = (images.shape[2] // model.patch) * (images.shape[3] // model.patch)
        shown = self.masking(sample, patches=patches, epoch=0)[0].to(device)
        trains = model.training
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            filled = model.eval().reconstruct(images, shown)
        model.train(trains)
        return _grid([images, hide(images, shown, model.patch), filled])


def hide(
    images: Float[Tensor, "batch 3 height width"], shown: Tensor, patch: int
) -> Float[Tensor, "batch 3 height width"]:
    """The images, grey where they are hidden."""
    rows, columns = images.shape[2] // patch, images.shape[3] // patch
    seen = torch.zeros(len(images), rows * columns, dtype=torch.bool, device=images.device).scatter(1, shown, True)
    pixels = seen.view(-1, 1, rows, columns).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return images.where(pixels, _GREY)


def _grid(columns: list[Float[Tensor, "batch 3 height width"]]) -> UInt8[np.ndarray, "rows columns 3"]:
    """A row an image, a column a kind, with white between them."""
    padded = [torch.nn.functional.pad(column.cpu(), (_GAP,) * 4, value=255.0) for column in columns]
    rows = torch.cat(padded, dim=3)
    picture = rows.permute(0, 2, 3, 1).reshape(-1, rows.shape[3], 3)
    grid: UInt8[np.ndarray, "rows columns 3"] = picture.round().clamp(0, 255).to(torch.uint8).numpy()
    return grid
