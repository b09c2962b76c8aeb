"""A figure of runs: accuracies over a swept number, or a line of dots a row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lt_extrap.table import MEASURES, Row, mean_and_deviation, varied

FORMATS = (".png", ".svg", ".pdf")
# Shape and line tell the measures apart where a printer has no colors.
_STYLES: dict[str, dict[str, Any]] = {
    "overall": {"marker": "o", "color": "black", "linestyle": "-", "linewidth": 2},
    "many": {"marker": "^", "color": "tab:blue", "linestyle": "--"},
    "medium": {"marker": "s", "color": "tab:orange", "linestyle": "-."},
    "few": {"marker": "v", "color": "tab:red", "linestyle": ":"},
}


def draw(rows: Sequence[Row], weights: str = "test") -> Figure:
    """Overall, many, medium and few of each row, mean and standard deviation over seeds.

    Args:
        rows: at least one. Where they differ in one setting and that is a number, it is the horizontal axis, a place
            a value; otherwise each row is a line of dots.
        weights: `test` or `last`.
    """
    key = _number(rows)
    longest = max(len(row.name) for row in rows)
    size = (6, 4) if key else (5 + 0.07 * longest, 1.6 + 0.45 * len(rows))
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    axes: Axes = figure.subplots()
    if key:
        rows = sorted(rows, key=lambda row: float(row.settings[key]))
    apart = 0.06 if key else 0.15  # the measures of a row, so that their error bars do not cover each other
    for i, (name, measure) in enumerate(MEASURES.items()):
        pairs = [mean_and_deviation(row.values(weights, measure)) for row in rows]
        means, deviations = [mean for mean, _ in pairs], [deviation for _, deviation in pairs]
        if all(mean != mean for mean in means):
            continue  # no class of this target is in the group
        places = [place + (i - 1.5) * apart for place in range(len(rows))]
        style = _STYLES[name] | {"label": name, "capsize": 2.5, "markersize": 5}
        if key:
            axes.errorbar(places, means, yerr=deviations, **style)
        else:
            axes.errorbar(means, places, xerr=deviations, **style | {"linestyle": "none"})
    accuracy = f"test accuracy, %{' (last weights)' if weights == 'last' else ''}\n{_seeds(rows)}"
    if key:
        axes.set_xticks(range(len(rows)), [f"{row.settings[key]:g}" for row in rows])
        axes.set_xlabel(key)
        axes.set_ylabel(accuracy)
    else:
        axes.set_yticks(range(len(rows)), [row.title for row in rows])
        axes.invert_yaxis()  # the first row on top, as in the table
        axes.set_xlabel(accuracy)
    axes.grid(axis="both" if key else "x", color="0.9")
    figure.legend(loc="outside upper center", ncols=len(MEASURES), frameon=False)
    return figure


def save(figure: Figure, file: Path) -> None:
    """Write a figure in the format of the file's ending, one of FORMATS: the same bytes for the same figure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    dated = {".svg": "Date", ".pdf": "CreationDate"}.get(file.suffix)
    with rc_context({"svg.hashsalt": "lt_extrap"}):  # or its ids are random
        figure.savefig(file, metadata={dated: None} if dated else None)


def _number(rows: Sequence[Row]) -> str | None:
    """The one setting in which rows differ, if that is one, and a number in each."""
    keys = varied(rows)
    if len(keys) != 1:
        return None
    values = [row.settings.get(keys[0]) for row in rows]
    return keys[0] if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values) else None


def _seeds(rows: Sequence[Row]) -> str:
    counts = sorted({len(row.results) for row in rows})
    if counts == [1]:
        return "1 seed"
    return f"mean ± standard deviation over {' to '.join(map(str, sorted({counts[0], counts[-1]})))} seeds"
