"""Colour jitter: brightness, contrast and saturation, to the pixels of torchvision."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from lt_extrap.config import check

ADJUST = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Brightness, contrast and saturation by a random factor each, in random order.

    A function of the image and the generator alone.

    Attributes:
        amount: factors are uniform in 1 - amount .. 1 + amount, 0..1.

    Raises:
        ConfigError: an amount out of range.
    """

    amount: float

    def __post_init__(self) -> None:
        check(0 <= self.amount <= 1, "amount", "in 0..1", self.amount)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Change the colours of an RGB image."""
        for name, factor in self.draw(rng):
            image = ADJUST[name](image).enhance(factor)
        return image

    def draw(self, rng: np.random.Generator) -> list[tuple[str, float]]:
        """Draw what is changed by which factor, in the order in which it is."""
        factors = rng.uniform(1 - self.amount, 1 + self.amount, size=len(ADJUST)).tolist()
        drawn = list(zip(ADJUST, factors, strict=True))
        return [drawn[place] for place in rng.permutation(len(drawn))]
