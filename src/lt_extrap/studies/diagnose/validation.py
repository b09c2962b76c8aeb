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
from lt_extrap.studies.diagnose.verdict import CONTROLS, Verdict, judge, kind_of, verdict_lines

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
    """What neighbors gained, by group of classes, and what random classes and further target images did.

    A control is set beside neighbors by the comparisons that have both: of others the target sets differ too.
    """
    for kind in verdict["kinds"]:
        gains = kind["gains"]
        if METHOD not in gains or "few" not in gains[METHOD]:
            continue
        method = gains[METHOD]["few"]
        says = f"{kind['kind']}: neighbors changed the few-shot classes by {_gain(method)}"
        numbers = {"neighbors_few": method["points"][0]}
        table = [["row - baseline, points", *gains[METHOD], "over"]]
        table += [_line(row, of, gains[METHOD]) for row, of in gains.items()]
        for control, words in CONTROLS.items():
            both = kind.get("beside", {}).get(control, {})  # which older verdicts do not have
            if "few" not in both.get(METHOD, {}) or "few" not in both[control]:
                continue
            beside, found = both[METHOD]["few"], both[control]["few"]
            says += f"; {words} by {_gain(found)}"
            numbers[f"{control}_few"] = found["points"][0]
            if beside != method:
                says += f", where neighbors changed them by {_gain(beside)}"
                numbers[f"neighbors_few_beside_{control}"] = beside["points"][0]
                table.append(_line(f"{METHOD}, where {control} is too", both[METHOD], gains[METHOD]))
            if control == EXTRA and _above_none(beside) and _above_none(found):
                numbers["ratio"] = found["points"][0] / beside["points"][0]
                says += f": {numbers['ratio']:.1f} times as much, where they can be had"
        yield Statement(
            "Neighbors or further target images",
            f"gains, {kind['kind']}",
            says,
            "measured by do=validate",
            numbers,
            table,
        )


def _line(row: str, of: Mapping[str, Any], groups: Mapping[str, Any]) -> list[str]:
    most = max(of.values(), key=lambda cell: cell["n"])
    return [
        row,
        *(_points(of[group]["points"]) if group in of else "-" for group in groups),
        f"{most['n']} {most['over']}",
    ]


def in_short(statements: Sequence[Statement], verdict: Verdict) -> Iterator[Statement]:
    """Whether a pair of runs on this target set could show a gain of the size that was measured elsewhere.

    Args:
        statements: of the test images of the target set.
        verdict: with the gains.
    """
    gains = [
        kind["gains"][METHOD]["few"]["points"][0] for kind in verdict["kinds"] if "few" in kind["gains"].get(METHOD, {})
    ]
    told = [points for one in statements if (points := one.numbers.get("points_few")) is not None]
    if not gains or not told or max(gains) <= 0:
        return
    most = max(gains)
    says = (
        f"elsewhere neighbors changed the few-shot classes by {min(gains):+.1f} to {most:+.1f} points, by target set "
        f"and network; on this test list a pair of runs tells one from chance from {told[0]:.1f} points on"
    )
    if told[0] > most:
        says += (
            f": **it cannot show whether they help here**; about {(told[0] / most) ** 2:.1f} times as many test images "
            "of few-shot classes would show the largest of those gains"
        )
    yield Statement(
        "In short",
        "in_short",
        says,
        "the measured gains and the detectable differences below",
        {"least": min(gains), "most": most, "detectable": told[0]},
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
