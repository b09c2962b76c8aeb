"""Whether the predicted gains hold: what `do=validate` measured, kept as a file beside this one."""

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from lt_extrap.errors import RunError
from lt_extrap.studies.diagnose.correlation import Interval, over_worlds, partial_spearman, reliability, spearman
from lt_extrap.studies.diagnose.measured import EXTRA, METHOD, RANDOM, GroupGains, World
from lt_extrap.studies.diagnose.score import FORMULA

VERDICT = "verdict.json"
CONTROLS = {RANDOM: "random classes", EXTRA: "as many further target images"}
Verdict = dict[str, Any]


def judge(worlds: Sequence[World], group_gains: Mapping[str, Sequence[GroupGains]], resamples: int) -> Verdict:
    """Compare predicted and measured gains, for each kind of target set and network by itself.

    Args:
        worlds: those with accuracies of classes.
        group_gains: by kind (see `kind_of`), of each comparison the points that a row gains.
        resamples: of the bootstrap of correlations.
    """
    kinds = sorted({kind_of(world.target, world.backbone) for world in worlds} | group_gains.keys())
    found = []
    for kind in kinds:
        of = [world for world in worlds if kind_of(world.target, world.backbone) == kind]
        gains = group_gains.get(kind, ())
        found.append(
            {
                "kind": kind,
                **(_correlations(of, resamples) if of else {}),
                "gains": _gains(gains),
                "beside": {row: _gains([rows for rows in gains if METHOD in rows and row in rows]) for row in CONTROLS},
            }
        )
    return {"formula": FORMULA, "kinds": found}


def kind_of(target: str, backbone: str) -> str:
    """What a verdict holds for."""
    return f"{target}, {backbone}"


def holds(verdict: Verdict) -> bool:
    """Whether every interval of a rank correlation lies above 0, and there is one."""
    intervals = [kind["correlation"] for kind in verdict["kinds"] if "correlation" in kind]
    return bool(intervals) and all(low is not None and low > 0 for _, low, _ in intervals)


def read_verdict(path: Path | None) -> Verdict | None:
    """Read a verdict on this score; None where the package has none, or one on another formula.

    Args:
        path: null = that of the package.

    Raises:
        RunError: the file that was asked for cannot be read, or is of another formula.
    """
    if path is None:
        own = files(__package__) / VERDICT
        if not own.is_file():
            return None
        verdict: Verdict = json.loads(own.read_text(encoding="utf-8"))
        return verdict if verdict["formula"] == FORMULA else None
    try:
        verdict = json.loads(path.read_text(encoding="utf-8"))
        found = verdict["formula"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{type(error).__name__}: {error}"
    if found != FORMULA:
        raise RunError(f"a verdict on {FORMULA} in {path}", found, "run do=validate")
    return verdict


def verdict_lines(verdict: Verdict | None) -> list[str]:
    """What was found, a line a kind."""
    if verdict is None:
        return ["never compared with measured gains (do=validate does)"]
    return [_line(kind) for kind in verdict["kinds"] if "correlation" in kind] or [
        "never compared with measured gains of classes (do=validate does)"
    ]


def _line(kind: Mapping[str, Any]) -> str:
    _, low, high = kind["correlation"]
    undecided = low is None or high is None or low <= 0 <= high
    words = "undecided" if undecided else "held" if low > 0 else "did not hold"
    ceiling = (
        "" if kind["ceiling"] is None else f", where {kind['ceiling']:.2f} is about the most that such noise allows"
    )
    return (
        f"{words} on {kind['worlds']} {'world' if kind['worlds'] == 1 else 'worlds'} of {kind['kind']}: "
        f"rho = {_interval(kind['correlation'])}{ceiling}; by the number of images alone "
        f"{_interval(kind['counts_alone'])}; beyond that number {_interval(kind['beyond_counts'])}"
    )


def _interval(numbers: Sequence[float | None]) -> str:
    value, low, high = (float("nan") if number is None else number for number in numbers)
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _correlations(worlds: Sequence[World], resamples: int) -> dict[str, Any]:
    columns = [world.columns() for world in worlds]
    rarity = [(-counts, gain) for _, gain, counts in columns]
    reliable = _mean([reliability(_known(world.halves)) for world in worlds])
    return {
        "worlds": len(worlds),
        "seeds": sorted({len(world.seeds) for world in worlds}),
        "classes": sorted({len(counts) for _, _, counts in columns}),
        "correlation": _plain(over_worlds(columns, lambda score, gain, _: spearman(score, gain), resamples)),
        "counts_alone": _plain(over_worlds(rarity, spearman, resamples)),
        "beyond_counts": _plain(over_worlds(columns, partial_spearman, resamples)),
        "by_world": [_number(spearman(score, gain)) for score, gain, _ in columns],
        "reliability": _number(reliable),
        "ceiling": _number(math.sqrt(reliable) if reliable > 0 else float("nan")),
        "reliable_over": _over(worlds),
    }


def _known(halves: Float64[np.ndarray, "seeds halves target"]) -> Float64[np.ndarray, "seeds halves known"]:
    return halves[:, :, np.isfinite(halves).all(axis=(0, 1))]


def _over(worlds: Sequence[World]) -> str:
    """What would be others in the runs that the reliability speaks of."""
    kinds = []
    if all(len(world.seeds) > 1 for world in worlds):
        kinds.append("seeds")
    if all(world.halves.shape[1] > 1 for world in worlds):
        kinds.append("test images")
    return " and ".join(kinds) or "nothing"


def _gains(comparisons: Sequence[GroupGains]) -> dict[str, dict[str, Any]]:
    """The mean of each row and group over comparisons, points, and how sure it is; of one comparison over its seeds."""
    rows = sorted({row for gains in comparisons for row in gains})
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        groups = dict.fromkeys(group for gains in comparisons for group in gains.get(row, ()))
        found[row] = {}
        for group in groups:
            of = [gains[row][group] for gains in comparisons if group in gains.get(row, ())]
            values = np.array([np.mean(seeds) for seeds in of] if len(of) > 1 else of[0])
            found[row][group] = {
                "points": _plain(_mean_interval(values)),
                "deviation": _number(float(values.std(ddof=1)) if len(values) > 1 else math.nan),
                "n": len(values),
                "over": "comparisons" if len(of) > 1 else "seeds",
            }
    return found


def _mean_interval(values: Float64[np.ndarray, " values"]) -> Interval:
    """That of Student's t: a bootstrap of a few values is far too narrow."""
    from scipy.special import stdtrit

    count, mean = len(values), float(values.mean())
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def _plain(interval: Interval) -> list[float | None]:
    return [_number(value) for value in interval]


def _number(value: float) -> float | None:
    return None if value != value else round(value, 4)
