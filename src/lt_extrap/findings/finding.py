"""A finding: what was found, how much it matters, and every case of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from lt_extrap.data.inventory import Inventory


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # results would be wrong, or training would not begin
    WARNING = "warning"  # look at it: it is wrong, or it is meant
    NOTE = "note"  # good to know


class Sample(NamedTuple):
    """A row of a list.

    Attributes:
        split: the list. path: as listed. label: as listed. name: of its class.
    """

    split: str
    path: str
    label: int
    name: str


class Case(NamedTuple):
    """One case of a finding: the rows that it is about, if it is about rows, and what is to be said about it."""

    samples: tuple[Sample, ...]
    detail: str


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: how much it matters.
        kind: what it is, in a word that stays, for whoever reads check.json.
        summary: what it is, with its number.
        remedy: what one can do; empty where there is nothing to do.
        cases: all of them, the ones to look at first in front.
    """

    severity: Severity
    kind: str
    summary: str
    remedy: str
    cases: tuple[Case, ...]


def sample(inventory: Inventory, row: int) -> Sample:
    """A row of the inventory."""
    split = inventory.splits[inventory.split[row]]
    label = int(inventory.rows.labels[row])
    return Sample(split, inventory.rows.path(row), label, inventory.class_name(int(inventory.classes[row])))


def of_rows(inventory: Inventory, rows: Iterable[int], detail: str = "") -> tuple[Case, ...]:
    """A case for each of some rows."""
    return tuple(Case((sample(inventory, row),), detail) for row in rows)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
