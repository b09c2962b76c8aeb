"""What tells a published long-tailed list from others, and the numbering of its classes by name."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lt_extrap.config import Official
from lt_extrap.errors import DataError
from lt_extrap.model.shots import Shot, shot_of


def count_hash(counts: Int64[np.ndarray, " target"]) -> str:
    """16 hexadecimal digits that stand for the training images of all classes, in the order of their labels."""
    return hashlib.sha256(",".join(map(str, counts.tolist())).encode()).hexdigest()[:16]


def check_official(
    official: Official, counts: Int64[np.ndarray, " target"], images: Mapping[str, int], file: Path
) -> None:
    """Refuse lists that are not the official ones.

    Args:
        official: what they should be.
        counts: training images of each class, in the order of the official labels.
        images: of each list, by split; one that is not used is not checked.
        file: the training list, for the message.

    Raises:
        DataError: with every figure that differs.
    """
    shots = shot_of(counts)
    found = {
        **images,
        "classes": len(counts),
        **{str(shot): shots.count(shot) for shot in (Shot.MANY, Shot.MEDIUM, Shot.FEW)},
        "largest": int(counts.max()),
        "smallest": int(counts.min()),
        "counts": count_hash(counts),
    }
    wrong = [key for key, value in found.items() if getattr(official, key) not in (None, value)]
    if wrong:
        raise DataError(
            f"the official list in {file}: " + ", ".join(f"{key} {getattr(official, key)}" for key in wrong),
            ", ".join(f"{key} {found[key]}" for key in wrong),
            "this is not the official list; set target.official=null to use it all the same",
        )


def order_by_name(names: Sequence[str]) -> Int64[np.ndarray, " target"]:
    """The labels in the order of their names as text: `order[i]` is the label of the name that is the i-th.

    LIFT numbers the classes of iNaturalist 2018 so, by species: its class i is the category `order[i]`. Numbers as
    text ("0", "1", "10", "100", ...) are the order of class folders that a file system sorts.

    Raises:
        DataError: two names are the same, so that there is no such order.
    """
    order = sorted(range(len(names)), key=names.__getitem__)
    for first, second in pairwise(order):
        if names[first] == names[second]:
            raise DataError(
                "class names that are all different, to number classes by",
                f"the name {names[first]!r} of the labels {first} and {second}",
                "set target.label_order=official",
            )
    return np.array(order, np.int64)
