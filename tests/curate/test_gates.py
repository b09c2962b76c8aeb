import numpy as np
import pytest

from lt_extrap.curate.gates import calibrated_band, fixed_band, gate
from lt_extrap.curate.prototypes import cosines, own_cosines, prototypes
from lt_extrap.errors import DataError


def test_kept_is_what_is_strictly_inside_the_band():
    shown = np.array([0.5, 0.7, 0.85, 0.98, 0.995, np.nan], np.float32)
    found = gate(shown, np.arange(6), np.zeros(6, np.int64), fixed_band(1), 6)
    assert found.kept.tolist() == [False, False, True, False, False, False]
    exact = gate(np.array([0.5, 0.75], np.float32), np.arange(2), np.zeros(2, np.int64), fixed_band(1, 0.5, 0.75), 2)
    assert not exact.kept.any()  # numbers that float32 has


def test_one_parent_is_enough_and_the_nearest_is_named():
    shown = np.array([0.6, 0.9, 0.8, 0.9, 0.9, 0.1], np.float32)
    images, parents = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 0, 2, 1, 0])
    found = gate(shown, images, parents, fixed_band(3), 4)
    assert found.kept.tolist() == [True, True, False, False]
    assert found.parent.tolist() == [1, 1, -1, -1]
    assert found.passes.tolist() == [False, True, True, True, True, False]
    order = np.array([5, 4, 3, 2, 1, 0])
    again = gate(shown[order], images[order], parents[order], fixed_band(3), 4)
    assert (again.parent == found.parent).all()


SIZES = [1, 1, 2, 3, 4, 5, 7, 10, 15, 19, 20, 40, 100, 100, 200, 400]


def simulated(rng, *, within, neighbor, dim=192):
    """Training features of classes, and of neighbors with a cosine to a class's images that is a little smaller."""
    features, labels, near, parents = [], [], [], []
    for label, size in enumerate(SIZES):
        centre = rng.normal(size=dim) / np.sqrt(dim)

        def draw(count, share, centre=centre):
            return share**0.5 * centre + (1 - share) ** 0.5 * rng.normal(size=(count, dim)) / np.sqrt(dim)

        features.append(draw(size, within))
        labels += [label] * size
        near.append(draw(300, neighbor))
        parents += [label] * 300
    return np.concatenate(features).astype(np.float16), np.array(labels), np.concatenate(near), np.array(parents)


def acceptance(band, features, labels, near, parents):
    found = cosines(near, prototypes(features, labels, len(SIZES)), np.arange(len(near)), parents)
    kept = gate(found, np.arange(len(near)), parents, band, len(near)).kept
    share = kept.reshape(len(SIZES), -1).mean(1)
    sizes = np.array(SIZES)
    return [share[sizes < 5].mean(), share[(sizes >= 5) & (sizes < 20)].mean(), share[sizes >= 20].mean()]


def test_the_calibrated_gate_accepts_as_many_for_small_classes_and_the_fixed_one_does_not():
    worlds = [simulated(np.random.default_rng(seed), within=0.6, neighbor=0.5) for seed in range(3)]
    count = len(SIZES)
    calibrated = np.mean([acceptance(calibrated_band(w[0], w[1], count, low=0.05, high=1.0), *w) for w in worlds], 0)
    fixed = np.mean([acceptance(fixed_band(count, 0.6, 0.98), *w) for w in worlds], 0)
    assert fixed[0] < fixed[2] - 0.4
    assert np.ptp(calibrated) < 0.2
    assert 0.1 < calibrated.min() <= calibrated.max() < 0.5


def test_quantiles_of_a_class_of_many_are_its_own():
    features, labels, *_ = simulated(np.random.default_rng(0), within=0.6, neighbor=0.5)
    band = calibrated_band(features, labels, len(SIZES), low=0.25, high=0.75)
    own = own_cosines(features, labels, len(SIZES))
    inside = (own > band.low[labels]) & (own < band.high[labels])
    assert inside[labels == 15].mean() == pytest.approx(0.5, abs=0.01)
    assert (band.low < band.high).all()


def test_classes_of_one_image_cannot_be_calibrated():
    features = np.eye(3, dtype=np.float16)
    with pytest.raises(DataError, match="filter=fixed"):
        calibrated_band(features, np.arange(3), 3, low=0.05, high=1.0)


def test_a_class_without_images_keeps_nothing():
    features = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float16)
    band = calibrated_band(features, np.zeros(30, np.int64), 2, low=0.05, high=1.0)
    assert not gate(np.array([0.9], np.float32), np.array([0]), np.array([1]), band, 1).kept.any()
