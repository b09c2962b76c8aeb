"""A table with values in its cells, which each format spells in its own way."""

import csv
import io
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from lt_extrap.table import markdown
from lt_extrap.uncertainty import Interval

NONE = "-"
LINES_OF_A_PAGE = 40  # of a LaTeX table


class Estimate(NamedTuple):
    """A mean over seeds, and their standard deviation; NaN where there is none."""

    mean: float
    deviation: float


def text(value: Any) -> str:
    """Words as they are, whole numbers by thousands, nothing as a dash."""
    if value is None or value != value:
        return NONE
    return f"{value:,}" if isinstance(value, int) else str(value)


def code(value: str | None) -> str:
    """Words for a shell, as they are."""
    return value or NONE


def points(value: Estimate | float | None) -> str:
    """A percentage with one digit, and its deviation where there is one."""
    return _estimate(value, "")


def change(value: Estimate | float | None) -> str:
    """The same of a difference, which has a sign."""
    return _estimate(value, "+")


def span(value: Interval | None) -> str:
    """An interval of differences. An end that is rounded to 0 keeps its sign: on which side of 0 it came out."""
    return NONE if value is None else " to ".join(f"{end:+.1f}" if end else "0.0" for end in value)


def chance(value: float | None) -> str:
    """A p value."""
    if value is None or value != value:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """A time in the largest of s, min and h that it fills."""
    if seconds is None or seconds != seconds:
        return NONE
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:.1f} s"


def number(digits: int) -> Callable[[float | None], str]:
    """How a number with so many digits is shown."""
    return lambda value: NONE if value is None or value != value else f"{value:,.{digits}f}"


class Column(NamedTuple):
    """A column.

    Attributes:
        name: its header.
        show: how a value is shown.
        parts: of a value that is a tuple, the headers behind its name in CSV.
    """

    name: str
    show: Callable[[Any], str] = text
    parts: tuple[str, ...] = ()

    @property
    def numeric(self) -> bool:
        """Whether it is set to the right."""
        return self.show not in (text, code)


class Excerpt(NamedTuple):
    """What a page and Markdown show of a table that is too long for them.

    Attributes:
        of: which rows these are, a sentence.
        rows: these.
    """

    of: str
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        key: of its files and its place on a page: letters, digits and hyphens.
        title: what it shows.
        columns: the first names the row.
        rows: a value a column.
        notes: what a reader has to know, a sentence each.
        excerpt: of a table that CSV and LaTeX alone have whole.
    """

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = field(default=())
    excerpt: Excerpt | None = None

    def grouped(self) -> list[tuple[str, list[list[str]]]]:
        """The same, with consecutive rows of one name together: the name, and what stands behind it."""
        return [(name, [row[1:] for row in rows]) for name, rows in groupby(self.shown(), key=operator.itemgetter(0))]

    def shown(self) -> list[list[str]]:
        """The cells of a page and of Markdown, as a reader sees them, not escaped."""
        return self._cells(self.excerpt.rows if self.excerpt else self.rows)

    def whole(self) -> list[list[str]]:
        """The same of all rows."""
        return self._cells(self.rows)

    def told(self) -> list[str]:
        """What stands below the cells that are shown."""
        if self.excerpt is None:
            return [*self.notes]
        return [f"{self.excerpt.of} All {len(self.rows):,} lines are in {self.key}.csv.", *self.notes]

    def _cells(self, rows: Sequence[Sequence[Any]]) -> list[list[str]]:
        return [[column.show(value) for column, value in zip(self.columns, row, strict=True)] for row in rows]


def as_markdown(sheet: Sheet) -> str:
    """Title, table and notes."""
    cells = [[for_markdown(column.name) for column in sheet.columns]]
    for row in sheet.shown():
        spelled = (_span if column.show is code else for_markdown for column in sheet.columns)
        cells.append([spell(cell) for spell, cell in zip(spelled, row, strict=True)])
    lines = [f"**{for_markdown(sheet.title)}**", markdown(cells)]
    return "\n\n".join([*lines, *map(for_markdown, sheet.told())]) + "\n"


def as_csv(sheet: Sheet) -> str:
    """Values with all their digits; those of several parts in a column each; nothing where there is none."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([f"{column.name} {part}".strip() for column in sheet.columns for part in column.parts or ("",)])
    for row in sheet.rows:
        cells: list[Any] = []
        for column, value in zip(sheet.columns, row, strict=True):
            cells += list(value) if isinstance(value, tuple) else [value] + [None] * (len(column.parts or (0,)) - 1)
        writer.writerow(["" if cell is None or cell != cell else cell for cell in cells])
    return out.getvalue()


def as_latex(sheet: Sheet) -> str:
    r"""A table of booktabs for `\input`; more than `LINES_OF_A_PAGE` lines are a longtable, which goes over pages."""
    align = "".join("r" if column.numeric else "l" for column in sheet.columns)
    caption = rf"\caption{{{_for_latex(sheet.title)}. {' '.join(map(_for_latex, sheet.notes))}}}".replace(". }", ".}")
    label = rf"\label{{tab:{sheet.key}}}"
    header = [r"\toprule", " & ".join(_for_latex(column.name) for column in sheet.columns) + r" \\", r"\midrule"]
    lines = [" & ".join(map(_for_latex, row)) + r" \\" for row in sheet.whole()]
    if len(lines) > LINES_OF_A_PAGE:
        start = [rf"\begin{{longtable}}{{{align}}}", caption + label + r" \\", *header, r"\endhead"]
        lines = [*start, *lines, r"\bottomrule", r"\end{longtable}"]
    else:
        start = [r"\begin{table}", r"\centering", caption, label, rf"\begin{{tabular}}{{{align}}}", *header]
        lines = [*start, *lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "\n": " ", "\r": " ",
}  # fmt: skip


def _for_latex(cell: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in cell)
    return re.sub(r"(?<![\w.+-])([+-])(?=\d)", r"$\1$", escaped)  # a sign, no hyphen


def for_markdown(cell: str) -> str:
    """One line that is no markup: rows of runs hold *, _ and |, and names of classes may hold anything."""
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", " ".join(cell.split())) if cell != NONE else cell


def _span(cell: str) -> str:
    """Words to be copied, between more backticks than are in them."""
    if cell == NONE:
        return cell
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", cell)), default=0))
    return f"{fence}{' '.join(cell.split())}{fence}".replace("|", r"\|")


def _estimate(value: Estimate | float | None, sign: str) -> str:
    mean, deviation = value if isinstance(value, tuple) else (value, float("nan"))
    if mean is None or mean != mean:
        return NONE
    return f"{_digit(mean):{sign}.1f}" + (f" ± {deviation:.1f}" if deviation == deviation else "")


def _digit(value: float) -> float:
    """To one digit; 0 has no sign of its own."""
    return round(value, 1) + 0.0
