"""The photographs that a pool is made of: a target set, other classes near it, and further images of both."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lt_extrap.compose import configure
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.data.store import ImageStore
from lt_extrap.data.target import load_target
from lt_extrap.model.shots import Shot


@dataclass(frozen=True)
class Named:
    """A class.

    Attributes:
        id: names its folder in a pool: the WordNet id, else the name with lines for blanks.
        name: for people.
        spellings: under which it is known, the name among them.
    """

    id: str
    name: str
    spellings: tuple[str, ...]


@dataclass(frozen=True)
class Photographs:
    """What there is; all paths are of `images`.

    Attributes:
        images: what has their bytes.
        targets: the target classes by label.
        shots: the group of each.
        splits: the target's paths by split (train, val, test) and label.
        extra: further paths of each target.
        others: classes that are no target.
        of_other: the paths of each of these.
        nearest: for each target the positions of others, nearest first.
    """

    images: ImageStore
    targets: tuple[Named, ...]
    shots: tuple[Shot, ...]
    splits: dict[str, list[list[str]]]
    extra: list[list[str]]
    others: tuple[Named, ...]
    of_other: list[list[str]]
    nearest: list[list[int]]


def tiny_imagenet() -> Photographs:
    """The 60 targets of `target=tiny_imagenet_lt` and the other 140 classes, 200 photographs each.

    Raises:
        LtExtrapError: LT_EXTRAP_DATA does not lead to them.
    """
    return _read("lists/aux_pool_train.txt", ("pool200",), "lists/pool200_test.txt", "target=tiny_imagenet_lt")


def embedded(*world: str) -> Photographs:
    """The embedded world, of which `world` overrides fields, and its neighbor classes: for tests."""
    return _read("lists/aux_neighbor_train.txt", ("aux_neighbor",), None, "target=embedded", *world)


def _read(others: str, groups: Iterable[str], further: str | None, *overrides: str) -> Photographs:
    """Read a target set, and a list of other classes in the order of neighbor_ranks.json.

    Args:
        others: the list.
        groups: of classes.json, that have the spellings of these classes.
        further: a list that has more of their images, and images of other classes, by folder.
        overrides: make the configuration of the target.
    """
    target = load_target(configure(*overrides).target)
    root = target.place.lists
    table: dict[str, list[dict[str, Any]]] = json.loads((root / "classes.json").read_text())
    ranks: dict[str, Any] = json.loads((root / "neighbor_ranks.json").read_text())
    known = {named.id: named for group in groups for named in map(_named, table[group])}
    classes = [known[_named(entry).id] for entry in ranks["auxiliary"]]
    of_other = _by_label(read_list(root / others), len(classes))
    if further:
        positions = {paths[0].split("/")[1]: position for position, paths in enumerate(of_other)}
        for path in read_list(root / further).paths():
            if (position := positions.get(path.split("/")[1])) is not None:
                of_other[position].append(path)
    splits = {"train": target.train, "val": target.val, "test": target.test}
    return Photographs(
        images=target.place.images,
        targets=tuple(map(_named, table["target"])),
        shots=tuple(target.classes.shots),
        splits={name: _by_label(index, len(target.classes)) for name, index in splits.items() if index is not None},
        extra=_by_label(read_list(root / "lists/target_extra_train.txt"), len(target.classes)),
        others=tuple(classes),
        of_other=of_other,
        nearest=[[position for position, _ in ranked] for ranked in ranks["ranks"]],
    )


def _named(entry: dict[str, Any]) -> Named:
    name = entry["name"]
    return Named(entry["wnid"] or name.replace(" ", "_"), name, tuple(entry.get("synonyms", [name])))


def _by_label(index: SampleIndex, classes: int) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(classes)]
    for path, label in zip(index.paths(), index.labels.tolist(), strict=True):
        found[label].append(path)
    return found
