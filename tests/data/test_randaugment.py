import random

import numpy as np
import pytest
from PIL import Image
from timm.data import auto_augment as peer

from lt_extrap.data.randaugment import OPERATIONS, Operation, RandAugment
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, generator

MEAN = (0.485, 0.456, 0.406)
PAPER = RandAugment(magnitude=9.0, std=0.5, mean=MEAN)
PEERS = {
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing",
    "solarize_add": "SolarizeAdd",
    "color": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
    "rotate": "Rotate",
}
SLIDES = ("shear_x", "shear_y", "translate_x", "translate_y")  # in 32 bits, where Pillow has 64
SIGNED = OPERATIONS[OPERATIONS.index("color") :]


def photo(width, height):
    """A smooth image of few values with some noise, so that every operation finds something to do."""
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(40, 220, size=(4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


def of_timm(name, image, level, *, negative, interpolation):
    """timm's own function at a level of 0..10."""
    random.seed(0 if negative else 1)  # the first number after 0 is above a half, and the one after 1 is below
    to_arguments = peer.LEVEL_TO_ARG[PEERS[name]]
    arguments = to_arguments(level, {}) if to_arguments else ()
    fill = tuple(min(255, round(255 * value)) for value in MEAN)  # as its create_transform makes it
    return peer.NAME_TO_OP[PEERS[name]](
        image, *arguments, fillcolor=fill, resample=Image.Resampling[interpolation.upper()]
    )


def test_the_operations_are_the_increasing_ones_of_timm():
    assert sorted(PEERS[name] for name in OPERATIONS) == sorted(peer.rand_augment_choices("", increasing=True))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_pixels_of_an_operation_are_those_of_timm(name, interpolation):
    ours = RandAugment(magnitude=9.0, std=0.0, mean=MEAN, interpolation=interpolation)
    image, seen = photo(41, 30), set()
    before = image.tobytes()
    for level in (0.0, 0.7, 3.0, 5.5, 8.3, 9.0, 9.99, 10.0):
        for negative in (False, True):
            if name == "posterize" and level == 10.0:
                level = 9.999  # timm keeps 0 bits there, which Pillow refuses
            expected = of_timm(name, image, level, negative=negative, interpolation=interpolation)
            shown = ours.apply(image, Operation(name, (-level if negative else level) / 10))
            apart = np.abs(np.asarray(shown).astype(int) - np.asarray(expected))
            assert apart.max() <= (1 if name in SLIDES else 0), (level, negative)
            assert apart.mean() < 0.01
            seen.add(shown.tobytes())
    assert image.tobytes() == before
    assert len(seen) == {"autocontrast": 1, "equalize": 1, "invert": 1, "posterize": 4}.get(name, len(seen))
    assert len(seen) >= (15 if name in SIGNED else 1)
    assert seen != {before}


def test_posterising_keeps_a_bit_at_full_strength():
    shown = np.asarray(PAPER.apply(photo(20, 20), Operation("posterize", 1.0)))
    assert set(np.unique(shown)) == {0, 128}


def test_what_an_operation_uncovers_has_the_mean_colour():
    white = Image.new("RGB", (20, 20), "white")
    for name in ("translate_x", "translate_y"):
        shown = np.asarray(PAPER.apply(white, Operation(name, 0.5))).reshape(-1, 3)
        assert {tuple(pixel) for pixel in shown.tolist()} == {(255, 255, 255), (124, 116, 104)}


def test_draws_are_two_operations_each_applied_half_of_the_time():
    rng, draws = generator(Stream.AUGMENT, 0), 2000
    drawn = [PAPER.draw(rng) for _ in range(draws)]
    used = np.bincount([len(operations) for operations in drawn], minlength=3)
    assert len(used) == 3
    assert ((used - draws * np.array([0.25, 0.5, 0.25])) ** 2 / (draws * np.array([0.25, 0.5, 0.25]))).sum() < 13.8
    names = [operation.name for operations in drawn for operation in operations]
    times = np.array([names.count(name) for name in OPERATIONS])
    assert ((times - times.mean()) ** 2 / times.mean()).sum() < 36.1  # chi-square of 14 degrees: 1 in 1000 is above
    pairs = [operations for operations in drawn if len(operations) == 2]
    same = np.mean([first.name == second.name for first, second in pairs])
    assert abs(same - 1 / 15) < 0.04  # with replacement


def test_magnitudes_are_normal_and_clipped_to_ten():
    rng = generator(Stream.AUGMENT, 1)
    strengths = np.array([operation.strength for _ in range(1500) for operation in PAPER.draw(rng)])
    assert abs((strengths < 0).mean() - 0.5) < 0.05
    magnitudes = np.sort(10 * np.abs(strengths))
    assert magnitudes[-1] == 10.0
    random.seed(0)
    theirs = np.sort([max(0.0, min(random.gauss(9, 0.5), 10.0)) for _ in magnitudes])  # what timm writes
    assert np.abs(magnitudes - theirs).mean() < 0.05
    steady = RandAugment(magnitude=3.0, std=0.0, mean=MEAN)
    assert {abs(operation.strength) for _ in range(20) for operation in steady.draw(rng)} == {0.3}


@pytest.mark.slow
def test_full_magnitude_never_fails():
    """With Pillow 13, timm 1.0.31 raises ValueError in such calls."""
    strongest, image, rng = RandAugment(magnitude=10.0, std=0.5, mean=MEAN), photo(4, 4), generator(Stream.AUGMENT, 2)
    for _ in range(20_000):
        assert strongest(image, rng).size == (4, 4)


def test_equal_keys_give_equal_pixels_whatever_the_global_generators_do():
    image, keys = photo(24, 24), [generator(Stream.AUGMENT, 0, 0, sample) for sample in range(30)]
    first = [PAPER(image, key).tobytes() for key in keys]
    random.seed(5)
    np.random.seed(5)
    again = [PAPER(image, generator(Stream.AUGMENT, 0, 0, sample)).tobytes() for sample in range(30)]
    assert again == first
    assert len(set(first)) > 15  # a quarter is left as it is


@pytest.mark.parametrize(
    "values",
    [{"magnitude": 0.0}, {"magnitude": 10.1}, {"magnitude": float("nan")}, {"std": -0.1}, {"std": float("inf")}],
)
def test_ranges(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        RandAugment(**{"magnitude": 9.0, "std": 0.5, "mean": MEAN} | values)
