"""Pictures that stand for no class: blank ones, and those that come up again and again ("image not available")."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int64

from lt_extrap.curate.near_copies import BLANK

CLASSES = 3  # unrelated classes that a picture may be offered for
TIMES = 20  # offers of a picture


def placeholders(
    group: Int64[np.ndarray, " images"],
    offers: Iterable[tuple[int, int]],
    parents: Mapping[int, frozenset[int]],
    *,
    classes: int = CLASSES,
    times: int = TIMES,
) -> Bool[np.ndarray, " images"]:
    """Which images are of a picture that is offered for too many unrelated classes, or too often.

    Args:
        group: of near-copies that each image is in (`near_copies.groups`).
        offers: (image, class) for each time that an image is offered; one image may be offered more than once.
        parents: target classes of each class. Two classes are related if they share one.
        classes: unrelated classes that a picture may be offered for.
        times: how often a picture may be offered.
    """
    offered: dict[int, list[int]] = {}
    for image, of in offers:
        offered.setdefault(int(group[image]), []).append(of)
    found = [name for name, of in offered.items() if len(of) > times or _unrelated(sorted(set(of)), parents) > classes]
    return np.isin(group, np.array(found, np.int64))


def blank(deviations: Float[np.ndarray, " images"]) -> Bool[np.ndarray, " images"]:
    """Which images are of one even colour, by the standard deviation of their gray values."""
    return np.asarray(deviations < BLANK)


def _unrelated(classes: list[int], parents: Mapping[int, frozenset[int]]) -> int:
    """Groups that the classes fall into, where those that share a parent are together."""
    joined: list[frozenset[int]] = []
    for of in classes:
        family = parents.get(of, frozenset()) or frozenset({-1 - of})  # without a parent, related to none
        near = [other for other in joined if other & family]
        joined = [other for other in joined if not other & family] + [family.union(*near)]
    return len(joined)
