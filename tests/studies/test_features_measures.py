"""The four numbers against loops over pairs."""

import numpy as np
import pytest

from lt_extrap.studies.features.measures import measure, unit


def by_loops(features, labels):
    x = [f / (np.linalg.norm(f) or 1) for f in features.astype(float)]
    classes = sorted(set(labels.tolist()))
    of = {c: [i for i in range(len(x)) if labels[i] == c] for c in classes}

    def cosine(i, j):
        return 0.0 if i == j else 1 - float(x[i] @ x[j])

    silhouettes = []
    for c in classes:
        values = []
        for i in of[c]:
            if len(of[c]) == 1:
                values.append(0.0)
                continue
            a = sum(cosine(i, j) for j in of[c]) / (len(of[c]) - 1)
            b = min(np.mean([cosine(i, j) for j in of[other]]) for other in classes if other != c)
            values.append((b - a) / max(a, b))
        silhouettes.append(np.mean(values))

    def squared(i, j):
        return float(((x[i] - x[j]) ** 2).sum())

    several = [c for c in classes if len(of[c]) > 1]
    alignment = np.mean([np.mean([squared(i, j) for i in of[c] for j in of[c] if i != j]) for c in several])
    uniformity = np.log(np.mean([np.exp(-2 * squared(i, j)) for i in range(len(x)) for j in range(i)]))
    means = [np.mean([x[i] for i in of[c]], axis=0) for c in classes]
    within = [
        sum(((x[i] - mean) ** 2).sum() for i in of[c]) / (len(of[c]) - 1)
        for c, mean in zip(classes, means, strict=True)
        if len(of[c]) > 1
    ]
    between = np.mean([((mean - np.mean(means, axis=0)) ** 2).sum() for mean in means])
    return np.mean(silhouettes), np.mean(within) / between, alignment, uniformity


@pytest.mark.parametrize("seed", range(4))
def test_as_by_loops(seed):
    """Classes of 1 to 8 images, labels with gaps, copies and a feature of zeros among them."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([7, 2, 30, 5], [1, 8, 3, 5])
    features = (rng.normal(size=(17, 6)) + labels[:, None] % 3).astype(np.float32)
    features[4] = features[3]
    features[9] = 0 if seed == 0 else features[9]
    assert measure(features, labels) == pytest.approx(by_loops(features, labels), rel=1e-9)


def test_neither_length_nor_order_matters():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(20, 5)), rng.integers(0, 3, 20)
    order = rng.permutation(20)
    longer = features * rng.uniform(0.1, 9, (20, 1))
    assert measure(longer[order], labels[order] + 4) == pytest.approx(measure(features, labels))


def test_what_is_apart_and_what_is_not():
    corners = np.eye(3).repeat(4, axis=0)
    apart = measure(corners, np.arange(3).repeat(4))
    assert apart[:3] == pytest.approx((1, 0, 0), abs=1e-9)
    mixed = measure(corners, np.tile(np.arange(3), 4))
    assert mixed.silhouette < 0 < mixed.alignment
    assert mixed.uniformity == apart.uniformity  # which knows no classes


@pytest.mark.parametrize(("images", "classes"), [(0, 1), (1, 1), (5, 1), (2, 2), (6, 2)])
def test_where_little_is_defined(images, classes):
    """All features equal, and few of them: no warning, and NaN only where there is nothing to divide by."""
    found = measure(np.ones((images, 4), np.float32), np.arange(images) % classes)
    defined = [value == value for value in found]
    assert defined == [images > 0 and classes > 1, False, images > classes, images > 1]
    assert all(value == pytest.approx(0, abs=1e-9) for value in found if value == value)


def test_many_images_are_taken_in_parts(monkeypatch):
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(30, 4)), rng.integers(0, 2, 30)
    whole = measure(features, labels)
    monkeypatch.setattr("lt_extrap.studies.features.measures._PAIRS", 70)
    assert measure(features, labels) == pytest.approx(whole)


def test_unit():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)) == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))
