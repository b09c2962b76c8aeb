"""Check, convert or import an auxiliary set: `python -m lt_extrap.auxiliary_set do=verify folder=<set>`.

`do=convert` makes a folder of a target's lists; `do=import` one of the relation released with the paper and a folder of
ImageNet-21k. Neither copies images unless told to.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hydra
import numpy as np
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig
from rich.console import Console
from rich.progress import track

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config import AuxiliaryFiles, Target, check
from lt_extrap.data.auxiliary_set import AuxiliarySet, disagreements, read_auxiliary_set, target_classes
from lt_extrap.data.decode import UnreadableImage, image_size
from lt_extrap.data.released import class_images, match, read_relation
from lt_extrap.data.store import Folder, ImageStore, open_store
from lt_extrap.data.stored.reader import Finding, read_header
from lt_extrap.data.stored.schema import CLASSES, PAIRS, ClassRecord, Header, ImageRecord, PairRecord, is_wnid
from lt_extrap.data.stored.verifier import verify
from lt_extrap.data.stored.writer import write_set
from lt_extrap.data.target import ClassTable, load_classes, load_target
from lt_extrap.errors import ConfigError, DataError, some
from lt_extrap.page import override
from lt_extrap.paths import conf_dir

T = TypeVar("T")


@dataclass
class AuxiliarySetConfig:
    """What to do with which set.

    Attributes:
        do: verify, convert or import.
        folder: the set to verify, or the new one to write.
        target: the target set: verify compares pairs with it if it is given, the others need it.
        of: convert: which set of the target, `neighbors` or `random`; null = neighbors.
        relation: import: the released file conp_cls.npy.
        images: verify: where the paths of the manifest start, null = the folder. import: the folder of ImageNet-21k.
        copy: convert, import: copy the images into the folder, so that it can be given away.
        images_per_class: import: the first of each class, by name; null = all.
        hashes: verify: compare the sha256 of every image. convert, import: record it, and the size; reads every image.
    """

    do: str = MISSING
    folder: str = MISSING
    target: Any = None
    of: str | None = None
    relation: str | None = None
    images: str | None = None
    copy: bool = False
    images_per_class: int | None = None
    hashes: bool = False

    def __post_init__(self) -> None:
        do = self.do
        check(do in ("verify", "convert", "import"), "do", "verify, convert or import", do)
        check(do == "verify" or self.target is not None, "target", "a target: target=<name>", self.target)
        check(self.of in (None, "neighbors", "random"), "of", "neighbors or random", self.of)
        check(do == "convert" or self.of is None, "of", "left alone without do=convert", self.of)
        check((do == "import") == (self.relation is not None), "relation", "a file, for do=import alone", self.relation)
        check(do != "import" or self.images is not None, "images", "the folder of ImageNet-21k", self.images)
        check(do != "convert" or self.images is None, "images", "null: they are where the target's are", self.images)
        check(do != "verify" or not self.copy, "copy", "left alone with do=verify", self.copy)
        n = self.images_per_class
        check(n is None or (do == "import" and n >= 1), "images_per_class", "at least 1, for do=import alone", n)


def check_set(config: AuxiliarySetConfig) -> None:
    """Print all findings in a set.

    Raises:
        DataError: there is one, or no set of this version.
    """
    folder, found = Path(config.folder), Counter[str]()

    def report(finding: Finding) -> None:
        found[finding.file] += 1
        print(finding)

    images = _files(open_store(Path(config.images).expanduser())) if config.images else None
    watch = partial(_watched, total=read_header(folder).images)
    stored = verify(folder, report, images=images, hashes=config.hashes, watch=watch)
    if config.target is not None:
        table = load_classes(config.target)
        for reason in disagreements(stored.pairs, table):
            report(Finding(PAIRS, None, reason))
        names, ids = [made.name for made in stored.classes], [made.wnid for made in stored.classes]
        for reason in target_classes(names, ids, table):
            report(Finding(CLASSES, None, reason))
    what = f"{len(stored.classes):,} classes, {len(stored.pairs):,} pairs, {len(stored.index):,} images"
    if found:
        counts = ", ".join(f"{count:,} in {file}" for file, count in found.most_common())
        remedy = "mend it, or make it again; give images=<where its paths start> if it came without its images"
        raise DataError(f"an auxiliary set without a finding: {folder}", counts, remedy)
    print(f"nothing is wrong with {folder}: {what}")


def convert(config: AuxiliarySetConfig) -> Header:
    """Make a folder of the lists of a target's auxiliary set.

    Raises:
        DataError: the target has no such set, or its lists cannot be a set: an absolute path, a path twice.
    """
    assert isinstance(config.target, Target)
    files: AuxiliaryFiles = getattr(config.target, config.of or "neighbors")
    if files.train is None:
        raise DataError(f"lists of target.{config.of or 'neighbors'}", "none", "choose a target that has them")
    target = load_target(config.target, missing="skip")
    found = read_auxiliary_set(files, target)
    order = sorted(range(len(found.index)), key=lambda i: (int(found.index.labels[i]), found.index.path(i)))
    with _no_record_refused(found.file):
        content = _Content(
            table=target.classes,
            classes=[
                ClassRecord(aux, name, id_ if is_wnid(id_) else None, [name])
                for aux, (name, id_) in enumerate(zip(found.names, found.ids, strict=True))
            ],
            pairs=list(_pairs(found, target.classes)),
            root=_files(target.place.images),
            images=((found.index.path(i), int(found.index.labels[i])) for i in order),
            source=None,
        )
        return _write(config, content)


def import_released(config: AuxiliarySetConfig) -> Header:
    """Make a folder of the relation released with the paper and a folder of ImageNet-21k.

    Raises:
        DataError: the file is no such relation, it is of another target, or no class has images.
    """
    assert config.relation is not None
    assert config.images is not None
    root = Path(config.images).expanduser().resolve()
    table = load_classes(config.target)
    matched = match(read_relation(Path(config.relation)), table, root)
    if matched.targets:
        print(f"left out, as they are target classes: {len(matched.targets)}: {some(matched.targets)}")
    if matched.absent:
        packed = f" ({matched.packed} lie there as a tar: unpack them)" if matched.packed else ""
        print(f"left out, without images in {root}: {len(matched.absent)}{packed}: {some(matched.absent)}")
    images = (
        (path, made.aux)
        for made in matched.classes
        for path in class_images(root, str(made.wnid))[: config.images_per_class]
    )
    with _no_record_refused(root):
        return _write(config, _Content(table, matched.classes, matched.pairs, root, images, "ImageNet-21k"))


@dataclass(frozen=True)
class _Content:
    """What a new set is to hold: of the images, paths below the root and classes, by class and path."""

    table: ClassTable
    classes: list[ClassRecord]
    pairs: list[PairRecord]
    root: Path
    images: Iterable[tuple[str, int]]
    source: str | None


def _write(config: AuxiliarySetConfig, content: _Content) -> Header:
    """Write a set, and say how to train on it."""
    records = (_image(content.root, path, aux, config.hashes, content.source) for path, aux in content.images)
    header = write_set(
        Path(config.folder),
        target=config.target.folder,
        table=content.table,
        classes=content.classes,
        pairs=content.pairs,
        images=_watched(records, total=None),
        copy_from=content.root if config.copy else None,
    )
    of = config.of or "neighbors"
    words = [override(f"target.{of}.folder", Path(config.folder).resolve())]
    words += [f"target.{of}.{key}=null" for key in getattr(config.target, of).lists()]
    words += [] if config.copy else [override(f"target.{of}.images", content.root)]
    ranked = any(pair.rank is not None for pair in content.pairs)
    words += [] if ranked else [f"target.{of}.neighbors_per_class=null"]
    print(f"{config.folder}: {header.classes:,} classes, {header.pairs:,} pairs, {header.images:,} images")
    print(f"train on it by: {' '.join(words)}")
    return header


def _files(images: ImageStore) -> Path:
    """The folder of images that must be files."""
    if not isinstance(images, Folder):
        raise ConfigError(
            "a folder of files", f"{images}, which is packed or remote", "give the folder that was packed"
        )
    return images.path


@contextmanager
def _no_record_refused(source: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise DataError(f"a set made of {source}", str(error), "correct that name or path") from error


def _pairs(found: AuxiliarySet, table: ClassTable) -> Iterator[PairRecord]:
    """The pairs of lists, each once, by target and rank."""
    if found.pairs is None:
        return
    ranks = [None] * len(found.pairs.pairs) if found.pairs.rank is None else found.pairs.rank.tolist()
    values = [None if np.isnan(value) else float(value) for value in found.pairs.similarity]
    rows = {
        (target, aux): (rank, value)
        for (target, aux), rank, value in zip(found.pairs.pairs.tolist(), ranks, values, strict=True)
    }
    for (target, aux), (rank, value) in sorted(rows.items(), key=lambda row: (row[0][0], row[1][0] or row[0][1])):
        yield PairRecord(table.ids[target], table.names[target], aux, rank, value)


def _image(root: Path, path: str, aux: int, hashes: bool, source: str | None) -> ImageRecord:
    if not hashes:
        return ImageRecord(path, aux, source=source)
    file = root / path
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    try:
        width, height = image_size(file)
    except UnreadableImage as error:
        return ImageRecord(path, aux, sha256, source=source, flags=[f"unreadable: {error.reason}"])
    return ImageRecord(path, aux, sha256, width, height, source=source)


def _watched(items: Iterable[T], total: int | None) -> Iterable[T]:
    console = Console(stderr=True)
    return track(items, "", total, console=console, transient=True, disable=not console.is_terminal)


ConfigStore.instance().store(group="schema", name="auxiliary_set", node=AuxiliarySetConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="auxiliary_set")
def task(composed: DictConfig) -> None:
    """Hydra's entry."""
    config: AuxiliarySetConfig = from_hydra(composed)
    {"verify": check_set, "convert": convert, "import": import_released}[config.do](config)


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
