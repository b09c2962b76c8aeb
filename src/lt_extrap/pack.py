"""Pack images into tar shards: `python -m lt_extrap.pack folder=<new folder> target=<name>`, or `images=<folder>`.

Millions of files become a few, and any image of them is still one read: train on them by `target.images=<the folder>`.
A pack that is ended goes on where it was. `do=verify` reads all of it again.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hydra
from filelock import FileLock, Timeout
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig
from rich.console import Console
from rich.progress import track

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config import FolderTarget, OfficialTarget, Target, check
from lt_extrap.data.images import find_images
from lt_extrap.data.layout import Missing, laid_out
from lt_extrap.data.lists import read_list
from lt_extrap.data.place import Place, find_place
from lt_extrap.data.store.index import INDEX, PackIndex
from lt_extrap.data.store.writer import Prepared, faults, write_pack
from lt_extrap.data.target import usable
from lt_extrap.errors import DataError, RunError, some
from lt_extrap.files import write_whole
from lt_extrap.page import override
from lt_extrap.paths import conf_dir

T = TypeVar("T")
LISTS = "lists"  # of a target whose lists are made here, copied beside its shards
_MB = 1_000_000


@dataclass
class PackConfig:
    """What to pack, and how.

    Attributes:
        do: `pack`, or `verify`: read every shard of a packed folder and compare it with the index.
        folder: of the shards and their index.
        target: pack the images of all lists of a target: its own, those of its auxiliary sets, further target images.
        images: pack a folder with all below it, or a list, `path` or `path label` a line.
        root: where the relative paths of that list start; null = the folder of the list.
        shard_megabytes: a shard ends behind the image with which it reaches so many.
        longest_edge: pixels; larger images are resized, upright, and stored as JPEG of quality 92; null = bytes as
            they are.
        on_unreadable: `error` (stop and name the file) or `skip` (leave out images that are not there or cannot be
            read; the index names them). Without longest_edge nothing is decoded.
        workers: processes that read; 0 = this one.
    """

    do: str = "pack"
    folder: str = MISSING
    target: Any = None
    images: str | None = None
    root: str | None = None
    shard_megabytes: int = 1024
    longest_edge: int | None = None
    on_unreadable: str = "error"
    workers: int = 2

    def __post_init__(self) -> None:
        check(self.do in ("pack", "verify"), "do", "pack or verify", self.do)
        given = [key for key in ("target", "images") if getattr(self, key) is not None]
        check(self.do == "pack" or not given, "do", "pack with target= or images=", self.do)
        check(self.do == "verify" or len(given) == 1, "target or images", "given, one of the two", " and ".join(given))
        check(self.root is None or self.images is not None, "root", "null without images=<list>", self.root)
        check(1 <= self.shard_megabytes <= _MB, "shard_megabytes", f"in 1..{_MB}", self.shard_megabytes)
        edge = self.longest_edge
        check(edge is None or edge >= 1, "longest_edge", "at least 1, or null", edge)
        check(self.on_unreadable in ("error", "skip"), "on_unreadable", "error or skip", self.on_unreadable)
        check(self.workers >= 0, "workers", "at least 0", self.workers)


def pack(config: PackConfig) -> PackIndex:
    """Pack images, or go on where an earlier start of the same command was ended; at once if it has finished.

    Raises:
        DataError: lists or images are not what they should be.
        RunError: the folder holds other images or is in use, or it cannot be written; whole shards stay.
    """
    folder, skip, place = Path(config.folder), config.on_unreadable == "skip", None
    if config.target is not None:
        place = find_place(config.target)
        images, paths = place.images, list(_listed(config.target, place, keep=skip))
    else:
        assert config.images is not None
        found = find_images(config.images, config.root)
        images, paths = found.images, [found[i] for i in range(len(found))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock").acquire(timeout=0):
            lists = _made_lists(config.target, place) if place is not None else {}
            _check_lists(lists, folder / LISTS)
            index = write_pack(
                folder,
                paths,
                images,
                shard_bytes=_MB * config.shard_megabytes,
                longest_edge=config.longest_edge,
                skip=skip,
                workers=config.workers,
                watch=_watched,
            )
            for name, list_file in lists.items():
                with list_file.open("rb") as content:
                    write_whole(folder / LISTS / name, partial(shutil.copyfileobj, content))
    except Timeout:
        raise RunError(
            f"a folder to itself: {folder}", "another process that packs into it", "wait for that one"
        ) from None
    except OSError as error:
        raise RunError(
            f"room to pack into {folder}",
            str(error),
            "free disk and run the same command again: the shards that are whole stay",
        ) from error
    _tell(config, index, place)
    return index


def verify(folder: Path) -> PackIndex:
    """Read a packed folder again: what Python's tarfile finds in each shard is compared with the index.

    Raises:
        DataError: it is not as it was packed; every fault is printed.
    """
    index = PackIndex.read(folder / INDEX)
    found = [] if index.digest() == index.header.content else [f"{INDEX}: another checksum"]
    shards = len(index.header.shards)
    for shard in _bar(range(shards), shards):
        found += faults(folder, index, shard)
    for fault in found:
        print(fault)
    if found:
        raise DataError(f"a packed folder as it was packed: {folder}", f"{len(found):,} faults", "copy it again")
    print(f"nothing is wrong with {folder}: {_sizes(index)}")
    return index


def _listed(target: Target, place: Place, *, keep: bool) -> Iterator[str]:
    """Paths of all lists of a target, but for those that `target.exclude` keeps from training.

    Args:
        target: the node.
        place: where its files are.
        keep: take paths of images that are not there too.

    Raises:
        DataError: a list cannot be read, or one of its images is not there.
    """
    package = target.package if isinstance(target, OfficialTarget) else None
    exclude = place.root / Path(target.exclude).expanduser() if target.exclude else None
    further = (target.neighbors.train, target.random.train, target.extra)
    trained = [place.lists / target.train, *(place.root / file for file in further if file is not None)]
    tested = [place.lists / file for file in (target.val, target.test) if file is not None]
    missing: Missing = "keep" if keep else "refuse"
    indexes = [
        *((file, read_list(file), exclude) for file in trained),
        *((file, laid_out(read_list(file), place.images), None) for file in tested),
    ]
    for file, index, unwanted in indexes:
        yield from usable(index, place.images, file, exclude=unwanted, missing=missing, package=package).paths()


def _made_lists(target: Target, place: Place) -> dict[str, Path]:
    """Lists and names that are made of the files of a folder, which need not be there any more, by their names."""
    if not isinstance(target, FolderTarget):
        return {}
    names = (target.train, target.val, target.test, (target.names or "").partition(":")[0])
    return {name: place.lists / name for name in names if name and (place.lists / name).is_file()}


def _check_lists(lists: dict[str, Path], folder: Path) -> None:
    """Refuse to replace the lists of an earlier pack: runs on them would be measured on images that they trained on."""
    there = [name for name in lists if (folder / name).is_file()]
    if others := [name for name in there if (folder / name).read_bytes() != lists[name].read_bytes()]:
        raise RunError(
            f"the split whose lists are in {folder}",
            f"another content of {', '.join(others)}: another target.split_seed, fraction, table ...",
            f"give another folder=, or move {folder} away: the shards can stay",
        )


def _tell(config: PackConfig, index: PackIndex, place: Place | None) -> None:
    """What was packed, and how it is used."""
    folder, target = Path(config.folder).resolve(), config.target
    print(f"packed in {config.folder}: {_sizes(index)}")
    if index.reasons:
        print(f"left out: {some([f'{path} ({why})' for path, why in index.reasons.items()], 3)}")
        if target is not None:
            print(
                "they are still on the lists: data.on_unreadable=skip trains without them, and a validation or test "
                "list that has one is refused"
            )
    words = ["target.archive=null"] if target is not None and target.archive else []
    words.append(override("target.images", folder))
    if isinstance(target, FolderTarget):
        lists = [f"target.{split}={split}.txt" for split in ("train", "val", "test") if getattr(target, split)]
        lists += [f"target.names={target.names}"]
        if target.exclude is not None and place is not None:
            lists.append(override("target.exclude", place.root / Path(target.exclude).expanduser()))
        if target.samples_per_class is not None:
            lists.append(f"target.samples_per_class={target.samples_per_class}")
        words = ["target=lists", override("target.root", folder / LISTS), *lists, *words]
    print(f"train on it by: {' '.join(words)}")
    for of in ("neighbors", "random"):
        if target is not None and (own := getattr(target, of).folder) is not None:
            print(f"not packed: the set in {own}; pack it by images={own}, and give target.{of}.images=<that folder>")


def _sizes(index: PackIndex) -> str:
    left_out = f", {len(index.reasons):,} left out" if index.reasons else ""
    size = sum(index.header.shards)
    return f"{len(index):,} images in {len(index.header.shards):,} shards of {size / 1e9:.2f} GB in all{left_out}"


def _watched(prepared: Iterable[Prepared], done: int, total: int) -> Iterable[Prepared]:
    if done:
        print(f"goes on behind {done:,} of {total:,} images")
    return _bar(prepared, total, done)


def _bar(items: Iterable[T], total: int, done: int = 0) -> Iterable[T]:
    console = Console(stderr=True)
    return track(items, "", total, done, console=console, transient=True, disable=not console.is_terminal)


ConfigStore.instance().store(group="schema", name="pack", node=PackConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="pack")
def task(composed: DictConfig) -> None:
    """Hydra's entry."""
    config: PackConfig = from_hydra(composed)
    if config.do == "verify":
        verify(Path(config.folder))
    else:
        pack(config)


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
