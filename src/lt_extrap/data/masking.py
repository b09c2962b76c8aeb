"""Which patches of an image a masked autoencoder sees."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lt_extrap.keys import Stream, hash64


@dataclass(frozen=True, kw_only=True)
class Masking:
    """Shows a random part of the patches of each image; the same number of all.

    A function of (seed, epoch, sample): any batch, device and number of processes, and a resumed run, hide the same.

    Attributes:
        seed: of the draw.
        ratio: share of the patches that is hidden, in (0, 1); at least one is shown, and one hidden.
    """

    seed: int
    ratio: float

    def __call__(
        self, sample: Int64[Tensor, " batch"], *, patches: int, epoch: int
    ) -> tuple[Int64[Tensor, "batch shown"], Int64[Tensor, "batch hidden"]]:
        """Draw for some images.

        Args:
            sample: position of each image in the list.
            patches: of an image, at least 2.
            epoch: of the batch.

        Returns:
            Places of the patches that are shown, and of those that are hidden, in 0..patches-1, on the device of
            `sample`.
        """
        shown = min(patches - 1, max(1, round(patches * (1 - self.ratio))))
        samples = np.array(sample.tolist(), dtype=np.int64)
        images, places = np.repeat(samples, patches), np.tile(np.arange(patches), len(samples))
        bits = np.asarray(hash64(Stream.MASK, self.seed, epoch, images, places)).view(np.int64)
        order = torch.from_numpy(bits.reshape(len(samples), patches)).argsort(dim=1, stable=True).to(sample.device)
        return order[:, :shown], order[:, shown:]
