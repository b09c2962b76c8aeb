from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import ColorJitter as Peer
from torchvision.transforms import functional as peer

from lt_extrap.data.color_jitter import ADJUST, ColorJitter
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, generator

PEERS = {
    "brightness": peer.adjust_brightness,
    "contrast": peer.adjust_contrast,
    "saturation": peer.adjust_saturation,
}


def key(sample):
    return generator(Stream.AUGMENT, 0, 0, sample)


def test_the_pixels_are_those_of_torchvision():
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8))
    jitter, seen = ColorJitter(amount=0.4), set()
    for sample in range(40):
        expected = image
        for name, factor in jitter.draw(key(sample)):
            expected = PEERS[name](expected, factor)
        shown = jitter(image, key(sample))
        assert np.array_equal(np.asarray(shown), np.asarray(expected))
        seen.add(shown.tobytes())
    assert len(seen) == 40


def test_the_ranges_of_the_factors_are_those_of_torchvision():
    for amount in (0.4, 1.0):
        theirs = Peer(amount, amount, amount)
        assert theirs.brightness == theirs.contrast == theirs.saturation == (1 - amount, 1 + amount)
        for name in ADJUST:
            factors = [dict(ColorJitter(amount=amount).draw(key(sample)))[name] for sample in range(300)]
            assert min(factors) >= 1 - amount
            assert max(factors) <= 1 + amount
            assert np.quantile(factors, [0.02, 0.5, 0.98]) == pytest.approx(
                1 + amount * np.array([-0.96, 0.0, 0.96]), abs=0.2 * amount
            )


def test_every_order_is_as_likely():
    orders = [tuple(name for name, _ in ColorJitter(amount=0.4).draw(key(sample))) for sample in range(600)]
    times = np.array([orders.count(order) for order in permutations(ADJUST)])
    assert times.sum() == 600
    assert ((times - 100) ** 2 / 100).sum() < 20.5  # chi-square of 5 degrees: 1 in 1000 is above


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_ranges(amount):
    with pytest.raises(ConfigError, match="amount"):
        ColorJitter(amount=amount)


def test_no_global_generator_plays_a_part():
    state = torch.get_rng_state()
    ColorJitter(amount=0.4)(Image.new("RGB", (4, 4)), key(0))
    assert torch.equal(state, torch.get_rng_state())
