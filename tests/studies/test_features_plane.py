"""Features in a plane."""

import sys

import numpy as np
import pytest

from lt_extrap.errors import ConfigError
from lt_extrap.studies.features.measures import unit
from lt_extrap.studies.features.plane import lay_out


def some(images, dim=16, classes=2):
    rng = np.random.default_rng(images)
    return unit(rng.normal(size=(images, dim)) + 3 * np.eye(dim)[np.arange(images) % classes])


def laid(x, **options):
    return lay_out(x, **{"method": "umap", "neighbors": 15, "most": 100, "seed": 0} | options)


@pytest.mark.parametrize("x", [some(0), some(1), some(2), some(3), np.tile(some(1), (10, 1)), np.zeros((6, 3))])
def test_too_few_for_umap(x, monkeypatch):
    """Two points, or ten that are equal: principal components, told, finite, without the package."""
    monkeypatch.setitem(sys.modules, "umap", None)
    plane = laid(x)
    assert plane.points.shape == (len(x), 2)
    assert np.isfinite(plane.points).all()
    assert plane.notice is not None
    if len(x) == 10:
        assert (plane.points == 0).all()
        assert plane.notice.startswith("10 points, 1 of them different, are too few for UMAP")


def test_principal_components_on_demand():
    plane = laid(some(30), method="pca")
    assert (plane.how, plane.notice) == ("principal components", None)
    assert abs(np.corrcoef(plane.points[:, 0], np.arange(30) % 2)[0, 1]) > 0.9


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"lt-extrap\[studies\]"):
        laid(some(30))


@pytest.mark.slow
@pytest.mark.long
def test_umap():
    """The same points for the same seed, others for another; neighbors as many as there can be."""
    pytest.importorskip("umap")
    x = some(40)
    plane = laid(x)
    assert (plane.how, plane.notice) == ("UMAP, 15 neighbors", None)
    assert (laid(x).points == plane.points).all()
    assert (laid(x, seed=1).points != plane.points).any()
    own = np.linalg.norm(plane.points[:, None] - plane.points, axis=2) + 1e9 * np.eye(40)
    assert (own.argmin(axis=1) % 2 == np.arange(40) % 2).mean() > 0.9  # neighbors are of one class
    # Few points, copies among them, and points on a line: lowered, finite.
    line = np.outer(np.linspace(0, 1, 9), np.ones(5)) + np.eye(5)[0]
    for points in (some(5), np.concatenate([some(4), some(4), some(4)]), line):
        few = laid(points, most=len(points) - 1)
        assert few.how == f"UMAP, {len(points) - 1} neighbors"
        assert few.notice == f"UMAP's neighbors lowered from 15 to {len(points) - 1}: {len(points)} points"
        assert np.isfinite(few.points).all()
