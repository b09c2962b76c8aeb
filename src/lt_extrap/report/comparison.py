"""Rows against their baseline: differences by seed, intervals over classes and images, what could be found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from lt_extrap.model.shots import Shot
from lt_extrap.report.outcomes import Outcomes
from lt_extrap.table import MEASURES, Group, Row
from lt_extrap.uncertainty import Interval, Paired, TestImages, holm, intervals, paired


@dataclass(frozen=True)
class Difference:
    """One measure of one row against the baseline, in points.

    Attributes:
        measure: overall, many, medium or few.
        paired: what the seeds say.
        corrected: p after Holm, among all of the group.
        interval: over classes, images and seeds; None where a run has no outcomes by image.
    """

    measure: str
    paired: Paired
    corrected: float
    interval: Interval | None


class ClassGain(NamedTuple):
    """A class in both rows, mean over the seeds that they share.

    Attributes:
        id, name, shot, train_images: of the class.
        baseline, accuracy: of the two rows, percent.
        gain: of the row over the baseline, points.
    """

    id: str
    name: str
    shot: str
    train_images: int
    baseline: float
    accuracy: float
    gain: float


@dataclass(frozen=True)
class Comparison:
    """A row against its baseline.

    Attributes:
        row, baseline: which; paired by the seeds that both have.
        differences: those that can be told, overall first.
        gains: of each class with test images, in the order of labels; empty where per_class.csv is missing.
    """

    row: Row
    baseline: Row
    differences: tuple[Difference, ...]
    gains: tuple[ClassGain, ...]


def compare(group: Group, outcomes: dict[Path, Outcomes | None], weights: str) -> list[Comparison]:
    """Compare the rows of a group with its baseline.

    Args:
        group: with or without a baseline.
        outcomes: of every run folder; None where there are none.
        weights: `test` or `last`; outcomes are those of the `test` weights, and left out where others are asked for.
    """
    against = group.baseline
    if against is None:
        return []
    rows = group.compared()
    spans = _intervals(rows, against, outcomes, weights)
    found = [
        (row, measure, paired(np.array(values)))
        for row in rows
        for measure, key in MEASURES.items()
        if (values := [value for value in row.differences(against, weights, key) if value == value])
    ]
    corrected = holm([seeds.p for _, _, seeds in found])
    differences: dict[str, list[Difference]] = {row.name: [] for row in rows}
    for (row, measure, seeds), p in zip(found, corrected, strict=True):
        differences[row.name].append(Difference(measure, seeds, p, spans.get((row.name, measure))))
    return [
        Comparison(row, against, tuple(differences[row.name]), _gains(row, against, outcomes, weights)) for row in rows
    ]


def _pairs(
    row: Row, against: Row, outcomes: dict[Path, Outcomes | None], weights: str
) -> list[tuple[Outcomes, Outcomes]]:
    """The outcomes of both rows by shared seed; none unless all are there, of the weights, and of the same images."""
    pairs = []
    for seed in row.shared(against):
        own, other = (outcomes.get(of.folders[seed]) if are_of(of, seed, weights) else None for of in (row, against))
        if own is None or other is None or not own.of_same_images(other):
            return []
        pairs.append((own, other))
    if any(not own.of_same_images(pairs[0][0]) for own, _ in pairs):
        return []
    return pairs


def are_of(row: Row, seed: int, weights: str) -> bool:
    """Whether per_class.csv of a run is of these weights."""
    return weights == "test" or row.results[seed].get("selected") == "last"


def _intervals(
    rows: Sequence[Row], against: Row, outcomes: dict[Path, Outcomes | None], weights: str
) -> dict[tuple[str, str], Interval]:
    """Intervals by row and measure, of the rows that were tested on the images of the baseline, all on one draw."""
    first: Outcomes | None = None
    differences: dict[str, Float64[np.ndarray, "seeds images"]] = {}
    for row in rows:
        pairs = _pairs(row, against, outcomes, weights)
        by_seed = [own.minus(other) for own, other in pairs]
        known = [one for one in by_seed if one is not None]
        if not known or len(known) < len(by_seed) or (first and not first.of_same_images(pairs[0][1])):
            continue
        first = first or pairs[0][1]
        differences[row.name] = np.stack(known)
    if first is None:
        return {}
    tested = first.test_images > 0
    shots = [shot for shot in Shot if str(shot) in np.array(first.shots)[tested]]
    groups = np.array([shots.index(Shot(shot)) for shot, some in zip(first.shots, tested, strict=True) if some])
    images = TestImages(first.test_images[tested], groups)
    ends = intervals(list(differences.values()), images)
    return {
        (name, measure): Interval(*map(float, ends[place, number]))
        for place, name in enumerate(differences)
        for number, measure in enumerate(["overall", *map(str, shots)])
    }


def _gains(row: Row, against: Row, outcomes: dict[Path, Outcomes | None], weights: str) -> tuple[ClassGain, ...]:
    pairs = _pairs(row, against, outcomes, weights)
    if not pairs:
        return ()
    first = pairs[0][0]
    own, other = (100 * np.mean([run.accuracy for run in runs], axis=0) for runs in zip(*pairs, strict=True))
    found = zip(
        first.ids,
        first.names,
        first.shots,
        *map(np.ndarray.tolist, (first.train_images, other, own, own - other)),
        strict=True,
    )
    return tuple(one for one in map(ClassGain._make, found) if one.gain == one.gain)
