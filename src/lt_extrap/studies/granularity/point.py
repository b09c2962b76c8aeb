"""A point of the grid: which classes a run has, in which order of their sizes, and which images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lt_extrap.keys import Stream, generator
from lt_extrap.studies.granularity.config import GridConfig
from lt_extrap.studies.granularity.pool import PoolClass
from lt_extrap.studies.granularity.superclasses import most_of_one

TRAIN, TEST, NAMES = "train.txt", "test.txt", "classes.json"


@dataclass(frozen=True)
class Point:
    """A run of the study.

    Attributes:
        superclasses: of its classes.
        ratio: smallest class for one image of the largest.
        seed: of the draw, and of its training.
    """

    superclasses: int
    ratio: float
    seed: int

    @property
    def folder(self) -> str:
        """The name of its run folder, in which `lt_extrap.report` finds the seed."""
        return f"superclasses+{self.superclasses}-ratio+{self.ratio:g}-seed+{self.seed}"


def points(grid: GridConfig, seed: int) -> list[Point]:
    """All runs of a grid: draw by draw, so that a study which is stopped has whole draws."""
    return [
        Point(superclasses, ratio, seed + draw)
        for draw in range(grid.draws)
        for superclasses in grid.superclasses
        for ratio in grid.ratios
    ]


def profile(classes: int, largest: int, ratio: float) -> list[int]:
    """Training images of each class, largest first: exponential from `largest` to `largest` x `ratio`, at least 1."""
    return [max(1, round(largest * ratio ** (rank / (classes - 1)))) for rank in range(classes)]


def draw(superclasses: Mapping[str, Sequence[int]], point: Point, classes: int) -> list[int]:
    """The classes of a point, largest first: a function of seed and number of superclasses, so the same at all ratios.

    Superclasses with enough classes are equally likely, and so are the classes of one; then all are shuffled, so that
    from draw to draw other classes are head and tail.

    Args:
        superclasses: labels in the pool, by superclass.
        point: of the grid.
        classes: of a run.
    """
    drawn = generator(Stream.SUBSET, point.seed, 0, point.superclasses)
    able = [
        name for name in sorted(superclasses) if len(superclasses[name]) >= most_of_one(classes, point.superclasses)
    ]
    found: list[int] = []
    for number, chosen in enumerate(drawn.choice(len(able), point.superclasses, replace=False)):
        size = classes // point.superclasses + (number < classes % point.superclasses)
        found += drawn.choice(superclasses[able[chosen]], size, replace=False).tolist()
    return [int(label) for label in drawn.permutation(found)]


def lists(
    drawn: Sequence[int], pool: Sequence[PoolClass], counts: Sequence[int], seed: int
) -> Iterator[tuple[str, str]]:
    """The lists and names of a run: label = rank by size, paths relative to the images of the pool.

    A class has the first of its images in an order of the seed: fewer are a part of more.

    Args:
        drawn: labels in the pool, largest first.
        pool: its classes.
        counts: training images of each.
        seed: of the draw.

    Yields:
        Names of files, and their content.
    """
    train, test = [], []
    for label, (place, count) in enumerate(zip(drawn, counts, strict=True)):
        images = pool[place].train
        order = generator(Stream.SUBSET, seed, 1, place).permutation(len(images))[:count]
        train += [f"{images[i]} {label}\n" for i in sorted(order.tolist())]
        test += [f"{path} {label}\n" for path in pool[place].test]
    yield TRAIN, "".join(train)
    yield TEST, "".join(test)
    names = [{"id": pool[place].id, "name": pool[place].name} for place in drawn]
    yield NAMES, json.dumps(names, indent=1, ensure_ascii=False) + "\n"
