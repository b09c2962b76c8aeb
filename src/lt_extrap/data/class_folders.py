"""A folder a class, with or without ready splits: labels are the names of folders."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lt_extrap.data.images import below, is_image, visible
from lt_extrap.data.labelled import SPLITS, Labelled, LabelledImage, check_path, label_of
from lt_extrap.data.metadata import ENDINGS
from lt_extrap.errors import DataError, some


def read_class_folders(root: Path) -> Labelled:
    """The images of `<class>/**`, or of `<split>/<class>/**`; links are followed.

    Raises:
        DataError: there are no classes, splits stand beside other folders, two folders are one class, or a path
            cannot be listed.
        OSError: a folder cannot be read.
    """
    start = os.path.join(os.fsencode(root), b"")  # noqa: PTH118 (bytes)
    files = [path.removeprefix(start) for path in below(start)]
    paths = sorted(os.fsdecode(path) for path in files if is_image(path))
    splits = _splits({path.partition("/")[0] for path in paths if "/" in path}, root)
    at = 1 if splits else 0  # where the class stands in a path
    folders = [f"{above}{name}" for above in ("", *(f"{name}/" for name in splits)) for name in _folders(start, above)]
    images, stray, of_class = list[LabelledImage](), list[str](), defaultdict[tuple[str, str], set[str]](set)
    for path in paths:
        parts = path.split("/")
        if len(parts) < at + 2:
            stray.append(path)
            continue
        check_path(path, str(root))
        label = label_of(parts[at])
        of_class["/".join(parts[:at]), label].add("/".join(parts[: at + 1]))
        images.append(LabelledImage(path, label, splits.get(parts[0])))
    tables = sorted(name for path in files if b"/" not in path and (name := os.fsdecode(path)).endswith(ENDINGS))
    for same in of_class.values():
        if len(same) > 1:
            raise DataError(
                "a folder a class", f"{', '.join(map(ascii, sorted(same)))}: one name in two spellings", "merge them"
            )
    if not images:
        raise DataError(
            f"images in <class>/ or in {{train,val,test}}/<class>/ below {root}",
            f"{len(stray)} images that are in no class folder, {len(files) - len(paths)} other files",
            "sort the images into a folder a class, or give a table of paths and labels: target.table="
            + (tables[0] if tables else "labels.csv"),
        )
    used = set(splits).union(*of_class.values())
    empty = [folder for folder in folders if folder not in used]
    others = Counter(os.path.splitext(os.fsdecode(path))[1] or "no extension" for path in files if not is_image(path))  # noqa: PTH122
    return Labelled(
        images,
        [
            *_left_out("images in no class folder", stray),
            *_left_out("folders without images", empty),
            *_left_out(
                "kinds of other files",
                [f"{count} {ending}" for ending, count in sorted(others.items(), key=lambda kind: (-kind[1], kind[0]))],
            ),
            *(f"{table} is not read: target.table={table} would read it" for table in map(_shown, tables)),
        ],
    )


def _splits(names: Collection[str], root: Path) -> dict[str, str]:
    """The split of each folder; none where all folders are classes."""
    found = {name: SPLITS[name.casefold()] for name in sorted(names) if name.casefold() in SPLITS}
    if not found:
        return {}
    if len(found) < len(names):
        raise DataError(
            f"either splits or classes below {root}",
            f"{some(list(found))} beside {some(sorted(set(names) - set(found)))}",
            "move one of both elsewhere; a class of that name needs another one, or a table (target.table)",
        )
    if "train" not in found.values() or len(set(found.values())) < len(found):
        raise DataError(
            f"train/ and at most one val/ and one test/ below {root}", some(list(found)), "rename or merge them"
        )
    return found


def _folders(start: bytes, above: str) -> Iterator[str]:
    folder = start + os.fsencode(above)
    return (os.fsdecode(name) for name in sorted(entry.name for entry in visible(folder) if entry.is_dir()))


def _left_out(what: str, found: Sequence[str]) -> list[str]:
    return [f"left out, {what}: {len(found):,} ({some(list(map(_shown, found)))})"] if found else []


def _shown(name: str) -> str:
    """A name as a terminal can print it, whatever its bytes."""
    return name.encode(errors="backslashreplace").decode()
