"""A report as files: a page, Markdown, and each table as CSV and LaTeX."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lt_extrap.files import write_whole
from lt_extrap.report.outcomes import read_outcomes
from lt_extrap.report.paper_rows import NEEDED
from lt_extrap.report.published import beside_ours, granularity
from lt_extrap.report.repeat import how_to_repeat
from lt_extrap.report.sections import Section, section_of
from lt_extrap.report.sheet import Column, Sheet, as_csv, as_latex, as_markdown, code, for_markdown
from lt_extrap.table import Row, groups_of

PAGE, MARKDOWN, TABLES = "report.html", "report.md", "tables"
_CHARTS = 12  # of classes, an experiment
_ROWS = 16  # of a chart of differences


@dataclass(frozen=True)
class Report:
    """What there is to tell.

    Attributes:
        title: of the report.
        rows, runs: how many it is of.
        sections: its parts.
    """

    title: str
    rows: int
    runs: int
    sections: Sequence[Section]

    def sheets(self) -> list[Sheet]:
        """All of its tables."""
        return [sheet for section in self.sections for sheet in section.sheets]


def make_report(
    rows: Sequence[Row],
    *,
    title: str,
    unfinished: Sequence[Path] = (),
    baseline: str | None = None,
    weights: str = "test",
) -> Report:
    """Put together what rows of runs say.

    Args:
        rows: at least one.
        title: of the report.
        unfinished: folders of runs that have not ended.
        baseline: as of `tabulate`.
        weights: as of `tabulate`.

    Raises:
        RunError: there is no such baseline, or a file of a run cannot be read.
    """
    groups = groups_of(rows, baseline)
    outcomes = {folder: read_outcomes(folder) for row in rows for folder in row.folders.values()}
    sections = []
    for place, group in enumerate(groups, start=1):
        section = section_of(group, f"e{place}", outcomes, weights)
        published = beside_ours(group, f"e{place}", weights)
        text = section.text if published else [*section.text, NEEDED]
        sections.append(Section(section.key, section.title, text, [*section.sheets, *published], section.comparisons))
    if (sheet := granularity(groups, outcomes, weights)) is not None:
        sections.append(Section("sets", "Data sets", sheets=[sheet]))
    sections.append(how_to_repeat(rows))
    if unfinished:
        table = Sheet(
            "not-ended",
            "Runs that have not ended, and are in no table",
            [Column("folder")],
            [[str(run)] for run in unfinished],
        )
        sections.append(Section("open", "Not ended", sheets=[table]))
    return Report(title, len(rows), sum(len(row.results) for row in rows), sections)


def write_report(report: Report, folder: Path) -> Path:
    """Write report.html, report.md and tables/<key>.csv and .tex; other files in the folder are left alone.

    Args:
        report: to be written.
        folder: made if it is not there. In its tables/ what an older report left of experiments is removed.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in (folder / TABLES).glob("e[0-9]*-*.*"):
        if file.suffix in (".csv", ".tex"):
            file.unlink()
    for sheet in report.sheets():
        _write(folder / TABLES / f"{sheet.key}.csv", as_csv(sheet))
        _write(folder / TABLES / f"{sheet.key}.tex", as_latex(sheet))
    _write(folder / MARKDOWN, _markdown(report))
    _write(folder / PAGE, page(report))
    return folder / PAGE


def page(report: Report) -> str:
    """The report as one page that needs nothing else: no network, no script, all charts in it."""
    from lt_extrap.report.charts import differences_chart, gains_chart  # matplotlib takes most of a second

    charts = {}
    for section in report.sections:
        told = section.comparisons
        parts = [told[start : start + _ROWS] for start in range(0, len(told), _ROWS)]
        drawn = [differences_chart(part, f"{section.key}-chart-{number}") for number, part in enumerate(parts, start=1)]
        of_classes = [one for one in told if one.gains]
        gains = [
            gains_chart(one, f"{section.key}-gains-{place}") for place, one in enumerate(of_classes[:_CHARTS], start=1)
        ]
        charts[section.key] = (drawn, gains, of_classes[_CHARTS:])
    style = resources.files(__package__).joinpath("templates/style.css").read_text(encoding="utf-8")
    pages = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["breakable"] = breakable
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return pages.get_template("report.html").render(
        report=report,
        charts=charts,
        style=Markup(style),
        style_hash=f"sha256-{digest}",
        is_code=lambda column: column.show is code,
    )


def breakable(name: str) -> Markup:
    """A name of a row with places at which a narrow table may break it."""
    return Markup("<wbr>").join(re.split(r"(?<=[+/,.])(?=\w)|(?<=\w)(?=-)", name))


def _markdown(report: Report) -> str:
    parts = [f"# {' '.join(report.title.split())}\n"]
    for section in report.sections:
        parts += [f"## {' '.join(section.title.split())}\n"]
        parts += [f"{for_markdown(paragraph)}\n" for paragraph in section.text]
        parts += map(as_markdown, section.sheets)
    return "\n".join(parts)


def _write(file: Path, text: str) -> None:
    write_whole(file, lambda out: out.write(text.encode("utf-8", "replace")))
