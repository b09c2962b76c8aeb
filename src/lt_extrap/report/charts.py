"""Charts of a report: shapes and lines tell measures apart without color, and a screen of a phone is wide enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lt_extrap.model.shots import Shot
from lt_extrap.report.comparison import Comparison
from lt_extrap.report.svg import COLORS, RC, inline
from lt_extrap.table import MEASURES

_WIDTH = 5.4  # inches, of 72 pixels
_BAND = 1.05  # inches that a row takes
_LONGEST = 62  # letters of a row's name that fit
_STYLES: dict[str, dict[str, Any]] = {
    "overall": {"marker": "o", "color": COLORS["ink"], "linestyle": "-"},
    "many": {"marker": "^", "color": COLORS["many"], "linestyle": "--"},
    "medium": {"marker": "s", "color": COLORS["medium"], "linestyle": "-."},
    "few": {"marker": "v", "color": COLORS["few"], "linestyle": ":"},
}
_SHOTS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)


@dataclass(frozen=True)
class Chart:
    """A chart of a page.

    Attributes:
        key: of its place: letters, digits and hyphens.
        caption: what it shows.
        svg: the element.
    """

    key: str
    caption: str
    svg: Markup


def differences_chart(comparisons: Sequence[Comparison], key: str) -> Chart:
    """The differences of rows from their baseline, with their intervals.

    Args:
        comparisons: at least one, of one baseline.
        key: of the chart.
    """
    with rc_context(RC):
        height = 1.0 + _BAND * len(comparisons)
        figure = Figure(figsize=(_WIDTH, height))
        axes: Axes = figure.add_axes((0.03, 0.55 / height, 0.94, 1 - 0.9 / height))
        for place, one in enumerate(comparisons):
            axes.text(0, place - 0.36, shortened(one.row.label), transform=axes.get_yaxis_transform(), va="center")
            for difference in one.differences:
                at = place - 0.14 + 0.145 * list(MEASURES).index(difference.measure)
                mean, low, high = difference.paired.mean, *(difference.interval or (math.nan, math.nan))
                style = {**_STYLES[difference.measure], "markersize": 5, "capsize": 2, "linewidth": 1.4}
                line = style.pop("linestyle")
                *_, bars = axes.errorbar(
                    [mean],
                    [at],
                    xerr=[[max(0.0, mean - low)], [max(0.0, high - mean)]] if low == low else None,
                    **style,
                )
                for bar in bars:
                    bar.set_linestyle(line)
        _verticals(axes, len(comparisons))
        axes.set(
            yticks=[],
            ylim=(len(comparisons) - 0.5, -0.55),
            xlabel=f"points over {shortened(comparisons[0].baseline.label, 44)}",
        )
        axes.spines["left"].set_visible(False)
        _legend(figure, {name: style for name, style in _STYLES.items() if _has(comparisons, name)})
        told = "; ".join(
            f"{one.row.label}: "
            + ", ".join(f"{difference.measure} {difference.paired.mean:+.1f}" for difference in one.differences)
            for one in comparisons
        )
        spans = [difference.interval for one in comparisons for difference in one.differences]
        known = "" if not any(spans) else ", with 95 % intervals" + ("" if all(spans) else " where they are known")
        caption = f"Differences from {comparisons[0].baseline.label}, points{known}"
        return Chart(key, caption, inline(figure, key, caption, told))


def gains_chart(comparison: Comparison, key: str) -> Chart:
    """What each class gains over the baseline, by its training images; a line is the mean of a group.

    Args:
        comparison: with gains.
        key: of the chart.
    """
    counts, gains, shots = (
        np.array([getattr(one, name) for one in comparison.gains]) for name in ("train_images", "gain", "shot")
    )
    told = []
    with rc_context(RC):
        figure = Figure(figsize=(_WIDTH, 3.1))
        axes: Axes = figure.add_axes((0.13, 0.17, 0.85, 0.70))
        axes.axhline(0, color=COLORS["soft"], linewidth=1)
        shown = {}
        for shot in _SHOTS:
            of = shots == shot
            if not of.any():
                continue
            style = _STYLES[shot]
            axes.plot(
                counts[of], gains[of], style["marker"], color=style["color"], markersize=4, alpha=0.75, clip_on=False
            )
            ends = [counts[of].min() * 0.93, counts[of].max() * 1.07]
            axes.plot(ends, [gains[of].mean()] * 2, style["linestyle"], color=style["color"], linewidth=2)
            shown[str(shot)] = style
            told.append(
                f"{shot}: {gains[of].mean():+.1f} on average, {(gains[of] > 0).sum()} of {of.sum()} classes rise, "
                f"{(gains[of] < 0).sum()} fall"
            )
        positive = counts[counts > 0]
        if len(positive):
            axes.set_xscale("log")
            ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
                     if positive.min() * 0.8 <= tick <= positive.max() * 1.25]  # fmt: skip
            axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
            axes.minorticks_off()
        axes.set(xlabel="training images of the class", ylabel="points gained")
        _legend(figure, shown)
        title = f"{comparison.row.label} over {comparison.baseline.label}, class by class"
        return Chart(key, title, inline(figure, key, title, "; ".join(told)))


def shortened(name: str, most: int = _LONGEST) -> str:
    """A name that fits and can be drawn; its end is what tells rows apart."""
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most - most // 2) :]}"


def _verticals(axes: Axes, rows: int) -> None:
    """The line at 0 and the grid, beside the intervals of each row alone: its name stands above these."""
    tops, ends = np.arange(rows) - 0.24, np.arange(rows) + 0.42
    axes.vlines(np.zeros(rows), tops, ends, COLORS["soft"], linewidth=1, zorder=1.5)
    low, high = axes.get_xlim()  # which the line at 0 has widened where that was outside
    axes.grid(visible=False)
    for tick in axes.get_xticks():
        if low <= tick <= high and tick != 0:
            axes.vlines(np.full(rows, tick), tops, ends, COLORS["line"], linewidth=0.8, zorder=0.5)
    axes.set_xlim(low, high)


def _has(comparisons: Sequence[Comparison], measure: str) -> bool:
    return any(difference.measure == measure for one in comparisons for difference in one.differences)


def _legend(figure: Figure, styles: dict[str, dict[str, Any]]) -> None:
    handles = [Line2D([], [], label=name, markersize=5, **style) for name, style in styles.items()]
    if handles:
        figure.legend(handles=handles, loc="upper center", ncols=len(handles), handlelength=3, borderaxespad=0.2)
