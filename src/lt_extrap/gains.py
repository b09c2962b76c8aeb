"""What a run gains over its baseline, class by class, and what the images of those classes are taken for."""

from collections import defaultdict
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from lt_extrap.runs import CONFUSIONS, PER_CLASS, RESULTS, read_table, write_table

GAINS = "gains.csv"
_MISTAKES = 3  # that are named, most frequent first


@dataclass(frozen=True)
class Gain:
    """A class that the run recognises better than the baseline.

    Attributes:
        label: its id.
        test_images: at least 1.
        before, now: its accuracy in the baseline and in the run, 0..1.
        mistaken_before, mistaken_now: what its test images are most often taken for, `name images; ...`.
    """

    label: int
    name: str
    shot: str
    test_images: int
    before: float
    now: float
    mistaken_before: str
    mistaken_now: str


def baseline_of(folder: Path, seed: int) -> Path | None:
    """The folder of the baseline run that stands beside a run and has the same seed, if that has ended.

    A baseline of other classes or of another number of test images is none.
    """
    baseline = folder.with_name(f"component+baseline-seed+{seed}")
    if baseline.name == folder.name or not all(
        (baseline / file).is_file() for file in (RESULTS, PER_CLASS, CONFUSIONS)
    ):
        return None
    columns = ("class", "name", "test_images")
    tested, tested_before = (
        [[row[column] for column in columns] for row in read_table(run / PER_CLASS)] for run in (folder, baseline)
    )
    return baseline if tested == tested_before else None


def largest_gains(folder: Path, baseline: Path, most: int = 10) -> list[Gain]:
    """The classes whose test accuracy rises most, the largest rise first; fewer than `most` where fewer rise.

    Args:
        folder: of a run with per_class.csv and confusions.csv.
        baseline: of another one on the same test images.
        most: the number of classes.
    """
    rows, rows_before = read_table(folder / PER_CLASS), read_table(baseline / PER_CLASS)
    names = [row["name"] for row in rows]
    mistakes, mistakes_before = _mistakes(folder, names), _mistakes(baseline, names)
    gains = [
        Gain(
            label=int(row["class"]),
            name=row["name"],
            shot=row["shot"],
            test_images=int(row["test_images"]),
            before=float(before["accuracy"]),
            now=float(row["accuracy"]),
            mistaken_before=mistakes_before[row["class"]],
            mistaken_now=mistakes[row["class"]],
        )
        for row, before in zip(rows, rows_before, strict=True)
        if row["accuracy"] and float(row["accuracy"]) > float(before["accuracy"])
    ]
    return sorted(gains, key=lambda gain: gain.before - gain.now)[:most]


def write_gains(path: Path, gains: list[Gain]) -> None:
    """Write a row a class, in the order given."""
    write_table(path, ["class", *(field.name for field in fields(Gain)[1:])], map(astuple, gains))


def _mistakes(folder: Path, names: list[str]) -> dict[str, str]:
    """For each class id what its images are most often taken for; the file has the most frequent first."""
    mistakes = defaultdict(list)
    for row in read_table(folder / CONFUSIONS):
        mistakes[row["class"]].append(f"{names[int(row['predicted'])]} {row['images']}")
    return defaultdict(str, {label: "; ".join(taken[:_MISTAKES]) for label, taken in mistakes.items()})
