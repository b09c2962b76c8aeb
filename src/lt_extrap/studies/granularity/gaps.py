"""What imbalance costs at each point of a grid: head and tail accuracy, and the gap between them, three ways."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lt_extrap.errors import RunError
from lt_extrap.runs import PER_CLASS, RESULTS, read_json, read_table, settings
from lt_extrap.studies.granularity.config import GridConfig
from lt_extrap.studies.granularity.point import Point, profile

MEASURES = {
    "gap": "head less tail accuracy, points",
    "adjusted": "gap less that at ratio 1, points",
    "relative": "gap in % of head accuracy",
}


@dataclass(frozen=True)
class Measured:
    """A run of the study that has ended; accuracies in percent, means over classes.

    Attributes:
        point: of the grid.
        images: for training.
        overall, head, tail: accuracy of all classes, of the third with the most training images, and of the third
            with the fewest; at ratio 1 the same classes as at the other ratios.
        gap: head - tail, points.
        adjusted: gap less the one of the same classes at ratio 1, which is what they differ in by themselves; NaN
            where that run has not ended.
        relative: gap in percent of `head`; NaN where that is 0.
    """

    point: Point
    images: int
    overall: float
    head: float
    tail: float
    gap: float
    adjusted: float
    relative: float


def measure(folder: Path, points: Sequence[Point], grid: GridConfig) -> list[Measured]:
    """Read the runs of a study that have ended.

    Args:
        folder: of the study.
        points: of the grid.
        grid: that they are of.

    Raises:
        RunError: a run is of another grid or was trained in another way than the others, or a file cannot be read.
    """
    ended = [point for point in points if (folder / point.folder / RESULTS).is_file()]
    _check_alike([folder / point.folder for point in ended])
    accuracies = {point: _accuracies(folder / point.folder, point, grid) for point in ended}
    third = grid.classes // 3
    gaps = {point: fmean(of[:third]) - fmean(of[-third:]) for point, of in accuracies.items()}
    found = []
    for point, of in accuracies.items():
        head, balanced = fmean(of[:third]), Point(point.superclasses, 1.0, point.seed)
        found.append(
            Measured(
                point=point,
                images=sum(profile(grid.classes, grid.largest, point.ratio)),
                overall=fmean(of),
                head=head,
                tail=fmean(of[-third:]),
                gap=gaps[point],
                adjusted=gaps[point] - gaps.get(balanced, float("nan")),
                relative=100 * gaps[point] / head if head else float("nan"),
            )
        )
    return found


def _accuracies(run: Path, point: Point, grid: GridConfig) -> list[float]:
    """Accuracy of each class, percent, the one with the most training images first."""
    rows = read_table(run / PER_CLASS)
    counts = [int(row["train_images"]) for row in rows]
    if counts != profile(grid.classes, grid.largest, point.ratio):
        raise RunError(
            f"a run of {grid.classes} classes with {grid.largest} down to {grid.largest * point.ratio:g} images",
            f"one of {len(counts)} classes with {counts[0] if counts else 0} down to {counts[-1] if counts else 0} "
            f"in {run}",
            "give the grid.<key>=... that the study was made with, or another name=...",
        )
    return [100 * float(row["accuracy"]) for row in rows]


def _check_alike(runs: Iterable[Path]) -> None:
    """Let all runs be trained in one way; their lists differ by design, and are checked where they are trained."""
    first: tuple[Path, dict[str, object]] | None = None
    for run in runs:
        own = {key: value for key, value in settings(run).items() if not key.startswith("target.")}
        first = first or (run, own)
        if own != first[1]:
            keys = sorted(key for key in own.keys() | first[1].keys() if own.get(key) != first[1].get(key))
            raise RunError(
                f"runs that were trained in one way: {first[0]}",
                f"another {', '.join(keys)} in {run}",
                "give each study its own name=...",
            )


def seconds_of(folder: Path, points: Iterable[Point]) -> list[float]:
    """Seconds that the runs took which have ended."""
    files = [folder / point.folder / RESULTS for point in points]
    return [float(read_json(file)["seconds"]) for file in files if file.is_file()]
