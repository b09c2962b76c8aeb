"""Markdown of texts from elsewhere: what Markdown, HTML, a mail or a link would make of them is escaped."""

import re
from collections import Counter
from collections.abc import Sequence

_ROWS = 1000  # of a table by class; more are no reading, and hubs cut a page

# What Markdown may take for its own, and what would turn text backwards.
_MARKUP = re.compile(r"[\\`*_{}\[\]()<>#|!~$&@^=]|:(?=\S)|(?<=www)\.")
_NUMBER = re.compile(r"[\d,]+%?|-")
_BACKWARDS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def folded(what: str, head: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> str:
    """A table that is shown on a click: all rows in their order, or those with the fewest images first."""
    shown, title = list(rows), f"{len(rows):,} {what}"
    if len(rows) > _ROWS:
        shown = sorted(rows, key=lambda row: row[0])[:_ROWS]
        title = f"the {_ROWS:,} of {len(rows):,} {what} with the fewest images"
    return f"<details>\n<summary>{title}</summary>\n\n{table(head, [row for _, row in shown])}\n\n</details>"


def counts_table(head: str, unit: str, counts: Counter[str]) -> str:
    """A table of names and how often each was counted."""
    return table((head, unit), [[plain(name), f"{count:,}"] for name, count in most_first(counts)])


def most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    """Names and counts, the largest first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def percent(part: int, whole: int) -> str:
    """A share in whole percent; a line where there is nothing to have a share of."""
    return f"{part / whole:.0%}" if whole else "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, whose columns of numbers stand at the right."""
    under = ["---:" if all(_NUMBER.fullmatch(cell) for cell in column) else "---" for column in zip(*rows, strict=True)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, under or ["---"] * len(head), *rows))


def plain(text: str) -> str:
    """A text from elsewhere that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\g<0>", _BACKWARDS.sub("", text))


def code(text: str) -> str:
    """A text from elsewhere as code in a table."""
    return "`" + _BACKWARDS.sub("", text).replace("`", "'").replace("|", "\\|") + "`"
