"""Batches: images read by keyed samplers, unreadable ones reported instead of raised in a worker."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_extrap.config import Loading, Recipe
from lt_extrap.data.batch import Batch
from lt_extrap.data.color_jitter import ColorJitter
from lt_extrap.data.decode import EncodedImage, UnreadableImage
from lt_extrap.data.features_once import FeaturesOnce, computed_once, whole
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.loader import ResumableLoader, leave_signals
from lt_extrap.data.randaugment import RandAugment
from lt_extrap.data.resident import ResidentImages, room
from lt_extrap.data.sampler import EpochSampler, EvaluationSampler
from lt_extrap.data.store import ImageStore
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.data.transforms import Augment, EvalTransform, FiveCrops, PaddedCrop, TrainTransform, Transform
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, generator
from lt_extrap.model.backbones import NormalisedBackbone
from lt_extrap.model.preprocessing import Preprocessing

Item = tuple[Tensor, int, int] | UnreadableImage


class ImageDataset(Dataset[Item]):
    """Images of an index, asked for by (epoch, position) so that augmentation is a function of both."""

    def __init__(self, index: SampleIndex, images: ImageStore, transform: Transform | FiveCrops, seed: int) -> None:
        self.index, self.images, self.transform, self.seed = index, images, transform, seed

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, sample = key
        path = self.index.path(sample)
        rng = generator(Stream.AUGMENT, self.seed, epoch, sample)
        try:
            image = self.transform(EncodedImage(self.images.where(path), self.images.read(path)), rng)
        except UnreadableImage as error:
            return error
        return image, int(self.index.labels[sample]), sample


def collate(items: Sequence[Any], stack: Callable[[list[Any]], Tensor] = torch.stack) -> Batch:
    """Stack what could be read and name the rest.

    Args:
        items: of an `ImageDataset`, or of `ResidentImages`.
        stack: makes images of the first parts of the items.
    """
    read = [item for item in items if not isinstance(item, UnreadableImage)]
    unreadable = [str(item) for item in items if isinstance(item, UnreadableImage)]
    images = stack([image for image, _, _ in read]) if read else torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    return Batch(
        images,
        torch.tensor([label for _, label, _ in read], dtype=torch.int64),
        torch.tensor([sample for _, _, sample in read], dtype=torch.int64),
        unreadable,
    )


class ImageDataModule(L.LightningDataModule):
    """Loaders of a target set and its training set, for one device or each of several.

    Without a training set it serves validation and test. With `tte` those show five crops of each image; with
    data.features_once all serve features of `backbone` instead of images.

    Raises:
        ConfigError: resident images with an augmentation that only the loader has.
    """

    def __init__(
        self,
        target: TargetSet,
        training: TrainingSet | None,
        *,
        recipe: Recipe,
        preprocessing: Preprocessing,
        loading: Loading,
        seed: int,
        backbone: NormalisedBackbone | None = None,
        tte: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.target, self.training = target, training
        self.recipe, self.preprocessing, self.loading, self.seed = recipe, preprocessing, loading, seed
        if loading.resident and self._augment is not None:
            key = "randaugment" if recipe.randaugment is not None else "color_jitter"
            raise ConfigError(
                "resident images, which are cropped and flipped on the device",
                f"recipe.{key}={getattr(recipe, key)}, which Pillow does to each image in the loader",
                f"set data.resident=false, or leave out recipe.{key}",
            )
        self.tte = tte
        self._resident: dict[str, ResidentImages] = {}
        self._features: dict[str, FeaturesOnce] = {}

    def setup(self, stage: str) -> None:
        """Decode what is to be resident: all lists before training, so that what cannot be kept is refused then."""
        splits = {"fit": ("train", "val", "test"), "validate": ("val",), "test": ("test",)}[stage]
        wanted = [split for split in splits if split != "val" or self.target.val is not None]
        if self.loading.features_once:
            for split in wanted:
                if split not in self._features:
                    self._features[split] = self._computed(split)
            return
        if not self.loading.resident or self._resident.keys() >= set(wanted):
            return
        left = room(self._device, self._of_machine)
        for split in wanted:
            images = ResidentImages(
                self._index(split),
                self._images(split),
                self._transform(split),
                self.seed,
                device=self._device,
                workers=self._workers,
                room=left,
            )
            self._resident[split], left = images, left - images.pixels.nbytes

    def train_dataloader(self) -> ResumableLoader:
        assert self.training is not None
        replicas, rank = self._processes
        batch_size = self.recipe.batch_size // replicas
        sampler = EpochSampler(self.training.draw, batch_size=batch_size, num_replicas=replicas, rank=rank)
        return ResumableLoader(sampler=sampler, drop_last=True, **self._how("train"))

    def still_dataloader(self) -> "DataLoader[Any]":
        """Every training image once, as evaluation shows it, all in this process."""
        assert self.training is not None
        how = self._how("still")
        return DataLoader(sampler=EvaluationSampler(len(self.training.index)), **how)

    def val_dataloader(self) -> "list[DataLoader[Any]]":
        return [self._evaluation_loader("val")] if self.target.val is not None else []

    def test_dataloader(self) -> "DataLoader[Any]":
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> "DataLoader[Any]":
        replicas, rank = self._processes
        sampler = EvaluationSampler(len(self._index(split)), num_replicas=replicas, rank=rank)
        return DataLoader(sampler=sampler, **self._how(split))

    @property
    def _processes(self) -> tuple[int, int]:
        """How many share a batch, and which of them this is; Lightning attaches its trainer, which knows."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    @property
    def _device(self) -> torch.device:
        """The device that trains, which need not be the GPU that the machine has."""
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def _workers(self) -> int:
        return self.loading.workers_of(self._of_machine)

    @property
    def _of_machine(self) -> int:
        """Processes that train on this machine."""
        return self.trainer.num_devices if self.trainer else 1

    def _index(self, split: str) -> SampleIndex:
        train = self.training.index if self.training else None
        index = {"train": train, "still": train, "val": self.target.val, "test": self.target.test}[split]
        assert index is not None
        return index

    def _images(self, split: str) -> ImageStore:
        if split in ("train", "still") and self.training:
            return self.training.images
        return self.target.place.images

    def _transform(self, split: str) -> Transform:
        recipe, interpolation = self.recipe, self.preprocessing.interpolation
        if split != "train" or recipe.plain:
            return EvalTransform(
                size=recipe.image_size, crop_fraction=recipe.crop_fraction, interpolation=interpolation
            )
        if recipe.padding is not None:
            return PaddedCrop(
                size=recipe.image_size,
                padding=recipe.padding,
                flip=recipe.flip,
                interpolation=interpolation,
                augment=self._augment,
            )
        assert recipe.crop_scale is not None  # the schema wants both or none
        assert recipe.crop_ratio is not None
        return TrainTransform(
            size=recipe.image_size,
            interpolation=interpolation,
            scale=(recipe.crop_scale[0], recipe.crop_scale[1]),
            ratio=(recipe.crop_ratio[0], recipe.crop_ratio[1]),
            flip=recipe.flip,
            augment=self._augment,
        )

    @property
    def _augment(self) -> Augment | None:
        """What a recipe does to the pixels of a crop."""
        recipe = self.recipe
        if recipe.randaugment is not None:
            magnitude, std = recipe.randaugment
            mean, interpolation = self.preprocessing.mean, self.preprocessing.interpolation
            return RandAugment(magnitude=magnitude, std=std, mean=mean, interpolation=interpolation)
        return ColorJitter(amount=recipe.color_jitter) if recipe.color_jitter > 0 else None

    def _computed(self, split: str) -> FeaturesOnce:
        """The features of a list, in the precision of the run."""
        assert self.backbone is not None
        how = self._of_images(split, self.recipe.part)
        context = self.trainer.precision_plugin.forward_context() if self.trainer else nullcontext()
        with context:
            return computed_once(self.backbone, how, self._index(split).labels, self._device)

    def _how(self, split: str) -> dict[str, Any]:
        """Arguments of a loader: what it reads, and how."""
        of_all = self.recipe.batch_size if split == "train" else self.recipe.part // (5 if self.tte else 1)
        batch_size = max(1, of_all // self._processes[0])
        if self.loading.features_once and split in self._features:
            return {"dataset": self._features[split], "batch_size": batch_size, "collate_fn": whole}
        if self.loading.resident and split != "still":
            # In this process, which has the images: another would only send keys.
            images = self._resident[split]
            return {
                "dataset": images,
                "batch_size": batch_size,
                "collate_fn": partial(collate, stack=images.render),
            }
        return self._of_images(split, batch_size)

    def _of_images(self, split: str, batch_size: int) -> dict[str, Any]:
        """Arguments of a loader that reads the images of a list."""
        workers = self._workers
        transform: Transform | FiveCrops = self._transform(split)
        if self.tte and split in ("val", "test"):
            transform = FiveCrops(size=transform.size, interpolation=transform.interpolation)
        return {
            "dataset": ImageDataset(self._index(split), self._images(split), transform, self.seed),
            "batch_size": batch_size,
            "collate_fn": collate,
            "num_workers": workers,
            "prefetch_factor": self.loading.prefetch,
            "persistent_workers": workers > 0,
            # Named, for joblib's launcher makes another one the default of its jobs, with which no worker starts.
            "multiprocessing_context": "fork" if workers > 0 and sys.platform == "linux" else None,
            "worker_init_fn": leave_signals,
            "pin_memory": self._device.type == "cuda",
        }
