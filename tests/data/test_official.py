"""The official sets: figures, groups and class order, on the lists themselves where they are there."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.compose import configure
from lt_extrap.config import Official
from lt_extrap.data.official import check_official, count_hash, order_by_name
from lt_extrap.data.target import load_target, read_lists
from lt_extrap.errors import ConfigError, DataError

SETS = ("imagenet_lt", "places_lt", "inat18")
COUNTS = np.array([200, 101, 100, 20, 19, 1])
OFFICIAL = Official(
    train=441, val=6, test=12, classes=6, many=2, medium=2, few=2, largest=200, smallest=1, counts=count_hash(COUNTS)
)


def shots(classes) -> list[int]:
    return [classes.shots.count(shot) for shot in ("many", "medium", "few")]


# --- figures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [{"train": 441, "val": 6, "test": 12}, {"train": 441, "test": 12}])
def test_the_official_list_passes(images):
    check_official(OFFICIAL, COUNTS, images, Path("train.txt"))


def test_a_validation_list_of_ones_own_is_no_figure():
    check_official(replace(OFFICIAL, val=None), COUNTS, {"train": 441, "val": 5, "test": 12}, Path("train.txt"))


def test_every_figure_that_differs_is_named():
    other = np.array([199, 101, 100, 19, 19])
    with pytest.raises(DataError, match="set target.official=null to use it all the same") as error:
        check_official(OFFICIAL, other, {"train": 438, "val": 6, "test": 12}, Path("train.txt"))
    assert error.value.wanted == (
        "the official list in train.txt: train 441, classes 6, medium 2, largest 200, smallest 1, "
        f"counts {count_hash(COUNTS)}"
    )
    assert error.value.found == (
        f"train 438, classes 5, medium 1, largest 199, smallest 19, counts {count_hash(other)}"
    )


def test_classes_in_another_order_differ_in_the_hash_alone():
    with pytest.raises(DataError) as error:
        check_official(OFFICIAL, COUNTS[::-1].copy(), {"train": 441, "val": 6, "test": 12}, Path("train.txt"))
    assert error.value.found == f"counts {count_hash(COUNTS[::-1])}"


@pytest.mark.parametrize(("key", "value"), [("label_order", "text"), ("names_by", "id")])
def test_choices_are_named(key, value):
    with pytest.raises(ConfigError, match=f"target.{key} to be one of"):
        configure("target=inat18", f"target.{key}={value}")


def test_ids_in_names_are_of_text_files():
    with pytest.raises(ConfigError, match="target.ids_in_names to be false"):
        configure("target=inat18", "target.ids_in_names=true")


@pytest.mark.parametrize("name", SETS)
def test_every_official_set_says_its_figures_and_package(name):
    target = configure(f"target={name}").target
    official = target.official
    assert official.many + official.medium + official.few == official.classes
    assert official.smallest < official.largest < official.train
    assert ".tar" in target.package
    assert (target.val is None) == (official.val is None) == (name == "inat18")  # field report A6
    assert target.test.endswith("_val.txt" if name == "inat18" else "_test.txt")


# --- order ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text("abAB019 éß😀", max_size=4), min_size=1, max_size=30, unique=True))
def test_order_by_name_sorts_and_loses_nothing(names):
    order = order_by_name(names)
    assert [names[label] for label in order] == sorted(names)
    assert np.argsort(order)[order].tolist() == list(range(len(names)))  # the class of each label


def test_numbers_as_text_are_in_another_order():
    """Field report A1: class folders 0..11 as a file system sorts them."""
    assert order_by_name([str(i) for i in range(12)]).tolist() == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]


def test_names_that_are_the_same_have_no_order():
    with pytest.raises(DataError, match="the name 'crane' of the labels 0 and 2"):
        order_by_name(["crane", "albatross", "crane"])


# --- a miniature, without images ------------------------------------------------------------------------------------


def species(folder: Path, *overrides: str):
    """Twelve species, the first by name with label 5, the next with 6, and on in a circle; 12 - i images of label i."""
    folder.mkdir(exist_ok=True)
    names = [f"species {'abcdefghijkl'[(i - 5) % 12]}" for i in range(12)]
    (folder / "categories.json").write_text(
        json.dumps([{"id": i, "name": names[i]} for i in (3, *range(3), *range(4, 12))])
    )
    train = [f"train_val2018/Aves/{i}/{k}.jpg {i}\n" for i in range(12) for k in range(12 - i)]
    (folder / "iNaturalist18_train.txt").write_text("".join(train))
    (folder / "iNaturalist18_val.txt").write_text("".join(f"train_val2018/Aves/{i}/v.jpg {i}\n" for i in range(12)))
    return configure("target=inat18", f"target.root={folder}", "target.official=null", *overrides).target


def read(target):
    root = Path(target.root)
    return read_lists(
        target, root, {key: root / file for key in ("train", "val", "test") if (file := getattr(target, key))}
    )


def rows(target) -> set[tuple[str, str, str, int]]:
    """What must not depend on the order: path, name, id and count of each training image."""
    classes, _, lists = read(target)
    index = lists["train"]
    labels = index.labels.tolist()
    return {
        (path, classes.names[c], classes.ids[c], int(classes.counts[c]))
        for path, c in zip(index.paths(), labels, strict=True)
    }


def test_labels_are_taken_from_the_list_and_folders_may_be_numbers(tmp_path):
    """Field report A1: label 10 is folder 10, although 10 sorts before 2."""
    classes, class_of, lists = read(species(tmp_path))
    assert class_of.tolist() == list(range(12))
    assert [path.split("/")[2] for path in lists["test"].paths()] == [str(i) for i in lists["test"].labels]
    assert classes.counts.tolist() == list(range(12, 0, -1))


def test_label_order_by_name_moves_everything_together(tmp_path):
    official, by_name = species(tmp_path), species(tmp_path, "target.label_order=name")
    assert rows(official) == rows(by_name)
    classes, class_of, lists = read(by_name)
    assert classes.names == tuple(sorted(classes.names))
    assert classes.ids[:2] == ("5", "6")
    assert class_of.tolist() == [(label - 5) % 12 for label in range(12)]
    assert lists["test"].labels.tolist() == class_of.tolist()  # the list has the labels in their order


def test_official_figures_are_of_the_official_order(tmp_path):
    figures = {
        "train": 78, "test": 12, "classes": 12, "many": 0, "medium": 0, "few": 12, "largest": 12, "smallest": 1,
        "counts": count_hash(np.arange(12, 0, -1)),
    }  # fmt: skip
    for order in ("official", "name"):
        target = species(tmp_path, f"target.label_order={order}")
        target.official = Official(**figures)
        read(target)
    target.official = Official(**figures | {"counts": count_hash(np.arange(1, 13))})
    with pytest.raises(DataError, match="counts"):
        read(target)


def test_annotations_are_the_lists(tmp_path):
    target = species(tmp_path)
    for split, file in (("train2018.json", "iNaturalist18_train.txt"), ("val2018.json", "iNaturalist18_val.txt")):
        lines = [line.rsplit(" ", 1) for line in (tmp_path / file).read_text().splitlines()]
        content = {
            "images": [{"id": i, "file_name": path} for i, (path, _) in enumerate(lines)],
            "annotations": [{"image_id": i, "category_id": int(label)} for i, (_, label) in enumerate(lines)],
            "categories": [{"id": i, "name": f"obfuscated {i}"} for i in range(12)],
        }
        (tmp_path / split).write_text(json.dumps(content))
    files = ("target.train=train2018.json", "target.test=val2018.json")
    assert rows(species(tmp_path, *files)) == rows(target)
    names = read(species(tmp_path, *files, "target.names=train2018.json:categories"))[0].names
    assert names[11] == "obfuscated 11"


def scenes(folder: Path, names: str, *overrides: str):
    (folder / "classnames.txt").write_text(names, encoding="utf-8", newline="")
    (folder / "Places_LT_train.txt").write_text("train/desert_road/1.jpg 0\ntrain/desert-sand/1.jpg 1\n")
    (folder / "Places_LT_test.txt").write_text("val/desert_road/2.jpg 0\nval/desert-sand/2.jpg 1\n")
    files = ("target.official=null", "target.val=null")
    return configure("target=places_lt", f"target.root={folder}", *files, *overrides).target


RIGHT = "desert_road desert road\ndesert-sand desert, sand\n"
WRONG = "\ufeffdesert-sand desert, sand\r\ndesert_road desert road\r\n\r\n"


@pytest.mark.parametrize("names", [RIGHT, WRONG])
def test_names_of_places_are_found_by_folder(tmp_path, names):
    classes = read(scenes(tmp_path, names))[0]
    assert classes.ids == ("desert_road", "desert-sand")
    assert classes.names == ("desert road", "desert, sand")


def test_names_in_another_order_than_the_labels_are_refused(tmp_path):
    """Field report A15."""
    read(scenes(tmp_path, RIGHT, "target.names_by=label"))
    with pytest.raises(DataError, match="label 0, which is desert-sand by the class names"):
        read(scenes(tmp_path, WRONG, "target.names_by=label"))


@pytest.mark.parametrize("names_by", ["label", "folder"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_an_evaluation_list_of_another_numbering_is_refused(tmp_path, split, names_by):
    """Its counts are those of any other numbering, since it is balanced."""
    target = scenes(tmp_path, RIGHT, f"target.names_by={names_by}", f"target.{split}=other.txt")
    (tmp_path / "other.txt").write_text("val/desert_road/3.jpg 1\nval/desert-sand/3.jpg 0\n")
    with pytest.raises(DataError, match=r"other\.txt that are of the same class\n.*label 0, which is desert_road"):
        read(target)


def test_missing_photographs_name_the_package(tmp_path):
    """Field report A18: the lists want the small images; what lies there is the high resolution's layout."""
    (tmp_path / "data_large" / "d" / "desert" / "sand").mkdir(parents=True)
    (tmp_path / "data_large" / "d" / "desert" / "sand" / "00000001.jpg").touch()
    with pytest.raises(DataError) as error:
        load_target(scenes(tmp_path, RIGHT))
    assert "2 are not there: " in error.value.found
    assert "data_large/d/desert/sand/00000001.jpg" in error.value.found
    assert error.value.found.endswith("(places365standard_easyformat.tar)")


# --- the real lists -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def official_lists() -> Path:
    """The folder of the official lists, or a skip. A session fixture is set up before `_environment`."""
    root = Path(os.environ.get("LT_EXTRAP_DATA") or "absent")
    for folder in (root / "official_lists", root):
        if all((folder / name).is_dir() for name in ("ImageNet_LT", "Places_LT", "iNaturalist18")):
            return folder.resolve()
    pytest.skip("LT_EXTRAP_DATA names no folder with the official lists, ImageNet_LT/, Places_LT/ and iNaturalist18/")


def real(official_lists: Path, folder: Path, name: str, *, text_order: bool = False, **changed):
    """Read an official set; a training list that is not there is made of its counts."""
    target = configure(f"target={name}").target
    for key, value in changed.items():
        setattr(target, key, value)
    root = official_lists / target.folder
    files = {key: root / file for key in ("train", "val", "test") if (file := getattr(target, key)) is not None}
    if not files["train"].is_file():
        counts = json.loads((root / "train_class_counts.json").read_text())
        folders = [str(label) for label in range(len(counts))]
        if name == "inat18" and not text_order:  # the file is in the order of the class folders as text
            by_label = np.empty(len(counts), np.int64)
            by_label[order_by_name(folders)] = counts
            counts = by_label.tolist()
        if target.ids_in_names:
            folders = [line.split()[0] for line in (root / target.names).read_text().splitlines()]
        files["train"] = folder / target.train
        files["train"].write_text(
            "".join(f"train/{folders[i]}/{k}.jpg {i}\n" for i, count in enumerate(counts) for k in range(count))
        )
    return read_lists(target, root, files)


def test_imagenet_lt(official_lists, tmp_path):
    classes, _, lists = real(official_lists, tmp_path, "imagenet_lt")
    assert shots(classes) == [385, 479, 136]
    assert {split: len(index) for split, index in lists.items()} == {"train": 115846, "val": 20000, "test": 50000}
    medium = np.array([shot == "medium" for shot in classes.shots])
    for edge, number in ((100, 6), (20, 10)):
        assert (classes.counts == edge).sum() == number
        assert medium[classes.counts == edge].all()
    assert classes.ids[:2] == ("n01440764", "n01443537")
    twice = sorted({name for name in classes.names if classes.names.count(name) > 1})
    assert twice == ["missile", "sunglasses"]
    assert len(set(classes.ids)) == 1000
    # Files of validation photographs know their synset, and so does the label.
    assert all(
        path.split("/")[1] == classes.ids[c]
        for path, c in zip(lists["test"].paths(), lists["test"].labels, strict=True)
    )


def test_places_lt(official_lists, tmp_path):
    classes, _, lists = real(official_lists, tmp_path, "places_lt")
    assert shots(classes) == [131, 163, 71]
    assert {split: len(index) for split, index in lists.items()} == {"train": 62500, "val": 7300, "test": 36500}
    for index in lists.values():
        assert all(path.split("/")[1] == classes.ids[c] for path, c in zip(index.paths(), index.labels, strict=True))
    with pytest.raises(DataError, match=r"label 116, which is desert-sand .* in the folder desert_road; 4 more"):
        real(official_lists, tmp_path, "places_lt", names_by="label")


def test_inat18(official_lists, tmp_path):
    classes, _, lists = real(official_lists, tmp_path, "inat18")
    assert shots(classes) == [842, 4076, 3224]
    assert {split: len(index) for split, index in lists.items()} == {"train": 437513, "test": 24426}
    # What the organisers publish of each group of species tells the order of the counts from others.
    groups = json.loads((official_lists / "iNaturalist18" / "categories.json").read_text())
    of = {
        group: classes.counts[[c["id"] for c in groups if c["supercategory"] == group]].sum()
        for group in ("Plantae", "Aves", "Mammalia")
    }
    assert of == {"Plantae": 118800, "Aves": 143950, "Mammalia": 20104}
    by_name = real(official_lists, tmp_path, "inat18", label_order="name")[0]
    assert by_name.names == tuple(sorted(classes.names))
    assert dict(zip(by_name.ids, by_name.counts.tolist(), strict=True)) == dict(
        zip(classes.ids, classes.counts.tolist(), strict=True)
    )


def test_counts_in_text_order_are_not_the_official_list(official_lists, tmp_path):
    with pytest.raises(DataError) as error:
        real(official_lists, tmp_path, "inat18", text_order=True)
    assert error.value.found == "counts a664385888f7d47d"  # groups and extremes are the same: only the order is not
