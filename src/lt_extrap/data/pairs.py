"""Which auxiliary class is a neighbor of which target, and which of these pairs a run trains on."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError, some
from lt_extrap.keys import Stream, generator
from lt_extrap.model.shots import Shot

_GROUPS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)


@dataclass(frozen=True)
class Pairs:
    """Which auxiliary class was proposed for which target.

    Attributes:
        pairs: (target id, auxiliary id).
        rank: 1 = the target's nearest; None where there is no order.
        similarity: NaN where it is not known.
        file: where they were read.
    """

    pairs: Int64[np.ndarray, "pairs 2"]
    rank: Int64[np.ndarray, " pairs"] | None
    similarity: Float64[np.ndarray, " pairs"]
    file: Path

    def by_class(self, class_of: Int64[np.ndarray, " target"]) -> "Pairs":
        """The pairs of target labels, those turned into classes (see `TargetSet`)."""
        return replace(self, pairs=np.stack([class_of[self.pairs[:, 0]], self.pairs[:, 1]], axis=1))


def read_pairs(file: Path, num_target: int) -> Pairs:
    """Read pairs from JSON: `ranks`, for each target [[auxiliary, similarity], ...] nearest first, or unranked `edges`.

    Raises:
        DataError: the file is missing or has neither.
    """
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if "ranks" in content:
            if len(content["ranks"]) != num_target:
                raise ValueError(f"ranks of {len(content['ranks'])} targets, where there are {num_target}")
            rows = [
                (target, entry[0], rank)
                for target, entries in enumerate(content["ranks"])
                for rank, entry in enumerate(entries, start=1)
            ]
            table = _whole_numbers(rows, 3)
            values = [entry[1] if len(entry) > 1 else math.nan for entries in content["ranks"] for entry in entries]
            return Pairs(table[:, :2], table[:, 2], np.array(values, np.float64), file)
        edges = _whole_numbers(content["edges"], 2)
        return Pairs(edges, None, np.full(len(edges), math.nan), file)
    except (OSError, OverflowError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(
            f'pairs in {file}, {{"ranks": [[[auxiliary, similarity], ...], ...]}} or '
            '{"edges": [[target, auxiliary], ...]}',
            f"{type(error).__name__}: {error}",
            "write the file in one of these forms",
        ) from None


def check_ids(found: Pairs, num_target: int, num_auxiliary: int) -> None:
    """Refuse pairs of classes that are not there."""
    for side, limit, of in ((0, num_target, "target"), (1, num_auxiliary, "auxiliary")):
        wrong = np.flatnonzero((found.pairs[:, side] < 0) | (found.pairs[:, side] >= limit))
        if len(wrong):
            raise DataError(
                f"pairs of {found.file} with {of} ids 0..{limit - 1}",
                f"the pair {found.pairs[wrong[0]].tolist()} (target, auxiliary), and {len(wrong) - 1} more",
                "check that pairs, names and lists belong together",
            )


def neighbors_by_shot(classes: ClassTable, k: int, ratio: list[float] | None, scale: str = "base") -> dict[Shot, int]:
    """How many neighbors a target of each group gets: ceil(k * ratio_g).

    The default ratio is 1 : ceil(C_many / C_medium) : ceil(C_many / C_few) with C the number of *classes* of a
    group: 1:1:3 on ImageNet-LT, the default of the paper's Section 4.4. (Section 4.2 says samples, which would
    give 1:4:54.) An empty group has no ratio.
    """
    shots = classes.shots
    if ratio is None:
        sizes = [shots.count(group) for group in _GROUPS]
        ratio = [max(1, math.ceil(sizes[0] / size)) if size else 0 for size in sizes]
    unit = k / max(ratio) if scale == "largest" else k
    # Rounded before the ceiling, so that 5 * 0.6 is 3 and not 3.0000000000000004.
    return {group: math.ceil(round(unit * r, 9)) for group, r in zip(_GROUPS, ratio, strict=True)}


def asked(
    classes: ClassTable, k: int, ratio: list[float] | None = None, scale: str = "base"
) -> Int64[np.ndarray, " target"]:
    """How many neighbors each target class is to keep (see `neighbors_by_shot`); none of one without images."""
    number = neighbors_by_shot(classes, k, ratio, scale)
    return np.array([number.get(shot, 0) for shot in classes.shots], np.int64)


def nearest(found: Pairs, wanted: Int64[np.ndarray, " target"]) -> Bool[np.ndarray, " pairs"]:
    """Which pairs are among the first of their target.

    Args:
        found: pairs with ranks.
        wanted: how many each target is to keep (see `asked`).

    Raises:
        DataError: the pairs have no order.
    """
    if found.rank is None:
        raise DataError(
            f"ranked pairs in {found.file}, of which to keep the first of each target",
            "pairs without an order (`edges`, or rank null)",
            "set auxiliary.neighbors_per_class=null to keep every pair, or give a file with ranks",
        )
    first: Bool[np.ndarray, " pairs"] = found.rank <= wanted[found.pairs[:, 0]]
    return first


def shortage(found: Pairs, wanted: Int64[np.ndarray, " target"], classes: ClassTable) -> str | None:
    """A line on the targets that have fewer neighbors than they are to keep; None if there is none."""
    have = np.bincount(found.pairs[:, 0], minlength=len(classes))
    short = np.flatnonzero(have < wanted)
    if not len(short):
        return None
    named = some([f"{classes.names[i]} {have[i]} of {wanted[i]}" for i in short], 3)
    return f"{len(short)} of {len(classes)} targets have fewer neighbors than asked: {named}"


def exchanged(
    pairs: Int64[np.ndarray, "pairs 2"], ids: Int64[np.ndarray, " auxiliary"], seed: int
) -> tuple[Int64[np.ndarray, "pairs 2"], int]:
    """Exchange the auxiliary classes of the pairs, no class keeping its own; of 20 draws the one furthest from right.

    The number of pairs of each target stays, and every auxiliary class stays in some pair. Also how many pairs are
    right all the same: a neighbor of one target may well be exchanged for another of its neighbors.

    Raises:
        DataError: more than a quarter of them, so that the control would control nothing.
    """
    right = {tuple(pair) for pair in pairs.tolist()}
    best, fewest = pairs, len(right) + 1
    for attempt in range(20):
        circle = generator(Stream.PERMUTE, seed, attempt).permutation(ids)
        successor = np.empty(int(ids.max()) + 1, dtype=np.int64)
        successor[circle] = np.roll(circle, -1)
        wrong = np.stack([pairs[:, 0], successor[pairs[:, 1]]], axis=1)
        still_right = sum(tuple(pair) in right for pair in wrong.tolist())
        if still_right < fewest:
            best, fewest = wrong, still_right
    if fewest > len(right) / 4:
        raise DataError(
            "wrong pairs for the permuted control",
            f"{fewest} of {len(right)} pairs that are right in each of 20 exchanges",
            "use an auxiliary set with more classes a target is no neighbor of, or leave this control out",
        )
    return best, fewest


def _whole_numbers(rows: list[Any], width: int) -> Int64[np.ndarray, "rows width"]:
    for row in rows:
        if len(row) != width or not all(type(value) is int for value in row):
            raise ValueError(f"{row} where {width} whole numbers were wanted")
    return np.array(rows, dtype=np.int64).reshape(-1, width)
