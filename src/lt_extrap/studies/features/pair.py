"""Which head class and which tail class are looked at."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_extrap.data.target import ClassTable
from lt_extrap.errors import ConfigError, some
from lt_extrap.model.shots import Shot
from lt_extrap.runs import read_table


class Pair(NamedTuple):
    """Two target classes.

    Attributes:
        head, tail: their labels; the head has more training images, or as many.
        tail_as_head, head_as_tail: test images of the one that a run took for the other.
    """

    head: int
    tail: int
    tail_as_head: int
    head_as_tail: int

    @property
    def confused(self) -> int:
        """Test images of both that were taken for each other."""
        return self.tail_as_head + self.head_as_tail


Confused = dict[tuple[int, int], int]  # (label, predicted): test images


def read_confusions(file: Path) -> Confused:
    """The confusions that a run has written."""
    return {(int(row["class"]), int(row["predicted"])): int(row["images"]) for row in read_table(file)}


def ends(shots: Sequence[Shot]) -> tuple[Shot, Shot]:
    """The groups of head and tail: many and few, or the nearest to them that this target has."""
    present = [shot for shot in (Shot.MANY, Shot.MEDIUM, Shot.FEW) if shot in shots]
    return present[0], present[-1]


def most_confused(confused: Confused, classes: ClassTable) -> Pair:
    """The head and the tail class of which most test images were taken for each other; of equals the first by label.

    Raises:
        ConfigError: none was.
    """
    shots = classes.shots
    head, tail = ends(shots)
    wanted = {head, tail}
    pairs = {
        pair_of(a, b, confused, classes)
        for a, b in confused
        if a != b and {shots[a], shots[b]} == wanted  # of one group alone where there is no other
    }
    if not pairs:
        raise ConfigError(
            f"a class of the {head} group and one of the {tail} group that the baseline confuses",
            "none among its test images",
            "name two: 'pair=[<class>,<class>]'",
        )
    return min(pairs, key=lambda pair: (-pair.confused, pair.head, pair.tail))


def named(names: Sequence[str], confused: Confused, classes: ClassTable) -> Pair:
    """The pair of two classes by their ids or names.

    Raises:
        ConfigError: there is no such class, several have the name, or both are one.
    """
    first, second = (_label(name, classes) for name in names)
    if first == second:
        raise ConfigError("two classes in pair", f"{classes.names[first]} twice", "name another one")
    return pair_of(first, second, confused, classes)


def pair_of(first: int, second: int, confused: Confused, classes: ClassTable) -> Pair:
    """Two classes in their order: more training images first, of equals the lower label."""
    head, tail = sorted((first, second), key=lambda label: (-int(classes.counts[label]), label))
    return Pair(head, tail, confused.get((tail, head), 0), confused.get((head, tail), 0))


def _label(name: str, classes: ClassTable) -> int:
    if name in classes.ids:
        return classes.ids.index(name)
    found = np.flatnonzero([other == name for other in classes.names])
    if len(found) != 1:
        alike = [other for other in classes.names if name.casefold() in other.casefold()]
        raise ConfigError(
            "the name or the id of one target class in pair",
            f"{name!r}, which {len(found) or 'none'} of them have" + (f"; alike: {some(alike)}" if alike else ""),
            "give its id, the second column of per_class.csv",
        )
    return int(found[0])
