"""Mixup and CutMix of a batch, on whatever device it is."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, generator


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mix each image with a partner of its batch: Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019).

    One kind, one lam ~ Beta(alpha, alpha) and one box a batch; the partners are a random permutation, so a
    batch of any size works. Everything is drawn from (seed, step, rank): of several processes each mixes its share of a
    batch as if it were one, with a kind and a lam of its own, as published recipes for several GPUs do.

    An alpha of 0 turns its kind off, and both at 0 leave the batch as it is. A small alpha does not: with
    alpha = 0.001 lam is close to 0 or to 1 with equal chance, so half of the batches trade their images.

    Attributes:
        seed: the seed of the run.
        mixup_alpha: Beta parameter of Mixup, >= 0.
        cutmix_alpha: Beta parameter of CutMix, >= 0.
        probability: share of batches that are mixed at all, 0..1.
        switch_probability: share of CutMix among the mixed batches where both kinds are on, 0..1.

    Raises:
        ConfigError: a value out of range.
    """

    seed: int
    mixup_alpha: float = 0.8
    cutmix_alpha: float = 1.0
    probability: float = 1.0
    switch_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("mixup_alpha", "cutmix_alpha"):
            alpha = getattr(self, name)
            if not 0 <= alpha < math.inf:
                raise ConfigError(f"{name} of 0 or more", f"{name} = {alpha}", "use 0 to turn this kind off")
        for name in ("probability", "switch_probability"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} in 0..1", f"{name} = {share}", "give a share of batches")

    def __call__(
        self,
        images: Float[Tensor, "batch 3 height width"],
        label: Int64[Tensor, " batch"],
        *,
        step: int,
        rank: int,
    ) -> tuple[Float[Tensor, "batch 3 height width"], Int64[Tensor, " batch"], Float32[Tensor, " batch"]]:
        """Mix a batch in place.

        Args:
            images: overwritten with the mixed images.
            label: class of each image.
            step: number of the batch in the run.
            rank: number of the process.

        Returns:
            The images, the partners' labels, and lam: the share of each image that is its own, 0..1; for
            CutMix the share of pixels outside of the box that was really cut.
        """
        rng = generator(Stream.MIX, self.seed, step, rank)
        mixed, cut = rng.random() < self.probability, rng.random() < self._cutmix_share
        alpha = self.cutmix_alpha if cut else self.mixup_alpha
        if not mixed or alpha == 0:
            return images, label, torch.ones(len(label), device=images.device)

        lam = rng.beta(alpha, alpha)
        if cut:
            height, width = images.shape[2:]
            rows, columns = _cut(height, lam, rng), _cut(width, lam, rng)
        partner = torch.from_numpy(rng.permutation(len(label))).to(images.device)
        if cut:
            box = images[:, :, rows, columns]
            box.copy_(box[partner])
            lam = 1 - (box.shape[2] * box.shape[3]) / (height * width)
        else:
            images.lerp_(images[partner], 1 - lam)
        return images, label[partner], torch.full((len(label),), lam, device=images.device)

    @property
    def _cutmix_share(self) -> float:
        if self.mixup_alpha > 0 and self.cutmix_alpha > 0:
            return self.switch_probability
        return float(self.cutmix_alpha > 0)


def _cut(edge: int, lam: float, rng: np.random.Generator) -> slice:
    """One side of the box: sqrt(1 - lam) of the edge around a uniform centre, clipped to the image."""
    length = int(edge * math.sqrt(1 - lam))
    start = int(rng.integers(edge)) - length // 2
    return slice(max(start, 0), start + length)  # a slice ends at the edge by itself
