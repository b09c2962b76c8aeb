"""A person's own images as a target: the lists that are made of them, and what is refused."""

import json
import unicodedata

import pytest

from lt_extrap.config import AuxiliaryFiles, FolderTarget
from lt_extrap.data import folder as folder_module
from lt_extrap.data.target import load_target
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.shots import Shot

CLASSES = {"snow leopard": 30, "cat": 12, "Dog": 5, "yak": 4, "emu": 1}


def put(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


@pytest.fixture
def mine(tmp_path):
    """Classes of many sizes; nothing here is decoded."""
    root = tmp_path / "mine"
    put(root, *(f"{name}/img {i}.jpg" for name, count in CLASSES.items() for i in range(count)))
    return root


def target(root, **keys):
    return FolderTarget(root=str(root), folder="folder", **keys)


def paths(index):
    return [index.path(i) for i in range(len(index))]


def splits(loaded):
    """The split of each path."""
    found = {"train": loaded.train, "val": loaded.val, "test": loaded.test}
    return {path: split for split, index in found.items() if index is not None for path in paths(index)}


def test_classes_splits_and_shots(mine):
    loaded = load_target(target(mine))
    assert loaded.classes.ids == loaded.classes.names == ("Dog", "cat", "emu", "snow leopard", "yak")
    assert loaded.classes.counts.tolist() == [3, 9, 1, 21, 4]
    assert loaded.classes.shots == [Shot.FEW, Shot.FEW, Shot.FEW, Shot.MEDIUM, Shot.FEW]  # of 30, 21 are trained on
    assert [(loaded.test.labels == label).sum() for label in range(5)] == [1, 2, 0, 6, 0]
    assert [(loaded.val.labels == label).sum() for label in range(5)] == [1, 1, 0, 3, 0]
    assert loaded.untested == 2
    assert len(splits(loaded)) == len(loaded.train) + len(loaded.val) + len(loaded.test) == sum(CLASSES.values())
    for index in (loaded.train, loaded.val, loaded.test):
        assert [loaded.classes.names[label] for label in index.labels] == [p.split("/")[0] for p in paths(index)]
    assert loaded.place.images.path == mine
    assert loaded.place.notes == ("split here, with target.split_seed=0: val, test",)
    assert loaded.place.counts == (
        "images: train 38, val 5, test 9",
        "label 0: Dog (train 3, val 1, test 1)",
        "label 1: cat (train 9, val 1, test 2)",
        "label 2: emu (train 1)",
        "label 3: snow leopard (train 21, val 3, test 6)",
        "label 4: yak (train 4)",
        "classes without test images, not evaluated: 2 (emu, yak)",
    )


def test_number_folders_are_in_the_order_of_numbers(tmp_path):
    put(tmp_path, *(f"{name}/{i}.png" for name in range(12) for i in range(5)))
    by_folder = load_target(target(tmp_path))
    assert by_folder.classes.names == tuple(map(str, range(12)))
    assert {path.split("/")[0] for path, label in zip(paths(by_folder.train), by_folder.train.labels, strict=True)
            if label == 10} == {"10"}  # fmt: skip
    assert by_folder.place.counts[-1] == "and 2 more classes"
    rows = [f"{name}/{i}.png,{name}" for name in range(12) for i in range(5)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    by_table = load_target(target(tmp_path, table="labels.csv"))
    assert by_table.classes.names == by_folder.classes.names
    assert splits(by_table) == splits(by_folder)


def test_the_seed_of_the_split_alone_moves_it(mine):
    first = splits(load_target(target(mine)))
    assert splits(load_target(target(mine, split_seed=0))) == first
    assert splits(load_target(target(mine, split_seed=1))) != first
    half = load_target(target(mine, test_fraction=0.5, val_fraction=0.25))
    assert (len(half.test), len(half.val)) == (15 + 6 + 2, 8 + 3 + 1)


def test_without_validation_the_rest_is_as_before(mine):
    both, one = load_target(target(mine)), load_target(target(mine, val=None))
    assert one.val is None
    assert paths(one.test) == paths(both.test)
    assert len(one.train) == len(both.train) + len(both.val)


def test_lists_are_written_once_and_are_whole(mine, monkeypatch):
    first = load_target(target(mine)).place
    assert [path.name for path in first.lists.parent.iterdir() if "." in path.name] == []  # no half of a folder
    assert json.loads((first.lists / "classes.json").read_text())["target"][3] == {
        "id": "snow leopard",
        "name": "snow leopard",
    }
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "find_copies", lambda *_: pytest.fail("read the images again"))
        assert load_target(target(mine)).place == first
    put(mine, "cat/new.jpg")
    assert load_target(target(mine)).place.lists != first.lists
    (mine / "cat/new.jpg").unlink()
    assert load_target(target(mine)).place == first


def test_a_cache_that_was_emptied_is_made_again_alike(mine, tmp_path, monkeypatch):
    first = {file.name: file.read_bytes() for file in load_target(target(mine)).place.lists.iterdir()}
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "another"))
    assert {file.name: file.read_bytes() for file in load_target(target(mine)).place.lists.iterdir()} == first


def test_a_cache_that_cannot_be_written_is_named(mine, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="room to write the lists"):
        load_target(target(mine))


def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    absent = tmp_path / "absent"
    with pytest.raises(DataError, match="absent: No such file"):
        folder_module.write_split(target(absent), absent, absent, tmp_path)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"neighbors": AuxiliaryFiles(train="more.txt")}, "auxiliary/a.jpg 0"),
        ({"random": AuxiliaryFiles(train="more.txt")}, "./auxiliary/b.jpg 0"),
        ({"extra": "more.txt"}, "cat/img 3.jpg 0"),
    ],
)
def test_further_images_are_not_those_of_the_classes(mine, keys, line):
    put(mine, "auxiliary/a.jpg", "auxiliary/b.jpg")
    (mine / "more.txt").write_text(f"../elsewhere/c.jpg 0\n{line}\n")
    with pytest.raises(DataError) as error:
        load_target(target(mine, **keys))
    assert "more.txt" in error.value.wanted
    assert line[:-2].removeprefix("./") in error.value.found
    (mine / "more.txt").write_text("../elsewhere/c.jpg 0\n")
    load_target(target(mine, **keys))
    (mine / "more.txt").unlink()
    load_target(target(mine, **keys))


@pytest.mark.parametrize("key", ["neighbors", "random"])
def test_an_auxiliary_set_is_no_class(mine, key):
    put(mine, "sets/near/images/a.jpg", "sets/near/images/b.jpg")
    for folder in ("sets/near", str(mine / "sets/near"), "cat/../sets"):
        with pytest.raises(DataError, match="2 of its images in the class sets: sets/near/images/a"):
            load_target(target(mine, **{key: AuxiliaryFiles(folder=folder)}))
    load_target(target(mine, **{key: AuxiliaryFiles(folder="../mine sets")}))
    load_target(target(mine, **{key: AuxiliaryFiles(folder="sets/nea")}))


def test_copies_stay_in_one_split(mine):
    for i in range(5, 12):
        (mine / f"cat/img {i}.jpg").write_bytes(b"one picture")
    (mine / "Dog/img 3.jpg").write_bytes(b"one picture")
    loaded = load_target(target(mine))
    found = splits(loaded)
    copies = {found["Dog/img 3.jpg"], *(found[f"cat/img {i}.jpg"] for i in range(5, 12))}
    assert len(copies) == 1
    assert "images that repeat another byte for byte, and are in its split: 7" in loaded.place.notes
    (note,) = [note for note in loaded.place.notes if "under several classes: 1 " in note]
    assert "Dog/img 3.jpg = cat/img 10.jpg = cat/img 11.jpg" in note


def test_groups_stay_in_one_split(tmp_path):
    rows = [f"{label}{i}.png,{label},{i // 4}" for label in ("a", "b") for i in range(40)]
    put(tmp_path, *(row.split(",")[0] for row in rows))
    (tmp_path / "t.csv").write_text("\n".join(["path,label,site", *rows]))
    loaded = load_target(target(tmp_path, table="t.csv", group_column="site"))
    group = {path: row.split(",")[2] for row in rows for path in [row.split(",")[0]]}
    of_group = {
        name: {split for path, split in splits(loaded).items() if group[path] == name} for name in group.values()
    }
    assert all(len(found) == 1 for found in of_group.values())
    assert (len(loaded.test), len(loaded.val)) == (16, 8)
    assert splits(load_target(target(tmp_path, table="t.csv"))) != splits(loaded)


def test_ready_splits_and_what_is_made_of_train_alone(tmp_path):
    put(tmp_path, *(f"train/{label}/{i}.png" for label in "ab" for i in range(20)))
    put(tmp_path, *(f"test/{label}/{i}.png" for label in "ab" for i in range(3)))
    loaded = load_target(target(tmp_path))
    assert [path.split("/")[0] for path in paths(loaded.test)] == ["test"] * 6
    assert (len(loaded.val), len(loaded.train)) == (4, 36)
    assert loaded.place.notes[0] == "split here, with target.split_seed=0: val"
    put(tmp_path, *(f"val/{label}/{i}.png" for label in "ab" for i in range(2)))
    loaded = load_target(target(tmp_path))
    assert (len(loaded.val), len(loaded.train)) == (4, 40)
    assert loaded.place.counts[0] == "images: train 40, val 4, test 6"
    loaded = load_target(target(tmp_path, val=None))
    assert (loaded.val, len(loaded.train)) == (None, 40)
    assert loaded.place.notes[0] == "left out, images of a validation split, as target.val is null: 4"
    put(tmp_path, "test/c/0.png")  # a class that is tested, and not trained on
    with pytest.raises(DataError, match=r"none for 1 classes: 2 \(c\)"):
        load_target(target(tmp_path))
    zero = load_target(target(tmp_path, allow_empty=True))
    assert zero.classes.shots[2] is Shot.ZERO


def test_the_metadata_of_an_imagefolder(tmp_path):
    rows = {"train": 8, "test": 2}
    for split, count in rows.items():
        put(tmp_path, *(f"{split}/{label}{i}.png" for label in "ab" for i in range(count)))
        lines = [f"{label}{i}.png,{label}" for label in "ab" for i in range(count)]
        (tmp_path / split / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    loaded = load_target(target(tmp_path))
    assert sorted(paths(loaded.test)) == ["test/a0.png", "test/a1.png", "test/b0.png", "test/b1.png"]
    assert (len(loaded.train), len(loaded.val)) == (14, 2)
    table = tmp_path / "train" / "metadata.csv"
    table.write_text(f"{table.read_text()}\n../test/a0.png,b\n")
    with pytest.raises(DataError, match=r"test/a0\.png"):
        load_target(target(tmp_path))
    top = [f"{split}/{label}{i}.png,{label}" for split, count in rows.items() for label in "ab" for i in range(count)]
    for split in rows:
        (tmp_path / split / "metadata.csv").unlink()
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *top]))
    assert splits(load_target(target(tmp_path))) == splits(loaded)


def test_an_image_that_is_missing_is_named_or_left_out_of_training(mine):
    rows = [f"{name}/img {i}.jpg,{name}" for name, count in CLASSES.items() for i in range(count)]
    (mine / "t.csv").write_text("\n".join(["path,label", *rows]))
    tested = paths(load_target(target(mine, table="t.csv")).test)[0]
    (mine / tested).unlink()
    with pytest.raises(DataError, match=f"1 are not there: {tested}"):
        load_target(target(mine, table="t.csv"))
    loaded = load_target(target(mine, table="t.csv"), missing="skip")
    assert loaded.left_out.sum() == 1
    assert tested not in splits(loaded)


def test_images_and_table_may_lie_apart(mine, tmp_path):
    (tmp_path / "tables").mkdir()
    rows = [f"{name}/img {i}.jpg,{name.lower()}" for name in ("cat", "Dog") for i in range(5)]
    (tmp_path / "tables" / "t.csv").write_text("\n".join(["path,label", *rows]))
    loaded = load_target(target(tmp_path / "tables", table="t.csv", images=str(mine)))
    assert loaded.classes.names == ("cat", "dog")
    assert loaded.place.images.path == mine
    assert loaded.place.root == tmp_path / "tables"
    assert load_target(target(tmp_path, images="mine")).classes.names == load_target(target(mine)).classes.names


@pytest.mark.parametrize(
    ("files", "wanted", "found"),
    [
        (["cat/a.png", "Cat/b.png", "dog/c.png"], "more than case", "'Cat', 'cat'"),
        (["mine/cat/a.png", "mine/dog/b.png"], "at least two classes", "one: mine"),
        (["cat/a.png", "dog/b.png"], "for the list test.txt", "the largest class has 1 images"),
        (["a.png", "b.png"], "images in <class>/", "2 images that are in no class folder"),
        ([], "images in <class>/", "0 images"),
    ],
)
def test_folders_that_cannot_be_meant(tmp_path, files, wanted, found):
    put(tmp_path, *files)
    with pytest.raises(DataError) as error:
        load_target(target(tmp_path))
    assert wanted in error.value.wanted
    assert found in error.value.found


def test_a_decomposed_name_is_a_class_of_its_composed_spelling(tmp_path):
    decomposed = unicodedata.normalize("NFD", "café")
    put(tmp_path, *(f"{name}/{i}.png" for name in (decomposed, "bar") for i in range(5)))
    loaded = load_target(target(tmp_path))
    assert loaded.classes.names == ("bar", "café")
    assert all((tmp_path / path).is_file() for path in splits(loaded))


def test_a_group_too_large_leaves_a_split_empty(tmp_path):
    put(tmp_path, *(f"{label}{i}.png" for label in "ab" for i in range(10)))
    rows = [f"{label}{i}.png,{label},{'near' if i < 8 else 'far'}" for label in "ab" for i in range(10)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,site", *rows]))
    with pytest.raises(DataError) as error:
        load_target(target(tmp_path, table="t.csv", group_column="site"))
    assert "list val.txt" in error.value.wanted
    assert "target.val=null" in error.value.remedy
    assert len(load_target(target(tmp_path, table="t.csv", group_column="site", val=None)).test) == 4


def test_a_table_without_training_images(tmp_path):
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "t.csv").write_text("path,label,part\na.png,a,test\nb.png,b,val\n")
    with pytest.raises(DataError, match="only test, val"):
        load_target(target(tmp_path, table="t.csv", split_column="part"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"train": "mine.txt"}, "target.train to be left alone"),
        ({"val": "mine.txt"}, "target.val to be null, or left alone"),
        ({"names": "names.txt"}, "target.names to be left alone"),
        ({"val_fraction": 0.0}, "target.val=null leaves it out"),
        ({"test_fraction": 1.0}, "target.test_fraction to be in 0 < fraction < 1"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "less than 1 together"),
        ({"split_seed": -1}, "target.split_seed"),
    ],
)
def test_keys_out_of_range(tmp_path, keys, said):
    with pytest.raises(ConfigError, match=said):
        target(tmp_path, **keys)


@pytest.mark.parametrize("key", ["path_column", "label_column", "split_column", "group_column"])
def test_keys_of_tables_need_a_table(mine, key):
    with pytest.raises(ConfigError, match=f"target.{key} to be null without target.table"):
        load_target(target(mine, **{key: "x"}))
