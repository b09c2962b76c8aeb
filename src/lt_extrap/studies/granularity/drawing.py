"""Figure 3: the gap over the imbalance ratio, a line a granularity."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lt_extrap.studies.granularity.gaps import MEASURES, Measured
from lt_extrap.table import mean_and_deviation

# Shape, line and shade tell the lines apart where a printer has no colors.
_MARKERS, _LINES = "ovs^Dp*X", ("-", "--", "-.", ":")


def draw_gaps(measured: Sequence[Measured]) -> Figure:
    """A panel a measure; mean and standard deviation over draws.

    Args:
        measured: at least one run that has ended.
    """
    granularities = sorted({one.point.superclasses for one in measured})
    ratios = sorted({one.point.ratio for one in measured}, reverse=True)
    figure = Figure(figsize=(4 * len(MEASURES), 4), dpi=150, layout="constrained")
    for axes, (measure, meaning) in zip(figure.subplots(1, len(MEASURES)), MEASURES.items(), strict=True):
        for i, superclasses in enumerate(granularities):
            spread = {}
            for place, ratio in enumerate(ratios):
                if measure == "adjusted" and ratio == 1:
                    continue  # 0 by its definition
                values = [
                    getattr(one, measure)
                    for one in measured
                    if one.point.superclasses == superclasses and one.point.ratio == ratio
                ]
                # Beside each other, so that the error bars do not cover one another.
                spread[place + 0.07 * (i - (len(granularities) - 1) / 2)] = mean_and_deviation(values)
            axes.errorbar(
                list(spread),
                [mean for mean, _ in spread.values()],
                yerr=[0 if deviation != deviation else deviation for _, deviation in spread.values()],
                label=f"{superclasses}",
                color=str(0.65 * i / max(1, len(granularities) - 1)),
                marker=_MARKERS[i % len(_MARKERS)],
                linestyle=_LINES[i % len(_LINES)],
                capsize=2.5,
                markersize=5,
            )
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
        axes.set_xlim(-0.4, len(ratios) - 0.6)
        axes.set_xlabel("imbalance ratio, smallest / largest class")
        axes.set_ylabel(meaning)
        axes.grid(axis="y", color="0.9")
    draws = max(
        sum(one.point.superclasses == s and one.point.ratio == r for one in measured)
        for s in granularities
        for r in ratios
    )
    over = f"mean ± standard deviation over {draws} draws" if draws > 1 else "1 draw"
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(labels),
        frameon=False,
        title=f"superclasses (fewer = finer); {over}",
    )
    return figure
