"""The parts of a report, from rows of runs: what was reached, what is sure of it, what it took, how to repeat it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lt_extrap.report.classes import gains, has_auxiliary, taken_by_run, taken_most
from lt_extrap.report.comparison import Comparison, compare
from lt_extrap.report.outcomes import Outcomes
from lt_extrap.report.paper_rows import COMPONENTS, by_cell
from lt_extrap.report.sheet import Column, Estimate, Sheet, chance, change, duration, number, points, span
from lt_extrap.table import MEASURES, Group, Row, mean_and_deviation, same
from lt_extrap.uncertainty import RESAMPLES

PARTS = ("mean", "deviation")
ACCURACIES = [Column(name, points, PARTS) for name in MEASURES]
_NOT_TOLD = "not told"
_UNTOLD_DEVICE = "Runs of older versions do not tell their device: those of a line may be of several."


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        key: of its place on the page: letters, digits and hyphens.
        title: of the part.
        text: paragraphs before the tables.
        sheets: its tables.
        comparisons: what is drawn.
    """

    key: str
    title: str
    text: Sequence[str] = field(default=())
    sheets: Sequence[Sheet] = field(default=())
    comparisons: Sequence[Comparison] = field(default=())


def section_of(group: Group, key: str, outcomes: dict[Path, Outcomes | None], weights: str) -> Section:
    """The part of an experiment: its accuracies, differences, classes, components, mistakes and cost.

    Args:
        group: the rows.
        key: of the part.
        outcomes: of every run folder; None where there are none.
        weights: `test` or `last`.
    """
    comparisons = compare(group, outcomes, weights)
    sheets = [
        accuracies(group, key, weights),
        differences(comparisons, key),
        gains(comparisons, key),
        components(group, key, weights),
        taken_for(group, key, outcomes, weights),
        taken_most(group, key, outcomes, weights),
        cost(group, key),
    ]
    return Section(
        key,
        group.name or "runs",
        text=[*_told(group), *_taken_untold(group, outcomes, weights)],
        sheets=[sheet for sheet in sheets if sheet is not None],
        comparisons=[comparison for comparison in comparisons if comparison.differences],
    )


def accuracies(group: Group, key: str, weights: str) -> Sheet:
    """Mean and deviation over seeds of every row."""
    rows = [[row.label, len(row.results), *estimates(row, weights)] for row in group.rows]
    which = "the selected weights" if weights == "test" else "the last weights"
    return Sheet(
        f"{key}-accuracy",
        f"Test accuracy in percent, mean ± standard deviation over seeds, of {which}",
        [Column("row"), Column("runs", number(0)), *ACCURACIES],
        rows,
    )


def differences(comparisons: Sequence[Comparison], key: str) -> Sheet | None:
    """Every row against the baseline, measure by measure."""
    if not comparisons:
        return None
    rows = [
        [
            one.row.label,
            difference.measure,
            difference.paired.seeds,
            Estimate(difference.paired.mean, difference.paired.deviation),
            difference.interval,
            difference.paired.p,
            difference.corrected,
            difference.paired.detectable,
        ]
        for one in comparisons
        for difference in one.differences
    ]
    return Sheet(
        f"{key}-differences",
        f"Differences from {comparisons[0].baseline.label} in points, paired by seed",
        [
            Column("row"),
            Column("measure"),
            Column("seeds", number(0)),
            Column("difference", change, PARTS),
            Column("95 % interval", span, ("from", "to")),
            Column("p", chance),
            Column("p, Holm", chance),
            Column("detectable", number(1)),
        ],
        rows,
        list(_notes(comparisons)),
    )


def components(group: Group, key: str, weights: str) -> Sheet | None:
    """The cells of the paper's Table 6, direct and retrained; None where there are not two of them."""
    cells = by_cell(group.rows)
    papers = {
        ("baseline", False): "Baseline",
        ("random", True): "+ Random Category",
        ("neighbors", True): "+ Neighbor Category",
        ("silencing", True): "+ Neighbor Silencing",
        ("silencing", False): "+ Direct Classifier",
    }
    rows = [
        [
            name,
            "retrained" if again else "direct",
            papers.get((component, again)),
            row.label,
            len(row.results),
            *estimates(row, weights),
        ]
        for component, name in COMPONENTS.items()
        for again in (False, True)
        if (row := cells.get((component, again)))
    ]
    if len(rows) < 2:
        return None
    return Sheet(
        f"{key}-components",
        "Components of the method (as the paper's Table 6)",
        [
            *map(Column, ("component", "classifier", "row of the paper", "our row")),
            Column("runs", number(0)),
            *ACCURACIES,
        ],
        rows,
        [
            "RD: random auxiliary classes; SD: neighbors, label spaces merged. In the paper's table these two and "
            "Neighbor Silencing are retrained, and only the last row is direct; a dash is a cell that it does not have."
        ],
    )


def taken_for(group: Group, key: str, outcomes: dict[Path, Outcomes | None], weights: str) -> Sheet | None:
    """How many test images have their highest logit in an auxiliary column; None where no row tells it.

    Args:
        group: the rows.
        key: of the part.
        outcomes: of every run folder; None where there are none.
        weights: `test` or `last`; outcomes of others are left out.
    """
    rows: list[list[object]] = []
    for row in group.rows:
        if not has_auxiliary(row) or (runs := taken_by_run(row, outcomes, weights)) is None:
            continue
        for words, column in (("an auxiliary class", "to_auxiliary"), ("a neighbor of its own", "to_neighbors")):
            shares = [[_share(run, getattr(run, column), measure) for run in runs] for measure in MEASURES]
            rows.append([row.label, words, len(runs), *(Estimate(*mean_and_deviation(values)) for values in shares)])
    if not rows:
        return None
    return Sheet(
        f"{key}-taken-for",
        "Test images in percent whose highest logit over all columns is that of",
        [Column("row"), Column("of"), Column("runs", number(0)), *ACCURACIES],
        rows,
        ["The prediction is among target classes alone: this is what would become of the images if it were not."],
    )


def cost(group: Group, key: str) -> Sheet:
    """What the runs of each row took, on each device by itself: a mean over several is of no machine."""
    rows = [
        [
            row.label,
            device,
            len(of.results),
            *(same(of, name) for name in ("steps", "target_views", "views")),
            _mean(of, "seconds"),
            _mean_time(of, "images_per_second", 1.0),
            _mean_time(of, "peak_memory", 2**-30),
            _one(of, "trained_parameters"),
        ]
        for row in group.rows
        for device, of in _by_device(row)
    ]
    return Sheet(
        f"{key}-cost",
        "What a run takes",
        [
            Column("row"),
            Column("device"),
            Column("runs", number(0)),
            *(Column(name, str) for name in ("steps", "target views", "all views")),
            Column("time", duration, ("seconds",)),
            Column("images/s", number(0)),
            Column("peak memory, GiB", number(2)),
            Column("parameters trained", _whole),
        ],
        rows,
        [
            "Time, images/s and memory are means over the runs of a row on one device.",
            *([_UNTOLD_DEVICE] if any(row[1] == _NOT_TOLD for row in rows) else []),
        ],
    )


def estimates(row: Row, weights: str) -> list[Estimate]:
    """Mean and deviation of each measure, percent."""
    return [Estimate(*mean_and_deviation(row.values(weights, measure))) for measure in MEASURES.values()]


def _told(group: Group) -> Iterable[str]:
    """What the labels of the rows leave out, and why rows are in no table of differences."""
    if common := group.common():
        yield f"{common[0].upper()}{common[1:]}."
    if group.baseline is None:
        yield "No differences: no row is a baseline (component+baseline..., or the one that baseline= names)."
    elif alone := [row.label for row in group.unpaired()]:
        yield f"No difference from {group.baseline.label}, with which they share no seed: {', '.join(alone)}."


def _taken_untold(group: Group, outcomes: dict[Path, Outcomes | None], weights: str) -> Iterable[str]:
    """Why rows with auxiliary classes are in no table of what these take, which may leave none to have a note below."""
    untold = [row.label for row in group.rows if has_auxiliary(row) and not taken_by_run(row, outcomes, weights)]
    if untold:
        yield (
            f"What auxiliary classes take is not told of {', '.join(untold)}: not all runs have a per_class.csv that "
            "tells it, or theirs is of the selected weights, and the last are asked for."
        )


def _notes(comparisons: Sequence[Comparison]) -> Iterable[str]:
    found = [difference for one in comparisons for difference in one.differences]
    tests = {difference.paired.test for difference in found}
    if "sign flips" in tests:
        yield "p of 6 seeds and more: all sign flips of the differences (two in 2^n is the least that it can be)."
    if "paired t" in tests:
        yield "p of 2 to 5 seeds: paired t."
    if "none" in tests:
        yield "One seed has no p and no detectable difference."
    yield (
        "Holm: corrected for all differences of this table. Detectable: the smallest true difference that so many "
        "seeds of this spread find in 80 % of all experiments (two-sided, 5 %, paired t); a smaller one is not told "
        "from none."
    )
    with_interval = [one.row.label for one in comparisons if any(d.interval for d in one.differences)]
    if with_interval:
        yield (
            f"Interval: classes within their group and their test images resampled {RESAMPLES:,} times, the same for "
            "both rows; seeds by Student's t. Other draws move an end by about 0.5 % of the interval's width: an end "
            "at 0.0, whatever its sign, decides nothing."
        )
    if without := [one.row.label for one in comparisons if one.row.label not in with_interval]:
        yield (
            f"No interval for {', '.join(without)}: not all runs have the outcome of each test image (per_class.csv of "
            "this version, on the same images, of these weights). What is told of them rests on seeds alone."
        )


def _share(run: Outcomes, images: "np.ndarray[tuple[int], np.dtype[np.int64]]", measure: str) -> float:
    of = np.array([measure == "overall" or shot == measure for shot in run.shots])
    total = int(run.test_images[of].sum())
    return 100 * int(images[of].sum()) / total if total else float("nan")


def _mean(row: Row, key: str) -> float | None:
    values = [result[key] for result in row.results.values() if result.get(key) is not None]
    return float(np.mean(values)) if values else None


def _mean_time(row: Row, key: str, unit: float) -> float | None:
    values = [result["time"][key] for result in row.results.values() if result.get("time", {}).get(key) is not None]
    return unit * float(np.mean(values)) if values else None


def _one(row: Row, key: str) -> int | None:
    values = [int(result[key]) for result in row.results.values() if result.get(key) is not None]
    return max(values) if len(values) == len(row.results) else None


def _by_device(row: Row) -> list[tuple[str, Row]]:
    """The runs of a row on each device."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for seed, result in row.results.items():
        found.setdefault(result.get("device", _NOT_TOLD), {})[seed] = result
    return [(device, replace(row, results=of)) for device, of in sorted(found.items())]


def _whole(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
