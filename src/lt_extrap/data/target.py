"""The target data set: lists, class names, and how many training images each class has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from lt_extrap.config import OfficialTarget, Target
from lt_extrap.data.class_ids import check_folders, rows_of_folders
from lt_extrap.data.layout import Missing, check_images, find_images
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.data.official import check_official, order_by_name
from lt_extrap.data.place import Place, find_place
from lt_extrap.data.reshuffle import reshuffled
from lt_extrap.data.store import ImageStore
from lt_extrap.errors import DataError, some
from lt_extrap.model.shots import Shot, shot_of

_MOST_EMPTY = 1_000_000  # classes without an image: more are no numbering, and would fill the memory


@dataclass(frozen=True)
class ClassTable:
    """The target classes. Label = position.

    Attributes:
        ids: what tells classes apart, such as WordNet ids or folder names; unique.
        names: class names; not always unique (ImageNet has two cranes), so never keys.
        counts: target training images a class, from the full training list; auxiliary data never moves them, nor
            does what is left out of training.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    counts: Int64[np.ndarray, " target"]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shots(self) -> list[Shot]:
        """The group of each class."""
        return shot_of(self.counts)


@dataclass(frozen=True)
class TargetSet:
    """A target data set as read.

    Attributes:
        place: where its files are.
        files: those that decide what is trained and tested on, by configuration key (`train`, `names`, ...).
        classes: their names and training counts.
        train: the training images, without those that are left out.
        val: None where the data set has no validation list.
        class_of: the class of each label of the files: the label itself, but with `target.label_order=name`.
        extra: further images of the target classes, where `target.reshuffle` or `target.extra_per_class` takes some
            into `train`: those that are left.
        left_out: training images of each class that are not trained on: `target.exclude`, not there, or more than
            `target.samples_per_class`.
    """

    place: Place
    files: dict[str, Path]
    classes: ClassTable
    train: SampleIndex
    val: SampleIndex | None
    test: SampleIndex
    extra: SampleIndex | None
    left_out: Int64[np.ndarray, " target"]
    class_of: Int64[np.ndarray, " target"]

    def by_class(self, index: SampleIndex) -> SampleIndex:
        """Samples of a list of target images, their labels turned into classes."""
        return index.with_labels(self.class_of[index.labels].astype(np.int32))

    @property
    def trained_on(self) -> Int64[np.ndarray, " target"]:
        """Training images that each class really has: without `left_out`, with those of `target.extra_per_class`."""
        return np.bincount(self.train.labels, minlength=len(self.classes))

    @property
    def untested(self) -> int:
        """Classes without a test image, which are in no accuracy."""
        return len(self.classes) - len(np.unique(self.test.labels))


def load_target(target: Target, *, missing: Missing = "refuse") -> TargetSet:
    """Read a target data set and check it.

    Args:
        target: the node.
        missing: what becomes of training images that are not there: `refuse` the list, or `skip` them; `keep` looks for
            no image at all, of validation and test neither.

    Raises:
        DataError: a root, list or name file is missing or malformed; a label has no name; a class has no training
            image and `target.allow_empty` is off; a listed image is not there.
    """
    place = find_place(target)
    files = target_files(target, place)
    classes, class_of, lists = read_lists(target, place.lists, files)
    package = target.package if isinstance(target, OfficialTarget) else None
    for split in [split for split in lists if split in ("val", "test") and missing != "keep"]:
        lists[split] = find_images(lists[split], place.images, files[split], package)
    train, extra = (
        usable(
            lists[split],
            place.images,
            files[split],
            exclude=files.get("exclude"),
            missing=missing,
            package=package,
        )
        if split in lists
        else None
        for split in ("train", "extra")
    )
    assert train is not None
    if target.samples_per_class is not None:
        train = train.select(_first(train.labels, target.samples_per_class))
    left_out = classes.counts - np.bincount(train.labels, minlength=len(classes))
    empty = np.flatnonzero(classes.counts == left_out)
    if len(empty) and not target.allow_empty:
        raise DataError(
            f"training images for each of {len(classes)} classes in {files['train']}",
            f"none for {len(empty)} classes: {some([f'{i} ({classes.names[i]})' for i in empty])}",
            "mend the list, or set target.allow_empty=true to leave them out of the prior and report them as zero",
        )
    if target.extra_per_class is not None and extra is not None:
        tail = np.array([shot in (Shot.MEDIUM, Shot.FEW) for shot in classes.shots])
        taken = _first(extra.labels, target.extra_per_class)
        taken = taken[tail[extra.labels[taken]]]
        left = np.setdiff1d(np.arange(len(extra)), taken)
        train, extra = SampleIndex.concatenate([train, extra.select(taken)]), extra.select(left)
    return TargetSet(
        place=place,
        files=files,
        classes=classes,
        train=train,
        val=lists.get("val"),
        test=lists["test"],
        extra=extra,
        left_out=left_out,
        class_of=class_of,
    )


def _first(labels: Int32[np.ndarray, " images"], most: int) -> Int64[np.ndarray, " kept"]:
    """Rows of the first images of each label, at most so many of each, in their order."""
    order = np.argsort(labels, kind="stable")
    start = np.searchsorted(labels[order], labels[order])  # where the label of each begins
    return np.sort(order[np.arange(len(order)) - start < most])


def load_classes(target: Target) -> ClassTable:
    """Read the classes of a target data set; no image is looked for.

    Raises:
        DataError: as of `read_lists`.
    """
    place = find_place(target)
    return read_lists(target, place.lists, target_files(target, place))[0]


def read_lists(
    target: Target, root: Path, files: Mapping[str, Path]
) -> tuple[ClassTable, Int64[np.ndarray, " target"], dict[str, SampleIndex]]:
    """Read lists and class names and check them against each other; no image is looked for.

    Args:
        target: the node.
        root: where the class names are.
        files: the lists, by split.

    Returns:
        The classes, the class of each label of the files (see `TargetSet`), and the lists by split, with classes
        for labels.

    Raises:
        DataError: a list or name file is missing or malformed, or a label has no name; or what calls itself
            official is not, or has class folders that are ids of other classes.
    """
    lists = {split: read_list(files[split]) for split in ("train", "val", "test", "extra") if split in files}
    ids, names = (
        read_names(root, target.names, ids=target.ids_in_names)
        if target.names
        else numbered(unnamed(lists["train"], files["train"]))
    )
    for split, index in lists.items():
        check_labels(index, len(names), files[split], "class names")
    if "extra" in lists:
        check_apart(lists["extra"], files["extra"], {split: lists[split] for split in lists if split != "extra"})
    full = lists["train"]
    counts = np.bincount(full.labels, minlength=len(names)).astype(np.int64)
    order = np.arange(len(names))
    if isinstance(target, OfficialTarget):
        if target.official is not None:
            sizes = {split: len(index) for split, index in lists.items() if split != "extra"}
            check_official(target.official, counts, sizes, files["train"])
        ids, names = by_label(target, ids, names, full, files["train"])
        for split, index in lists.items():
            check_folders(index, ids, files[split])
        if target.label_order == "name":
            order = order_by_name(names)
    if target.reshuffle:
        lists["train"], lists["extra"] = reshuffled(full, lists["extra"], target.reshuffle, len(names))
        counts = np.bincount(lists["train"].labels, minlength=len(names)).astype(np.int64)
    class_of = np.argsort(order)
    classes = ClassTable(tuple(ids[i] for i in order), tuple(names[i] for i in order), counts[order])
    return (
        classes,
        class_of,
        {split: index.with_labels(class_of[index.labels].astype(np.int32)) for split, index in lists.items()},
    )


def target_files(target: Target, place: Place) -> dict[str, Path]:
    """The files that decide what is trained and tested on, by configuration key."""
    files = {
        key: place.lists / (file.partition(":")[0] if key == "names" else file)
        for key in ("train", "val", "test", "names")
        if (file := getattr(target, key)) is not None
    }
    if target.takes_extra:
        files["extra"] = place.root / str(target.extra)
    if target.exclude:
        files["exclude"] = place.root / Path(target.exclude).expanduser()
    return files


def by_label(
    target: OfficialTarget, ids: tuple[str, ...], names: tuple[str, ...], train: SampleIndex, file: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and names as their file has them, put in the order of the labels.

    Raises:
        DataError: the folders of the training images, which give the order, are not ids each of one label.
    """
    if target.names_by == "label":
        return ids, names
    rows = rows_of_folders(train, ids, file)
    return tuple(ids[row] for row in rows), tuple(names[row] for row in rows)


def unnamed(index: SampleIndex, file: Path) -> int:
    """The number of classes of a list that has no names: one more than its largest label.

    Raises:
        DataError: a label is so large that a million classes would have no image.
    """
    classes = int(index.labels.max()) + 1
    if classes - len(index) > _MOST_EMPTY:
        raise DataError(
            f"labels 0..L-1 in {file}",
            f"the label {classes - 1} of {index.path(int(index.labels.argmax()))}, in a list of {len(index):,} images",
            "number the classes from 0 on, or give their names",
        )
    return classes


def numbered(classes: int, prefix: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and names of classes that have none: their numbers."""
    return tuple(str(i) for i in range(classes)), tuple(f"{prefix}{i}" for i in range(classes))


def read_names(root: Path, source: str, *, ids: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and names of classes, in the order of their labels.

    Args:
        root: where the file is.
        source: a text file, a name a line; or `file.json:key`, or a `file.json` without more in it: a list of names
            or of {"name": ..., "id": ...}. Ids that are numbers are labels, whatever the order of the list.
        ids: the first word of each line of the text file is the id. Without ids, the labels are.

    Raises:
        DataError: the file, the key or a name is missing, or two classes have one id.
    """
    file, _, key = source.partition(":")
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
        if key or file.endswith(".json"):
            entries = _json_names(json.loads(text)[key] if key else json.loads(text))
        else:
            lines = [line.strip() for line in text.rstrip().split("\n")]
            entries = (
                [dict(zip(("id", "name"), line.split(None, 1), strict=False)) for line in lines]
                if ids
                else [{"name": line} for line in lines]
            )
        for number, entry in enumerate(entries):
            if not isinstance(entry.get("name"), str) or not entry["name"]:
                raise ValueError(f"no name for class {number}")
        found = tuple(
            str(next(key for key in (entry.get("id"), entry.get("wnid"), number) if key is not None))
            for number, entry in enumerate(entries)
        )
        if len(set(found)) < len(found):
            raise ValueError(f"the id {next(i for i in found if found.count(i) > 1)!r} twice")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"class names in {root / file}" + (f" under the key {key!r}" if key else ", one a line"),
            f"{type(error).__name__}: {error}",
            "give a text file with a name a line, file.json:key, or a file.json that is a list",
        ) from None
    return found, tuple(entry["name"] for entry in entries)


def check_labels(index: SampleIndex, classes: int, file: Path, of: str) -> None:
    """Refuse labels outside 0..classes-1, naming the first offender."""
    wrong = np.flatnonzero((index.labels < 0) | (index.labels >= classes))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"labels 0..{classes - 1} in {file} (there are {classes} {of})",
            f"label {index.labels[row]} of {index.path(row)}, and {len(wrong) - 1} more outside of that",
            "labels start at 0; check that the list and the class names belong together",
        )


def check_apart(extra: SampleIndex, file: Path, lists: Mapping[str, SampleIndex]) -> None:
    """Refuse further images that are on a list of the target, or twice on their own.

    Raises:
        DataError: there are such images: they would be trained on twice, or are test images.
    """
    further = set(extra.paths())
    wrong = {split: sorted(further.intersection(index.paths())) for split, index in lists.items()}
    wrong["extra"] = [extra.path(row) for row in extra.duplicates()]
    found = [f"{len(paths):,} on the {split} list ({paths[0]})" for split, paths in wrong.items() if paths]
    if found:
        raise DataError(
            f"further images in {file} that are on no other list, each once",
            ", ".join(found),
            "take them off that file",
        )


def usable(
    index: SampleIndex,
    images: ImageStore,
    file: Path,
    *,
    exclude: Path | None,
    missing: Missing,
    package: str | None = None,
) -> SampleIndex:
    """The training images of a list that are to be used: not excluded, and there.

    Raises:
        DataError: `exclude` cannot be read, or an image is not there and `missing` is `refuse`.
    """
    if exclude is not None:
        unwanted = read_paths(exclude)
        index = index.select(np.array([i for i, path in enumerate(index.paths()) if path not in unwanted], np.int64))
    if missing == "keep":
        return index
    if missing == "refuse":
        check_images(index, images, file, package)
        return index
    there = np.ones(len(index), bool)
    there[images.missing(index)] = False
    return index if there.all() else index.select(np.flatnonzero(there))


def _json_names(content: Any) -> list[dict[str, Any]]:
    if not isinstance(content, list):
        raise ValueError(f"{type(content).__name__} where a list was wanted")
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in content]
    ids = [entry.get("id") for entry in entries]
    if not any(type(id) is int for id in ids):
        return entries
    place = {id: entry for id, entry in zip(ids, entries, strict=True) if type(id) is int}
    if place.keys() != set(range(len(entries))):
        raise ValueError(f"ids that are numbers, and yet not 0..{len(entries) - 1}, each once")
    return [place[label] for label in range(len(entries))]


def read_paths(file: Path) -> frozenset[str]:
    """The paths of a file, one a line; blanks around them mean nothing.

    Raises:
        DataError: it cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")  # as in a list, other line ends are part of a path
    except (OSError, ValueError) as error:
        raise DataError(
            "a file of paths to exclude, one a line", f"{file}: {error}", "correct target.exclude"
        ) from None
    return frozenset(path for line in lines if (path := line.strip(" \t")))
