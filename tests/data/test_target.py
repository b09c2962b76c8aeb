import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_extrap.config import EmbeddedTarget, Target
from lt_extrap.data.archive import unpack
from lt_extrap.data.target import load_target, read_names, read_paths
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.shots import Shot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three training images, one test image each."""
    for name in ("a0", "a1", "b0", "t0", "t1"):
        Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "train.txt").write_text("a0.png 0\na1.png 0\nb0.png 1\n")
    (tmp_path / "test.txt").write_text("t0.png 0\nt1.png 1\n")
    return tmp_path


def lists(folder: Path, **changed) -> Target:
    return Target(root=str(folder), folder="mine", train="train.txt", test="test.txt", **changed)


def test_counts_names_and_splits(folder):
    target = load_target(lists(folder))
    assert target.classes.names == ("0", "1")
    assert target.classes.counts.tolist() == [2, 1]
    assert target.classes.shots == [Shot.FEW, Shot.FEW]
    assert target.val is None
    assert [target.test.path(i) for i in range(2)] == ["t0.png", "t1.png"]


def test_ids_keep_classes_of_one_name_apart(folder):
    (folder / "names.txt").write_text("n01 crane\nn02 crane\n")
    classes = load_target(lists(folder, names="names.txt", ids_in_names=True)).classes
    assert (classes.ids, classes.names) == (("n01", "n02"), ("crane", "crane"))
    (folder / "names.txt").write_text("n01 crane\nn01 crane bird\n")
    with pytest.raises(DataError, match="the id 'n01' twice"):
        load_target(lists(folder, names="names.txt", ids_in_names=True))
    with pytest.raises(ConfigError, match=r"target\.ids_in_names"):
        lists(folder, names="names.json:x", ids_in_names=True)


def test_nothing_is_selected_on_the_test_list(folder):
    with pytest.raises(ConfigError, match=r"target\.val to be another list than target\.test"):
        lists(folder, val="test.txt")


def test_images_in_another_folder_than_the_lists(folder, tmp_path_factory):
    images = tmp_path_factory.mktemp("images")
    for file in folder.glob("*.png"):
        file.rename(images / file.name)
    target = load_target(lists(folder, images=str(images)))
    assert (target.place.lists, target.place.images.path) == (folder, images)
    with pytest.raises(DataError, match=r"correct target\.images"):
        load_target(lists(folder, images="nowhere"))


def test_what_is_excluded_is_not_trained_on_and_moves_no_shot(folder):
    (folder / "exclude.txt").write_text("\ufeffa0.png\r\n\r\nt0.png\r\n", encoding="utf-8", newline="")
    target = load_target(lists(folder, exclude="exclude.txt"))
    assert [target.train.path(i) for i in range(len(target.train))] == ["a1.png", "b0.png"]
    assert (target.classes.counts.tolist(), target.left_out.tolist()) == ([2, 1], [1, 0])
    assert len(target.test) == 2  # never
    assert target.files["exclude"] == folder / "exclude.txt"  # part of the identity of a run
    assert read_paths(folder / "exclude.txt") == {"a0.png", "t0.png"}
    (folder / "exclude.txt").write_text("a\u20280.png\n", encoding="utf-8")
    assert read_paths(folder / "exclude.txt") == {"a\u20280.png"}
    (folder / "exclude.txt").write_text("b0.png\n")
    with pytest.raises(DataError, match=r"none for 1 classes: 1 \(1\)"):
        load_target(lists(folder, exclude="exclude.txt"))
    with pytest.raises(DataError, match=r"correct target\.exclude"):
        load_target(lists(folder, exclude="none.txt"))


def test_at_most_so_many_training_images_of_a_class_and_no_shot_moves(folder):
    target = load_target(lists(folder, samples_per_class=1))
    assert [target.train.path(i) for i in range(len(target.train))] == ["a0.png", "b0.png"]
    assert (target.classes.counts.tolist(), target.left_out.tolist()) == ([2, 1], [1, 0])
    (folder / "exclude.txt").write_text("a0.png\n")
    target = load_target(lists(folder, samples_per_class=1, exclude="exclude.txt"))
    assert [target.train.path(i) for i in range(len(target.train))] == ["a1.png", "b0.png"]  # the first that is left
    with pytest.raises(ConfigError, match=r"target\.samples_per_class"):
        lists(folder, samples_per_class=0)


def test_missing_training_images_are_refused_or_skipped(folder):
    (folder / "a0.png").unlink()
    with pytest.raises(DataError, match=r"1 are not there: a0\.png"):
        load_target(lists(folder))
    target = load_target(lists(folder), missing="skip")
    assert (len(target.train), target.left_out.tolist(), target.classes.counts.tolist()) == (2, [1, 0], [2, 1])
    (folder / "t0.png").unlink()
    with pytest.raises(DataError, match=r"t0\.png"):
        load_target(lists(folder), missing="skip")


def test_root_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_DATA", str(folder.parent))
    target = Target(folder=folder.name, train="train.txt", test="test.txt")
    assert load_target(target).place.root == folder
    monkeypatch.delenv("LT_EXTRAP_DATA")
    with pytest.raises(ConfigError, match="LT_EXTRAP_DATA is not set"):
        load_target(target)


def test_archive_is_unpacked_once(folder, cache):
    with tarfile.open(folder / "images.tar", "w") as tar:
        for file in folder.glob("*.png"):
            tar.add(file, file.name)
            file.unlink()
    first = load_target(lists(folder, archive="images.tar"))
    assert first.place.images.path.is_relative_to(cache)
    before = (first.place.images.path / "a0.png").stat().st_mtime_ns
    assert load_target(lists(folder, archive="images.tar")).place.images.path == first.place.images.path
    assert (first.place.images.path / "a0.png").stat().st_mtime_ns == before
    assert {path.name for path in first.place.images.path.parent.iterdir() if path.name.startswith("tmp")} == set()


def test_archives_of_one_size_and_second_are_told_apart(folder):
    """Tars are of whole 10 kB: two that a script makes one after the other are easily alike."""
    for name in ("a", "t"):
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            tar.add(folder / f"{name}0.png", f"{name}0.png")
    os.utime(folder / "a.tar", ns=(0, 5))
    os.utime(folder / "t.tar", ns=(0, 5))
    assert [file.name for file in unpack(folder / "t.tar").iterdir()] == ["t0.png"]
    assert [file.name for file in unpack(folder / "a.tar").iterdir()] == ["a0.png"]
    (folder / "t.tar").replace(folder / "a.tar")
    os.utime(folder / "a.tar", ns=(0, 6))
    assert [file.name for file in unpack(folder / "a.tar").iterdir()] == ["t0.png"]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("../out.png", {}, r"\.\."),
        ("/out.png", {}, "not relative"),
        ("link.png", {"type": tarfile.SYMTYPE, "linkname": "../out.png"}, "a link or a device"),
        ("pipe", {"type": tarfile.FIFOTYPE}, "a link or a device"),
    ],
)
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, monkeypatch, name, options, said):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        for key, value in options.items():
            setattr(member, key, value)
        tar.addfile(member)
    with pytest.raises(DataError, match=said):
        unpack(tmp_path / "a.tar")
    assert not list(tmp_path.rglob("*out.png"))
    assert not list((tmp_path / "cache" / "archives").iterdir())


def test_an_archive_cannot_write_elsewhere(folder):
    with tarfile.open(folder / "images.tar", "w") as tar:
        tar.add(folder / "a0.png", "../../out.png")
    with pytest.raises(DataError, match="tar of images"):
        load_target(lists(folder, archive="images.tar"))


@pytest.mark.parametrize("text", ["c\u2028at\ndog\n", "\ufeffc\u2028at\r\ndog\r\n\r\n"])
def test_names_from_text(folder, text):
    """A name may hold what only Python takes for the end of a line."""
    (folder / "names.txt").write_text(text, encoding="utf-8", newline="")
    assert read_names(folder, "names.txt") == (("0", "1"), ("c\u2028at", "dog"))


def test_names_from_json(folder):
    (folder / "names.json").write_text('{"plain": ["crane", "crane"], "full": [{"name": "x"}, {"name": "y"}]}')
    # ImageNet has two cranes: a name is no key.
    assert read_names(folder, "names.json:plain") == (("0", "1"), ("crane", "crane"))
    assert read_names(folder, "names.json:full")[1] == ("x", "y")


@pytest.mark.parametrize("source", ["none.txt", "names.json:absent", "names.json:number", "bad.json:x", "gap.txt"])
def test_missing_names(folder, source):
    (folder / "names.json").write_text('{"number": 3}')
    (folder / "bad.json").write_text("{")
    (folder / "gap.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match="class names in"):
        read_names(folder, source)


@pytest.mark.parametrize("world", [{"families": 0}, {"family": 3}])
def test_an_embedded_world_checks_its_fields(world):
    with pytest.raises(ConfigError, match="famil"):
        load_target(EmbeddedTarget(train="x", test="x", world=world))


def test_no_root(tmp_path):
    with pytest.raises(DataError, match="no folder") as error:
        load_target(lists(tmp_path / "absent"))
    assert error.value.remedy == "correct target.root"


def test_missing_images_are_counted_and_named(folder):
    (folder / "a1.png").unlink()
    with pytest.raises(DataError, match=r"1 are not there: a1\.png"):
        load_target(lists(folder))


def test_labels_out_of_range_are_named(folder):
    (folder / "names.txt").write_text("cat\ndog\n")
    (folder / "train.txt").write_text("a0.png 1\nb0.png 2\n")
    with pytest.raises(DataError, match=r"labels 0\.\.1 in .*train\.txt") as error:
        load_target(lists(folder, names="names.txt"))
    assert "label 2 of b0.png" in str(error.value)


def test_a_test_label_that_training_lacks(folder):
    (folder / "test.txt").write_text("t0.png 0\nt1.png 7\n")
    with pytest.raises(DataError, match=r"label 7 of t1\.png"):
        load_target(lists(folder))


def test_holes_are_an_error_unless_allowed(folder):
    (folder / "train.txt").write_text("a0.png 0\nb0.png 2\n")
    with pytest.raises(DataError, match=r"none for 1 classes: 1 \(1\)"):
        load_target(lists(folder))
    target = load_target(lists(folder, allow_empty=True))
    assert target.classes.shots == [Shot.FEW, Shot.ZERO, Shot.FEW]


def test_a_label_that_is_no_numbering_fills_no_memory(folder):
    (folder / "train.txt").write_text("a0.png 0\nb0.png 2147483647\n")
    with pytest.raises(DataError, match=r"the label 2147483647 of b0\.png, in a list of 2 images"):
        load_target(lists(folder, allow_empty=True))


@pytest.mark.parametrize("key", ["root", "images", "archive"])
def test_the_embedded_world_has_no_place_of_yours(key):
    with pytest.raises(ConfigError, match=f"target.{key} to be null"):
        EmbeddedTarget(train="x", test="x", **{key: "mine"})
