"""A pool: classes with their images, and where each lies in a taxonomy."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lt_extrap.compose import configure
from lt_extrap.config import Target
from lt_extrap.curate.wordnet import WordNet, find_wordnet, read_wordnet
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.target import load_target
from lt_extrap.errors import DataError, some
from lt_extrap.studies.granularity.config import GridConfig, PoolConfig


@dataclass(frozen=True)
class PoolClass:
    """A class of a pool.

    Attributes:
        id, name: of the class.
        path: synsets from the root of the taxonomy to its own.
        train, test: paths of its images below the images of the pool, in the order of the lists.
    """

    id: str
    name: str
    path: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Pool:
    """Classes to draw from.

    Attributes:
        classes: those with enough images.
        total: classes, also those without.
        images: where the paths start: a folder or a URL.
    """

    classes: tuple[PoolClass, ...]
    total: int
    images: str


def read_pool(config: PoolConfig, grid: GridConfig) -> Pool:
    """Read a pool; no image is looked for.

    Args:
        config: the node.
        grid: says how many training images a class has to have, and how many such classes there have to be.

    Raises:
        LtExtrapError: the pool is no target, as of `load_target`; a training image is a test image too; there are too
            few classes with enough images; or the hypernyms of one are not there.
    """
    node: Target = configure(*config.target).target
    target = load_target(node, missing="keep")
    train, test = _by_class(target.train), _by_class(target.test)
    if both := {path for paths in train.values() for path in paths} & {
        path for paths in test.values() for path in paths
    }:
        raise DataError(
            f"training images of the pool {config.name} that are no test images",
            f"{len(both):,} that are, such as {min(both)}",
            "correct the lists of pool.target",
        )
    enough = [i for i in range(len(target.classes)) if len(train[i]) >= grid.largest and test[i]]
    if len(enough) < grid.classes:
        raise DataError(
            f"grid.classes={grid.classes} classes with grid.largest={grid.largest} training images and a test image",
            f"{len(enough)} in the pool {config.name} of {len(target.classes):,} classes, the largest of which has "
            f"{max(map(len, train.values())):,} training images",
            "take a larger pool (pool=wordnet pool.root=<class folders>), or a smaller grid "
            "(grid.classes=..., grid.largest=...)",
        )
    ids = [target.classes.ids[i] for i in enough]
    if config.hypernyms == "wordnet":
        ways = _ways_of_wordnet(ids, read_wordnet(find_wordnet()))
    else:
        ways = _ways_of_file(target.place.lists, config.hypernyms, enough)
    classes = tuple(
        PoolClass(id, target.classes.names[i], tuple(way), tuple(train[i]), tuple(test[i]))
        for i, id, way in zip(enough, ids, ways, strict=True)
    )
    return Pool(classes, len(target.classes), target.place.images.root)


def _by_class(index: SampleIndex) -> dict[int, list[str]]:
    paths = defaultdict(list)
    for label, path in zip(index.labels.tolist(), index.paths(), strict=True):
        paths[label].append(path)
    return paths


def _ways_of_wordnet(ids: Sequence[str], wordnet: WordNet) -> list[list[str]]:
    """From the root to each class, by the first hypernym of each synset: a tree, though WordNet is none."""
    if strangers := [id for id in ids if id not in wordnet]:
        raise DataError(
            "a class id that is a noun of WordNet 3.0 for every class: n and 8 digits",
            f"{len(strangers):,} that are not: {some(strangers)}",
            "give a pool whose class folders have those names, or pool.hypernyms=<file.json>:<key>",
        )
    ways = []
    for id in ids:
        way = [id]
        while above := wordnet[way[-1]].hypernyms:
            way.append(above[0])
        ways.append(way[::-1])
    return ways


def _ways_of_file(root: Path, source: str, labels: Sequence[int]) -> list[list[str]]:
    """From the root to each class, as a table of classes has it: `hypernyms` of each entry, and its own id or name."""
    file, _, key = source.partition(":")
    try:
        content = json.loads((root / file).read_text(encoding="utf-8"))
        entries = content[key] if key else content
        return [
            [node["wnid"] or node["name"] for node in (*entries[label]["hypernyms"], entries[label])]
            for label in labels
        ]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"the hypernyms of each class in {root / file}" + (f" under the key {key!r}" if key else ""),
            f"{type(error).__name__}: {error}",
            "correct pool.hypernyms: a list of {name, wnid, hypernyms: [{name, wnid}, ...]}, the root first",
        ) from None
