"""What `python -m lt_extrap.studies.granularity` does."""

from dataclasses import dataclass

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of


@dataclass
class PoolConfig:
    """Classes to draw from, and what is trained on them.

    Attributes:
        name: of the pool.
        root: folder of a pool that is somewhere of the user's; null where `target` says it all.
        target: words of lt_extrap.train that make the pool a target: its training and test lists are drawn from.
        hypernyms: where the way of each class down from the root of the taxonomy is: `file.json:key` beside the lists
            (entries with `hypernyms`, the root first), or `wordnet`, where class ids are WordNet 3.0's.
        train: words of lt_extrap.train for each run.
        steps: of each run, the same for all: the last weights are measured.
        images_per_second: that a plan's hours are for until a run has ended.
    """

    name: str = MISSING
    root: str | None = MISSING
    target: list[str] = MISSING
    hypernyms: str = MISSING
    train: list[str] = MISSING
    steps: int = MISSING
    images_per_second: float = MISSING

    def __post_init__(self) -> None:
        check(self.steps >= 10, "pool.steps", "at least 10", self.steps)
        check(self.images_per_second > 0, "pool.images_per_second", "positive", self.images_per_second)


@dataclass
class GridConfig:
    """What is varied.

    Attributes:
        classes: of each run.
        superclasses: that they are drawn from, as many of each, or one more: the granularity. Fewer is finer.
        ratios: images of the smallest class for one of the largest, in 0 < ratio <= 1; 1 is among them.
        draws: runs of each pair of these, which differ in their seeds: in classes, images and whose class is tail.
        largest: training images of the largest class.
    """

    classes: int = MISSING
    superclasses: list[int] = MISSING
    ratios: list[float] = MISSING
    draws: int = MISSING
    largest: int = MISSING

    def __post_init__(self) -> None:
        check(self.classes >= 3, "grid.classes", "at least 3, a class a third", self.classes)
        for number in self.superclasses:
            check(1 <= number <= self.classes, "grid.superclasses", f"in 1..{self.classes}, grid.classes", number)
        for key, values in (("grid.superclasses", self.superclasses), ("grid.ratios", self.ratios)):
            check(len(values) == len(set(values)) > 0, key, "at least one value, each once", values)
        check(1.0 in self.ratios, "grid.ratios", "with 1, where the gap is that of the classes themselves", self.ratios)
        for ratio in self.ratios:
            wanted = f"in 0 < ratio <= 1, and an image for the smallest class of grid.largest={self.largest}"
            check(0 < ratio <= 1 and self.largest * ratio >= 0.5, "grid.ratios", wanted, ratio)
        check(self.draws >= 1, "grid.draws", "at least 1", self.draws)


@dataclass
class GranularityConfig:
    """The study.

    Attributes:
        do: `study`: train what is missing, then table, figure and verdict; `plan`: say what that would take; `report`:
            table, figure and verdict of what there is.
        name: of the folder below runs/.
        seed: of the first draw; the others follow.
    """

    do: str = "study"
    name: str = MISSING
    seed: int = 0
    pool: PoolConfig = MISSING
    grid: GridConfig = MISSING

    def __post_init__(self) -> None:
        one_of("do", self.do, ("study", "plan", "report"))
        check(0 <= self.seed < 2**62, "seed", "in 0..2**62-1", self.seed)
