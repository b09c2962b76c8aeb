"""The runs of the study, one after the other; several processes share them by the locks of their folders."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lt_extrap.compose import configure
from lt_extrap.config import Target, TrainConfig
from lt_extrap.errors import BusyError, RunError
from lt_extrap.files import write_whole_folder
from lt_extrap.runs import RESULTS
from lt_extrap.signals import Stopped
from lt_extrap.studies.granularity.config import GranularityConfig
from lt_extrap.studies.granularity.gaps import seconds_of
from lt_extrap.studies.granularity.point import NAMES, TEST, TRAIN, Point, draw, lists, points, profile
from lt_extrap.studies.granularity.pool import Pool, read_pool
from lt_extrap.studies.granularity.superclasses import choose_cut
from lt_extrap.train import train

LISTS, LOG = "data", "log.txt"  # of a run's folder; its own lists/ are copies of those in the cache


@dataclass(frozen=True)
class Study:
    """A study whose grid its pool can give.

    Attributes:
        config: of the command.
        folder: below which its run folders are.
        points: all of its runs.
        pool: that they are drawn from.
        superclasses: of the pool: labels by superclass.
        recipe: how each run is trained; its target is none yet.
    """

    config: GranularityConfig
    folder: Path
    points: tuple[Point, ...]
    pool: Pool
    superclasses: dict[str, list[int]]
    recipe: TrainConfig

    @property
    def pending(self) -> list[Point]:
        """The runs that have not ended."""
        return [point for point in self.points if not (self.folder / point.folder / RESULTS).is_file()]


def prepare(config: GranularityConfig, folder: Path) -> Study:
    """Read the pool, choose its superclasses, and compose the configuration of the runs; nothing is trained.

    Args:
        config: of the command.
        folder: of the study.

    Raises:
        LtExtrapError: the pool or the configuration of the runs is not what it should be, or the pool cannot give a
            point of the grid.
    """
    pool, grid = read_pool(config.pool, config.grid), config.grid
    superclasses = choose_cut([one.path for one in pool.classes], grid.classes, grid.superclasses)
    steps = config.pool.steps
    budget = f"budget={{unit: steps, amount: {steps}, warmup: {steps // 10}}}"
    # Hydra wants a target; each run has its own.
    recipe = configure(*config.pool.train, "target=lists", "target.train=-", "target.test=-", budget)
    return Study(
        config, folder, tuple(points(grid, config.seed)), pool, superclasses, replace(recipe, name=config.name)
    )


def plan(study: Study) -> str:
    """What the study takes: runs, steps and hours."""
    grid, pool = study.config.grid, study.config.pool
    pending, batch = len(study.pending), study.recipe.recipe.batch_size
    measured = seconds_of(study.folder, study.points)
    seconds = fmean(measured) if measured else pool.steps * batch / pool.images_per_second
    source = (
        f"{seconds:.0f} s a run, the mean of the {len(measured)} that have ended"
        if measured
        else f"{seconds:.0f} s a run, at pool.images_per_second={pool.images_per_second:g}"
    )
    sizes = sorted((len(labels) for labels in study.superclasses.values()), reverse=True)
    images = ", ".join(f"{sum(profile(grid.classes, grid.largest, ratio)):,} at {ratio:g}" for ratio in grid.ratios)
    hours = pending * seconds / 3600
    return "\n".join(
        [
            f"pool      {pool.name}: {study.pool.total:,} classes, of which {len(study.pool.classes):,} have "
            f"{grid.largest} training images and a test image",
            f"cut       {len(sizes)} superclasses of {sizes[0]} down to {sizes[-1]} classes",
            f"grid      {grid.classes} classes of {_listed(grid.superclasses)} superclasses x ratios "
            f"{_listed(grid.ratios)} x {grid.draws} draws: {len(study.points)} runs, {pending} of them to do",
            f"images    {grid.largest} of the largest class; in all {images}",
            f"steps     {pool.steps:,} of {batch} images a run, the same for all; {pending * pool.steps:,} in all",
            f"hours     {hours:.2g} by one process, {hours / 2:.2g} by two: {source}",
            f"folder    {study.folder}",
        ]
    )


def run(study: Study) -> list[Point]:
    """Train what has not ended, and what no other process is at.

    Returns:
        The runs that another process is at.

    Raises:
        LtExtrapError: a run cannot be trained, or its folder holds another one.
        Stopped: SIGTERM or SIGINT came; the run's state is saved, and the same call goes on.
    """
    for point in study.points:
        if point not in study.pending:
            _train(study, point)  # returns at once, or refuses what is another run
    while pending := study.pending:
        trained = sum([_done(study, point) for point in pending])
        if not trained:  # all of them are with other processes; one that fails leaves its run to us
            return study.pending
    return []


def _done(study: Study, point: Point) -> bool:
    """Train a point unless another process does."""
    if (study.folder / point.folder / RESULTS).is_file():
        return True  # another process was faster
    try:
        results = _train(study, point)
    except BusyError:
        return False
    ended = len(study.points) - len(study.pending)
    told = f"{100 * results['test']['acc']:.1f} overall, {results['seconds']:.0f} s"
    print(f"{ended} of {len(study.points)}  {point.folder}  {told}", flush=True)
    return True


def _train(study: Study, point: Point) -> dict[str, Any]:
    folder = study.folder / point.folder
    config = replace(study.recipe, seed=point.seed, target=_target(study, point, folder / LISTS))
    try:
        with (folder / LOG).open("a", buffering=1, encoding="utf-8") as log, redirect_stdout(log):
            return train(config, folder)
    except Stopped:
        print(f"stopped in {point.folder}: the same command goes on")
        raise


def _target(study: Study, point: Point, folder: Path) -> Target:
    """The target of a run: lists that are written into its folder.

    Raises:
        RunError: other lists are there.
    """
    grid = study.config.grid
    counts = profile(grid.classes, grid.largest, point.ratio)
    files = dict(lists(draw(study.superclasses, point, grid.classes), study.pool.classes, counts, point.seed))

    def write(new: Path) -> None:
        for name, content in files.items():
            (new / name).write_text(content, encoding="utf-8")

    write_whole_folder(folder, write)
    if others := [name for name, content in files.items() if (folder / name).read_text(encoding="utf-8") != content]:
        raise RunError(
            f"the lists of this study in {folder}",
            f"others: {', '.join(others)}",
            "give each pool, grid.largest and grid.classes its own name=..., or move that folder away",
        )
    return Target(
        root=str(folder), folder=study.config.pool.name, images=study.pool.images, train=TRAIN, test=TEST, names=NAMES
    )


def _listed(values: Sequence[int] | Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
