"""What a diagnosis says: a sentence with its numbers, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Number = float | int | None


@dataclass(frozen=True)
class Statement:
    """A sentence of the page.

    Attributes:
        part: the heading that it stands under.
        key: its name in the JSON file.
        says: the sentence.
        source: what the numbers were taken from; of what is unknown, how to learn it.
        numbers: that are in the sentence, and those behind it; empty where they are unknown.
        table: rows that belong to it, the header first.
    """

    part: str
    key: str
    says: str
    source: str
    numbers: Mapping[str, Number] = field(default_factory=dict)
    table: list[list[str]] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return bool(self.numbers)


def unknown(part: str, key: str, what: str, remedy: str) -> Statement:
    """Say that something is not known, and how it can be."""
    return Statement(part, key, f"unknown: {what}", f"to know it: {remedy}")
