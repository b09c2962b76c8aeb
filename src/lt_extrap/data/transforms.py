"""RGB images to uint8 tensors: a crop and an antialiased resize, of torch in training and of Pillow in evaluation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lt_extrap.data.decode import EncodedImage
from lt_extrap.errors import ConfigError
from lt_extrap.model.preprocessing import Interpolation

# What changes the pixels of a square RGB image of Pillow: `RandAugment` or `ColorJitter`.
Augment = Callable[[Image.Image, np.random.Generator], Image.Image]
# Whose arithmetic resizes: they differ in rounding, and in what the filter sees beyond a crop.
Resampler = Literal["pillow", "torch"]
SMALLER = 4  # a crop of so many times the output size is decoded at a half of its size


class View(NamedTuple):
    """What a transform shows of an image.

    Attributes:
        box: left, upper, right, lower in source pixels.
        flip: mirrored, left to right.
        shift: output pixels to the right and down, after all else; what it uncovers is black.
        shrink: 1, 2, 4 or 8: the box is whole pixels of the source at that part of its size, which does for it.
    """

    box: tuple[float, float, float, float]
    flip: bool
    shift: tuple[int, int] = (0, 0)
    shrink: int = 1


@dataclass(frozen=True, kw_only=True)
class TrainTransform:
    """Random resized crop and horizontal flip, with the crop distribution of torchvision.

    A function of the image and the generator alone: key the generator by (seed, epoch, sample), and the
    pixels are the same for any number of workers and after a resume.

    Attributes:
        size: edge of the square output, pixels.
        scale: range of the crop's share of the source area, 0 < low <= high <= 1.
        ratio: range of the crop's width / height, 0 < low <= high; drawn uniformly in the logarithm.
        flip: probability of a horizontal flip, 0..1.
        interpolation: the resampling filter.
        augment: changes the pixels of the square afterwards, and draws after all else; None = nothing does.

    Raises:
        ConfigError: a value out of range.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    interpolation: Interpolation = "bicubic"
    augment: Augment | None = None
    resampler: ClassVar[Resampler] = "torch"  # in less than half of Pillow's time

    def __post_init__(self) -> None:
        _check_size(self.size)
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ConfigError(
                "a crop scale with 0 < low <= high <= 1",
                f"scale = {self.scale}",
                "give the smallest and the largest share of the area, such as [0.08, 1.0]",
            )
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ConfigError(
                "a crop ratio with 0 < low <= high",
                f"ratio = {self.ratio}",
                "give the smallest and the largest width / height, such as [0.75, 1.3333]",
            )
        if not 0 <= self.flip <= 1:
            raise ConfigError("a flip probability in 0..1", f"flip = {self.flip}", "use 0.5, or 0 for no flip")

    def __call__(
        self, image: Image.Image | EncodedImage, rng: np.random.Generator
    ) -> UInt8[Tensor, "3 {self.size} {self.size}"]:
        """Crop, resize, flip and augment an RGB image."""
        square = self._show(image, self.draw(image.width, image.height, rng))
        return _planes(square if self.augment is None else self.augment(Image.fromarray(square), rng))

    def draw(self, width: int, height: int, rng: np.random.Generator) -> View:
        """Draw what to show of an image of that many pixels.

        A crop of at least four times the output size begins and ends at whole pixels of half the image, of a quarter
        from eight times on, of an eighth from sixteen times on.
        """
        left, upper, right, lower = self.box(width, height, rng)
        flip, shrink = rng.random() < self.flip, 1
        while shrink < 8 and min(right - left, lower - upper) >= SMALLER * shrink * self.size:
            shrink *= 2
        if shrink > 1:
            left, upper, right, lower = (edge // shrink * shrink for edge in (left, upper, right, lower))
        return View((left, upper, right, lower), flip, shrink=shrink)

    def apply(self, image: Image.Image | EncodedImage, view: View) -> UInt8[Tensor, "3 {self.size} {self.size}"]:
        """Show a view, whose box is of whole numbers, of an RGB image."""
        return _planes(self._show(image, view))

    def _show(self, image: Image.Image | EncodedImage, view: View) -> UInt8[np.ndarray, "{self.size} {self.size} 3"]:
        box = int(view.box[0]), int(view.box[1]), int(view.box[2]), int(view.box[3])
        crop = image.crop(box, shrink=view.shrink) if isinstance(image, EncodedImage) else np.asarray(image.crop(box))
        # Dense, or torch would take the channels for planes, in twice the time; its own, for an image's are read only.
        pixels = torch.from_numpy(np.require(crop, requirements=["C", "W"])).permute(2, 0, 1)[None]
        shown = F.interpolate(pixels, size=2 * (self.size,), mode=self.interpolation, antialias=True)
        square: UInt8[np.ndarray, "size size 3"] = shown[0].permute(1, 2, 0).numpy()
        return square[:, ::-1] if view.flip else square

    def box(self, width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Draw a crop: left, upper, right, lower in source pixels.

        After ten draws that do not fit into the image, the largest central crop within `ratio`.
        """
        least, narrowest = self.scale[0], math.log(self.ratio[0])
        scales, ratios = self.scale[1] - least, math.log(self.ratio[1]) - narrowest
        for _ in range(10):
            area = width * height * (least + scales * rng.random())  # rng.uniform takes thrice the time
            ratio = math.exp(narrowest + ratios * rng.random())
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                left, upper = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
                return left, upper, left + w, upper + h
        w = min(width, max(1, round(height * self.ratio[1])))
        h = min(height, max(1, round(width / self.ratio[0])))
        left, upper = (width - w) // 2, (height - h) // 2
        return left, upper, left + w, upper + h


@dataclass(frozen=True, kw_only=True)
class PaddedCrop:
    """A black border, a random window of the size before it, and a horizontal flip: the augmentation of CIFAR.

    The image is first resized to the square that evaluation shows of it (crop_fraction 1); one of that size keeps its
    pixels. A function of the image and the generator alone, as `TrainTransform` is.

    Attributes:
        size: edge of the square output, pixels.
        padding: width of the border, output pixels.
        flip: probability of a horizontal flip, 0..1.
        interpolation: the resampling filter.
        augment: changes the pixels of the square afterwards, and draws after all else; None = nothing does.
    """

    size: int
    padding: int
    flip: float = 0.5
    interpolation: Interpolation = "bicubic"
    augment: Augment | None = None
    resampler: ClassVar[Resampler] = "pillow"  # as evaluation

    def __call__(
        self, image: Image.Image | EncodedImage, rng: np.random.Generator
    ) -> UInt8[Tensor, "3 {self.size} {self.size}"]:
        """Resize, flip, shift and augment an RGB image."""
        square = _square(image, self.draw(image.width, image.height, rng), self.size, self.interpolation)
        return _planes(square if self.augment is None else self.augment(square, rng))

    def draw(self, width: int, height: int, rng: np.random.Generator) -> View:
        """Draw what to show of an image of that many pixels."""
        box = EvalTransform(size=self.size, crop_fraction=1.0).box(width, height)
        right, down = rng.integers(-self.padding, self.padding + 1, size=2).tolist()
        return View(box, rng.random() < self.flip, (right, down))

    def apply(self, image: Image.Image | EncodedImage, view: View) -> UInt8[Tensor, "3 {self.size} {self.size}"]:
        """Show a view of an RGB image."""
        return _planes(_square(image, view, self.size, self.interpolation))


@dataclass(frozen=True, kw_only=True)
class EvalTransform:
    """Resize the shorter side to size / crop_fraction, then crop the centre; the pixels of torchvision.

    Attributes:
        size: edge of the square output, pixels.
        crop_fraction: share of the shorter side that the crop keeps, in (0, 1]; 0.875 is 224 of 256.
        interpolation: the resampling filter.

    Raises:
        ConfigError: a value out of range.
    """

    size: int
    crop_fraction: float = 0.875
    interpolation: Interpolation = "bicubic"
    resampler: ClassVar[Resampler] = "pillow"  # as the published evaluations

    def __post_init__(self) -> None:
        _check_size(self.size)
        if not 0 < self.crop_fraction <= 1:
            raise ConfigError(
                "a crop fraction in (0, 1]",
                f"crop_fraction = {self.crop_fraction}",
                "use 0.875 for 224 of 256 pixels, or 1 for the whole shorter side",
            )

    def __call__(
        self, image: Image.Image | EncodedImage, rng: np.random.Generator | None = None
    ) -> UInt8[Tensor, "3 {self.size} {self.size}"]:
        """Resize and crop an RGB image. `rng` is not used: it lets both transforms be called alike."""
        return self.apply(image, self.draw(image.width, image.height))

    def draw(self, width: int, height: int, rng: np.random.Generator | None = None) -> View:
        """What to show of an image of that many pixels: the same of all, so that `rng` is not used."""
        return View(self.box(width, height), flip=False)

    def apply(self, image: Image.Image | EncodedImage, view: View) -> UInt8[Tensor, "3 {self.size} {self.size}"]:
        """Show a view of an RGB image."""
        return _planes(_square(image, view, self.size, self.interpolation))

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The crop: left, upper, right, lower in source pixels, rounded as Resize and CenterCrop round."""
        resized_width, resized_height = _resized(width, height, math.floor(self.size / self.crop_fraction))
        left, upper = round((resized_width - self.size) / 2), round((resized_height - self.size) / 2)
        x, y = width / resized_width, height / resized_height
        return left * x, upper * y, (left + self.size) * x, (upper + self.size) * y


@dataclass(frozen=True, kw_only=True)
class FiveCrops:
    """Resize the shorter side to size + 24, then crop the four corners and the centre; the pixels of torchvision.

    Attributes:
        size: edge of the square outputs, pixels.
        interpolation: the resampling filter.
    """

    size: int
    interpolation: Interpolation = "bicubic"
    larger: ClassVar[int] = 24  # pixels, whatever the size, as LIFT has it

    def __post_init__(self) -> None:
        _check_size(self.size)

    def __call__(
        self, image: Image.Image | EncodedImage, rng: np.random.Generator | None = None
    ) -> UInt8[Tensor, "5 3 {self.size} {self.size}"]:
        """Upper left, upper right, lower left, lower right, centre. `rng` is not used."""
        rgb = image.rgb() if isinstance(image, EncodedImage) else image
        width, height = _resized(rgb.width, rgb.height, self.size + self.larger)
        resample = Image.Resampling[self.interpolation.upper()]
        if rgb.height > rgb.width:  # rows first, as in `_square`
            rgb = rgb.resize((width, rgb.height), resample)
        resized = rgb.resize((width, height), resample)
        right, low = width - self.size, height - self.size
        corners = [(0, 0), (right, 0), (0, low), (right, low), (round(right / 2), round(low / 2))]
        crops = [resized.crop((left, up, left + self.size, up + self.size)) for left, up in corners]
        return torch.stack([_planes(crop) for crop in crops])


Transform = TrainTransform | PaddedCrop | EvalTransform


def _resized(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height with this shorter side, rounded as torchvision's Resize rounds."""
    return max(short, int(short * width / height)), max(short, int(short * height / width))


def _check_size(size: int) -> None:
    if size < 1:
        raise ConfigError("an image size of 1 or more pixels", f"size = {size}", "use the backbone's size")


def _square(source: Image.Image | EncodedImage, view: View, size: int, interpolation: Interpolation) -> Image.Image:
    image = source.rgb() if isinstance(source, EncodedImage) else source
    resample = Image.Resampling[interpolation.upper()]
    left, upper, right, lower = view.box
    if image.height > image.width:
        # Rows before columns, as of any other image: from 13 on Pillow turns them round where an image is high enough,
        # and each pass rounds and clips, so that a seed would show other pixels by its version.
        image = image.resize((size, image.height), resample, box=(left, 0, right, image.height))
        left, right = 0, size
    square = image.resize((size, size), resample, box=(left, upper, right, lower))
    if view.flip:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    right, down = view.shift
    if (right, down) != (0, 0):
        square = square.crop((-right, -down, size - right, size - down))  # black where there is no image
    return square


def _planes(square: Image.Image | UInt8[np.ndarray, "height width 3"]) -> UInt8[Tensor, "3 height width"]:
    # Copied, or torch would see a read-only array.
    return torch.from_numpy(np.asarray(square).transpose(2, 0, 1).copy())
