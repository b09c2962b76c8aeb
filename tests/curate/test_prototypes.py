import numpy as np
import pytest

from lt_extrap.curate.prototypes import cosines, own_cosines, prototypes, unit


def rows(seed=0, images=40, dim=16):
    return np.random.default_rng(seed).normal(1, 1, (images, dim)).astype(np.float16)


def test_a_prototype_is_the_mean_of_raw_features():
    features, labels = rows(), np.arange(40) % 3
    found = prototypes(features, labels, 4)
    for label in range(3):
        assert found[label] == pytest.approx(features[labels == label].astype(float).mean(0))
    assert (found[3] == 0).all()


def test_prototypes_do_not_depend_on_the_order_of_rows():
    features, labels = rows(images=9000), np.arange(9000) % 7
    order = np.random.default_rng(1).permutation(9000)
    assert (prototypes(features, labels, 7) == prototypes(features[order], labels[order], 7)).all()


def test_vectors_without_a_direction_have_no_cosine_and_spoil_no_prototype():
    features, labels = rows(images=6), np.zeros(6, np.int64)
    features[1], features[2, 3], features[4, 0] = 0, np.nan, np.inf
    clean = prototypes(features[[0, 3, 5]], labels[:3], 1)
    assert (prototypes(features, labels, 1) == clean).all()
    found = cosines(features, clean, np.arange(6), labels)
    assert np.isnan(found).tolist() == [False, True, True, False, True, False]
    assert np.isnan(own_cosines(features, labels, 1)).tolist() == [False, True, True, False, True, False]
    assert (unit(features)[[1, 2, 4]] == 0).all()
    assert np.isnan(cosines(features, np.zeros((1, 16)), np.arange(6), labels)).all()


def test_own_cosines_are_those_of_a_loop():
    features, labels = rows(), np.repeat([0, 1, 2, 3], [1, 2, 7, 30])
    found = own_cosines(features, labels, 4)
    assert np.isnan(found[0])
    for i in range(1, 40):
        others = (labels == labels[i]) & (np.arange(40) != i)
        one, mean = features[i].astype(float), features[others].astype(float).mean(0)
        assert found[i] == pytest.approx(one @ mean / np.linalg.norm(one) / np.linalg.norm(mean), abs=1e-6)
