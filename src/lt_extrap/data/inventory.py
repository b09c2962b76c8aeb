"""What the lists of a target hold, read without refusing anything."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int8, Int64

from lt_extrap.config import AuxiliaryClasses, NoAuxiliary, OfficialTarget, Target, TargetExtra
from lt_extrap.data.auxiliary_set import read_folder, set_folder
from lt_extrap.data.layout import laid_out
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.data.place import Place, find_place
from lt_extrap.data.store import Beside, ImageStore
from lt_extrap.data.target import by_label, numbered, read_names, read_paths
from lt_extrap.errors import DataError

AUXILIARY = np.int64(1) << 40  # added to an auxiliary id, so that it is no label of the target
EVALUATION = ("val", "test")


@dataclass(frozen=True, eq=False)
class Inventory:
    """All rows of all lists.

    Attributes:
        place: where the files are.
        images: what has the images of all rows.
        splits: names of the lists: train, val, test, auxiliary or extra; what a split number stands for.
        files: the list of each split, and `names`.
        ids, names: of the target classes.
        auxiliary: names of the auxiliary classes; empty without them.
        rows: paths and labels of the splits, one after the other, without those of `target.exclude`.
        split: of each row.
        counts: rows of each target class in the training list, with those of `target.exclude`.
        left_out: rows that `target.exclude` leaves out.
        package: the archives that the lists were made for, where that is known.
        refused: what could not be read at all: split or `names`, and the error.
    """

    place: Place
    images: ImageStore
    splits: tuple[str, ...]
    files: dict[str, Path]
    ids: tuple[str, ...]
    names: tuple[str, ...]
    auxiliary: tuple[str, ...]
    rows: SampleIndex
    split: Int8[np.ndarray, " rows"]
    counts: Int64[np.ndarray, " target"]
    left_out: int
    package: str | None
    refused: tuple[tuple[str, DataError], ...]

    def named(self, *splits: str) -> Bool[np.ndarray, " rows"]:
        """Which rows are of some splits."""
        return np.isin(self.split, [number for number, name in enumerate(self.splits) if name in splits])

    @property
    def evaluated(self) -> Bool[np.ndarray, " rows"]:
        """Rows of validation and test lists; all others are trained on."""
        return self.named(*EVALUATION)

    @cached_property
    def classes(self) -> Int64[np.ndarray, " rows"]:
        """What a row is an image of: its label, or AUXILIARY + its auxiliary id."""
        return self.rows.labels + AUXILIARY * self.named("auxiliary")

    @cached_property
    def paths(self) -> list[str]:
        """The distinct paths, in the order in which they first occur."""
        return list(self._positions)

    @cached_property
    def path_of(self) -> Int64[np.ndarray, " rows"]:
        """Position in `paths` of each row."""
        positions = self._positions
        return np.array([positions[self.rows.path(row)] for row in range(len(self.rows))], np.int64)

    @cached_property
    def _positions(self) -> dict[str, int]:
        positions: dict[str, int] = {}
        for row in range(len(self.rows)):
            positions.setdefault(self.rows.path(row), len(positions))
        return positions

    def class_name(self, class_: int) -> str:
        """A class as it is called."""
        if class_ >= AUXILIARY:
            label, kind, names = int(class_ - AUXILIARY), "auxiliary ", self.auxiliary
        else:
            label, kind, names = int(class_), "", self.names
        return f"{kind}{label} ({names[label]})" if label < len(names) else f"{kind}{label}"


def read_inventory(target: Target, auxiliary: NoAuxiliary | AuxiliaryClasses | TargetExtra) -> Inventory:
    """Read all lists of a target and of what is added to it.

    Raises:
        DataError: there is no such place, or `target.exclude` cannot be read.
    """
    place = find_place(target)
    images = place.images
    files = {split: place.lists / file for split in ("train", "val", "test") if (file := getattr(target, split))}
    if not isinstance(auxiliary, NoAuxiliary) and auxiliary.train is not None:
        files["extra" if isinstance(auxiliary, TargetExtra) else "auxiliary"] = place.root / auxiliary.train
    if target.takes_extra:
        files.setdefault("extra", place.root / str(target.extra))
    refused: list[tuple[str, DataError]] = []
    lists: dict[str, SampleIndex] = {}
    for split, file in files.items():
        try:
            lists[split] = read_list(file)
        except DataError as error:
            refused.append((split, error))
    ids, names = numbered(_classes(lists["train"]) if "train" in lists else 0)
    if target.names:
        files["names"] = place.lists / target.names.partition(":")[0]
        try:
            ids, names = read_names(place.lists, target.names, ids=target.ids_in_names)
            if isinstance(target, OfficialTarget) and "train" in lists:
                ids, names = by_label(target, ids, names, lists["train"], files["train"])
        except DataError as error:
            refused.append(("names", error))
    auxiliary_names: tuple[str, ...] = ()
    if isinstance(auxiliary, AuxiliaryClasses) and auxiliary.folder:
        try:
            stored, of_set = read_folder(auxiliary, place)
            lists["auxiliary"] = stored.index.below(of_set.root)
            files["auxiliary"] = set_folder(auxiliary.folder, place)
            images = Beside.of(images, of_set)
            auxiliary_names = tuple(made.name for made in stored.classes)
        except DataError as error:
            refused.append(("auxiliary", error))
    elif isinstance(auxiliary, AuxiliaryClasses) and "auxiliary" in lists:
        _, auxiliary_names = numbered(_classes(lists["auxiliary"]))
        if auxiliary.names:
            try:
                _, auxiliary_names = read_names(place.root, auxiliary.names)
            except DataError as error:
                refused.append(("auxiliary names", error))
    counts = np.zeros(len(names), np.int64)
    if "train" in lists:
        labels = lists["train"].labels
        counts = np.bincount(labels[labels < len(names)], minlength=len(names)).astype(np.int64)
    unwanted = read_paths(place.root / Path(target.exclude).expanduser()) if target.exclude else frozenset()
    left_out = 0
    for split, index in lists.items():
        if split in EVALUATION:
            lists[split] = laid_out(index, place.images)
        elif unwanted:
            kept = np.array([row for row, path in enumerate(index.paths()) if path not in unwanted], np.int64)
            left_out += len(index) - len(kept)
            lists[split] = index.select(kept)
    empty = SampleIndex(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.uint8))
    return Inventory(
        place=place,
        images=images,
        splits=tuple(lists),
        files=files,
        ids=ids,
        names=names,
        auxiliary=auxiliary_names,
        rows=SampleIndex.concatenate([empty, *lists.values()]),
        split=np.repeat(np.arange(len(lists), dtype=np.int8), np.array([*map(len, lists.values())], np.int64)),
        counts=counts,
        left_out=left_out,
        package=target.package if isinstance(target, OfficialTarget) else None,
        refused=tuple(refused),
    )


def _classes(index: SampleIndex) -> int:
    """How many classes there are where they have no names; more than images is a slip of the pen."""
    return min(int(index.labels.max()) + 1, len(index))
