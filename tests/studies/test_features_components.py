"""Tokens as colors: what is background, and pictures that repeat."""

import numpy as np
import pytest

from lt_extrap.studies.features.components import colored, otsu
from lt_extrap.studies.features.plane import principal


def planted(rng, *, images=3, edge=8, dim=12, sign=1.0):
    """Objects in the middle of images, 6 from their ground along one direction; their place is the answer."""
    tokens = rng.normal(scale=0.3, size=(images, edge, edge, dim))
    place = np.zeros((images, edge, edge), bool)
    for i in range(images):
        place[i, 2 : 5 + i % 2, 2:6] = True
    tokens[place] += sign * 6 * np.eye(dim)[3]
    return tokens.astype(np.float32), place


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("images", [1, 3])
def test_the_object_is_what_is_left(sign, images):
    tokens, place = planted(np.random.default_rng(0), images=images, sign=sign)
    found = colored(tokens)
    assert (found.foreground == place).all()
    assert found.whole == []
    assert (found.colors[~place] == 0).all()
    assert found.colors[place].min() >= 0.2
    assert found.colors.max() <= 1
    assert 0 < found.explained < 1


def test_an_image_that_its_object_fills_is_not_emptied():
    """Neither is one of ground alone, which no threshold of all images would leave anything of."""
    tokens, place = planted(np.random.default_rng(1))
    filled = np.full_like(tokens[:1], 0)
    filled[..., 3] = 6
    ground = np.zeros_like(tokens[:1])
    found = colored(np.concatenate([tokens, filled, ground]))
    assert (found.foreground[:3] == place).all()
    assert found.foreground[3].all()
    assert found.foreground[4].all()
    assert found.whole == [4]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 4, 4, 8), (2, 3, 3, 2)])
def test_uniform_images_survive(value, shape):
    found = colored(np.full(shape, value, np.float32))
    assert found.foreground.all()
    assert np.isfinite(found.colors).all()
    assert found.colors.min() == found.colors.max() == pytest.approx(0.6)
    assert (found.explained, found.threshold) == (0, 0)


def test_the_picture_repeats_whatever_the_sign_of_the_axes():
    """A mirrored basis, as another library for linear algebra may give, is the same picture."""
    tokens, _ = planted(np.random.default_rng(2))
    assert (colored(tokens).colors == colored(tokens.copy()).colors).all()
    scores, shares = principal(tokens.reshape(-1, 12).astype(float), 3)
    centred = tokens.reshape(-1, 12) - tokens.reshape(-1, 12).mean(axis=0)
    loadings = np.linalg.lstsq(scores, centred, rcond=None)[0]
    assert (loadings[np.arange(3), np.abs(loadings).argmax(axis=1)] > 0).all()
    assert shares == pytest.approx(scores.var(axis=0) / centred.var(axis=0).sum(), rel=1e-4)


def test_otsu_by_trying_all():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0, 1, 40), rng.normal(5, 1, 15)])

    def apart(threshold):
        above = values > threshold
        return above.mean() * (1 - above.mean()) * (values[above].mean() - values[~above].mean()) ** 2

    ordered = np.sort(values)
    best = max(apart(threshold) for threshold in ordered[:-1])
    assert apart(otsu(values)) == pytest.approx(best)
    assert otsu(np.array([1.0, 1.0, 3.0])) == 2
    assert otsu(np.array([2.0, 2.0])) < 2
