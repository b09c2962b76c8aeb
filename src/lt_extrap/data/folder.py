"""A person's own images: found, put in classes and splits, and written as lists.

train.txt, val.txt, test.txt    `path label` a line
classes.json                    "target": id and name of each class, by label
notes.json                      "notes": what their owner should know of the splits; "counts": their sizes
"""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lt_extrap.config import FolderTarget, check
from lt_extrap.data.class_folders import read_class_folders
from lt_extrap.data.copies import find_copies
from lt_extrap.data.labelled import Labelled, LabelledImage, ordered, path_below
from lt_extrap.data.lists import read_list
from lt_extrap.data.metadata import find_metadata, read_table
from lt_extrap.data.split import LEAST, assign, ties
from lt_extrap.errors import DataError, some
from lt_extrap.files import write_whole_folder

FORMAT = 2  # of what is written: raise it when the rule of the splits or the files change
_SHOWN = 10  # classes
_SPLITS = ("train", "val", "test")

Stamp = tuple[int, int] | None  # size and time of a file that is there


def write_split(
    target: FolderTarget, root: Path, images: Path, parent: Path
) -> tuple[Path, tuple[str, ...], tuple[str, ...]]:
    """Write the lists of a folder of images into a folder below `parent` that is named after all they depend on.

    That is the rule of the splits, and path, label, size and time of every image: lists that were written once for
    the same images are taken as they are, and no image is read again.

    Args:
        target: says how.
        root: the folder of the table.
        images: the folder of the images.
        parent: the folder to write into.

    Returns:
        The folder of the lists, whole; what the owner of the images should know, a line each; and images by split
        and class, a line each.

    Raises:
        ConfigError: a key for tables without a table, or the package that reads parquet is missing.
        DataError: classes, paths or rows are not what they should be, a split would be empty, images of an auxiliary
            list are among those of the classes, a folder cannot be read, or the lists cannot be written.
    """
    try:
        found = _find(target, root, images)
    except OSError as error:
        raise DataError(
            f"folders that can be read below {images}",
            f"{os.fsdecode(error.filename)}: {error.strerror}",
            "give yourself the right",
        ) from error
    entries = sorted(entry for entry in found.images if target.val or entry.split != "val")
    classes = ordered(entry.label for entry in entries)
    if len(classes) < 2:
        raise DataError(
            f"at least two classes in {images}",
            f"one: {classes[0]}" if classes else "none",
            "give the folder whose folders are the classes as target.root, or a table of labels as target.table",
        )
    _check_apart(target, root, images, entries)
    stamps = [_stamp(images, entry) for entry in entries]
    rule = (FORMAT, target.val, target.val_fraction, target.test_fraction, target.split_seed)
    identity = json.dumps([rule, list(zip(entries, stamps, strict=True))]).encode()
    folder = parent / hashlib.sha256(identity).hexdigest()[:16]

    def write(place: Path) -> None:
        splits, notes = _divide(target, images, entries, stamps)
        labels = {name: label for label, name in enumerate(classes)}
        for split in set(splits):
            lines = [
                f"{entry.path} {labels[entry.label]}\n"
                for entry, own in zip(entries, splits, strict=True)
                if own == split
            ]
            (place / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
        tables = {
            "classes": {"target": [{"id": name, "name": name} for name in classes]},
            "notes": {"notes": notes, "counts": _summary(entries, splits, classes)},
        }
        for name, table in tables.items():
            (place / f"{name}.json").write_text(json.dumps(table, indent=1, ensure_ascii=False), encoding="utf-8")

    try:
        write_whole_folder(folder, write)
    except OSError as error:
        raise DataError(
            f"room to write the lists of {images} in {parent}", str(error), "free disk, or set LT_EXTRAP_CACHE"
        ) from error
    if unused := len(found.images) - len(entries):
        found.notes.append(f"left out, images of a validation split, as target.val is null: {unused:,}")
    written = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
    return folder, (*found.notes, *written["notes"]), tuple(written["counts"])


def _find(target: FolderTarget, root: Path, images: Path) -> Labelled:
    """What the table says, or those of a Hugging Face imagefolder, or else the names of folders."""
    if target.table is not None:
        return read_table(target, root / Path(target.table).expanduser(), images=images)
    if tables := find_metadata(target, images):
        target = dataclasses.replace(target, path_column=target.path_column or "file_name")
        parts = [read_table(target, file, images=images, start=start) for start, file in tables.items()]
        images_of = [one for part in parts for one in part.images]
        twice = [path for path, rows in Counter(one.path for one in images_of).items() if rows > 1]
        if twice:
            raise DataError(
                f"each image in one of {', '.join(map(str, tables.values()))}", some(twice), "remove it from the others"
            )
        return Labelled(images_of, [note for part in parts for note in part.notes])
    for key in ("path_column", "label_column", "split_column", "group_column"):
        check(getattr(target, key) is None, f"target.{key}", "null without target.table", getattr(target, key))
    return read_class_folders(images)


def _check_apart(target: FolderTarget, root: Path, images: Path, entries: Sequence[LabelledImage]) -> None:
    """Refuse further images that lie within the classes, where they would be one, or tested on."""
    of_path = {entry.path: entry.label for entry in entries}
    for list_file in (target.neighbors.train, target.random.train, target.extra):
        if list_file is None or not (root / list_file).is_file():  # whoever needs it says that it is missing
            continue
        index = read_list(root / list_file)
        within = [path for i in range(len(index)) if (path := path_below(images, index.path(i))) in of_path]
        if within:
            raise DataError(
                f"other images in {root / list_file} than those of the classes",
                f"{len(within)} of the class {of_path[within[0]]} and others: {some(within)}",
                "move them out of target.root, and list them by absolute paths or from ../",
            )
    for folder in (target.neighbors.folder, target.random.folder):
        if folder is None:
            continue
        start = path_below(images, str(root / Path(folder).expanduser()))
        within = [path for path in of_path if path.startswith(f"{start}/")]
        if within:
            raise DataError(
                f"the auxiliary set {folder} outside of the classes",
                f"{len(within)} of its images in the class {of_path[within[0]]}: {some(within)}",
                "move it out of target.root, and give its absolute path, or one from ../",
            )


def _stamp(images: Path, entry: LabelledImage) -> Stamp:
    try:
        status = os.stat(os.path.join(images, entry.path))  # noqa: PTH116, PTH118 (of 100,000 images)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _divide(
    target: FolderTarget, images: Path, entries: Sequence[LabelledImage], stamps: Sequence[Stamp]
) -> tuple[list[str], list[str]]:
    """The split of each image, and what there is to say about how it was found.

    Raises:
        DataError: a split would be empty.
    """
    splits = [entry.split or "train" for entry in entries]
    if "train" not in splits:
        raise DataError(
            f"images to train on in {images}", f"only {', '.join(sorted(set(splits)))}", "correct the splits"
        )
    wanted = {"test": target.test_fraction} | ({"val": target.val_fraction} if target.val else {})
    made = {split: fraction for split, fraction in wanted.items() if split not in splits}
    # What is not there is trained on: the check of the training list names it, or leaves it out if it is told to.
    free = [i for i, stamp in enumerate(stamps) if made and stamp and splits[i] == "train"]
    paths, labels = [entries[i].path for i in free], [entries[i].label for i in free]
    copies = find_copies([images / path for path in paths], [stamp[0] for i in free if (stamp := stamps[i])])
    number = {position: n for n, same in enumerate(copies) for position in same}
    units = ties([entries[i].group for i in free], [number.get(position) for position in range(len(free))])
    drawn = assign(labels, [paths[unit] for unit in units], fractions=made, seed=target.split_seed)
    for i, split in zip(free, drawn, strict=True):
        splits[i] = split
    for split in made:
        if split not in splits:
            largest = max(Counter(entry.label for entry in entries).values())
            raise DataError(
                f"images of {images} for the list {split}.txt",
                f"none; the largest class has {largest} images, and classes of {LEAST} or more are tested",
                "add images, or give splits of your own" + (", or set target.val=null" if split == "val" else ""),
            )
    notes = [f"split here, with target.split_seed={target.split_seed}: {', '.join(reversed(made))}"] if made else []
    if copies:
        notes.append(f"images that repeat another byte for byte, and are in its split: {len(number) - len(copies):,}")
    mixed = [same for same in copies if len({labels[position] for position in same}) > 1]
    if mixed:
        said = [" = ".join(paths[position] for position in same) for same in mixed]
        notes.append(f"images that lie under several classes: {len(mixed):,} ({some(said)})")
    return splits, notes


def _summary(entries: Sequence[LabelledImage], splits: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Images by split and class, and the classes that no image tests."""
    sizes = Counter((entry.label, split) for entry, split in zip(entries, splits, strict=True))

    def counts(label: str) -> str:
        return ", ".join(f"{split} {sizes[label, split]:,}" for split in _SPLITS if sizes[label, split])

    untested = [label for label in classes if not sizes[label, "test"]]
    total = Counter(splits)
    return [
        "images: " + ", ".join(f"{split} {total[split]:,}" for split in _SPLITS if total[split]),
        *(f"label {n}: {label} ({counts(label)})" for n, label in enumerate(classes[:_SHOWN])),
        *([f"and {len(classes) - _SHOWN} more classes"] if len(classes) > _SHOWN else []),
        *([f"classes without test images, not evaluated: {len(untested):,} ({some(untested)})"] if untested else []),
    ]
