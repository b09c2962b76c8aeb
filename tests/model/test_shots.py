import numpy as np

from lt_extrap.model.shots import Shot, shot_of


def test_the_borders_are_the_papers():
    assert shot_of([101, 100, 20, 19, 1, 0]) == ["many", "medium", "medium", "few", "few", "zero"]


def test_counts_may_be_arrays():
    assert shot_of(np.array([1280, 5])) == [Shot.MANY, Shot.FEW]
    assert shot_of([]) == []
