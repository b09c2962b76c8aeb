"""What a run adds to its target set: auxiliary classes with their pairs, or further target images."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from lt_extrap.config import AuxiliaryClasses, TargetExtra
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.data.spelling import plain
from lt_extrap.data.target import ClassTable, TargetSet, check_labels, numbered, read_names, usable
from lt_extrap.errors import DataError
from lt_extrap.keys import Stream, generator
from lt_extrap.model.shots import Shot

_GROUPS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)


@dataclass(frozen=True)
class Addition:
    """Images beside the target training list.

    Attributes:
        index: the images; a label is a group of the addition, 0..groups-1.
        column: the classifier column of each group: an auxiliary column, or a target's for further target images.
        key: the identity of each group in random keys; it stays when other groups leave the run.
        cap: most images of each group that an epoch shows.
        repeat: whether smaller groups repeat their images up to the cap.
        names: of the auxiliary columns, in order.
        pairs: (target column, auxiliary column) of the neighbors.
        right_pairs: how many of them were proposed as neighbors: all, but for the permuted control.
    """

    index: SampleIndex
    column: Int64[np.ndarray, " groups"]
    key: Int64[np.ndarray, " groups"]
    cap: Int64[np.ndarray, " groups"]
    repeat: bool
    names: tuple[str, ...]
    pairs: Int64[np.ndarray, "pairs 2"]
    right_pairs: int


@dataclass(frozen=True)
class Pairs:
    """Which auxiliary class was proposed for which target.

    Attributes:
        pairs: (target id, auxiliary id).
        rank: 1 = the target's nearest; None where the file has no order.
    """

    pairs: Int64[np.ndarray, "pairs 2"]
    rank: Int64[np.ndarray, " pairs"] | None


def add_classes(auxiliary: AuxiliaryClasses, target: TargetSet, seed: int, *, skip_missing: bool = False) -> Addition:
    """Read an auxiliary set and keep the classes that this run trains on (method: Choosing neighbors).

    With pairs, a class stays as long as one of its pairs does; without pairs all classes stay. A class without
    images never stays.

    Raises:
        DataError: a list, name or pair file is missing or malformed, a pair names a class that is not there, an
            auxiliary class has a target's name, or nothing is left.
    """
    assert auxiliary.train is not None  # the schema refuses a set without a list
    root = target.place.root
    file = root / auxiliary.train
    index = read_list(file)
    _, names = (
        read_names(root, auxiliary.names) if auxiliary.names else numbered(int(index.labels.max()) + 1, "auxiliary ")
    )
    check_labels(index, len(names), file, "auxiliary class names")
    exclude = target.files.get("exclude")
    index = usable(index, target.place.images, file, exclude=exclude, skip_missing=skip_missing)
    _refuse_target_names(names, target.classes, file)
    available = np.bincount(index.labels, minlength=len(names))
    if auxiliary.pairs:
        pairs = _kept_pairs(auxiliary, target, len(names))
        pairs = pairs[available[pairs[:, 1]] > 0]
        ids = np.unique(pairs[:, 1])
        right_pairs = len(pairs)
        if auxiliary.permute:
            pairs, right_pairs = _wrong_pairs(pairs, ids, seed)
    else:
        pairs = np.empty((0, 2), dtype=np.int64)
        ids, right_pairs = np.flatnonzero(available), 0
    if len(ids) == 0:
        raise DataError(
            f"auxiliary classes from {file}",
            "none is left after keeping the neighbors of neighbors_per_class and sampling_ratio",
            "raise auxiliary.neighbors_per_class or auxiliary.sampling_ratio, or set auxiliary=none",
        )
    group = np.full(len(names), -1, dtype=np.int64)
    group[ids] = np.arange(len(ids))
    first = len(target.classes)
    rows = np.flatnonzero(group[index.labels] >= 0)
    return Addition(
        index=index.select(rows).with_labels(group[index.labels[rows]].astype(np.int32)),
        column=first + np.arange(len(ids)),
        key=first + ids.astype(np.int64),
        cap=np.full(len(ids), auxiliary.samples_per_class, dtype=np.int64),
        repeat=auxiliary.repeat,
        names=tuple(names[i] for i in ids),
        pairs=np.stack([pairs[:, 0], first + group[pairs[:, 1]]], axis=1),
        right_pairs=right_pairs,
    )


def add_target_images(extra: TargetExtra, target: TargetSet, *, skip_missing: bool = False) -> Addition:
    """Further images of the classes of `extra.shots`, as many an epoch as auxiliary classes would have shown.

    The budget is spread evenly: each class shows the same number, classes with fewer show them all.

    Raises:
        DataError: a list is missing or malformed, or no class of the shots has further images.
    """
    assert extra.train is not None  # the schema refuses a set without a list
    file = target.place.root / extra.train
    index = read_list(file)
    check_labels(index, len(target.classes), file, "target classes")
    exclude = target.files.get("exclude")
    index = usable(index, target.place.images, file, exclude=exclude, skip_missing=skip_missing)
    chosen = np.array([shot in extra.shots for shot in target.classes.shots])
    rows = np.flatnonzero(chosen[index.labels])
    if len(rows) == 0:
        raise DataError(
            f"images of the {' and '.join(extra.shots)} classes in {file}",
            "none",
            "choose other auxiliary.shots",
        )
    ids, group = np.unique(index.labels[rows], return_inverse=True)
    budget = _budget(extra, target)
    if budget > len(rows):
        raise DataError(
            f"{budget} further images an epoch of the {' and '.join(extra.shots)} classes, the budget to match",
            f"{len(rows)} in {file}",
            "lower auxiliary.images_per_epoch, add images, or take in more auxiliary.shots",
        )
    return Addition(
        index=index.select(rows).with_labels(group.astype(np.int32)),
        column=ids.astype(np.int64),
        key=2 * len(target.classes) + ids.astype(np.int64),
        cap=spread(budget, np.bincount(group)),
        repeat=False,
        names=(),
        pairs=np.empty((0, 2), dtype=np.int64),
        right_pairs=0,
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


def spread(total: int, available: Int64[np.ndarray, " groups"]) -> Int64[np.ndarray, " groups"]:
    """Share a total among groups as evenly as what they have allows; the first groups take the remainder."""
    shares = np.zeros(len(available), dtype=np.int64)
    left = min(total, int(available.sum()))
    while left > 0:
        open_groups = np.flatnonzero(shares < available)
        step = left // len(open_groups)
        if step == 0:
            shares[open_groups[:left]] += 1
            break
        given = np.minimum(step, available[open_groups] - shares[open_groups])
        shares[open_groups] += given
        left -= int(given.sum())
    return shares


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
            return Pairs(table[:, :2], table[:, 2])
        return Pairs(_whole_numbers(content["edges"], 2), None)
    except (OSError, OverflowError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(
            f'pairs in {file}, {{"ranks": [[[auxiliary, similarity], ...], ...]}} or '
            '{"edges": [[target, auxiliary], ...]}',
            f"{type(error).__name__}: {error}",
            "write the file in one of these forms",
        ) from None


def _whole_numbers(rows: list[Any], width: int) -> Int64[np.ndarray, "rows width"]:
    for row in rows:
        if len(row) != width or not all(type(value) is int for value in row):
            raise ValueError(f"{row} where {width} whole numbers were wanted")
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _kept_pairs(auxiliary: AuxiliaryClasses, target: TargetSet, num_auxiliary: int) -> Int64[np.ndarray, "pairs 2"]:
    assert auxiliary.pairs is not None
    file = target.place.root / auxiliary.pairs
    found = read_pairs(file, len(target.classes))
    for side, limit, of in ((0, len(target.classes), "target"), (1, num_auxiliary, "auxiliary")):
        wrong = np.flatnonzero((found.pairs[:, side] < 0) | (found.pairs[:, side] >= limit))
        if len(wrong):
            raise DataError(
                f"pairs of {file} with {of} ids 0..{limit - 1}",
                f"the pair {found.pairs[wrong[0]].tolist()} (target, auxiliary), and {len(wrong) - 1} more",
                "check that pairs, names and lists belong together",
            )
    k = auxiliary.neighbors_per_class
    if k is None:
        return np.unique(found.pairs, axis=0)
    if found.rank is None:
        raise DataError(
            f"ranked pairs in {file}, of which to keep the first {k} a target",
            "pairs without an order (`edges`)",
            "set auxiliary.neighbors_per_class=null to keep every pair, or give a file with `ranks`",
        )
    kept = neighbors_by_shot(target.classes, k, auxiliary.sampling_ratio, auxiliary.scale)
    limits = np.array([kept.get(shot, 0) for shot in target.classes.shots])
    chosen: Int64[np.ndarray, "pairs 2"] = found.pairs[found.rank <= limits[found.pairs[:, 0]]]
    return chosen


def _wrong_pairs(
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


def _budget(extra: TargetExtra, target: TargetSet) -> int:
    if extra.images_per_epoch is not None:
        return extra.images_per_epoch
    assert extra.budget_list is not None
    available = np.bincount(read_list(target.place.root / extra.budget_list).labels)
    return int(np.minimum(available, extra.samples_per_class).sum())


def _refuse_target_names(names: tuple[str, ...], classes: ClassTable, file: Path) -> None:
    taken = {plain(name): i for i, name in enumerate(classes.names)}
    for i, name in enumerate(names):
        if plain(name) in taken:
            raise DataError(
                f"auxiliary classes in {file} that are no target classes",
                f"auxiliary class {i} is called {name!r}, as is target class {taken[plain(name)]}",
                "take that class out of the auxiliary set: training on it as another class would be wrong labels",
            )
