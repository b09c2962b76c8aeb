"""The target data set: lists, class names, and how many training images each class has."""

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lt_extrap.config import EmbeddedTarget, Target
from lt_extrap.data.embedded import World, write_world
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.shots import Shot, shot_of
from lt_extrap.paths import cache_dir, data_root


@dataclass(frozen=True)
class ClassTable:
    """The target classes. Label = position.

    Attributes:
        names: class names; not always unique, so never keys.
        counts: target training images a class, from the full training list; auxiliary data never moves them.
    """

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
        root: where lists and auxiliary files are.
        images: where the relative paths of the lists start.
        val: None where the data set has no validation list.
    """

    root: Path
    images: Path
    classes: ClassTable
    train: SampleIndex
    val: SampleIndex | None
    test: SampleIndex


def load_target(target: Target) -> TargetSet:
    """Read a target data set and check it.

    Raises:
        DataError: a root, list or name file is missing or malformed; a label has no name; a class has no training
            image and `target.allow_empty` is off; a listed image is not there.
    """
    if isinstance(target, EmbeddedTarget):
        root = _embedded(target.world)
    else:
        root = Path(target.root).expanduser().resolve() if target.root else data_root(target.folder)
    if not root.is_dir():
        raise DataError(
            f"the folder of the target {target.folder!r}",
            f"no folder {root}",
            "set LT_EXTRAP_DATA to the folder that holds it, or give target.root=<its path>; see docs/data.md",
        )
    images = _unpack(root / target.archive) if target.archive else root
    train = read_list(root / target.train)
    names = (
        read_names(root, target.names)
        if target.names
        else tuple(str(label) for label in range(int(train.labels.max()) + 1))
    )
    splits = {"train": (target.train, train), "test": (target.test, read_list(root / target.test))}
    if target.val:
        splits["val"] = (target.val, read_list(root / target.val))
    for file, index in splits.values():
        check_labels(index, len(names), root / file, "class names")
        check_images(index, images, root / file)
    counts = np.bincount(train.labels, minlength=len(names)).astype(np.int64)
    empty = np.flatnonzero(counts == 0)
    if len(empty) and not target.allow_empty:
        raise DataError(
            f"training images for each of {len(names)} classes in {root / target.train}",
            f"none for {len(empty)} classes: {_some([f'{i} ({names[i]})' for i in empty])}",
            "mend the list, or set target.allow_empty=true to leave them out of the prior and report them as zero",
        )
    return TargetSet(
        root=root,
        images=images,
        classes=ClassTable(names, counts),
        train=train,
        val=splits["val"][1] if target.val else None,
        test=splits["test"][1],
    )


def read_names(root: Path, source: str) -> tuple[str, ...]:
    """Class names from a text file (one a line) or from `file.json:key`, a list of names or of {"name": ...}.

    Raises:
        DataError: the file, the key or a name is missing.
    """
    file, _, key = source.partition(":")
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
        if not key:
            names = [line.strip() for line in text.rstrip().splitlines()]
        else:
            names = [entry if isinstance(entry, str) else entry["name"] for entry in json.loads(text)[key]]
        for number, name in enumerate(names):
            if not isinstance(name, str) or not name:
                raise ValueError(f"no name for class {number}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"class names in {root / file}" + (f" under the key {key!r}" if key else ", one a line"),
            f"{type(error).__name__}: {error}",
            "give a text file with a name a line, or file.json:key",
        ) from None
    return tuple(names)


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
    missing = [i for i in range(len(index)) if not os.path.isfile(os.path.join(images, index.path(i)))]  # noqa: PTH113, PTH118
    if missing:
        raise DataError(
            f"the {len(index)} images of {file} below {images}",
            f"{len(missing)} are not there: {_some([index.path(i) for i in missing])}",
            "check target.root and the layout of the image folder (the first path shows what the list expects)",
        )


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


def _some(items: Sequence[str], most: int = 5) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _unpack(archive: Path) -> Path:
    """Unpack a tar once to the cache; its size and time tell versions apart."""
    if not archive.is_file():
        raise DataError(
            "the archive of the target's images",
            f"no file {archive}",
            "see docs/data.md for how to make it, or set target.archive=null if the images are already unpacked",
        )
    status = archive.stat()
    folder = cache_dir() / "archives" / f"{archive.parent.name}-{status.st_size}-{int(status.st_mtime)}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Unpacked beside its final place and then renamed: a kill leaves no half of it under that name.
    unpacked = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        unpacked.chmod(0o755)
        unpacked.rename(folder)
    except tarfile.TarError as error:
        raise DataError(f"a readable tar of images at {archive}", str(error), "make it again") from error
    except OSError as error:
        if not folder.is_dir():  # else another process was faster, and that is as good
            raise DataError(
                f"room to unpack {archive} in {folder.parent}", str(error), "free disk, or set LT_EXTRAP_CACHE"
            ) from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return folder
