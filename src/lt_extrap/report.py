"""A table of finished runs: `python -m lt_extrap.report runs=runs/demo`.

Reads run.json and results.json of every folder below `runs`; a row is what differs in more than the seed.
"""

import csv
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from lt_extrap import cli
from lt_extrap.config import check
from lt_extrap.errors import RunError
from lt_extrap.paths import conf_dir
from lt_extrap.runs import RESULTS, RUN, read_json

MEASURES = {"overall": "acc", "many": "acc_many", "medium": "acc_medium", "few": "acc_few"}


@dataclass
class ReportConfig:
    """What to report.

    Attributes:
        runs: folder that holds run folders, at any depth.
        baseline: the row that all others are compared with, by seed; null = the shortest of component+baseline...,
            if there is one.
        weights: `test`: the selected weights, the headline; `last`: the last ones.
        csv: also write the table to this file; null = do not.
    """

    runs: str = "runs"
    baseline: str | None = None
    weights: str = "test"
    csv: str | None = None

    def __post_init__(self) -> None:
        check(self.weights in ("test", "last"), "weights", "test or last", self.weights)


@dataclass(frozen=True)
class Row:
    """Runs that differ in nothing but the seed: results by seed."""

    name: str
    results: dict[int, dict[str, Any]]

    def values(self, weights: str, measure: str) -> list[float]:
        """A measure of each run, percent."""
        return [self.value(seed, weights, measure) for seed in self.results]

    def value(self, seed: int, weights: str, measure: str) -> float:
        """A measure of one run, percent; NaN where its group is empty."""
        value = self.results[seed][weights][measure]
        return float("nan") if value is None else 100 * float(value)


def read_rows(folder: Path) -> tuple[list[Row], list[Path]]:
    """Find the finished runs below a folder and put them in rows, by name; and their folders.

    Raises:
        RunError: there is none.
    """
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    found = sorted(path.parent for path in folder.glob(f"**/{RESULTS}") if (path.parent / RUN).is_file())
    if not found:
        raise RunError(
            f"finished runs below {folder}",
            f"no folder with {RUN} and {RESULTS}",
            "train first, or give runs=...",
        )
    for run in found:
        results = read_json(run / RESULTS)
        name = re.sub(r"(^|-)seed\+\d+$", "", run.name) or "default"
        if run.parent != folder:
            name = f"{run.parent.relative_to(folder)}/{name}"
        if results["seed"] in rows.setdefault(name, {}):
            raise RunError(f"one run a seed in the row {name}", f"another in {run}", "move one of them away")
        rows[name][results["seed"]] = results
    return [Row(name, dict(sorted(results.items()))) for name, results in sorted(rows.items())], found


def tabulate(rows: Sequence[Row], config: ReportConfig) -> list[list[str]]:
    """The table, header first: accuracies in percent, mean ± standard deviation over seeds, then differences."""
    rows = sorted(rows, key=lambda row: len(row.name))
    baseline = next((row for row in rows if _is_baseline(row.name, config.baseline)), None)
    if config.baseline and baseline is None:
        raise RunError(
            f"a row {config.baseline} to compare with",
            "only " + ", ".join(row.name for row in rows),
            "set baseline=<one of these>",
        )
    others = sorted(
        (row for row in rows if row is not baseline),
        key=lambda row: statistics.fmean(row.values(config.weights, "acc")),
    )
    table = [["row", "runs", *MEASURES, "steps", "target views", "all views"]]
    for row in [baseline, *others] if baseline else others:
        table.append(
            [
                row.name,
                str(len(row.results)),
                *(_mean(row.values(config.weights, measure)) for measure in MEASURES.values()),
                *(_same(row, key) for key in ("steps", "target_views", "views")),
            ]
        )
    for row in others if baseline else []:
        assert baseline is not None
        seeds = sorted(row.results.keys() & baseline.results.keys())
        if seeds:
            table.append(
                [
                    f"{row.name} - {baseline.name}",
                    str(len(seeds)),
                    *(
                        _mean(
                            [row.value(s, config.weights, m) - baseline.value(s, config.weights, m) for s in seeds],
                            sign="+",
                        )
                        for m in MEASURES.values()
                    ),
                    "",
                    "",
                    "",
                ]
            )
    return table


def _is_baseline(name: str, wanted: str | None) -> bool:
    return name == wanted if wanted else name.split("/")[-1].startswith("component+baseline")


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal too."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _mean(values: Iterable[float], sign: str = "") -> str:
    known = [value for value in values if value == value]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):{sign}.1f}{spread}"


def _same(row: Row, key: str) -> str:
    values = {result[key] for result in row.results.values()}
    return f"{min(values):,}" if len(values) == 1 else f"{min(values):,}..{max(values):,}"


ConfigStore.instance().store(group="schema", name="report", node=ReportConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="report")
def task(config: DictConfig) -> None:
    """Hydra's entry: print the table and the folders it comes from."""
    options = ReportConfig(**config)  # type: ignore[arg-type]  # Hydra has checked keys and types
    rows, folders = read_rows(Path(options.runs))
    table = tabulate(rows, options)
    print(markdown(table))
    print("\n" + "\n".join(str(folder) for folder in folders))
    if options.csv:
        with Path(options.csv).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
