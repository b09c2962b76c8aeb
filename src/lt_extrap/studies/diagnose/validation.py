"""Predicted against measured gains, on embedded worlds and on runs that are there: `do=validate`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lt_extrap import runs
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.errors import RunError
from lt_extrap.studies.diagnose.measured import (
    EXTRA,
    METHOD,
    GroupGains,
    World,
    comparisons,
    group_gains,
    network_of,
    read_world,
)
from lt_extrap.studies.diagnose.statement import Statement
from lt_extrap.studies.diagnose.verdict import Verdict, judge, kind_of, verdict_lines

PART = "Predicted against measured gains"


def validate(folders: Sequence[Path], wordnet: WordNet | None, resamples: int) -> tuple[Verdict, list[Statement]]:
    """Read all comparisons below some folders and judge the score by them.

    Raises:
        RunError: there is none.
        LtExtrapError: the data of a run with accuracies of classes is not there, or has changed.
    """
    worlds: list[World] = []
    gains: dict[str, list[GroupGains]] = defaultdict(list)
    for rows in [rows for folder in folders for rows in comparisons(folder)]:
        world = read_world(rows, wordnet)
        worlds += [world] if world is not None else []
        gains[_kind(next(iter(rows["baseline"].values())))].append(group_gains(rows))
    if not gains:
        raise RunError(
            "finished runs of component=baseline and component=silencing that share all else",
            f"none below {', '.join(map(str, folders)) or 'any folder'}",
            "train both, or set worlds=10, which trains embedded worlds",
        )
    verdict = judge(worlds, gains, resamples)
    return verdict, [*_correlations(verdict), *gain_statements(verdict)]


def gain_statements(verdict: Verdict) -> Iterator[Statement]:
    """What neighbors and what further target images gained, by group of classes.

    The two are set against each other by the comparisons that have both: of others the target sets differ too.
    """
    for kind in verdict["kinds"]:
        gains, of_both = kind["gains"], kind.get("gains_of_both", {})  # which older verdicts do not have
        if METHOD not in gains or "few" not in gains[METHOD]:
            continue
        method = gains[METHOD]["few"]
        says = f"{kind['kind']}: neighbors changed the few-shot classes by {_gain(method)}"
        numbers = {"neighbors_few": method["points"][0]}
        if "few" in of_both.get(METHOD, {}) and "few" in of_both[EXTRA]:
            beside, extra = of_both[METHOD]["few"], of_both[EXTRA]["few"]
            says += f"; as many further target images by {_gain(extra)}"
            if beside != method:
                says += f", where neighbors changed them by {_gain(beside)}"
                numbers["neighbors_few_of_both"] = beside["points"][0]
            numbers["target_extra_few"] = extra["points"][0]
            if _above_none(beside) and _above_none(extra) and extra["points"][0] > beside["points"][0]:
                numbers["ratio"] = extra["points"][0] / beside["points"][0]
                says += f": {numbers['ratio']:.1f} times as much, where they can be had"
        table = [["row - baseline, points", *gains[METHOD], "over"]]
        apart = {f"{row}, where both are": of for row, of in of_both.items() if of != gains[row]}
        for row, of in (gains | apart).items():
            most = max(of.values(), key=lambda cell: cell["n"])
            cells = (_points(of[group]["points"]) if group in of else "-" for group in gains[METHOD])
            table.append([row, *cells, f"{most['n']} {most['over']}"])
        yield Statement(
            "Neighbors or further target images",
            f"gains, {kind['kind']}",
            says,
            "measured by do=validate",
            numbers,
            table,
        )


def _correlations(verdict: Verdict) -> Iterator[Statement]:
    lines = iter(verdict_lines(verdict))
    for kind in verdict["kinds"]:
        if "correlation" not in kind:
            continue
        yield Statement(
            PART,
            f"correlation, {kind['kind']}",
            f"{next(lines)}. The measured gains rank the classes with a reliability of "
            f"{_shown(kind['reliability'])} over other {kind['reliable_over']}",
            f"per_class.csv of {_all(kind['seeds'])} pairs of runs a world, {_all(kind['classes'])} classes; 95 % by "
            "the bootstrap over worlds and classes",
            {
                key: kind[key] if not isinstance(kind[key], list) else kind[key][0]
                for key in ("worlds", "correlation", "counts_alone", "beyond_counts", "reliability")
            }
            | {"low": kind["correlation"][1], "high": kind["correlation"][2]},
        )


def _kind(run: Path) -> str:
    return kind_of(str(runs.settings(run)["target.folder"]), network_of(run))


def _above_none(cell: Mapping[str, Any]) -> bool:
    """Whether its interval lies above 0."""
    low = cell["points"][1]
    return low is not None and low > 0


def _gain(cell: Mapping[str, Any]) -> str:
    """A mean with its interval, and what that rests on."""
    _, low, high = cell["points"]
    if low is None or high is None:
        return f"{_points(cell['points'])} points (of a single pair of runs: not told from none)"
    rests = f"sd {cell['deviation']:.1f} of {cell['n']} {cell['over']}"
    return f"{_points(cell['points'])} points ({rests}{'' if low > 0 or high < 0 else ': not told from none'})"


def _points(numbers: Sequence[float | None]) -> str:
    value, low, high = numbers
    return f"{value:+.1f}" + (f" [{low:+.1f}, {high:+.1f}]" if low is not None and high is not None else "")


def _shown(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.2f}"


def _all(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))
