"""The crops of the test-time ensemble, pixel by pixel those of torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as T

from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.target import load_target
from lt_extrap.data.transforms import EvalTransform, FiveCrops
from lt_extrap.model.preprocessing import Preprocessing


def picture(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("width", "height"), [(90, 61), (61, 90), (40, 40), (57, 56)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_they_are_those_of_torchvision(width, height, interpolation):
    image = picture(width, height)
    resized = T.resize(image, 32 + 24, T.InterpolationMode(interpolation))
    wanted = torch.stack([T.pil_to_tensor(crop) for crop in T.five_crop(resized, 32)])
    found = FiveCrops(size=32, interpolation=interpolation)(image)
    # Of a high image the passes are in another order than Pillow's (see `_square`), and each of them rounds.
    difference = (found.int() - wanted.int()).abs()
    assert difference.max() <= (1 if height > width else 0)


def test_the_middle_one_is_the_evaluation_of_that_fraction():
    image = picture(80, 60)
    middle = EvalTransform(size=32, crop_fraction=32 / 56)(image)
    difference = (FiveCrops(size=32)(image)[4].int() - middle.int()).abs()
    assert difference.max() <= 1  # cropped before it was resized, which rounds otherwise
    assert difference.float().mean() < 0.02


def test_a_loader_shows_five_crops_of_test_images_in_smaller_batches(small):
    config = small("component=baseline")
    target = load_target(config.target)
    flat = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, size=None, interpolation="bicubic")
    data = ImageDataModule(
        target, None, recipe=config.recipe, preprocessing=flat, loading=config.data, seed=0, tte=True
    )
    shapes = [batch.images.shape for batch in data.test_dataloader()]
    assert shapes[0] == (32 // 5, 5, 3, 16, 16)
    assert sum(shape[0] for shape in shapes) == len(target.test)
