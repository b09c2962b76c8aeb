"""How the images of a training reach it, and what to set where it waits for them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import lightning as L
import numpy as np
import torch

from lt_extrap.config import FolderTarget, RunConfig
from lt_extrap.data.decode import UnreadableImage, image_size
from lt_extrap.data.resident import room
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet
from lt_extrap.data.transforms import SMALLER
from lt_extrap.machine import cores

_LOOKED_AT = 64  # images whose size is read
_PACKED = 16 / 7  # longest edge of a stored copy, in recipe.image_size: 512 for 224


@dataclass(frozen=True)
class Supply:
    """What decides how fast images come.

    Attributes:
        workers: loader processes of one training process.
        cores: that those may use, without what the training process computes with.
        resident: the images, or their features, are on the device already.
        fits: they could be (`ResidentImages`), as far as those that were looked at tell.
        edge: longest edge of a stored training image, pixels: the median.
        image_size: of the crops, pixels.
        target: its name, behind `target=`, where it is known.
    """

    workers: int
    cores: int
    resident: bool
    fits: bool
    edge: int
    image_size: int
    target: str = "<name>"

    def remedy(self, wait: float) -> str | None:
        """What to set; None where nothing would help that is not set.

        Args:
            wait: share of the training time that is waiting for images, 0..1.
        """
        if self.resident:
            return None
        # Workers that are waited for are busy all the time, so twice as many deliver twice as much.
        wanted = math.ceil(self.workers / (1 - wait) if self.workers else wait / (1 - wait))
        packed = max(512, math.ceil(_PACKED * self.image_size))
        if wanted <= self.cores:
            return f"set data.workers={wanted} (now {self.workers}; there are cores for {self.cores})"
        if self.fits:
            return "set data.resident=true: the images are of one size and fit into memory"
        if self.edge > 1.5 * packed:
            return (
                f"pack smaller copies, python -m lt_extrap.pack target={self.target} folder=<new> "
                f"longest_edge={packed} with the target.* keys of this run, and train by the line that it prints: the "
                f"images have {self.edge} pixels, recipe.image_size={self.image_size}"
            )
        if self.workers < self.cores:
            return f"set data.workers={self.cores} (now {self.workers}; there are cores for no more, of {wanted})"
        return (
            f"give the run more cores: {wanted} loader processes would do, and there are cores for {self.cores}; where "
            f"the disk or the network is what is slow, data.workers={wanted} helps without"
        )


def supply_of(config: RunConfig, target: TargetSet, training: TrainingSet, trainer: L.Trainer) -> Supply:
    """The supply of a run, as measured: headers of some of its images are read.

    Args:
        config: the run.
        target: its target set.
        training: its training set.
        trainer: knows the devices.
    """
    recipe, device = config.recipe, trainer.strategy.root_device
    sizes = list(_sizes(training))
    own = torch.get_num_threads() if device.type == "cpu" else 1
    lists = (training.index, target.test, *([target.val] if target.val is not None else []))
    fits = (
        recipe.randaugment is None
        and recipe.color_jitter == 0
        and device.type in ("cpu", "cuda")
        and len(set(sizes)) == 1
        and 3 * math.prod(sizes[0]) * sum(map(len, lists)) <= room(device, trainer.num_devices)
        and (recipe.padding is not None or min(sizes[0]) < SMALLER * recipe.image_size)
    )
    return Supply(
        workers=config.data.workers_of(trainer.num_devices),
        cores=max(0, cores(trainer.num_devices) - own),
        resident=config.data.resident or config.data.features_once,
        fits=fits,
        edge=int(median(map(max, sizes))) if sizes else 0,
        image_size=recipe.image_size,
        target="folder" if isinstance(config.target, FolderTarget) else "<name>",
    )


def _sizes(training: TrainingSet) -> Iterator[tuple[int, int]]:
    """Widths and heights of some training images, from all parts of the list."""
    index, images = training.index, training.images
    for position in np.linspace(0, len(index) - 1, min(_LOOKED_AT, len(index)), dtype=int):
        try:
            path = index.path(position)
            yield image_size(images.where(path), data=images.read(path))
        except UnreadableImage:
            continue
