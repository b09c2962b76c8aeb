"""Many, medium and few: the group of a class, by its target training images and by nothing else."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from jaxtyping import Int


class Shot(StrEnum):
    """How often training shows a target class."""

    MANY = "many"  # more than 100 images
    MEDIUM = "medium"  # 20 to 100, both included
    FEW = "few"  # 1 to 19
    ZERO = "zero"  # none: legal only where the target set allows it, and never counted as few


def shot_of(counts: "Sequence[int] | Int[np.ndarray, ' target']") -> list[Shot]:
    """The group of each class (paper, 4.1).

    Args:
        counts: images of each class in the *full* target training list, before any cap, filter or debug
            limit, and without auxiliary images.
    """
    return [_shot(int(count)) for count in counts]


def _shot(count: int) -> Shot:
    if count > 100:
        return Shot.MANY
    if count >= 20:
        return Shot.MEDIUM
    return Shot.FEW if count > 0 else Shot.ZERO
