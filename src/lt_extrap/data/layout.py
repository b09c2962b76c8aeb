"""Where the images of a list lie, and why they do not."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.store import Folder, ImageStore
from lt_extrap.errors import DataError, some

Missing = Literal["refuse", "skip", "keep"]  # of training images that are not there; `keep` does not look

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
_CLASS_FOLDER = re.compile(r"[^/]+/(?=[^/]*$)")  # the last folder of a path


def check_images(index: SampleIndex, images: ImageStore, file: Path, package: str | None = None) -> None:
    """Refuse a list some of whose images are not there, before hours of training end in one of them.

    Args:
        index: the list.
        images: where its relative paths start.
        file: the list's file, for the message.
        package: the archives that it was made for, for the message.
    """
    missing = images.missing(index)
    if len(missing):
        raise DataError(
            f"the {len(index)} images of {file} below {images}",
            f"{len(missing)} are not there: {some([index.path(row) for row in missing])}; "
            + why_missing(index.select(missing), images, package),
            "check target.images and the layout of that folder (the first path shows what the list expects)",
        )


def find_images(index: SampleIndex, images: ImageStore, file: Path, package: str | None = None) -> SampleIndex:
    """The samples of a list under the paths where their images are; arguments as of `check_images`.

    Where they lie without their class folders (see `laid_out`), a line says it.

    Raises:
        DataError: an image is not there.
    """
    found = laid_out(index, images)
    check_images(found, images, file, package)
    if found is not index:
        print(f"{file.name}: the images lie without class folders, such as {images.where(found.path(0))}")
    return found


def laid_out(index: SampleIndex, images: ImageStore) -> SampleIndex:
    """The samples of a list under the paths of the layout that is there.

    A published package has its validation images in one folder (ILSVRC2012: val/ILSVRC2012_val_00000001.JPEG), while
    lists want them by class (val/n01440764/...). If no image is where the list says, and some are there with the class
    folder left out, the whole list is read so. The layouts are never mixed.
    """
    if len(images.missing(index)) < len(index):
        return index
    flat = SampleIndex.of([_CLASS_FOLDER.sub("", path) for path in index.paths()], index.labels)
    return flat if not len(flat.duplicates()) and len(images.missing(flat)) < len(flat) else index


def why_missing(index: SampleIndex, images: ImageStore, package: str | None = None) -> str:
    """What is there instead of images that are not: the likely cause, in words.

    Args:
        index: samples of which some are not there; the first five of those are looked into.
        images: where their relative paths start.
        package: the archives that the list was made for.
    """
    missing = list(islice((path for path in index.paths() if images.stamp(path) is None), 5))
    said = _in_folder(missing, images.path) if isinstance(images, Folder) else images.instead(missing[0])
    return said + (f"; the list is made for {package}" if package else "")


def _in_folder(missing: Sequence[str], images: Path) -> str:
    """What is in a folder instead of some files."""
    try:
        instead = (found for path in missing for found in _elsewhere(path, images))
        said = _instead(images / missing[0]) or next((f"there is {there} ({cause})" for there, cause in instead), None)
        return said or _nearest(missing[0], images)
    except OSError as error:  # a folder that one may not look into is cause enough
        return f"{error.filename}: {error.strerror}"


def _instead(place: Path) -> str | None:
    """What stands in the very place of a file."""
    if os.path.islink(place):  # noqa: PTH114 (a name may be too long)
        return f"there is {place} (a link to {place.readlink()}, which is no file)"
    if os.path.lexists(place):
        return f"there is {place} (a folder, a pipe or a device)"
    return None


def _elsewhere(path: str, images: Path) -> Iterator[tuple[Path, str]]:
    """Files that may be the wanted one, and what that would mean."""
    listed = images / path
    first, _, below = path.partition("/")
    similar = (entry for entry in _entries(listed.parent) if entry.stem.casefold() == listed.stem.casefold())
    candidates = [
        (images.parent / path, f"set target.images={images.parent}"),
        *((folder / path, f"set target.images={folder}") for folder in _entries(images)),
        (images / below, f"without the folder {first}"),
        (images / _CLASS_FOLDER.sub("", path), "without the class folder"),
        *((folder / listed.name, "in a folder more") for folder in _entries(listed.parent)),
        *((entry, "another case or suffix") for entry in similar),
    ]
    return ((there, cause) for there, cause in candidates if _is_file(there))


def _nearest(path: str, images: Path) -> str:
    """What is there where a path leads nowhere: an archive that nobody unpacked, or other files."""
    folder = next(parent for parent in (images / path).parents if _is_folder(parent))
    entries = _entries(folder)
    archive = next((entry for entry in entries if entry.name.endswith(_ARCHIVES)), None)
    if archive is not None:
        return f"there is {archive} (an archive that is not unpacked)"
    if not entries:
        return f"there is {folder}, and nothing in it"
    below = list(filter(_is_folder, entries)) or [folder]  # where there are folders, lists lie beside them
    example = next((Path(at, min(files)) for start in below for at, _, files in os.walk(start) if files), None)
    names = some([entry.name for entry in entries], 3)
    return f"there is {folder} with {names} in it" + (f", such as {example}" if example else "")


def _is_file(path: Path) -> bool:
    # Path.is_file raises where a name is too long for the disk, or a folder is closed.
    return os.path.isfile(path)  # noqa: PTH113


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if _is_folder(folder) else []
