"""Where the files of a target are; what this machine makes of them is made here."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from lt_extrap.config import CifarTarget, EmbeddedTarget, FolderTarget, Target
from lt_extrap.data.archive import unpack
from lt_extrap.data.embedded import World, class_entry, target_classes, write_world
from lt_extrap.data.folder import write_split
from lt_extrap.data.store import Folder, ImageStore, is_url, open_store
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.paths import cache_dir, data_root


class Place(NamedTuple):
    """Where the files of a target are.

    Attributes:
        root: where its auxiliary files are.
        lists: where its lists and class names are.
        images: what has the images of the lists.
        notes: what was noticed while the lists were made, a line each.
        counts: images by split and class of lists that were made, a line each.
    """

    root: Path
    lists: Path
    images: ImageStore
    notes: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()


def find_place(target: Target) -> Place:
    """Where the files of a target are; what this machine makes of them is made if it is not there.

    Raises:
        ConfigError: a URL of images that cannot be opened.
        DataError: a folder or archive is missing, a packed folder is not whole, or a store does not answer.
    """
    if isinstance(target, EmbeddedTarget):
        world = _embedded(target.world)
        return Place(world, world, Folder(world))
    if isinstance(target, CifarTarget):
        return _cifar(target)
    root = _root(target)
    if not root.is_dir():
        raise DataError(
            f"the folder of the target {target.folder!r}",
            f"no folder {root}",
            "correct target.root"
            if target.root
            else "set LT_EXTRAP_DATA to the folder that holds it, or give target.root=<its path>; see docs/data.md",
        )
    place = Place(root, root, _images(target, root))
    if not isinstance(target, FolderTarget):
        return place
    if not isinstance(place.images, Folder):
        raise DataError(
            "a folder of files, of which target=folder makes its lists",
            f"{place.images}, which is packed or remote",
            "train on the lists that lt_extrap.pack leaves beside the shards (it says how), or on those of a run "
            "folder: target=lists",
        )
    lists, notes, counts = write_split(target, place.root, place.images.path, cache_dir() / "folders")
    return place._replace(lists=lists, notes=notes, counts=counts)


def class_entries(target: Target) -> Any:
    """The entries of a target's table of classes, read where it is: no image is asked for, and nothing is made.

    Returns:
        As the table has them; those of an embedded world, which is a function of its fields, without its files.

    Raises:
        ConfigError: fields of no embedded world, or no root.
        OSError, ValueError: the table is not there, or is no JSON.
    """
    if isinstance(target, EmbeddedTarget):
        return [class_entry(creature) for creature in target_classes(_world(target.world))]
    file, _, key = (target.names or "").partition(":")
    content = json.loads((_root(target) / file).read_text(encoding="utf-8"))
    return content[key] if key else content


def _images(target: Target, root: Path) -> ImageStore:
    if target.archive:
        return Folder(unpack(root / target.archive))
    if target.images and is_url(target.images):
        return open_store(target.images)
    images = root / Path(target.images).expanduser() if target.images else root
    if not images.is_dir():
        raise DataError("the folder of the target's images", f"no folder {images}", "correct target.images")
    return open_store(images.resolve())


def _embedded(fields: dict[str, int]) -> Path:
    """The folder of an embedded world in the cache, written if it is not there."""
    world = _world(fields)
    try:
        return write_world(world, cache_dir() / "embedded")
    except OSError as error:
        raise DataError(
            f"room to write the embedded world in {cache_dir()}", str(error), "free disk, or set LT_EXTRAP_CACHE"
        ) from error


def _world(fields: dict[str, int]) -> World:
    try:
        return World(**fields)
    except TypeError as error:
        raise ConfigError("fields of an embedded world", str(error), "correct target.world.<field>") from None


def _cifar(target: CifarTarget) -> Place:
    """Images and lists of CIFAR in the cache, written if they are not there."""
    from lt_extrap.data.cifar import image_folder, write_images, write_lists  # and torchvision: seconds

    parent = cache_dir() / "cifar100"
    images = image_folder(parent)
    try:
        if not images.is_dir():
            write_images(images, _root(target), download=target.download)
        lists = write_lists(parent, images, target)
    except OSError as error:
        raise DataError(
            f"room to write the images of CIFAR-100 in {parent}", str(error), "free disk, or set LT_EXTRAP_CACHE"
        ) from error
    return Place(lists, lists, Folder(images))


def _root(target: Target) -> Path:
    return Path(target.root).expanduser().resolve() if target.root else data_root(target.folder)
