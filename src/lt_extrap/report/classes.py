"""Tables with a line a class: what it gains over the baseline, and how many test images it loses to its neighbors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from lt_extrap.report.comparison import Comparison, are_of
from lt_extrap.report.outcomes import Outcomes
from lt_extrap.report.sheet import Column, Excerpt, Sheet, change, number, points
from lt_extrap.table import Group, Row

ENDS = 3  # of the largest gains of a row, and of its largest losses, that a page shows
MOST = 10  # targets of a row that lose the most
_CLASS = [*map(Column, ("row", "class", "name", "shot")), Column("training images", number(0))]
_SHARES = ("to a neighbor, %", "to any auxiliary class, %", "accuracy, %")


def gains(comparisons: Sequence[Comparison], key: str) -> Sheet | None:
    """Every class of every row against the baseline, the most frequent first; None without outcomes by class."""
    rows: list[list[Any]] = []
    shown: list[list[Any]] = []
    for one in comparisons:
        seeds = len(one.row.shared(one.baseline))
        classes = sorted(one.gains, key=lambda of: -of.train_images)
        lines: list[list[Any]] = [[one.row.label, *of[:4], seeds, of.baseline, of.accuracy, of.gain] for of in classes]
        by_gain = sorted(lines, key=lambda line: -line[-1])
        rows += lines
        shown += by_gain[:ENDS] + by_gain[max(ENDS, len(lines) - ENDS) :]
    if not rows:
        return None
    return Sheet(
        f"{key}-classes",
        f"Classes over {comparisons[0].baseline.label}, means over shared seeds",
        [
            *_CLASS,
            Column("seeds", number(0)),
            Column("baseline, %", points),
            Column("accuracy, %", points),
            Column("gain, points", change),
        ],
        rows,
        ["A class has few test images: the largest of many gains are in part the luckiest."],
        Excerpt(f"The {ENDS} largest gains and the {ENDS} largest losses of each row.", shown)
        if len(shown) < len(rows)
        else None,
    )


class _Taken(NamedTuple):
    """Of each target, mean over runs, percent of its test images; NaN without any."""

    of: Outcomes
    runs: int
    to_neighbors: Float64[np.ndarray, " classes"]
    to_auxiliary: Float64[np.ndarray, " classes"]
    accuracy: Float64[np.ndarray, " classes"]

    def shares(self, label: int) -> list[float]:
        """Of one target, as `_SHARES` names them."""
        return [float(values[label]) for values in (self.to_neighbors, self.to_auxiliary, self.accuracy)]


def taken_most(group: Group, key: str, outcomes: dict[Path, Outcomes | None], weights: str) -> Sheet | None:
    """The targets of each row whose test images are most often taken for a neighbor; None where none is.

    Args:
        group: the rows; a baseline that has auxiliary classes too stands beside the others.
        key: of the part.
        outcomes: of every run folder; None where there are none.
        weights: `test` or `last`; outcomes of others are left out.
    """
    against = _taken(group.baseline, outcomes, weights) if group.baseline else None
    rows: list[list[Any]] = []
    for row in group.rows:
        if (taken := _taken(row, outcomes, weights)) is None:
            continue
        beside = against if against and row is not group.baseline and against.of.of_same_images(taken.of) else None
        order = np.argsort(-taken.to_neighbors, kind="stable")[:MOST]  # NaN is last
        for label in order[taken.to_neighbors[order] > 0].tolist():
            of = taken.of
            named = [row.label, of.ids[label], of.names[label], of.shots[label], int(of.train_images[label])]
            rows.append([*named, taken.runs, *taken.shares(label)])
            if against:
                rows[-1] += beside.shares(label) if beside else [None] * len(_SHARES)
    if not rows:
        return None
    columns = [*_CLASS, Column("runs", number(0)), *(Column(name, points) for name in _SHARES)]
    if against:
        columns += [Column(f"baseline, {name}", points) for name in _SHARES]
    return Sheet(
        f"{key}-taken-most",
        f"The {MOST} targets of each row that lose most test images to their neighbors",
        columns,
        rows,
        ["Lost: the highest logit over all columns is that of a neighbor. The accuracy is among target classes alone."],
    )


def has_auxiliary(row: Row) -> bool:
    """Whether its runs have auxiliary classes."""
    return all(result.get("auxiliary_classes") for result in row.results.values())


def taken_by_run(row: Row, outcomes: dict[Path, Outcomes | None], weights: str) -> list[Outcomes] | None:
    """The outcomes of each run, all with what auxiliary columns take; None where a run has none of these weights."""
    runs = [outcomes.get(folder) if are_of(row, seed, weights) else None for seed, folder in row.folders.items()]
    found = [run for run in runs if run is not None and run.to_auxiliary is not None]
    return found if found and len(found) == len(runs) else None


def _taken(row: Row, outcomes: dict[Path, Outcomes | None], weights: str) -> _Taken | None:
    """None where a run of the row has no auxiliary columns, or no outcomes of these weights and the same classes."""
    found = taken_by_run(row, outcomes, weights)
    if found is None or not has_auxiliary(row) or not all(run.of_same_images(found[0]) for run in found):
        return None
    near = [run.to_neighbors for run in found if run.to_neighbors is not None]
    anywhere = [run.to_auxiliary for run in found if run.to_auxiliary is not None]
    tested = np.where(found[0].test_images > 0, found[0].test_images, np.nan)
    to_neighbors, to_auxiliary = (100 * np.mean(counts, axis=0) / tested for counts in (near, anywhere))
    accuracy = 100 * np.mean([run.accuracy for run in found], axis=0)
    return _Taken(found[0], len(found), to_neighbors, to_auxiliary, accuracy)
