"""Auxiliary classes whose images look like those of a target class: it may be that class under another name."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from lt_extrap.curate.prototypes import Features, directed, unit

LIKENESS = 0.98  # from which on a class is suspect
_APART = 0.95  # part of the targets that are less like every other target than a suspect class is like one
_PRIOR = 10  # pairs of images that the pooled similarity within classes counts as, beside a class's own
_TOGETHER = 1024  # classes compared together


class Gathered(NamedTuple):
    """Classes, by the directions of their images.

    Attributes:
        mean: of the unit vectors of each class; 0 for a class without images.
        size: images that have a direction.
    """

    mean: Float64[np.ndarray, "classes dim"]
    size: Int64[np.ndarray, " classes"]


class Suspect(NamedTuple):
    """An auxiliary class that may be a target class.

    Attributes:
        auxiliary: the class. target: the class that it is most like.
        likeness: 1 for two halves of one class, but for chance.
    """

    auxiliary: int
    target: int
    likeness: float


def gather(features: Features, labels: Int64[np.ndarray, " images"], classes: int) -> Gathered:
    """Sum up the images of classes 0..classes-1."""
    sums, size = np.zeros((classes, features.shape[1])), np.zeros(classes, np.int64)
    for start in range(0, len(features), 4096):
        block, of = np.asarray(features[start : start + 4096]), labels[start : start + 4096]
        np.add.at(sums, of, unit(block).astype(np.float64))
        size += np.bincount(of[directed(block)], minlength=classes)
    return Gathered(sums / np.maximum(size, 1)[:, None], size)


def suspects(auxiliary: Gathered, targets: Gathered, *, likeness: float = LIKENESS, least: int = 5) -> list[Suspect]:
    """Auxiliary classes that are as like a target class as its own images are, by falling likeness.

    The likeness of two classes is the mean cosine of an image of one and an image of the other, by the geometric mean
    of the mean cosines within the two: it is 1 for two halves of one class, however many images and however alike
    they are. (The cosine of two prototypes is smaller, the fewer images they are of.)

    Measured on Tiny ImageNet with efficientnet_lite0: of the 45 classes that are further images of a target class
    (5 to 450 training images), 43 are found: 16 of 18 few-shot ones; of the 140 other classes, most of them neighbors,
    one, beach wagon beside convertible (.986), and the next are tailed frog beside bullfrog (.979) and pop bottle
    beside beer bottle (.977). By images whose nearest prototype is a target's, with any margin and share that accuses
    one of the 140 at most, a fifth of the few-shot ones were missed.

    Args:
        auxiliary: by images that were kept.
        targets: by training images.
        likeness: from which on a class is suspect; features that do not tell the targets apart need more
            (`threshold`).
        least: images of an auxiliary class below which nothing is said of it.
    """
    pooled = _pooled([auxiliary, targets])
    found = []
    for start, like in _likenesses(auxiliary, targets, pooled):
        best = like.argmax(axis=1)
        sizes = auxiliary.size[start : start + len(like)]
        for row in np.flatnonzero((like.max(axis=1) >= likeness) & (sizes >= least)).tolist():
            found.append(Suspect(start + row, int(best[row]), float(like[row, best[row]])))
    return sorted(found, key=lambda suspect: (-suspect.likeness, suspect.auxiliary))


def threshold(targets: Gathered, *, likeness: float = LIKENESS, least: int = 5) -> float:
    """The likeness from which on a class is suspect, with these features.

    Two targets are two classes. Where features make more than a twentieth of them as alike as `likeness`, an auxiliary
    class has to be more like a target than that.

    Args:
        targets: by training images.
        likeness: the threshold with features that tell the targets apart.
        least: images of a target below which it is not looked at.
    """
    of = Gathered(targets.mean[targets.size >= least], targets.size[targets.size >= least])
    if len(of.size) < 2:
        return likeness
    nearest = []
    for start, like in _likenesses(of, of, _pooled([of])):
        rows = np.arange(len(like))
        like[rows, start + rows] = -np.inf
        nearest.append(like.max(axis=1))
    return max(likeness, float(np.quantile(np.concatenate(nearest), _APART)))


def _likenesses(
    one: Gathered, other: Gathered, pooled: float
) -> Iterator[tuple[int, Float64[np.ndarray, "rows others"]]]:
    """The likeness of each class to each other one, in blocks with their first row."""
    within, among = _within(one, pooled), _within(other, pooled)
    for start in range(0, len(one.size), _TOGETHER):
        rows = slice(start, start + _TOGETHER)
        yield start, one.mean[rows] @ other.mean.T / np.sqrt(np.outer(within[rows], among))


def _pooled(gathered: list[Gathered]) -> float:
    """The mean cosine of two images of one class, over all pairs."""
    between = sum(float((_squares(classes) * classes.size**2 - classes.size).sum()) for classes in gathered)
    pairs = sum(int((classes.size * (classes.size - 1)).sum()) for classes in gathered)
    return between / pairs if pairs else 1.0


def _within(classes: Gathered, pooled: float) -> Float64[np.ndarray, " classes"]:
    """The mean cosine of two images of each class; of a class of few, near the pooled one."""
    pairs = classes.size * (classes.size - 1) / 2
    sums = (_squares(classes) * classes.size**2 - classes.size) / 2
    return np.asarray(np.maximum((sums + _PRIOR * pooled) / (pairs + _PRIOR), 1e-3))


def _squares(classes: Gathered) -> Float64[np.ndarray, " classes"]:
    return np.asarray((classes.mean**2).sum(axis=1))
