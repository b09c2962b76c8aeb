"""The embedded world: pictures, classes, and the files that it writes."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lt_extrap.data import creatures, embedded
from lt_extrap.data.creatures import FAMILIES, LEVELS, MEMBERS, TRAITS, Creature, similarity
from lt_extrap.data.embedded import (
    World,
    neighbor_classes,
    random_classes,
    target_classes,
    training_counts,
    write_world,
)
from lt_extrap.errors import ConfigError
from lt_extrap.model.shots import shot_of


def render(world, creature, images):
    return creatures.render(creature, images, size=world.image_size, seed=world.seed)


SMALL = World(
    families=3,
    classes=9,
    neighbors_per_family=2,
    random_classes=6,
    largest=160,
    smallest=6,
    val_per_class=5,
    test_per_class=10,
    auxiliary_images=20,
    extra_images=10,
    image_size=24,
)

GOLDEN = [[180.89, 162.24, 159.34], [148.7, 126.53, 122.82], [162.6, 153.47, 150.81], [150.93, 139.55, 141.98]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_world(SMALL, tmp_path_factory.mktemp("worlds"))


def read(folder, name):
    lines = (folder / "lists" / f"{name}.txt").read_text().splitlines()
    return [(path, int(label)) for path, label in (line.split(" ") for line in lines)]


def load(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


worlds = st.integers(1, FAMILIES).flatmap(
    lambda families: st.builds(
        World,
        families=st.just(families),
        classes=st.integers(max(2, families), max(2, families) + 60),
        neighbors_per_family=st.integers(0, 10),
        random_classes=st.integers(0, 70),
        seed=st.integers(0, 2**63 - 1),
    )
)


@given(worlds)
def test_targets_are_spread_evenly_and_neighbors_are_relatives(world):
    targets, neighbors, randoms = target_classes(world), neighbor_classes(world), random_classes(world)
    everyone = [*targets, *neighbors, *randoms]
    assert len(set(everyone)) == len({creature.name for creature in everyone}) == len(everyone)
    sizes = Counter(creature.family for creature in targets)
    assert (len(targets), len(sizes)) == (world.classes, world.families)
    assert max(sizes.values()) - min(sizes.values()) <= 1
    relatives = Counter(creature.family for creature in neighbors)
    assert relatives == {f: world.neighbors_per_family for f in sizes if world.neighbors_per_family}
    assert len(randoms) == world.random_classes
    assert not {creature.family for creature in randoms} & set(sizes)


@given(st.integers(2, 60), st.integers(1, 500), st.integers(0, 500))
def test_the_tail_falls_exponentially(classes, smallest, more):
    counts = training_counts(World(families=1, classes=classes, smallest=smallest, largest=smallest + more))
    assert (counts[0], counts[-1], len(counts)) == (smallest + more, smallest, classes)
    for before, count, after in zip(counts, counts[1:], counts[2:], strict=False):
        assert before >= count >= after
        low, high = ((before + half) * (after + half) for half in (-0.5, 0.5))  # equal ratios, but for rounding
        assert low**0.5 - 0.5 <= count <= high**0.5 + 0.5


def test_names_never_repeat():
    assert len({Creature(family, 0).family_name for family in range(2 * FAMILIES)}) == 2 * FAMILIES
    assert len({Creature(7, member).name for member in range(MEMBERS)}) == MEMBERS


@pytest.mark.parametrize("families", [1, 3, 9])
def test_families_set_the_granularity(families):
    """The fewer families, the more targets share theirs with a given target."""
    targets = target_classes(World(families=families, classes=9))
    assert Counter(Counter(creature.family for creature in targets).values()) == {9 // families: families}


def test_an_image_is_a_function_of_seed_creature_and_number():
    creature = Creature(family=2, member=1)
    images = render(SMALL, creature, range(6))
    assert (images.shape, images.dtype) == ((6, 24, 24, 3), np.uint8)
    other_tail = World(families=5, classes=50, largest=20, image_size=24)
    np.testing.assert_array_equal(render(other_tail, creature, [4, 1]), images[[4, 1]])
    different = [
        images[1],
        render(World(image_size=24, seed=1), creature, [0])[0],
        render(SMALL, Creature(family=2, member=2), [0])[0],
        render(SMALL, Creature(family=1, member=1), [0])[0],
    ]
    for image in different:
        assert np.abs(image.astype(float) - images[0]).mean() > 5


def test_the_world_is_the_same_everywhere():
    """Means of the quarters of a picture; libraries may round single pixels differently, but not these."""
    image = render(World(), Creature(family=1, member=2), [3])[0]
    quarters = image.reshape(2, 16, 2, 16, 3).mean(axis=(1, 3)).reshape(4, 3)
    np.testing.assert_allclose(quarters, GOLDEN, atol=0.3)


def test_half_of_the_traits_tell_members_apart_and_are_spread_over_their_range():
    for family in range(3):
        marks = np.stack([creatures._marks(0, Creature(family, member)) for member in range(LEVELS)])
        own = creatures._plan_of(0, family).marks
        assert own.sum() == len(TRAITS) // 2
        assert not marks[:, ~own].any()
        levels = np.floor((marks[:, own] + 0.5) * LEVELS)
        np.testing.assert_array_equal(np.sort(levels, axis=0), np.tile(np.arange(LEVELS)[:, None], own.sum()))


def test_which_traits_are_marks_is_the_familys_own():
    assert len({creatures._plan_of(0, family).marks.tobytes() for family in range(8)}) > 4


def test_lists_hold_the_promised_images(folder):
    counts = {
        "target_train": training_counts(SMALL),
        "target_val": [5] * 9,
        "target_test": [10] * 9,
        "target_extra_train": [10] * 9,
        "aux_neighbor_train": [20] * 6,
        "aux_random_train": [20] * 6,
    }
    assert {path.stem for path in (folder / "lists").iterdir()} == set(counts)
    rows = {name: read(folder, name) for name in counts}
    for name, expected in counts.items():
        assert [Counter(label for _, label in rows[name])[i] for i in range(len(expected))] == expected
    paths = [path for name in counts for path, _ in rows[name]]
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert len(paths) == len(set(paths))  # no image in two lists
    assert set(paths) == written
    shots = Counter(str(shot) for shot in shot_of(counts["target_train"]))
    assert min(shots.get(group, 0) for group in ("many", "medium", "few")) >= 2


def test_a_listed_image_is_the_class_of_its_label(folder):
    for name, classes in (("target_train", target_classes(SMALL)), ("aux_random_train", random_classes(SMALL))):
        path, label = read(folder, name)[-3]
        with Image.open(folder / path) as image:
            pixels = np.asarray(image)
        number = int(path.split("/")[-1].removesuffix(".png"))
        assert path.split("/")[1].replace("_", " ") == classes[label].name
        np.testing.assert_array_equal(pixels, render(SMALL, classes[label], [number])[0])


def test_the_test_set_stays_when_the_tail_changes(folder, tmp_path):
    other = write_world(World(**{**vars(SMALL), "largest": 30}), tmp_path)
    assert read(other, "target_test") == read(folder, "target_test")
    path = read(other, "target_test")[-1][0]
    assert (other / path).read_bytes() == (folder / path).read_bytes()


def test_tables_name_the_classes(folder):
    classes = load(folder, "classes")
    expected = {"target": target_classes, "aux_neighbor": neighbor_classes, "aux_random": random_classes}
    assert set(classes) == set(expected)
    for group, members in expected.items():
        assert [entry["name"] for entry in classes[group]] == [creature.name for creature in members(SMALL)]
    families = {group: {entry["hypernyms"][-1]["name"] for entry in classes[group]} for group in classes}
    assert families["target"] == families["aux_neighbor"]
    assert not families["target"] & families["aux_random"]


def test_pairs_are_all_within_a_family_nearest_first(folder):
    targets, neighbors = target_classes(SMALL), neighbor_classes(SMALL)
    relatives = [
        [t, a] for t, target in enumerate(targets) for a, n in enumerate(neighbors) if n.family == target.family
    ]
    assert load(folder, "neighbors")["edges"] == relatives
    assert {a for _, a in relatives} == set(range(len(neighbors)))
    table = load(folder, "neighbor_ranks")
    assert [entry["name"] for entry in table["auxiliary"]] == [creature.name for creature in neighbors]
    assert [entry["name"] for entry in table["target"]] == [creature.name for creature in targets]
    assert sorted([t, a] for t, pairs in enumerate(table["ranks"]) for a, _ in pairs) == relatives
    for target, pairs in zip(targets, table["ranks"], strict=True):
        values = [value for _, value in pairs]
        assert values == sorted(values, reverse=True)
        assert values == pytest.approx([similarity(target, neighbors[a], seed=0) for a, _ in pairs], abs=1e-4)
        assert 0 <= values[-1] <= values[0] < 1


def test_similarity_is_that_of_the_marks():
    one, other = Creature(4, 0), Creature(4, 5)
    own = creatures._plan_of(0, 4).marks
    a, b = creatures._marks(0, one)[own].tolist(), creatures._marks(0, other)[own].tolist()
    expected = 1 - (sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / len(a)) ** 0.5
    assert similarity(one, other, seed=0) == pytest.approx(expected)
    assert similarity(one, one, seed=0) == 1


def test_distance_moves_neighbors_and_nothing_else():
    worlds = [World(families=3, classes=6, image_size=24, distance=distance) for distance in (0, 50, 100)]
    assert len({tuple(target_classes(world)) for world in worlds}) == 1
    assert len({tuple(random_classes(world)) for world in worlds}) == 1
    near, between, far = (neighbor_classes(world)[4] for world in worlds)
    assert near.name == between.name == far.name
    at_home, native = Creature(near.family, near.member), Creature(near.other, near.member)
    first, half, last = (render(SMALL, one, range(40)).mean(axis=0) for one in (near, between, far))
    np.testing.assert_array_equal(first, render(SMALL, at_home, range(40)).mean(axis=0))
    assert np.abs(half - first).mean() < np.abs(last - first).mean()
    plans, there = [creatures._plan(0, one) for one in (near, between, far)], creatures._plan(0, native)
    assert plans[2].body == pytest.approx(there.body)
    assert (plans[2].marks == there.marks).all()
    turns = [plan.hue - there.hue for plan in plans]  # the short way round
    assert turns[2] == pytest.approx(round(turns[2]))
    assert abs(turns[0] - turns[2]) == pytest.approx(2 * abs(turns[1] - turns[2]))
    assert abs(turns[0] - turns[2]) <= 0.5
    for plan in plans:  # half way they are as strongly drawn, and differ in as many traits
        assert np.square(plan.motif).sum(axis=-1) == pytest.approx([2] * 3)
        assert np.square(plan.outline).sum(axis=(1, 2)) == pytest.approx([2] * 2)
        assert plan.marks.sum() == len(TRAITS) // 2
    relative = Creature(near.family, 0)
    alike = [similarity(relative, one, seed=0) for one in (near, between, far)]
    assert alike == pytest.approx([alike[0], alike[0] / 2, 0])


def test_the_nearest_are_the_same_at_any_distance():
    worlds = [World(families=3, classes=6, distance=distance) for distance in (0, 50, 100)]
    ranks = [embedded._tables(world)["neighbor_ranks"]["ranks"] for world in worlds]
    orders = [[[auxiliary for auxiliary, _ in pairs] for pairs in each] for each in ranks]
    assert orders[0] == orders[1] == orders[2]
    assert {value for pairs in ranks[2] for _, value in pairs} == {0}


def test_hues_move_by_different_steps():
    neighbors = neighbor_classes(World(families=8, neighbors_per_family=1, distance=100))
    ways = [creatures._plan(0, one).hue - creatures._plan_of(0, one.family).hue for one in neighbors]
    assert len({round(way, 6) for way in ways}) == 8
    assert max(map(abs, ways)) > 0.4


def test_a_second_write_does_nothing(folder, monkeypatch):
    monkeypatch.setattr(embedded, "_write_images", lambda *_: pytest.fail("wrote again"))
    assert write_world(SMALL, folder.parent) == folder


def test_another_world_gets_another_folder(tmp_path):
    tiny = {"families": 1, "classes": 2, "neighbors_per_family": 0, "random_classes": 0, "extra_images": 0}
    tiny |= {"largest": 2, "smallest": 1, "val_per_class": 0, "test_per_class": 1, "image_size": 16}
    folders = {write_world(World(**tiny, seed=seed), tmp_path) for seed in (0, 1)}
    assert set(tmp_path.iterdir()) == folders
    assert len(folders) == 2
    assert all(
        {path.name for path in (f / "lists").iterdir()} == {"target_train.txt", "target_test.txt"} for f in folders
    )


def test_of_two_writers_at_once_one_wins_and_both_get_the_whole_world(tmp_path, monkeypatch):
    world, tables = World(**{**vars(SMALL), "largest": 6}), embedded._tables

    def slower(world):
        monkeypatch.setattr(embedded, "_tables", tables)
        write_world(world, tmp_path)  # the other process, between our first image and our last file
        return tables(world)

    monkeypatch.setattr(embedded, "_tables", slower)
    folder = write_world(world, tmp_path)
    assert embedded._tables is tables
    assert list(tmp_path.iterdir()) == [folder]
    assert load(folder, "world")["largest"] == 6


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(embedded, "_tables", full)
    with pytest.raises(OSError, match="no space"):
        write_world(World(**{**vars(SMALL), "largest": 6}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"families": 0},
        {"classes": 100, "families": FAMILIES + 1},
        {"families": 8, "classes": 7},
        {"families": 1, "classes": 1},
        {"families": 1, "classes": MEMBERS + 1},
        {"families": 1, "classes": MEMBERS, "neighbors_per_family": 1},
        {"random_classes": -1},
        {"largest": 0},
        {"largest": 10, "smallest": 11},
        {"smallest": 0},
        {"val_per_class": -1},
        {"test_per_class": 0},
        {"auxiliary_images": 0},
        {"extra_images": -1},
        {"image_size": 15},
        {"seed": -1},
    ],
)
def test_fields_out_of_range_are_named(fields):
    with pytest.raises(ConfigError, match=rf"target\.world\.{list(fields)[-1]} in \d+\.\.\d+"):
        World(**fields)
