import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lt_extrap.data.slide import slide

FILL = (1, 2, 3)


def noise(rows, columns):
    values = np.random.default_rng(columns).integers(-100, 356, (rows, columns, 3)).clip(0, 255)
    return values.astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(-1, 1), st.floats(-40, 40))
def test_the_pixels_are_those_of_pillow(interpolation, rows, columns, slope, start):
    pixels = noise(rows, columns)
    image = Image.fromarray(pixels)
    filter_ = Image.Resampling[interpolation.upper()]
    affine = (1, slope, start, 0, 1, 0)
    expected = image.transform(image.size, Image.Transform.AFFINE, affine, filter_, fillcolor=FILL)
    shift = slope * (np.arange(rows) + 0.5) + start
    shown = slide(pixels, shift, uncovered=FILL, interpolation=interpolation)
    place = (np.arange(columns) + 0.5 + shift[:, None]) % columns
    at_the_edge = np.minimum(place, columns - place) < 1e-6  # the last bit says whether it is covered
    assert np.abs(shown.astype(int) - np.asarray(expected))[~at_the_edge].max(initial=0) <= 1


def test_the_source_is_left_alone_and_may_be_read_only():
    pixels = noise(4, 5)
    pixels.flags.writeable = False
    assert np.array_equal(slide(pixels, np.zeros(4), uncovered=FILL, interpolation="bicubic"), pixels)
    far = slide(pixels, np.array([-1e9, -5.0, 5.0, 1e9]), uncovered=FILL, interpolation="bicubic")
    assert (far == FILL).all()
