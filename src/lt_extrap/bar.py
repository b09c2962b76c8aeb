"""How far a command is."""

import sys
import time

from rich.console import Console
from rich.progress import Progress

_SILENT = 10.0  # seconds between two lines of progress where there is no terminal


class Bar:
    """How far it is: a bar on a terminal, else a line now and then. A context.

    Args:
        what: is counted.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._console = Console(stderr=True)
        # Without its thread: processes are forked while it is shown.
        self._bar = Progress(console=self._console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task(what)
        self._began = self._spoken = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> "Bar":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """Tell how many of how many are done."""
        if self._first is None:
            self._first = done
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, total=total, refresh=True)
        elif time.monotonic() - self._spoken >= _SILENT:
            self._spoken = time.monotonic()
            rate = max(1, done - self._first) / (self._spoken - self._began)
            print(f"{done:,} of {total:,} {self._what}, {rate:,.0f}/s", file=sys.stderr, flush=True)
