"""The embedded world: a long-tailed set of creatures with its auxiliary classes. No file is shipped.

The target classes are members of some families, with a long tail of training images. Further members of the same
families are the neighbor classes, so that "neighbor" is literally true; members of other families are the random
classes. How many families the target classes span is the granularity.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from lt_extrap.data.creatures import FAMILIES, MEMBERS, Creature, render, similarity
from lt_extrap.errors import ConfigError
from lt_extrap.files import write_whole_folder
from lt_extrap.keys import Stream, generator

FORMAT = 1  # of the written folder: raise it when the pictures or the files change
CHUNK = 32  # images drawn together: they fit the processor's cache


@dataclass(frozen=True)
class World:
    """What the embedded world holds. All of it is a function of these fields.

    Attributes:
        families: families that the target classes span, 1 (all alike) to 63: the granularity.
        classes: target classes, spread evenly over the families.
        neighbors_per_family: auxiliary members of each of these families.
        distance: how far neighbors have moved away from their family, each family's towards another one, in percent of
            the way: 0..100, where they are neighbors in name alone.
        random_classes: auxiliary classes, spread evenly over as many other families.
        largest, smallest: training images of the first and of the last target class; exponential profile between.
        val_per_class, test_per_class: of each target class.
        auxiliary_images: images of an auxiliary class.
        extra_images: further training images of each target class, for the `target_extra` control.
        image_size: height and width in pixels.
        seed: of everything.

    Raises:
        ConfigError: a field out of its range.
    """

    families: int = 8
    classes: int = 40
    neighbors_per_family: int = 5
    distance: int = 0
    random_classes: int = 40
    largest: int = 300
    smallest: int = 5
    val_per_class: int = 20
    test_per_class: int = 50
    auxiliary_images: int = 60
    extra_images: int = 75
    image_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in self._ranges():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    f"target.world.{name} in {low}..{high}",
                    str(value),
                    f"set target.world.{name} in that range (its ends may depend on the fields before it)",
                )

    def _ranges(self) -> Iterator[tuple[str, int, int]]:
        """Field, lowest and highest value; each may use the fields that were checked before it."""
        yield "families", 1, FAMILIES
        yield "classes", max(2, self.families), MEMBERS * self.families
        yield "neighbors_per_family", 0, MEMBERS - -(-self.classes // self.families)
        yield "distance", 0, 100
        yield "random_classes", 0, MEMBERS * self.families
        yield "largest", 1, 10_000
        yield "smallest", 1, self.largest
        yield "val_per_class", 0, 10_000
        yield "test_per_class", 1, 10_000
        yield "auxiliary_images", 1, 10_000
        yield "extra_images", 0, 10_000
        yield "image_size", 16, 256
        yield "seed", 0, 2**63 - 1


def target_classes(world: World) -> list[Creature]:
    """The target classes by label, in an order drawn from the seed: shots are spread over families by chance."""
    places = generator(Stream.WORLD, world.seed, 0).permutation(world.classes).tolist()
    return [Creature(place % world.families, place // world.families) for place in places]


def neighbor_classes(world: World) -> list[Creature]:
    """The further members of the target classes' families, by auxiliary id."""
    first = -(-world.classes // world.families)
    members = range(first, first + world.neighbors_per_family)
    # Behind the families of the random classes, the last for the first: hues that lie apart by many different steps.
    last = 3 * world.families - 1
    return [Creature(f, m, world.distance / 100, last - f) for m in members for f in range(world.families)]


def random_classes(world: World) -> list[Creature]:
    """Members of as many families without a target class, by auxiliary id."""
    return [Creature(world.families + i % world.families, i // world.families) for i in range(world.random_classes)]


def training_counts(world: World) -> list[int]:
    """Training images of each target class, largest first."""
    ratio = world.smallest / world.largest
    return [round(world.largest * ratio ** (label / (world.classes - 1))) for label in range(world.classes)]


def write_world(world: World, parent: Path) -> Path:
    """Write images, lists and class tables into a folder below `parent` that is named after the world's fields.

    Images are numbered test, validation, training, extra, so that the test set does not move with the long tail.

        images/<class>/<number>.png
        lists/target_{train,val,test}.txt, target_extra_train.txt    `path label`, label = target class
        lists/aux_{neighbor,random}_train.txt                        `path label`, label = auxiliary id
        classes.json           names and taxonomy of "target", "aux_neighbor" and "aux_random"
        neighbors.json         "edges": every [target, auxiliary] of one family
        neighbor_ranks.json    "ranks": for each target its [auxiliary, similarity], nearest first
        world.json             the fields of `World`, and the format

    A list without images is not written.

    Returns:
        The folder: complete, as it gets its name last. If it is there it is left as it is. Two processes may write
        at once: one wins, the other takes the winner's.
    """
    identity = {"format": FORMAT, **dataclasses.asdict(world)}
    folder = parent / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]

    def write(temporary: Path) -> None:
        _write_images(world, temporary)
        for name, table in {**_tables(world), "world": identity}.items():
            (temporary / f"{name}.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    write_whole_folder(folder, write)
    return folder


def _write_images(world: World, folder: Path) -> None:
    lists: dict[str, list[str]] = {}
    for label, (creature, count) in enumerate(zip(target_classes(world), training_counts(world), strict=True)):
        parts = {
            "target_test": world.test_per_class,
            "target_val": world.val_per_class,
            "target_train": count,
            "target_extra_train": world.extra_images,
        }
        paths = iter(_write_class(world, creature, sum(parts.values()), folder))
        for name, size in parts.items():
            lists.setdefault(name, []).extend(f"{path} {label}\n" for path in islice(paths, size))
    for name, creatures in (
        ("aux_neighbor_train", neighbor_classes(world)),
        ("aux_random_train", random_classes(world)),
    ):
        lists[name] = [
            f"{path} {auxiliary}\n"
            for auxiliary, creature in enumerate(creatures)
            for path in _write_class(world, creature, world.auxiliary_images, folder)
        ]
    (folder / "lists").mkdir()
    for name, lines in lists.items():
        if lines:
            (folder / "lists" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


def _write_class(world: World, creature: Creature, count: int, folder: Path) -> list[str]:
    """Write images 0..count-1 of a creature; return their paths relative to the folder."""
    directory = f"images/{creature.name.replace(' ', '_')}"
    (folder / directory).mkdir(parents=True)
    paths = [f"{directory}/{image:04d}.png" for image in range(count)]
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        for image, picture in zip(
            numbers, render(creature, numbers, size=world.image_size, seed=world.seed), strict=True
        ):
            Image.fromarray(picture).save(folder / paths[image], compress_level=1)
    return paths


def _tables(world: World) -> dict[str, dict[str, object]]:
    """The content of classes.json, neighbors.json and neighbor_ranks.json."""
    targets, neighbors = target_classes(world), neighbor_classes(world)
    at_home = [dataclasses.replace(neighbor, distance=0.0) for neighbor in neighbors]  # the same order at any distance
    relatives = [[i for i, other in enumerate(neighbors) if other.family == target.family] for target in targets]

    def alike(target: Creature, other: Creature) -> float:
        return round(similarity(target, other, seed=world.seed), 4)

    ranks = [
        [(i, alike(target, neighbors[i])) for i in sorted(of, key=lambda i: -alike(target, at_home[i]))]
        for target, of in zip(targets, relatives, strict=True)
    ]
    edges = sorted((target, auxiliary) for target, pairs in enumerate(ranks) for auxiliary, _ in pairs)
    groups = {"target": targets, "aux_neighbor": neighbors, "aux_random": random_classes(world)}
    return {
        "classes": {group: [class_entry(creature) for creature in creatures] for group, creatures in groups.items()},
        "neighbors": {"k": "every target class and neighbor class of one family", "edges": edges},
        "neighbor_ranks": {
            "auxiliary": [{"index": i, "wnid": None, "name": creature.name} for i, creature in enumerate(neighbors)],
            "target": [{"index": i, "wnid": None, "name": creature.name} for i, creature in enumerate(targets)],
            "ranks": ranks,
        },
    }


def class_entry(creature: Creature) -> dict[str, object]:
    """A class as in a WordNet-based class table: there is no wnid, and two hypernyms are all there are."""
    hypernyms = [{"wnid": None, "name": name} for name in ("creature", creature.family_name)]
    return {"wnid": None, "name": creature.name, "synonyms": [creature.name], "hypernyms": hypernyms}
