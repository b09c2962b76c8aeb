"""Random erasing of a batch, on whatever device it is."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lt_extrap.config import check
from lt_extrap.keys import Stream, generator, hash64, torch_seed


@dataclass(frozen=True, kw_only=True)
class Erasing:
    """Replace a box of some images by noise (Zhong et al. 2020), as timm's pixel mode does.

    Everything is drawn from (seed, epoch, sample), as crops are: the batch that an image is in plays no part. The
    noise differs between kinds of devices, as dropout does; the boxes do not.

    Attributes:
        seed: the seed of the run.
        probability: share of images that lose a box, 0..1.
        area: range of the box's share of the image.
        ratio: range of its height / width; drawn uniformly in the logarithm.

    Raises:
        ConfigError: a probability out of range.
    """

    seed: int
    probability: float
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        check(0 <= self.probability <= 1, "probability", "in 0..1", self.probability)

    def __call__(
        self,
        images: Float[Tensor, "batch 3 height width"],
        sample: Int64[Tensor, " batch"],
        *,
        mean: Float[Tensor, "3 1 1"],
        std: Float[Tensor, "3 1 1"],
        epoch: int,
    ) -> None:
        """Erase boxes in place.

        Args:
            images: overwritten where they are erased, with values that need not be in the range of the others.
            sample: position of each image in the list.
            mean: of each channel of the noise, on the images' device: what images are normalised by.
            std: likewise.
            epoch: of the batch.
        """
        height, width = images.shape[2:]
        samples = np.array(sample.tolist(), dtype=np.int64)
        uniform = np.asarray(hash64(Stream.ERASE, self.seed, epoch, samples)) / 2.0**64
        noise = torch.Generator(images.device)
        for place in np.flatnonzero(uniform < self.probability).tolist():
            key = (self.seed, epoch, int(samples[place]))
            rows, columns = self.box(height, width, generator(Stream.ERASE, *key))
            box = images[place, :, rows, columns]
            noise.manual_seed(torch_seed(Stream.ERASE, *key))
            box.copy_(torch.randn(box.shape, generator=noise, device=box.device, dtype=box.dtype) * std + mean)

    def box(self, height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice]:
        """Draw a box: rows and columns. Empty after ten draws that are not smaller than the image."""
        for _ in range(10):
            area = height * width * rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                upper, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                return slice(upper, upper + h), slice(left, left + w)
        return slice(0), slice(0)
