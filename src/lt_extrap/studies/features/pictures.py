"""The two pictures of the study."""

from textwrap import fill, shorten
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lt_extrap.studies.features.study import Row, Study
from lt_extrap.studies.features.tails import Colored

# Shapes tell the classes apart where a printer has no colors: rings the head, triangles the tail, strokes the rest.
_STYLES: tuple[dict[str, Any], ...] = (
    {"marker": "o", "facecolors": "none", "edgecolors": "tab:blue"},
    {"marker": "^", "facecolors": "tab:red", "edgecolors": "black", "linewidths": 0.4},
    *(
        {"marker": marker, "color": color}
        for marker, color in zip(
            ("x", "+", "1", "2", "3", "4", "|", "_"),
            ("tab:green", "tab:purple", "tab:olive", "tab:brown", "tab:cyan", "tab:pink", "tab:gray", "tab:orange"),
            strict=True,
        )
    ),
)
MOST_AUXILIARY = (len(_STYLES) - 2) // 2  # classes of each of the pair


def panels(study: Study) -> Figure:
    """The pair in four planes, as in Fig. 2 of the paper; the silhouette under each is that of the whole features."""
    figure = Figure(figsize=(8, 8.8), dpi=150, layout="constrained")
    figure.suptitle(fill(study.about, 90), fontsize=10)
    for axes, panel, row in zip(figure.subplots(2, 2).ravel(), study.panels, _rows_of_panels(study), strict=True):
        # Auxiliary points first, so that they cover nothing; of the pair the tail, the smaller, on top.
        for number in sorted(range(len(panel.groups)), key=lambda number: (number < 2, number)):
            points = panel.plane.points[panel.group == number]
            axes.scatter(*points.T, s=26 if number < 2 else 20, **_STYLES[number])
        axes.set(title=panel.title, xticks=[], yticks=[])
        silhouette = row.measures.silhouette
        known = "" if silhouette != silhouette else f"; silhouette of the pair {silhouette:.2f}"
        axes.set_xlabel(panel.plane.how + known)
    names = max((panel.groups for panel in study.panels), key=len)
    handles = [_handle(number, name) for number, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def tokens(colored: Colored) -> Figure:
    """Tail images and the principal components of their tokens, as in Fig. 6 of the paper."""
    count = len(colored.names)
    figure = Figure(figsize=(1.5 + 1.35 * count, 4.9), dpi=150, layout="constrained")
    axes = figure.subplots(3, count, squeeze=False)
    rows: list[tuple[str, np.ndarray, str]] = [(f"{colored.split} image", colored.shown, "")]
    for name, parts in (("baseline", colored.baseline), ("ours", colored.ours)):
        height, width = parts.foreground.shape[1:]
        rows.append((name, parts.colors, f"{height} x {width} places\n{1 - parts.foreground.mean():.0%} removed"))
    for line, (name, pictures, about) in zip(axes, rows, strict=True):
        line[0].set_ylabel(name + (f"\n{about}" if about else ""), fontsize=9)
        for place, picture in zip(line, pictures, strict=True):
            place.imshow(picture, interpolation="nearest")
            place.set(xticks=[], yticks=[])
    for place, name in zip(axes[0], colored.names, strict=True):
        place.set_title(fill(shorten(name, 36, placeholder="..."), 16), fontsize=8)
    figure.supxlabel(
        "first three principal components of the foreground as red, green, blue; black: below the threshold of the "
        "first\ncolors mean the same within a row, and nothing across rows",
        fontsize=8,
    )
    return figure


def _rows_of_panels(study: Study) -> list[Row]:
    """The numbers of the pair that belong to each panel."""
    of_pair = study.rows[: len(study.rows) // 2]
    found = {(row.features, row.images == "training"): row for row in of_pair}
    return [found["start", True], found["baseline", True], found["baseline", False], found["ours", False]]


def _handle(number: int, name: str) -> Line2D:
    style = _STYLES[number]
    edge = style.get("edgecolors", style.get("color"))
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=str(style["marker"]),
        markerfacecolor=style.get("facecolors", edge),
        markeredgecolor=edge,
        label=name,
    )
