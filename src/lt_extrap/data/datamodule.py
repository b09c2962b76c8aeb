"""Batches: images read by keyed samplers, unreadable ones reported instead of raised in a worker."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_extrap.config import Loading, Recipe
from lt_extrap.data.decode import UnreadableImage, decode_rgb
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.loader import ResumableLoader, leave_signals
from lt_extrap.data.sampler import EpochSampler, EvaluationSampler
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.data.transforms import EvalTransform, TrainTransform
from lt_extrap.keys import Stream, generator


class Batch(NamedTuple):
    """A batch as the loader delivers it.

    Attributes:
        images: values 0..255; normalised and mixed on the device.
        label: classifier columns.
        sample: positions in the list, which name an image in messages.
        unreadable: "path: reason" of the images that are missing here.
    """

    images: UInt8[Tensor, "batch 3 height width"]
    label: Int64[Tensor, " batch"]
    sample: Int64[Tensor, " batch"]
    unreadable: list[str]


Item = tuple[Tensor, int, int] | UnreadableImage


class ImageDataset(Dataset[Item]):
    """Images of an index, asked for by (epoch, position) so that augmentation is a function of both."""

    def __init__(self, index: SampleIndex, images: Path, transform: TrainTransform | EvalTransform, seed: int) -> None:
        self.index, self.images, self.transform, self.seed = index, str(images), transform, seed

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, sample = key
        path = os.path.join(self.images, self.index.path(sample))  # noqa: PTH118 (a list may hold absolute paths)
        try:
            image = decode_rgb(path)
        except UnreadableImage as error:
            return error
        rng = generator(Stream.AUGMENT, self.seed, epoch, sample)
        return self.transform(image, rng), int(self.index.labels[sample]), sample


def collate(items: Sequence[Item]) -> Batch:
    """Stack what could be read and name the rest."""
    read = [item for item in items if not isinstance(item, UnreadableImage)]
    unreadable = [str(item) for item in items if isinstance(item, UnreadableImage)]
    images = torch.stack([image for image, _, _ in read]) if read else torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    return Batch(
        images,
        torch.tensor([label for _, label, _ in read], dtype=torch.int64),
        torch.tensor([sample for _, _, sample in read], dtype=torch.int64),
        unreadable,
    )


class ImageDataModule(L.LightningDataModule):
    """Loaders of a target set and its training set, for one device or each of several.

    Without a training set it serves validation and test.
    """

    def __init__(
        self, target: TargetSet, training: TrainingSet | None, *, recipe: Recipe, loading: Loading, seed: int
    ) -> None:
        super().__init__()
        self.target, self.training = target, training
        self.recipe, self.loading, self.seed = recipe, loading, seed

    def train_dataloader(self) -> ResumableLoader:
        assert self.training is not None
        recipe = self.recipe
        transform = TrainTransform(
            size=recipe.image_size,
            scale=(recipe.crop_scale[0], recipe.crop_scale[1]),
            ratio=(recipe.crop_ratio[0], recipe.crop_ratio[1]),
            flip=recipe.flip,
        )
        sampler = EpochSampler(self.training.draw, batch_size=recipe.batch_size)
        dataset = ImageDataset(self.training.index, self.target.images, transform, self.seed)
        return ResumableLoader(dataset, sampler=sampler, drop_last=True, **self._how())

    def val_dataloader(self) -> "list[DataLoader[Item]]":
        return [self._evaluation_loader(self.target.val)] if self.target.val is not None else []

    def test_dataloader(self) -> "DataLoader[Item]":
        return self._evaluation_loader(self.target.test)

    def _evaluation_loader(self, index: SampleIndex) -> "DataLoader[Item]":
        transform = EvalTransform(size=self.recipe.image_size, crop_fraction=self.recipe.crop_fraction)
        dataset = ImageDataset(index, self.target.images, transform, self.seed)
        # Lightning attaches its trainer, which knows the processes.
        replicas, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = EvaluationSampler(len(index), num_replicas=replicas, rank=rank)
        return DataLoader(dataset, sampler=sampler, **self._how())

    def _how(self) -> dict[str, Any]:
        workers = self.loading.workers
        return {
            "batch_size": self.recipe.batch_size,
            "num_workers": workers,
            "collate_fn": collate,
            "persistent_workers": workers > 0,
            "worker_init_fn": leave_signals,
            "pin_memory": torch.cuda.is_available(),
        }
