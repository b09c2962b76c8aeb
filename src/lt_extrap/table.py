"""Runs in rows and columns: a row is what differs in more than the seed."""

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lt_extrap.errors import RunError
from lt_extrap.run_name import whole_row
from lt_extrap.runs import RESULTS, RUN, command_of, is_pretraining, read_json, settings

MEASURES = {"overall": "acc", "many": "acc_many", "medium": "acc_medium", "few": "acc_few"}
# Of another one of these no difference tells anything: other test images, or another tail.
_TARGET = re.compile(r"target\.(?!(neighbors|random|extra)\b)")
_PART = re.compile(r"-(?=[A-Za-z][\w.]*\+)")  # between the overrides of a name
_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class Row:
    """Runs that differ in nothing but the seed.

    Attributes:
        name: what the runs have in common, behind the folder that they lie in.
        settings: what decides their results, by key.
        results: content of results.json, by seed.
        folders: of the runs, by seed.
        common: the parts of the name that all rows of that folder have, but for the component.
    """

    name: str
    settings: dict[str, Any]
    results: dict[int, dict[str, Any]]
    folders: dict[int, Path] = field(default_factory=dict)
    common: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The folder that the runs lie in: rows are compared within it, an experiment as a rule."""
        return self.name.rpartition("/")[0]

    @property
    def short(self) -> str:
        """The name without that folder."""
        return self.name.rpartition("/")[2]

    @property
    def label(self) -> str:
        """What a reader needs of that: without what all rows have."""
        name, comma, inner = self.short.partition(", ")
        return ("-".join(part for part in _PART.split(name) if part not in self.common) or "default") + comma + inner

    @property
    def title(self) -> str:
        """The label behind the folder."""
        return "/".join(filter(None, (self.group, self.label)))

    def differences(self, other: "Row", weights: str, measure: str) -> list[float]:
        """A measure of each run minus that of the other row's run of the same seed, points, in the order of seeds."""
        return [self.value(seed, weights, measure) - other.value(seed, weights, measure) for seed in self.shared(other)]

    def shared(self, other: "Row") -> list[int]:
        """The seeds that both rows have."""
        return sorted(self.results.keys() & other.results.keys())

    def values(self, weights: str, measure: str) -> list[float]:
        """A measure of each run, percent."""
        return [self.value(seed, weights, measure) for seed in self.results]

    def value(self, seed: int, weights: str, measure: str) -> float:
        """A measure of one run, percent; NaN where its group is empty."""
        value = self.results[seed][weights][measure]
        return float("nan") if value is None else 100 * float(value)


def find_runs(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Run folders at any depth, by row and numbers in their order: classifiers, pretrainings, what has not ended."""
    found = (path.parent for path in folder.glob(f"**/{RUN}"))
    runs = sorted(found, key=lambda run: (_natural(row_name(run, folder)), _natural(run.name)))
    ended = [run for run in runs if (run / RESULTS).is_file()]
    pretrainings = [run for run in ended if is_pretraining(run)]
    return [run for run in ended if run not in pretrainings], pretrainings, [run for run in runs if run not in ended]


def row_name(run: Path, root: Path) -> str:
    """The row of a run below a root: its folder without the seed; a run in a run folder is named after that."""
    if (run.parent / RUN).is_file():
        return f"{row_name(run.parent, root)}, {run.name}"
    name = whole_row(run.name, command_of(read_json(run / RUN))[1:])
    if run == root:
        return name
    return name if run.parent == root else f"{run.parent.relative_to(root)}/{name}"


def read_rows(runs: Iterable[tuple[str, Path]]) -> list[Row]:
    """Put finished runs in rows.

    Args:
        runs: the row and the folder of each, in the order that the rows shall have.

    Raises:
        RunError: a file cannot be read, or a row has two runs of one seed.
    """
    results: dict[str, dict[int, dict[str, Any]]] = {}
    decided: dict[str, dict[str, Any]] = {}
    folders: dict[str, dict[int, Path]] = {}
    for name, run in runs:
        content = read_json(run / RESULTS)
        if content["seed"] in results.setdefault(name, {}):
            raise RunError(f"one run a seed in the row {name}", f"another in {run}", "move one of them away")
        results[name][content["seed"]] = content
        decided[name] = settings(run)
        folders.setdefault(name, {})[content["seed"]] = run
    rows = [
        Row(name, decided[name], dict(sorted(results[name].items())), dict(sorted(folders[name].items())))
        for name in results
    ]
    common = {folder: _common([row.short for row in rows if row.group == folder]) for folder in {r.group for r in rows}}
    return [replace(row, common=common[row.group]) for row in rows]


def _common(names: Sequence[str]) -> tuple[str, ...]:
    """The overrides that all of several names have, without their component."""
    parts = [_PART.split(name.partition(", ")[0]) for name in dict.fromkeys(names)]
    if len(parts) < 2:
        return ()
    return tuple(
        part for part in parts[0] if not part.startswith("component+") and all(part in others for others in parts)
    )


@dataclass(frozen=True)
class Group:
    """Rows that lie in one folder and are of one target: the same classes, tail and test images.

    Attributes:
        name: of the folder, empty where that is the root; and what tells its target from others in that folder.
        rows: a baseline first.
        baseline: which the others are compared with; None where there is none.
    """

    name: str
    rows: list[Row]
    baseline: Row | None

    def common(self) -> str | None:
        """What the labels leave out, in words; None where that is nothing."""
        left_out = self.rows[0].common if self.rows else ()
        return "in all rows: " + ", ".join(part.replace("+", "=", 1) for part in left_out) if left_out else None

    def compared(self) -> list[Row]:
        """The rows that share a seed with the baseline."""
        against = self.baseline
        return [row for row in self.rows if against and row is not against and row.shared(against)]

    def unpaired(self) -> list[Row]:
        """The rows that share no seed with the baseline, and so cannot be compared with it."""
        against = self.baseline
        return [row for row in self.rows if against and not row.shared(against)]


def groups_of(rows: Sequence[Row], baseline: str | None = None) -> list[Group]:
    """Put rows together that are compared.

    Args:
        rows: in their order.
        baseline: as of `tabulate`.

    Raises:
        RunError: there is no such baseline.
    """
    members: dict[str, list[Row]] = {}
    differ = {
        folder: [key for key in varied([row for row in rows if row.group == folder]) if _TARGET.match(key)]
        for folder in {row.group for row in rows}
    }
    for row in rows:
        target = ", ".join(f"{key}={row.settings.get(key)}" for key in differ[row.group])
        members.setdefault(", ".join(filter(None, (row.group, target))), []).append(row)
    if baseline is None:
        members = {
            ", ".join(filter(None, (name, more))): own
            for name, all_rows in members.items()
            for more, own in _by_baseline(all_rows).items()
        }
    groups = []
    for name, own in members.items():
        against = _baseline(own, baseline)
        ordered = [against, *(row for row in own if row is not against)] if against else own
        groups.append(Group(name, ordered, against))
    if baseline and not any(group.baseline for group in groups):
        raise RunError(
            f"a row {baseline} to compare with",
            "only " + ", ".join(row.title for row in rows),
            "set baseline=<one of these>",
        )
    return groups


def _by_baseline(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by what they override beside the component, where several of these have a baseline of their own.

    Else an adapter beside a loss of its own would be told as the gain of a component. A row whose overrides no baseline
    has is with the one that overrides least.
    """
    beside = {row.name: re.sub(r"^component\+[^-,+]+(-|$)", "", row.label.partition(", ")[0]) for row in rows}
    least = _baseline(rows, None)
    own = [
        words
        for words in dict.fromkeys(beside.values())
        if len(of := [row for row in rows if beside[row.name] == words]) > 1 and _baseline(of, None)
    ]
    if least is None or not set(own) - {beside[least.name]}:
        return {"": list(rows)}
    found: dict[str, list[Row]] = {}
    for row in rows:
        words = beside[row.name] if beside[row.name] in own else beside[least.name]
        found.setdefault(", ".join(part.replace("+", "=", 1) for part in _PART.split(words)), []).append(row)
    return found


def tabulate(rows: Sequence[Row], *, baseline: str | None = None, weights: str = "test") -> list[list[str]]:
    """The table, header first: accuracies in percent, mean ± standard deviation over seeds, then differences.

    Args:
        rows: in their order, but for baselines, which come first in their group.
        baseline: the row that the others of its group are compared with, by seed; null = the component+baseline of
            the same other overrides, or the shortest one.
        weights: `test` or `last`.

    Raises:
        RunError: there is no such baseline.
    """
    table = [["row", "runs", *MEASURES, "steps", "target views", "all views"]]
    differences = []
    for group in groups_of(rows, baseline):
        table += [
            [
                row.title,
                str(len(row.results)),
                *(_mean(row.values(weights, measure)) for measure in MEASURES.values()),
                *(same(row, key) for key in ("steps", "target_views", "views")),
            ]
            for row in group.rows
        ]
        if group.baseline:
            differences += [_difference(row, group.baseline, weights) for row in group.compared()]
    return [*table, *differences]


def varied(rows: Sequence[Row]) -> list[str]:
    """The settings in which rows differ, by key."""
    keys = sorted({key for row in rows for key in row.settings})
    first = rows[0].settings
    return [key for key in keys if any(row.settings.get(key) != first.get(key) for row in rows)]


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    """Mean and standard deviation of what is known; NaN for the mean of nothing and the deviation of one."""
    known = [value for value in values if value == value]
    nan = float("nan")
    return (statistics.fmean(known) if known else nan, statistics.stdev(known) if len(known) > 1 else nan)


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal too."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _natural(name: str) -> list[str | float]:
    """A key by which 0.01 comes before 0.1 and 5 before 10: text and numbers take turns."""
    return [float(part) if i % 2 else part for i, part in enumerate(_NUMBER.split(name))]


def _baseline(rows: Iterable[Row], wanted: str | None) -> Row | None:
    def is_one(row: Row) -> bool:
        if wanted:
            return wanted in (row.name, row.short, row.title, row.label)
        return row.short.startswith("component+baseline")

    return min(filter(is_one, rows), key=lambda row: len(row.name), default=None)


def _difference(row: Row, baseline: Row, weights: str) -> list[str]:
    return [
        f"{row.title} - {baseline.label}",
        str(len(row.shared(baseline))),
        *(_mean(row.differences(baseline, weights, measure), sign="+") for measure in MEASURES.values()),
        *[""] * 3,
    ]


def _mean(values: Iterable[float], sign: str = "") -> str:
    mean, deviation = mean_and_deviation(values)
    if mean != mean:
        return "-"
    return f"{mean:{sign}.1f}" + (f" ± {deviation:.1f}" if deviation == deviation else "")


def same(row: Row, key: str) -> str:
    """A whole number of results.json, or the least and the most of it where the runs differ."""
    values = {result[key] for result in row.results.values()}
    return f"{min(values):,}" if len(values) == 1 else f"{min(values):,}..{max(values):,}"
