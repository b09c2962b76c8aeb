import numpy as np

from lt_extrap.curate.placeholders import blank, placeholders

PARENTS = {0: frozenset({0}), 1: frozenset({0, 1}), 2: frozenset({1}), 3: frozenset({2}), 4: frozenset()}


def found(offers, **limits):
    return placeholders(np.array([0, 0, 2, 3]), offers, PARENTS, **limits).tolist()


def test_a_picture_offered_for_too_many_unrelated_classes():
    offers = [(0, 0), (1, 3), (1, 4), (2, 0), (2, 1), (2, 2), (3, 3)]
    assert found(offers, classes=2) == [True, True, False, False]  # 0, 1 and 2 are one family, by way of 1
    assert found(offers, classes=3) == [False] * 4


def test_a_picture_offered_too_often():
    assert found([(3, 3)] * 4, times=3) == [False, False, False, True]
    assert found([(3, 3)] * 3, times=3) == [False] * 4


def test_blank_pictures():
    assert blank(np.array([0.0, 2.9, 3.0, 60.0])).tolist() == [True, True, False, False]
