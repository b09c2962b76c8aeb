"""What a run adds to its target set: auxiliary classes with their pairs, or further target images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from lt_extrap.config import AuxiliaryClasses, AuxiliaryFiles, TargetExtra
from lt_extrap.data.auxiliary_set import read_auxiliary_set, read_labels
from lt_extrap.data.layout import Missing
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.data.pairs import Pairs, asked, exchanged, nearest, shortage
from lt_extrap.data.store import ImageStore
from lt_extrap.data.target import ClassTable, TargetSet, check_apart, check_labels, usable
from lt_extrap.errors import DataError


@dataclass(frozen=True)
class Addition:
    """Images beside the target training list.

    Attributes:
        index: the images; a label is a group of the addition, 0..groups-1.
        images: what has them.
        column: the classifier column of each group: an auxiliary column, or a target's for further target images.
        key: the identity of each group in random keys; it stays when other groups leave the run.
        cap: most images of each group that an epoch shows.
        repeat: whether smaller groups repeat their images up to the cap.
        names: of the auxiliary columns, in order.
        pairs: (target column, auxiliary column) of the neighbors.
        right_pairs: how many of them were proposed as neighbors: all, but for the permuted control.
        notes: what is to be told of the set, a line each.
    """

    index: SampleIndex
    images: ImageStore
    column: Int64[np.ndarray, " groups"]
    key: Int64[np.ndarray, " groups"]
    cap: Int64[np.ndarray, " groups"]
    repeat: bool
    names: tuple[str, ...]
    pairs: Int64[np.ndarray, "pairs 2"]
    right_pairs: int
    notes: tuple[str, ...] = ()


def add_classes(auxiliary: AuxiliaryClasses, target: TargetSet, seed: int, *, missing: Missing = "refuse") -> Addition:
    """Read an auxiliary set and keep the classes that this run trains on (method: Choosing neighbors).

    With pairs, a class stays as long as one of its pairs does; without pairs all classes stay. A class without
    images never stays.

    Raises:
        DataError: from reading the set; pairs without an order of which to keep the first; or nothing is left.
    """
    found = read_auxiliary_set(auxiliary, target, missing=missing)
    available = np.bincount(found.index.labels, minlength=len(found.names))
    notes: tuple[str, ...] = ()
    if found.pairs is not None:
        pairs, notes = _kept_pairs(auxiliary, found.pairs, target.classes)
        pairs = pairs[available[pairs[:, 1]] > 0]
        ids = np.unique(pairs[:, 1])
        right_pairs = len(pairs)
        if auxiliary.permute:
            pairs, right_pairs = exchanged(pairs, ids, seed)
    elif auxiliary.neighbors_per_class is None and not auxiliary.permute:
        pairs = np.empty((0, 2), dtype=np.int64)
        ids, right_pairs = np.flatnonzero(available), 0
    else:
        raise DataError(
            f"neighbor pairs beside {found.file}, of which to keep the first {auxiliary.neighbors_per_class}",
            "a set without pairs",
            "use all its classes: auxiliary=random target.random.folder=<it> target.random.neighbors_per_class=null",
        )
    if len(ids) == 0:
        raise DataError(
            f"auxiliary classes from {found.file}",
            "none is left after keeping the neighbors of neighbors_per_class and sampling_ratio",
            "raise auxiliary.neighbors_per_class or auxiliary.sampling_ratio, or set auxiliary=none",
        )
    group = np.full(len(found.names), -1, dtype=np.int64)
    group[ids] = np.arange(len(ids))
    first = len(target.classes)
    rows = np.flatnonzero(group[found.index.labels] >= 0)
    return Addition(
        index=found.index.select(rows).with_labels(group[found.index.labels[rows]].astype(np.int32)),
        images=found.images,
        column=first + np.arange(len(ids)),
        key=first + ids.astype(np.int64),
        cap=np.full(len(ids), auxiliary.samples_per_class, dtype=np.int64),
        repeat=auxiliary.repeat,
        names=tuple(found.names[i] for i in ids),
        pairs=np.stack([pairs[:, 0], first + group[pairs[:, 1]]], axis=1),
        right_pairs=right_pairs,
        notes=notes,
    )


def add_target_images(extra: TargetExtra, target: TargetSet, *, missing: Missing = "refuse") -> Addition:
    """Further images of the classes of `extra.shots`, as many an epoch as auxiliary classes would have shown.

    The budget is spread evenly: each class shows the same number, classes with fewer show them all.

    Raises:
        DataError: a list is missing or malformed, or no class of the shots has further images.
    """
    assert extra.train is not None  # the schema refuses a set without a list
    file = target.place.root / extra.train
    if target.extra is not None and target.files["extra"] == file:
        index = target.extra  # what the training list has left
    else:
        index = read_list(file)
        check_labels(index, len(target.classes), file, "target classes")
        evaluated = {"val": target.val, "test": target.test}
        check_apart(index, file, {"train": target.train} | {key: of for key, of in evaluated.items() if of is not None})
        exclude = target.files.get("exclude")
        index = target.by_class(usable(index, target.place.images, file, exclude=exclude, missing=missing))
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
        images=target.place.images,
        column=ids.astype(np.int64),
        key=2 * len(target.classes) + ids.astype(np.int64),
        cap=spread(budget, np.bincount(group)),
        repeat=False,
        names=(),
        pairs=np.empty((0, 2), dtype=np.int64),
        right_pairs=0,
    )


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


def _kept_pairs(
    auxiliary: AuxiliaryClasses, found: Pairs, classes: ClassTable
) -> tuple[Int64[np.ndarray, "pairs 2"], tuple[str, ...]]:
    """The pairs that a run trains on, and what is to be told of them."""
    k = auxiliary.neighbors_per_class
    if k is None:
        return np.unique(found.pairs, axis=0), ()
    wanted = asked(classes, k, auxiliary.sampling_ratio, auxiliary.scale)
    note = shortage(found, wanted, classes)
    return found.pairs[nearest(found, wanted)], (note,) if note else ()


def _budget(extra: TargetExtra, target: TargetSet) -> int:
    if extra.images_per_epoch is not None:
        return extra.images_per_epoch
    matched = AuxiliaryFiles(train=extra.budget_list, folder=extra.budget_folder)
    available = np.bincount(read_labels(matched, target.place))
    return int(np.minimum(available, extra.samples_per_class).sum())
