"""Superclasses: a cut through a taxonomy, chosen so that every point of a grid can be drawn several times.

The paper controls the number of superclasses "based on WordNet" and does not say how. Here the superclass of a class is
the first synset on its way down from the root below which at most `most` classes of the pool lie, and `most` is the
smallest number that leaves each point of the grid a choice. One cut serves the whole grid, so that a superclass is
the same thing at all its points.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from lt_extrap.errors import DataError

SPARE = 1.25  # times as many superclasses as are drawn have enough classes: draws differ in superclasses too

Path = Sequence[str]  # of a class: synsets from the root to its own


def cut(paths: Sequence[Path], most: int) -> dict[str, list[int]]:
    """Superclasses and their classes: a partition.

    Args:
        paths: of each class.
        most: classes below a superclass.
    """
    below = Counter(synset for path in paths for synset in set(path))
    superclasses = defaultdict(list)
    for label, path in enumerate(paths):
        # A class may be the hypernym of others, and so have more below it: it is then alone.
        first = next((synset for synset in path if below[synset] <= most), f"{path[-1]} itself")
        superclasses[first].append(label)
    return dict(superclasses)


def choose_cut(paths: Sequence[Path], classes: int, superclasses: Sequence[int]) -> dict[str, list[int]]:
    """The finest cut of which every point of a grid can be drawn: SPARE times as many superclasses have enough classes.

    Args:
        paths: of each class of the pool.
        classes: of a point of the grid.
        superclasses: of the points of the grid.

    Raises:
        DataError: there is no such cut; what comes nearest is told.
    """
    sizes = sorted(set(Counter(synset for path in paths for synset in set(path)).values()) | {1})
    nearest: tuple[float, dict[int, int]] = (-1.0, {})
    for most in sizes:
        found = cut(paths, most)
        there = {number: _enough(found, most_of_one(classes, number)) for number in superclasses}
        if all(there[number] >= wanted(number) for number in superclasses):
            return found
        nearest = max(nearest, (min(there[number] / wanted(number) for number in superclasses), there), key=_first)
    points = ", ".join(f"{wanted(number)} of at least {most_of_one(classes, number)}" for number in superclasses)
    best = ", ".join(f"{count} of at least {most_of_one(classes, number)}" for number, count in nearest[1].items())
    raise DataError(
        f"superclasses for {classes} classes of {', '.join(map(str, superclasses))} superclasses, a quarter to spare: "
        f"{points} classes",
        f"a pool of {len(paths):,} classes, whose best cut has {best or 'none'}",
        "take a pool of more classes (pool=wordnet pool.root=...), or a smaller grid (grid.classes=..., "
        "grid.superclasses=...)",
    )


def wanted(superclasses: int) -> int:
    """Superclasses that have to be there where so many are drawn."""
    return math.ceil(SPARE * superclasses)


def most_of_one(classes: int, superclasses: int) -> int:
    """Classes that are drawn of a superclass, at most: where they do not divide, some superclasses have one more."""
    return math.ceil(classes / superclasses)


def _enough(superclasses: Mapping[str, Sequence[int]], least: int) -> int:
    return sum(len(labels) >= least for labels in superclasses.values())


def _first(pair: tuple[float, dict[int, int]]) -> float:
    return pair[0]
