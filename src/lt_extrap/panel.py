"""What a command says of itself before it begins."""

from collections.abc import Mapping

from rich.panel import Panel
from rich.table import Table


def panel(title: str, rows: Mapping[str, str]) -> Panel:
    """A table of two columns for the terminal; what does not fit a line goes on in the next."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")  # or the end of a long path is left out
    for key, value in rows.items():
        table.add_row(key, value)
    return Panel(table, title=title, title_align="left")
