"""RandAugment (Cubuk et al. 2020) as the published recipes have it: timm's operations of increasing severity."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from PIL import Image, ImageEnhance, ImageOps

from lt_extrap.config import check
from lt_extrap.data.slide import slide
from lt_extrap.model.preprocessing import Interpolation

# What an operation does to values, by its strength: -1..1, where the sign is a direction and 0 changes least.
_Recolor = Callable[[Image.Image, float], Image.Image]
# Where it moves them: at which pixel each row begins, by strength, number and length of the rows.
_Slide = Callable[[float, int, int], Float64[np.ndarray, " rows"]]


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> _Recolor:
    return lambda image, strength: kind(image).enhance(max(0.1, 1.0 + 0.9 * strength))


def _posterize(image: Image.Image, strength: float) -> Image.Image:
    # timm keeps 0 bits at full strength: a black image, and from Pillow 13 on an error.
    return ImageOps.posterize(image, max(1, 4 - int(4 * abs(strength))))


def _solarize_add(image: Image.Image, strength: float) -> Image.Image:
    added = int(110 * abs(strength))
    return image.point([min(255, value + added) if value < 128 else value for value in range(256)] * 3)


RECOLOR: dict[str, _Recolor] = {
    "autocontrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "invert": lambda image, strength: ImageOps.invert(image),
    "posterize": _posterize,
    "solarize": lambda image, strength: ImageOps.solarize(image, 256 - int(256 * abs(strength))),
    "solarize_add": _solarize_add,
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "brightness": _enhance(ImageEnhance.Brightness),
    "sharpness": _enhance(ImageEnhance.Sharpness),
}
SLIDE: dict[str, _Slide] = {
    "shear": lambda strength, rows, columns: 0.3 * strength * (np.arange(rows) + 0.5),
    "translate": lambda strength, rows, columns: np.full(rows, 0.45 * strength * columns),
}
MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
OPERATIONS = (*RECOLOR, *MOVES)


class Operation(NamedTuple):
    """One of `OPERATIONS`, and its strength: -1..1, where the sign is a direction."""

    name: str
    strength: float


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Two random operations, one after the other, each applied with probability 1/2.

    A function of the image and the generator alone. `magnitude=9, std=0.5` is timm's `rand-m9-mstd0.5-inc1`, but for
    posterising to 0 bits, which is to 1 here.

    Attributes:
        magnitude, std: of the normal distribution of an operation's magnitude, clipped to 0..10; 0 < magnitude <= 10.
        mean: of the backbone's images, values 0..1: the colour of what an operation uncovers.
        interpolation: of the operations that move pixels.

    Raises:
        ConfigError: a value out of range.
    """

    magnitude: float
    std: float
    mean: tuple[float, ...]
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        check(0 < self.magnitude <= 10, "magnitude", "in 0 < magnitude <= 10", self.magnitude)
        check(0 <= self.std <= 10, "std", "in 0..10", self.std)

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Augment an RGB image."""
        for operation in self.draw(rng):
            image = self.apply(image, operation)
        return image

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """Draw the operations that are applied: none, one or two."""
        kinds, (applied, negative) = rng.integers(len(OPERATIONS), size=2), rng.random((2, 2)) < 0.5
        strengths = rng.normal(self.magnitude, self.std, size=2).clip(0, 10) / 10
        drawn = zip(kinds.tolist(), applied, np.where(negative, -strengths, strengths).tolist(), strict=True)
        return [Operation(OPERATIONS[kind], strength) for kind, used, strength in drawn if used]

    def apply(self, image: Image.Image, operation: Operation) -> Image.Image:
        """Apply one operation to an RGB image."""
        name, strength = operation
        if name in RECOLOR:
            return RECOLOR[name](image, strength)
        uncovered = tuple(round(255 * value) for value in self.mean)
        if name == "rotate":
            resample = Image.Resampling[self.interpolation.upper()]
            return image.rotate(30 * strength, resample, fillcolor=uncovered)
        kind, _, axis = name.partition("_")
        pixels = np.asarray(image) if axis == "x" else np.asarray(image).swapaxes(0, 1)
        shift = SLIDE[kind](strength, *pixels.shape[:2])
        moved = slide(pixels, shift, uncovered=uncovered, interpolation=self.interpolation)
        return Image.fromarray(moved if axis == "x" else np.ascontiguousarray(moved.swapaxes(0, 1)))
