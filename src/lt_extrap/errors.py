"""Every error that a user can cause.

LtExtrapError
├── ConfigError     a configuration that cannot mean anything, or means nothing
├── DataError       lists, images, class tables and auxiliary sets
├── RunError        a run folder that belongs to something else
│   └── BusyError   one that another process is in right now
├── TrainingError   a training that went wrong (a loss that is not finite)
└── ExportError     an exported file that would not compute what the run does
"""

from collections.abc import Sequence

from hydra.errors import CompactHydraException


class LtExtrapError(CompactHydraException):
    """An error told in three lines: what was wanted, what was found, what to do.

    Hydra prints a `CompactHydraException` without a traceback and ends with status 1; in a multirun the
    other jobs go on.

    Args:
        wanted: what the program needed at this point.
        found: what it met instead, with names, paths and numbers.
        remedy: what the reader can do about it.
    """

    def __init__(self, wanted: str, found: str, remedy: str) -> None:
        # The three strings are the args, so that the error survives pickling between processes.
        super().__init__(wanted, found, remedy)
        self.wanted, self.found, self.remedy = wanted, found, remedy

    def __str__(self) -> str:
        return f"{type(self).__name__}\n  wanted: {self.wanted}\n  found:  {self.found}\n  to do:  {self.remedy}"


class ConfigError(LtExtrapError):
    """A configuration that cannot mean anything, or an option that would change nothing."""


class DataError(LtExtrapError):
    """Lists, images, class tables or auxiliary sets that are not what they should be."""


class RunError(LtExtrapError):
    """A run folder that belongs to something else, or cannot be read."""


class BusyError(RunError):
    """A folder that another process is in right now."""


class TrainingError(LtExtrapError):
    """A training that went wrong."""


class ExportError(LtExtrapError):
    """An export that does not compute what the classifier computes."""


def some(items: Sequence[str], most: int = 5) -> str:
    """The first of some items, and how many more there are."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
