"""The numbers of the paper's Tables 1 to 6, as `paper.json` beside this file has them."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple


class Accuracies(NamedTuple):
    """Top-1, percent."""

    overall: float
    many: float
    medium: float
    few: float

    def minus(self, other: "Accuracies") -> "Accuracies":
        """The difference, to the digit that is printed."""
        return Accuracies(*(round(own - of, 1) for own, of in zip(self, other, strict=True)))


@dataclass(frozen=True)
class PaperRows:
    """Rows of a table that are of one data set and one start.

    Attributes:
        table: its number, 2 to 6.
        target: imagenet_lt, inat18 or places_lt.
        start: scratch, clip, lift (CLIP, frozen beside adapters) or dinov2, all ViT-B; "scratch" is random
            initialization by the text (Section 4.3), a masked autoencoder by the published code.
        rows: by the names of the table; a dagger of Tables 3 to 5 is "+ SD", Bal-CE there is "Baseline".
        printed: improvements of "+ Ours" over "Baseline" as Table 2 prints them, which are not always the difference.
    """

    table: int
    target: str
    start: str
    rows: dict[str, Accuracies]
    printed: Accuracies | None

    def misprints(self) -> dict[str, tuple[float, float]]:
        """The improvements that are printed otherwise than the rows give, by measure: printed, and recomputed."""
        if self.printed is None:
            return {}
        gains = self.rows["+ Ours"].minus(self.rows["Baseline"])
        both = zip(Accuracies._fields, self.printed, gains, strict=True)
        return {measure: (told, gain) for measure, told, gain in both if told != gain}


@dataclass(frozen=True)
class PaperDataSet:
    """A row of Table 1: average performance of earlier methods.

    Attributes:
        target: imagenet_lt or inat18.
        classes: target classes.
        train_images: in words, "116K".
        granularity: coarse or fine.
        largest, smallest: training images of a class.
        many, medium, few: percent.
    """

    target: str
    classes: int
    train_images: str
    granularity: str
    largest: int
    smallest: int
    many: float
    medium: float
    few: float


def results(target: str | None = None, start: str | None = None) -> list[PaperRows]:
    """The rows of Tables 2 to 6, in their order; of one target or start where that is given."""
    rows = [
        PaperRows(
            one["table"],
            one["target"],
            one["start"],
            {name: Accuracies(*values) for name, values in one["rows"].items()},
            Accuracies(*one["printed"]) if "printed" in one else None,
        )
        for one in _content()["results"]
    ]
    return [one for one in rows if target in (None, one.target) and start in (None, one.start)]


def data_sets() -> list[PaperDataSet]:
    """The rows of Table 1."""
    return [PaperDataSet(target, *values) for target, values in _content()["data_sets"]["rows"].items()]


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(resources.files("lt_extrap").joinpath("paper.json").read_text("utf-8"))
    return content
