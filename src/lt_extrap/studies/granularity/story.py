"""What a study found, in a table and in words."""

from collections import defaultdict
from collections.abc import Sequence

from lt_extrap.studies.granularity.gaps import MEASURES, Measured
from lt_extrap.studies.granularity.trend import OPEN, Trend
from lt_extrap.table import markdown, mean_and_deviation

HEADER = ("superclasses", "ratio", "seed", "images", "overall", "head", "tail", *MEASURES)
_COLUMNS = {"gap": "gap", "adjusted": "less ratio 1", "relative": "% of head"}


def rows(measured: Sequence[Measured]) -> list[list[str]]:
    """A row a run, under HEADER; what is not known is empty."""
    return [
        [
            str(one.point.superclasses),
            f"{one.point.ratio:g}",
            str(one.point.seed),
            str(one.images),
            *("" if (value := getattr(one, key)) != value else f"{value:.3f}" for key in HEADER[4:]),
        ]
        for one in measured
    ]


def story(measured: Sequence[Measured], trends: Sequence[Trend], *, missing: int) -> str:
    """Table, trends and verdict in Markdown.

    Args:
        measured: at least one run that has ended.
        trends: of these.
        missing: runs that have not ended.
    """
    parts = [_means(measured)]
    if missing:
        parts.append(f"{missing} runs have not ended and are not in the table.")
    if trends:
        parts += [_trends(trends), verdict(trends)]
    else:
        parts.append("Finding 1: there is nothing to compare yet.")
    return "\n\n".join(parts) + "\n"


def verdict(trends: Sequence[Trend]) -> str:
    """What the study says of Finding 1: by the adjusted gap at the smallest ratio, then by the other two measures."""
    hardest = min(trend.ratio for trend in trends)
    by = {trend.measure: trend for trend in trends if trend.ratio == hardest}
    main = by["adjusted"] if "adjusted" in by else by["gap"]
    words = (
        f"Finding 1 (the finer, the smaller the gap) at ratio {hardest:g}, by the gap"
        f"{' less that at ratio 1' if main.measure == 'adjusted' else ''}: **{main.verdict}**. "
        f"A doubling of the superclasses changes it by {main.slope:+.1f} points"
    )
    if main.low != main.low:
        words += "; with one draw of a granularity there is no interval."
    else:
        words += f" (95 % interval {main.low:+.1f} to {main.high:+.1f}, over draws)."
        if main.verdict == OPEN and main.detectable == main.detectable:
            words += (
                f" A difference of {main.detectable:.1f} points from the finest to the coarsest would have been found."
            )
    others = [f"{MEASURES[key]}: {trend.verdict}" for key, trend in by.items() if trend is not main]
    return words + (" By the other measures: " + "; ".join(others) + "." if others else "")


def _means(measured: Sequence[Measured]) -> str:
    groups: dict[tuple[int, float], list[Measured]] = defaultdict(list)
    for one in measured:
        groups[one.point.superclasses, -one.point.ratio].append(one)
    keys = ("overall", "head", "tail", *MEASURES)
    table = [["superclasses", "ratio", "draws", "images", *(_COLUMNS.get(key, key) for key in keys)]]
    table += [
        [str(superclasses), f"{-minus:g}", str(len(group)), f"{group[0].images:,}"]
        + [_mean([getattr(one, key) for one in group]) for key in keys]
        for (superclasses, minus), group in sorted(groups.items())
    ]
    return markdown(table)


def _trends(trends: Sequence[Trend]) -> str:
    table = [
        ["by", "ratio", "a doubling of superclasses", "95 % interval", "detectable, finest to coarsest", "Finding 1"]
    ]
    for trend in trends:
        known = trend.low == trend.low
        interval = f"{trend.low:+.1f} to {trend.high:+.1f}" if known else "-"
        detectable = f"{trend.detectable:.1f}" if trend.detectable == trend.detectable else "-"
        table.append(
            [MEASURES[trend.measure], f"{trend.ratio:g}", f"{trend.slope:+.1f}", interval, detectable, trend.verdict]
        )
    return markdown(table)


def _mean(values: Sequence[float]) -> str:
    mean, deviation = mean_and_deviation(values)
    return "-" if mean != mean else f"{mean:.1f}" + (f" ± {deviation:.1f}" if deviation == deviation else "")
