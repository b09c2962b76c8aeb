import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as peer

from lt_extrap.data.decode import EncodedImage, decode_rgb
from lt_extrap.data.transforms import EvalTransform, PaddedCrop, TrainTransform, View
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, generator

MODES = {"bilinear": peer.InterpolationMode.BILINEAR, "bicubic": peer.InterpolationMode.BICUBIC}


def photo(width, height):
    """A smooth image with some noise, as photographs are."""
    rng = np.random.default_rng(width * 10_000 + height)
    coarse = Image.fromarray(rng.integers(256, size=(6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


def planes(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def key(index):
    return generator(Stream.AUGMENT, 0, 0, index)


def distance(ours, theirs):
    """Two-sample Kolmogorov-Smirnov statistic."""
    both = np.sort(np.concatenate([ours, theirs]))
    below = [np.searchsorted(np.sort(sample), both, side="right") / len(sample) for sample in (ours, theirs)]
    return np.abs(below[0] - below[1]).max()


# Square; a photograph; a strip on which most of the ten tries fail; a range that no crop of a square fits.
@pytest.mark.parametrize(
    ("width", "height", "scale", "ratio"),
    [
        (64, 64, (0.08, 1.0), (3 / 4, 4 / 3)),
        (500, 375, (0.2, 0.9), (3 / 4, 4 / 3)),
        (300, 40, (0.08, 1.0), (3 / 4, 4 / 3)),
        (50, 50, (0.9, 1.0), (1.5, 2.0)),
    ],
)
def test_crops_have_the_distribution_of_torchvision(width, height, scale, ratio):
    torch.manual_seed(0)
    draws, image = 2500, torch.empty(1, height, width)
    theirs = [peer.RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(draws)]
    theirs = np.array([(left, top, left + w, top + h) for top, left, h, w in theirs])
    transform = TrainTransform(size=8, scale=scale, ratio=ratio)
    rng = key(0)
    ours = np.array([transform.box(width, height, rng) for _ in range(draws)])

    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] <= (width, height)).all()
    limit = 1.95 * (2 / draws) ** 0.5  # rejects 1 in 1000 where the distributions are the same
    for corner in range(4):
        assert distance(ours[:, corner], theirs[:, corner]) < limit
    sides = [sample[:, 2:] - sample[:, :2] for sample in (ours, theirs)]
    assert distance(*(side[:, 0] * side[:, 1] for side in sides)) < limit
    assert distance(*(side[:, 0] / side[:, 1] for side in sides)) < limit


@pytest.mark.parametrize(("width", "height"), [(1, 500), (500, 1), (300, 40), (40, 300)])
def test_the_fallback_is_the_central_crop_of_torchvision(width, height):
    scale, ratio = (1.0, 1.0), (3 / 4, 4 / 3)
    top, left, h, w = peer.RandomResizedCrop.get_params(torch.empty(1, height, width), [*scale], [*ratio])
    assert TrainTransform(size=8, scale=scale).box(width, height, key(0)) == (left, top, left + w, top + h)


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (500, 375), (40, 300)])
def test_train_pixels_are_those_of_torchvision_at_the_same_box(interpolation, width, height):
    image = photo(width, height)
    transform = TrainTransform(size=48, flip=0.0, interpolation=interpolation)
    for index in range(10):
        left, upper, right, lower = transform.draw(width, height, key(index)).box
        expected = peer.functional.resized_crop(
            image, upper, left, lower - upper, right - left, [48, 48], MODES[interpolation]
        )
        difference = (transform(image, key(index)).float() - planes(expected).float()).abs()
        assert difference.mean() < 0.3
        assert difference.max() <= 2


@pytest.mark.parametrize("interpolation", MODES)
def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_to_the_same_pixels(interpolation):
    file, shrinks = io.BytesIO(), set()
    photo(1000, 800).save(file, "JPEG", quality=95)
    whole = decode_rgb("x", data=file.getvalue())
    transform = TrainTransform(size=48, interpolation=interpolation)
    for index in range(12):
        view = transform.draw(1000, 800, key(index))
        shown = transform.apply(EncodedImage("x", file.getvalue()), view)
        difference = (shown.float() - transform.apply(whole, view).float()).abs()
        assert difference.mean() < 0.5
        shrinks.add(view.shrink)
        short = min(view.box[2] - view.box[0], view.box[3] - view.box[1])
        assert view.shrink == 8 or short < 4 * 48 * view.shrink
    assert {2, 4} <= shrinks


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("crop_fraction", [0.875, 0.9, 1.0])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (500, 375), (333, 501), (20, 31)])
def test_eval_pixels_are_those_of_torchvision(interpolation, crop_fraction, width, height):
    image = photo(width, height)
    expected = peer.Compose([peer.Resize(int(48 / crop_fraction), MODES[interpolation]), peer.CenterCrop(48)])(image)
    transform = EvalTransform(size=48, crop_fraction=crop_fraction, interpolation=interpolation)
    difference = (transform(image).float() - planes(expected).float()).abs()
    assert difference.max() <= 2  # one pass rounds at other places than two
    assert difference.mean() < 0.05


def test_a_crop_fraction_of_one_keeps_the_shorter_side():
    assert EvalTransform(size=10, crop_fraction=1.0).box(40, 20) == (10, 0, 30, 20)
    assert EvalTransform(size=7, crop_fraction=0.875).box(80, 80) == (0, 0, 70, 70)


def test_equal_keys_give_equal_pixels():
    transform, image = TrainTransform(size=32), photo(64, 48)
    views = [transform(image, key(index)) for index in range(20)]
    assert all(torch.equal(view, transform(image, key(index))) for index, view in enumerate(views))
    assert len({view.numpy().tobytes() for view in views}) == 20


def test_a_flip_mirrors_the_same_crop():
    image = photo(64, 48)
    plain, mirrored = TrainTransform(size=32, flip=0.0), TrainTransform(size=32, flip=1.0)
    for index in range(5):
        assert torch.equal(plain(image, key(index)), mirrored(image, key(index)).flip(2))


@pytest.mark.parametrize("flip", [0.5, 0.2])
def test_the_flip_rate(flip):
    image, draws = photo(16, 16), 600
    plain, transform = TrainTransform(size=4, flip=0.0), TrainTransform(size=4, flip=flip)
    flipped = sum(not torch.equal(plain(image, key(i)), transform(image, key(i))) for i in range(draws))
    assert abs(flipped / draws - flip) < 4 * (flip * (1 - flip) / draws) ** 0.5


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 600), st.integers(1, 600), st.integers(1, 64), st.integers(0, 2**32))
def test_any_image_becomes_a_square_of_bytes(width, height, size, index):
    image = Image.new("RGB", (width, height), (10, 200, 90))
    for transform in (TrainTransform(size=size), EvalTransform(size=size)):
        pixels = transform(image, key(index))
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (3, size, size)
        assert pixels.is_contiguous()
        assert (pixels == torch.tensor([10, 200, 90])[:, None, None]).all()


@pytest.mark.parametrize(("width", "height", "ratio"), [(9, 1, (0.05, 0.1)), (1, 9, (10.0, 20.0))])
def test_a_fallback_is_at_least_a_pixel(width, height, ratio):
    left, upper, right, lower = TrainTransform(size=8, ratio=ratio).box(width, height, key(0))
    assert (right - left, lower - upper) == (1, 1)


@pytest.mark.parametrize(("width", "height"), [(1, 500), (500, 1), (1, 1)])
def test_strips(width, height):
    image = photo(width, height)
    assert TrainTransform(size=48)(image, key(0)).shape == (3, 48, 48)
    assert EvalTransform(size=48)(image).shape == (3, 48, 48)


def test_the_pixels_are_owned_and_writable():
    image = photo(1, 1)
    before = np.array(image)
    for transform in (TrainTransform(size=1, flip=0.0), EvalTransform(size=1, crop_fraction=1.0)):
        transform(image, key(0)).zero_()
    assert np.array_equal(np.asarray(image), before)


@pytest.mark.parametrize(
    "values",
    [
        {"size": 0},
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 0.4)},
        {"scale": (0.5, 1.1)},
        {"scale": (float("nan"), 1.0)},
        {"ratio": (0.0, 1.0)},
        {"ratio": (2.0, 1.0)},
        {"ratio": (1.0, float("inf"))},
        {"flip": -0.1},
        {"flip": 1.1},
    ],
)
def test_training_ranges(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        TrainTransform(**{"size": 48} | values)


@pytest.mark.parametrize("values", [{"size": 0}, {"crop_fraction": 0.0}, {"crop_fraction": 1.01}])
def test_evaluation_ranges(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        EvalTransform(**{"size": 48} | values)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [(0, 0), (4, 4), (-4, 1), (0, -3), (2, 0)])
def test_a_padded_crop_is_that_of_torchvision(shift, flip):
    image, (right, down) = photo(32, 32), shift
    turned = peer.functional.hflip(planes(image)) if flip else planes(image)
    expected = peer.functional.crop(peer.functional.pad(turned, [4]), 4 - down, 4 - right, 32, 32)
    assert torch.equal(PaddedCrop(size=32, padding=4).apply(image, View((0, 0, 32, 32), flip, shift)), expected)


def test_padded_crops_are_uniform_over_all_windows():
    transform = PaddedCrop(size=32, padding=1, flip=0.25)
    views = [transform.draw(32, 32, key(index)) for index in range(1800)]
    assert {view.box for view in views} == {(0, 0, 32, 32)}
    windows, times = np.unique([view.shift for view in views], axis=0, return_counts=True)
    assert windows.tolist() == [[right, down] for right in range(-1, 2) for down in range(-1, 2)]
    assert ((times - 200) ** 2 / 200).sum() < 26.2  # chi-square of 8 degrees: 1 in 1000 is above
    assert abs(np.mean([view.flip for view in views]) - 0.25) < 0.035


@pytest.mark.parametrize(("width", "height"), [(64, 64), (50, 30), (20, 31)])
def test_a_padded_crop_of_another_size_is_what_evaluation_shows_moved(width, height):
    image = photo(width, height)
    transform, seen = PaddedCrop(size=24, padding=3, flip=0.0), EvalTransform(size=24, crop_fraction=1.0)(image)
    for index in range(5):
        right, down = transform.draw(width, height, key(index)).shift
        moved = peer.functional.crop(peer.functional.pad(seen, [3]), 3 - down, 3 - right, 24, 24)
        assert torch.equal(transform(image, key(index)), moved)
