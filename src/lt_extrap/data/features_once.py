"""Features that are computed once: what a head on a frozen backbone is trained on where images do not change."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_extrap.data.batch import Batch
from lt_extrap.data.sampler import EvaluationSampler
from lt_extrap.errors import DataError
from lt_extrap.model.backbones import NormalisedBackbone

_PATIENCE = 10.0  # seconds without a word


class FeaturesOnce(Dataset[Batch]):
    """The features of a list, on one device, asked for by batches of (epoch, position).

    Args:
        features: row i is of image i.
        labels: of the images.
        unreadable: why an image has no features, by position.
    """

    def __init__(
        self, features: Float32[Tensor, "images dim"], labels: Int64[Tensor, " images"], unreadable: Mapping[int, str]
    ) -> None:
        self.features, self.labels, self.unreadable = features, labels, unreadable

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """A batch at once, as torch's loader asks where a dataset has this method."""
        asked = [sample for _, sample in keys]
        unreadable = [self.unreadable[sample] for sample in asked if sample in self.unreadable]
        if unreadable:
            asked = [sample for sample in asked if sample not in self.unreadable]
        place = torch.tensor(asked, dtype=torch.int64)
        here = place.to(self.features.device)
        return Batch(self.features.index_select(0, here), self.labels.index_select(0, here), place, unreadable)


def whole(batch: Batch) -> Batch:
    """What collates a batch that is one already."""
    return batch


def computed_once(
    backbone: NormalisedBackbone,
    images: Mapping[str, Any],
    labels: Int32[np.ndarray, " images"],
    device: torch.device,
) -> FeaturesOnce:
    """Compute the features of a list.

    Args:
        backbone: frozen; moved to the device.
        images: arguments of a loader of the images, but for its sampler; it makes `Batch`es.
        labels: of the list.
        device: where the features are computed and stay.

    Raises:
        DataError: no image can be read.
    """
    features = torch.zeros(len(labels), backbone.dim, device=device)
    unreadable = dict[int, str]()
    backbone.to(device).eval()
    loader: DataLoader[Any] = DataLoader(sampler=EvaluationSampler(len(labels)), **images)
    done, said = 0, time.monotonic()
    for batch in loader:
        count = len(batch.sample) + len(batch.unreadable)
        gone = sorted({*range(done, done + count)} - {*batch.sample.tolist()})
        unreadable |= dict(zip(gone, batch.unreadable, strict=True))
        if len(batch.sample):
            with torch.inference_mode():
                features[batch.sample.to(device)] = backbone(batch.images.to(device).float()).float()
        done += count
        if time.monotonic() - said > _PATIENCE:
            said = time.monotonic()
            print(f"features of {done:,} of {len(labels):,} images")
    if len(unreadable) == len(labels):
        raise DataError("images that can be read", f"none of {len(labels)}: {unreadable[0]}", "replace the files")
    return FeaturesOnce(features, torch.tensor(labels, dtype=torch.int64, device=device), unreadable)
