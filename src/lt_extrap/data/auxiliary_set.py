"""An auxiliary set in memory, from lists or from the folder that curation writes."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from lt_extrap.config import AuxiliaryFiles
from lt_extrap.data.layout import Missing
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.data.pairs import Pairs, check_ids, read_pairs
from lt_extrap.data.place import Place
from lt_extrap.data.spelling import plain
from lt_extrap.data.store import Folder, ImageStore, is_url, open_store
from lt_extrap.data.stored.reader import StoredSet, leading_out, read_set
from lt_extrap.data.stored.schema import MANIFEST, PAIRS, PairRecord, is_wnid
from lt_extrap.data.target import ClassTable, TargetSet, check_labels, numbered, read_names, unnamed, usable
from lt_extrap.errors import DataError, some


@dataclass(frozen=True)
class AuxiliarySet:
    """Auxiliary classes with their images, and the pairs that were proposed.

    Attributes:
        index: images that are there; paths are whole or start where those of the target do. Labels are 0..K-1.
        images: what has them.
        names, ids: of the K classes; an id is a WordNet id, or says nothing.
        pairs: None where the classes are nobody's neighbors.
        file: the list or manifest, for messages.
    """

    index: SampleIndex
    images: ImageStore
    names: tuple[str, ...]
    ids: tuple[str, ...]
    pairs: Pairs | None
    file: Path


def read_auxiliary_set(files: AuxiliaryFiles, target: TargetSet, *, missing: Missing = "refuse") -> AuxiliarySet:
    """Read an auxiliary set of a target.

    Args:
        files: with a folder, or with a list.
        target: whose classes the pairs must know.
        missing: what becomes of images that are not there: `refuse` the set, or `skip` them; `keep` does not look.

    Raises:
        DataError: a file is missing or malformed, an image is not there or outside of the set's folder, a pair
            names a class that is not there, or an auxiliary class is a target class.
    """
    found = _from_folder(files, target) if files.folder else _from_lists(files, target)
    if same := list(target_classes(found.names, found.ids, target.classes)):
        raise DataError(
            f"auxiliary classes in {found.file} that are no target classes",
            some(same, 3),
            "take them out of the auxiliary set: training on a target class as on another class would be wrong labels",
        )
    exclude = target.files.get("exclude")
    index = usable(found.index, found.images, found.file, exclude=exclude, missing=missing)
    return dataclasses.replace(found, index=index)


def read_labels(files: AuxiliaryFiles, place: Place) -> Int32[np.ndarray, " images"]:
    """The auxiliary class of every image of a set, whether it is there or not."""
    if files.folder:
        return read_set(set_folder(files.folder, place)).index.labels
    assert files.train is not None
    return read_list(place.root / files.train).labels


def read_folder(files: AuxiliaryFiles, place: Place) -> tuple[StoredSet, ImageStore]:
    """Read the folder of a set, and find what has its images.

    Raises:
        DataError: it is no set, or a link leads out of it.
    """
    assert files.folder is not None
    folder = set_folder(files.folder, place)
    stored = read_set(folder)
    if files.images and is_url(files.images):
        return stored, open_store(files.images)
    if files.images:  # a folder of the user's own: links in it are theirs
        return stored, open_store((place.root / Path(files.images).expanduser()).resolve())
    images = folder.resolve()
    if outside := list(leading_out(stored.index, images)):
        raise DataError(
            f"an auxiliary set whose images are in its folder {folder}",
            f"{len(outside)} that links lead out of it: {some([stored.index.path(i) for i in outside])}",
            "do not use it; a set has no reason to read other files",
        )
    return stored, Folder(images)


def set_folder(folder: str, place: Place) -> Path:
    """Where the folder of a set is."""
    return place.root / Path(folder).expanduser()


def disagreements(pairs: tuple[PairRecord, ...], classes: ClassTable) -> list[str]:
    """Targets of pairs that the class table does not have by that id and name, a line each."""
    name_of = dict(zip(classes.ids, classes.names, strict=True))
    named = dict.fromkeys((pair.target, pair.target_name) for pair in pairs)
    return [
        f"target {target} ({name}), which is {name_of.get(target, 'no id')} here"
        for target, name in named
        if target not in name_of or plain(name_of[target]) != plain(name)
    ]


def target_classes(names: Sequence[str], ids: Sequence[str | None], classes: ClassTable) -> Iterator[str]:
    """Auxiliary classes that are target classes, by name or by WordNet id, a line each."""
    label_of_name = {plain(name): label for label, name in enumerate(classes.names)}
    label_of_id = {id_: label for label, id_ in enumerate(classes.ids) if is_wnid(id_)}
    for aux, (name, id_) in enumerate(zip(names, ids, strict=True)):
        if (label := label_of_name.get(plain(name))) is not None:
            yield f"auxiliary class {aux} is called {name!r}, as is target class {label}"
        elif id_ in label_of_id:
            yield f"auxiliary class {aux} is {id_}, as is target class {label_of_id[id_]}"


def _from_lists(files: AuxiliaryFiles, target: TargetSet) -> AuxiliarySet:
    assert files.train is not None  # the schema refuses a set without a list
    root = target.place.root
    file = root / files.train
    index = read_list(file)
    ids, names = read_names(root, files.names) if files.names else numbered(unnamed(index, file), "auxiliary ")
    check_labels(index, len(names), file, "auxiliary class names")
    pairs = None
    if files.pairs:
        pairs = read_pairs(root / files.pairs, len(target.classes))
        check_ids(pairs, len(target.classes), len(names))
        pairs = pairs.by_class(target.class_of)
    return AuxiliarySet(index, target.place.images, names, ids, pairs, file)


def _from_folder(files: AuxiliaryFiles, target: TargetSet) -> AuxiliarySet:
    assert files.folder is not None
    folder = set_folder(files.folder, target.place)
    stored, images = read_folder(files, target.place)
    return AuxiliarySet(
        index=stored.index.below(images.root),
        images=images,
        names=tuple(made.name for made in stored.classes),
        ids=tuple(made.wnid or str(made.aux) for made in stored.classes),
        pairs=_pairs(stored, target.classes, folder) if stored.pairs else None,
        file=folder / MANIFEST,
    )


def _pairs(stored: StoredSet, classes: ClassTable, folder: Path) -> Pairs:
    if wrong := disagreements(stored.pairs, classes):
        raise DataError(
            f"pairs in {folder / PAIRS} of the target in use, by id and name",
            f"{len(wrong)} targets that it does not have so: {some(wrong, 3)}",
            f"use the target that the set was made for, {stored.header.target}, with its class names and ids",
        )
    column = {target: label for label, target in enumerate(classes.ids)}
    ranks = [pair.rank for pair in stored.pairs if pair.rank is not None]  # of all pairs or of none
    return Pairs(
        pairs=np.array([(column[pair.target], pair.aux) for pair in stored.pairs], np.int64),
        rank=np.array(ranks, np.int64) if ranks else None,
        similarity=np.array([np.nan if pair.similarity is None else pair.similarity for pair in stored.pairs], float),
        file=folder / PAIRS,
    )
