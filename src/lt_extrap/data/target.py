"""The target data set: lists, class names, and how many training images each class has."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from lt_extrap.config import EmbeddedTarget, Target
from lt_extrap.data.archive import unpack
from lt_extrap.data.embedded import World, write_world
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.shots import Shot, shot_of
from lt_extrap.paths import cache_dir, data_root


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


class Place(NamedTuple):
    """Where the files of a target are.

    Attributes:
        root: where its auxiliary files are.
        lists: where its lists and class names are.
        images: where the relative paths of the lists start.
    """

    root: Path
    lists: Path
    images: Path


@dataclass(frozen=True)
class TargetSet:
    """A target data set as read.

    Attributes:
        place: where its files are.
        files: those that decide what is trained and tested on, by configuration key (`train`, `names`, ...).
        classes: their names and training counts.
        train: the training images, without those that are left out.
        val: None where the data set has no validation list.
        left_out: training images of each class that are not trained on: `target.exclude`, or not there.
    """

    place: Place
    files: dict[str, Path]
    classes: ClassTable
    train: SampleIndex
    val: SampleIndex | None
    test: SampleIndex
    left_out: Int64[np.ndarray, " target"]


def load_target(target: Target, *, skip_missing: bool = False) -> TargetSet:
    """Read a target data set and check it.

    Args:
        target: the node.
        skip_missing: leave out training images that are not there, instead of refusing the list.

    Raises:
        DataError: a root, list or name file is missing or malformed; a label has no name; a class has no training
            image and `target.allow_empty` is off; a listed image is not there.
    """
    place = find_place(target)
    files = {
        key: place.lists / (file.partition(":")[0] if key == "names" else file)
        for key in ("train", "val", "test", "names")
        if (file := getattr(target, key)) is not None
    }
    if target.exclude:
        files["exclude"] = place.root / Path(target.exclude).expanduser()
    lists = {split: read_list(files[split]) for split in ("train", "val", "test") if split in files}
    full = lists["train"]
    ids, names = (
        read_names(place.lists, target.names, ids=target.ids_in_names)
        if target.names
        else numbered(int(full.labels.max()) + 1)
    )
    for split, index in lists.items():
        check_labels(index, len(names), files[split], "class names")
        if split != "train":
            check_images(index, place.images, files[split])
    train = usable(full, place.images, files["train"], exclude=files.get("exclude"), skip_missing=skip_missing)
    counts = np.bincount(full.labels, minlength=len(names)).astype(np.int64)
    left_out = counts - np.bincount(train.labels, minlength=len(names))
    empty = np.flatnonzero(counts == left_out)
    if len(empty) and not target.allow_empty:
        raise DataError(
            f"training images for each of {len(names)} classes in {files['train']}",
            f"none for {len(empty)} classes: {some([f'{i} ({names[i]})' for i in empty])}",
            "mend the list, or set target.allow_empty=true to leave them out of the prior and report them as zero",
        )
    return TargetSet(
        place=place,
        files=files,
        classes=ClassTable(ids, names, counts),
        train=train,
        val=lists.get("val"),
        test=lists["test"],
        left_out=left_out,
    )


def find_place(target: Target) -> Place:
    """Where the files of a target are; what this machine makes of them is made if it is not there.

    Raises:
        DataError: a folder or archive is missing.
    """
    if isinstance(target, EmbeddedTarget):
        world = _embedded(target.world)
        return Place(world, world, world)
    root = Path(target.root).expanduser().resolve() if target.root else data_root(target.folder)
    if not root.is_dir():
        raise DataError(
            f"the folder of the target {target.folder!r}",
            f"no folder {root}",
            "set LT_EXTRAP_DATA to the folder that holds it, or give target.root=<its path>; see docs/data.md",
        )
    images = root / Path(target.images).expanduser() if target.images else root
    if not images.is_dir():
        raise DataError("the folder of the target's images", f"no folder {images}", "correct target.images")
    return Place(root, root, unpack(root / target.archive) if target.archive else images.resolve())


def numbered(classes: int, prefix: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and names of classes that have none: their numbers."""
    return tuple(str(i) for i in range(classes)), tuple(f"{prefix}{i}" for i in range(classes))


def read_names(root: Path, source: str, *, ids: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and names of classes, in the order of their labels.

    Args:
        root: where the file is.
        source: a text file, a name a line; or `file.json:key`, a list of names or of {"name": ..., "id": ...}.
        ids: the first word of each line of the text file is the id. Without ids, the labels are.

    Raises:
        DataError: the file, the key or a name is missing, or two classes have one id.
    """
    file, _, key = source.partition(":")
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
        if key:
            entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in json.loads(text)[key]]
        else:
            lines = [line.strip() for line in text.rstrip().splitlines()]
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
            "give a text file with a name a line, or file.json:key",
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


def check_images(index: SampleIndex, images: Path, file: Path) -> None:
    """Refuse a list some of whose images are not there, before hours of training end in one of them."""
    missing = missing_rows(index, images)
    if len(missing):
        raise DataError(
            f"the {len(index)} images of {file} below {images}",
            f"{len(missing)} are not there: {some([index.path(i) for i in missing])}",
            "check target.root and the layout of the image folder (the first path shows what the list expects)",
        )


def usable(index: SampleIndex, images: Path, file: Path, *, exclude: Path | None, skip_missing: bool) -> SampleIndex:
    """The training images of a list that are to be used: not excluded, and there.

    Raises:
        DataError: `exclude` cannot be read, or an image is not there and `skip_missing` is off.
    """
    if exclude is not None:
        unwanted = read_paths(exclude)
        index = index.select(np.array([i for i in range(len(index)) if index.path(i) not in unwanted], np.int64))
    if not skip_missing:
        check_images(index, images, file)
        return index
    keep = np.ones(len(index), bool)
    keep[missing_rows(index, images)] = False
    return index if keep.all() else index.select(np.flatnonzero(keep))


def missing_rows(index: SampleIndex, images: Path) -> Int64[np.ndarray, " missing"]:
    """Positions of the images that are not there."""
    root = str(images)
    rows = [i for i in range(len(index)) if not os.path.isfile(os.path.join(root, index.path(i)))]  # noqa: PTH113, PTH118
    return np.array(rows, np.int64)


def some(items: Sequence[str], most: int = 5) -> str:
    """The first of some items, and how many more there are."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def read_paths(file: Path) -> frozenset[str]:
    """The paths of a file, one a line.

    Raises:
        DataError: it cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(
            "a file of paths to exclude, one a line", f"{file}: {error}", "correct target.exclude"
        ) from None
    return frozenset(line.strip() for line in lines if line.strip())


def _embedded(fields: dict[str, int]) -> Path:
    """The folder of an embedded world in the cache, written if it is not there."""
    try:
        world = World(**fields)
    except TypeError as error:
        raise ConfigError("fields of an embedded world", str(error), "correct target.world.<field>") from None
    try:
        return write_world(world, cache_dir() / "embedded")
    except OSError as error:
        raise DataError(
            f"room to write the embedded world in {cache_dir()}", str(error), "free disk, or set LT_EXTRAP_CACHE"
        ) from error
