"""The page of a diagnosis, in Markdown and as JSON."""

from collections.abc import Sequence
from typing import Any

from lt_extrap.studies.diagnose.statement import Statement
from lt_extrap.studies.diagnose.verdict import Verdict
from lt_extrap.table import markdown

VERSION = 1  # of the JSON file


def as_markdown(title: str, statements: Sequence[Statement]) -> str:
    """The page: a heading a part, a point a statement, its source behind it."""
    lines = [f"# {title}", ""]
    part = None
    for statement in statements:
        if statement.part != part:
            part = statement.part
            lines += [f"## {part}", ""]
        lines += [f"- {statement.says}. *{_upper(statement.source)}.*", ""]
        if statement.table:
            cells = [[cell.replace("|", "\\|") for cell in row] for row in statement.table]
            lines += [markdown(cells), ""]
    return "\n".join(lines).rstrip() + "\n"


def as_json(title: str, statements: Sequence[Statement], verdict: Verdict | None) -> dict[str, Any]:
    """All statements with their numbers, and the verdict on the score."""
    return {
        "version": VERSION,
        "title": title,
        "statements": [
            {
                "part": statement.part,
                "key": statement.key,
                "says": statement.says,
                "known": statement.known,
                "numbers": {key: None if number != number else number for key, number in statement.numbers.items()},
                "source": statement.source,
                "table": statement.table,
            }
            for statement in statements
        ],
        "verdict": verdict,
    }


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
