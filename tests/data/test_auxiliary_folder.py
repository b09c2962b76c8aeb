"""Training on the folder of an auxiliary set instead of lists."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_extrap.config import AuxiliaryClasses, Target, TargetExtra
from lt_extrap.data.auxiliary import add_classes, add_target_images
from lt_extrap.data.stored.schema import ClassRecord, ImageRecord, PairRecord
from lt_extrap.data.stored.writer import write_set
from lt_extrap.data.target import TargetSet, load_target
from lt_extrap.errors import ConfigError, DataError

IDS, NAMES = ("n00000001", "n00000002", "n00000003"), ("tench", "goldfish", "pike")
COUNTS = (101, 20, 3)  # many, medium, few
RANKED = [(0, 0, 1), (0, 1, 2), (1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 3, 1), (2, 0, 2)]  # target, aux, rank
SIZES = (1, 2, 3, 4)  # images of each auxiliary class


@pytest.fixture
def target(tmp_path: Path) -> TargetSet:
    root = tmp_path / "target"
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root / "x.png")
    further = [f"further{i}.png" for i in range(18)]
    for name in further:
        (root / name).hardlink_to(root / "x.png")
    (root / "extra.txt").write_text("".join(f"{name} {1 + i // 9}\n" for i, name in enumerate(further)))
    for name, counts in (("train", COUNTS), ("test", (1, 1, 1))):
        (root / f"{name}.txt").write_text("".join(f"x.png {i}\n" * count for i, count in enumerate(counts)))
    (root / "names.txt").write_text("".join(f"{id_} {name}\n" for id_, name in zip(IDS, NAMES, strict=True)))
    return load_target(
        Target(root=str(root), train="train.txt", test="test.txt", names="names.txt", ids_in_names=True, folder="fish")
    )


@pytest.fixture
def make(target, tmp_path):
    """Write a set with its images."""

    def written(name="set", *, ranked=True, pairs=RANKED, classes=(), table=None) -> Path:
        table = table or target.classes
        images = [ImageRecord(f"{name}/{aux}/{i}.png", aux) for aux, size in enumerate(SIZES) for i in range(size)]
        for image in images:
            (tmp_path / "pool" / image.path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "pool" / image.path)
        write_set(
            tmp_path / name,
            target="fish",
            table=table,
            classes=classes or [ClassRecord(aux, f"wug {aux}", f"n1000000{aux}") for aux in range(len(SIZES))],
            pairs=[
                PairRecord(table.ids[label], table.names[label], aux, rank if ranked else None)
                for label, aux, rank in pairs
            ],
            images=images,
            copy_from=tmp_path / "pool",
        )
        return tmp_path / name

    return written


def classes(folder, **changed) -> AuxiliaryClasses:
    options = {"neighbors_per_class": 1, "sampling_ratio": [1.0, 1.0, 2.0]} | changed
    return AuxiliaryClasses(folder=str(folder), **options)


def named(added) -> set[tuple[str, str]]:
    return {(NAMES[label], added.names[column - 3]) for label, column in added.pairs.tolist()}


def test_the_first_pairs_of_each_target_are_kept(target, make):
    added = add_classes(classes(make()), target, seed=0)
    assert named(added) == {("tench", "wug 0"), ("goldfish", "wug 1"), ("pike", "wug 3"), ("pike", "wug 0")}
    assert added.names == ("wug 0", "wug 1", "wug 3")
    assert np.bincount(added.index.labels).tolist() == [1, 2, 4]
    assert all(Path(added.index.path(i)).is_file() for i in range(len(added.index)))
    assert added.notes == ()


def test_too_few_neighbors_are_told(target, make):
    added = add_classes(classes(make(), neighbors_per_class=3), target, seed=0)
    assert added.notes == ("2 of 3 targets have fewer neighbors than asked: tench 2 of 3, pike 2 of 6",)
    assert len(added.pairs) == len(RANKED)


def test_pairs_without_an_order_are_all_or_nothing(target, make):
    folder = make(ranked=False)
    with pytest.raises(DataError, match="without an order"):
        add_classes(classes(folder), target, seed=0)
    added = add_classes(classes(folder, neighbors_per_class=None, sampling_ratio=None), target, seed=0)
    assert len(added.pairs) == len(RANKED)


def test_a_set_without_pairs_gives_all_its_classes(target, make):
    folder = make(pairs=[])
    added = add_classes(classes(folder, neighbors_per_class=None, sampling_ratio=None), target, seed=0)
    assert (len(added.names), len(added.pairs)) == (4, 0)
    with pytest.raises(DataError, match="a set without pairs"):
        add_classes(classes(folder), target, seed=0)


def test_the_target_has_another_order(target, make):
    """Ids tell classes apart, so that a set may be used on the same classes in another order."""
    turned = dataclasses.replace(target.classes, ids=IDS[::-1], names=NAMES[::-1], counts=target.classes.counts[::-1])
    same = add_classes(classes(make()), dataclasses.replace(target, classes=turned), seed=0)
    assert {(NAMES[::-1][label], same.names[column - 3]) for label, column in same.pairs.tolist()} == named(
        add_classes(classes(make("again")), target, seed=0)
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"names": ("tench", "carp", "eel")}, r"2 targets .*\(goldfish\), which is carp here, .*\(pike\)"),
        ({"ids": ("0", "1", "2")}, "3 targets .*which is no id here"),
    ],
)
def test_a_set_of_another_target_is_refused(target, make, changed, said):
    other = dataclasses.replace(target, classes=dataclasses.replace(target.classes, **changed))
    with pytest.raises(DataError, match=said):
        add_classes(classes(make()), other, seed=0)


def test_every_pair_has_to_name_its_target(target, make):
    pairs = make() / "pairs.jsonl"
    pairs.write_text(pairs.read_text().replace('"tench"', '"trench"', 1))  # the first of two pairs
    with pytest.raises(DataError, match=r"1 targets .*\(trench\), which is tench here"):
        add_classes(classes(pairs.parent), target, seed=0)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (ClassRecord(0, "Gold_fish"), None),
        (ClassRecord(0, "GOLDFISH "), "is called 'GOLDFISH ', as is target class 1"),
        (ClassRecord(0, "crane", "n00000003"), "is n00000003, as is target class 2"),
    ],
)
def test_an_auxiliary_class_that_is_a_target_class(target, make, made, said):
    folder = make(classes=[made, *(ClassRecord(aux, f"wug {aux}") for aux in range(1, 4))])
    if said is None:
        add_classes(classes(folder), target, seed=0)
        return
    with pytest.raises(DataError, match=said):
        add_classes(classes(folder), target, seed=0)


def test_images_in_a_folder_of_the_users_own(target, make, tmp_path):
    folder = make()
    for file in folder.rglob("*.png"):
        file.unlink()
    with pytest.raises(DataError, match="10 are not there"):
        add_classes(classes(folder), target, seed=0)
    assert len(add_classes(classes(folder, images=str(tmp_path / "pool")), target, seed=0).index) == 7


def test_images_that_are_missing_or_excluded_leave(target, make, tmp_path):
    folder = make()
    (folder / "set/3/0.png").unlink()
    (tmp_path / "exclude.txt").write_text(f"{folder / 'set/3/1.png'}\n")
    excluded = dataclasses.replace(target, files={**target.files, "exclude": tmp_path / "exclude.txt"})
    added = add_classes(classes(folder), excluded, seed=0, missing="skip")
    assert np.bincount(added.index.labels).tolist() == [1, 2, 2]


def test_a_link_out_of_the_set(target, make):
    folder = make()
    (folder / "set/3/0.png").unlink()
    (folder / "set/3/0.png").symlink_to(target.place.root / "x.png")
    with pytest.raises(DataError, match=r"1 that links lead out of it: set/3/0\.png"):
        add_classes(classes(folder), target, seed=0)


def test_the_budget_of_further_target_images(target, make):
    extra = TargetExtra(train="extra.txt", budget_folder=str(make()), samples_per_class=3)
    assert add_target_images(extra, target).cap.sum() == 1 + 2 + 3 + 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folder": "a", "train": "b", "pairs": "c"}, "target.neighbors.train=null target.neighbors.pairs=null"),
        ({"train": "b", "pairs": "c", "images": "d"}, "images to be null without a folder"),
        ({}, "a target that comes without"),
    ],
)
def test_a_folder_or_lists(options, said):
    with pytest.raises(ConfigError, match=said):
        AuxiliaryClasses(**options)
