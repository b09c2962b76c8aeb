"""Which images of a list are there, where they may be instead, and what the refusal says."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lt_extrap.data.layout import check_images, find_images, why_missing
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.store import Folder
from lt_extrap.errors import DataError

LISTED = [f"val/{synset}/ILSVRC2012_val_0000000{i}.JPEG" for i, synset in enumerate(["n1", "n1", "n2", "n3"])]
FLAT = [f"val/ILSVRC2012_val_0000000{i}.JPEG" for i in range(4)]
FILE = Path("ImageNet_LT_test.txt")


def index_of(paths: list[str]) -> SampleIndex:
    return SampleIndex.of(paths, list(range(len(paths))))


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.sampled_from(["a/x", "a/y", "b/x", "x", "none/x", "a", "a/../b/x", "a//x", "link", "dead"])))
@pytest.mark.parametrize("absolute", [False, True])
def test_missing_is_what_cannot_be_opened(tmp_path, rows, absolute):
    if not (tmp_path / "link").is_symlink():
        touch(tmp_path, "a/x", "b/x")
        (tmp_path / "link").symlink_to("a/x")
        (tmp_path / "dead").symlink_to("a/y")
    paths = [str(tmp_path / row) if absolute else row for row in rows]
    missing = Folder(Path("/nowhere") if absolute else tmp_path).missing(index_of(paths))
    assert missing.dtype == np.int64
    assert missing.tolist() == [i for i, row in enumerate(rows) if not (tmp_path / row).is_file()]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_be_entered_but_not_listed(tmp_path):
    touch(tmp_path, "a/x")
    (tmp_path / "a").chmod(0o111)
    assert Folder(tmp_path).missing(index_of(["a/x", "a/y"])).tolist() == [1]
    (tmp_path / "a").chmod(0o755)


@pytest.mark.parametrize("there", [LISTED, FLAT])
def test_validation_images_are_found_by_class_or_flat(tmp_path, capsys, there):
    index = find_images(index_of(LISTED), Folder(touch(tmp_path, *there)), FILE)
    assert list(index.paths()) == there
    assert index.labels.tolist() == [0, 1, 2, 3]
    said = capsys.readouterr().out.splitlines()
    assert [line.startswith(f"{FILE}: the images lie without class folders") for line in said] == [True] * (
        there is FLAT
    )


@pytest.mark.parametrize(
    ("there", "missing"),
    [(LISTED[:3], 1), (FLAT[:3], 1), (LISTED[:2] + FLAT[2:], 2), (FLAT + LISTED[:1], 3)],
    ids=["by class, one missing", "flat, one missing", "mixed", "flat, but one also by class"],
)
def test_layouts_are_never_mixed(tmp_path, there, missing):
    with pytest.raises(DataError, match=f"{missing} are not there: val/"):
        find_images(index_of(LISTED), Folder(touch(tmp_path, *there)), FILE)


def test_flat_names_must_tell_images_apart(tmp_path):
    touch(tmp_path, "val/1.jpg")
    with pytest.raises(DataError, match=r"2 are not there.*without the class folder"):
        find_images(index_of(["val/a/1.jpg", "val/b/1.jpg"]), Folder(tmp_path), FILE)


def test_the_refusal_shows_root_count_paths_and_package(tmp_path):
    paths = [f"val/n{i}/{i}.JPEG" for i in range(7)]
    with pytest.raises(DataError) as error:
        check_images(index_of(paths), Folder(touch(tmp_path, paths[0])), FILE, "ILSVRC2012 (img_val.tar)")
    assert error.value.wanted == f"the 7 images of {FILE} below {tmp_path}"
    assert error.value.found.startswith("6 are not there: " + ", ".join(paths[1:6]) + " and 1 more; ")
    assert error.value.found.endswith("; the list is made for ILSVRC2012 (img_val.tar)")


@pytest.mark.parametrize(
    ("there", "listed", "found", "cause"),
    [
        ("data/val/1.JPEG", "val/n1/1.JPEG", "data/val/1.JPEG", "without the class folder"),
        ("data/val/n1/1.JPEG", "val/1.JPEG", "data/val/n1/1.JPEG", "in a folder more"),
        ("data/val/n1/1.jpg", "val/n1/1.JPEG", "data/val/n1/1.jpg", "another case or suffix"),
        ("data/val/n1/A.JPEG", "val/n1/a.JPEG", "data/val/n1/A.JPEG", "another case or suffix"),
        ("data/CLS/val/n1/1.JPEG", "val/n1/1.JPEG", "data/CLS/val/n1/1.JPEG", "set target.images={root}/data/CLS"),
        ("val/n1/1.JPEG", "val/n1/1.JPEG", "val/n1/1.JPEG", "set target.images={root}"),
        ("data/n1/1.JPEG", "val/n1/1.JPEG", "data/n1/1.JPEG", "without the folder val"),
        ("data/ILSVRC2012_img_val.tar", "val/n1/1.JPEG", "data/ILSVRC2012_img_val.tar", "not unpacked"),
        ("data/train/n1.tar", "train/n1/1.JPEG", "data/train/n1.tar", "not unpacked"),
        (
            "data/data_large/a/airfield/1.jpg",
            "train/airfield/1.jpg",
            "data",
            "such as {root}/data/data_large/a/airfield/1.jpg",
        ),
        ("data/val/n1/2.JPEG", "val/n1/1.JPEG", "data/val/n1", "with 2.JPEG in it, such as {root}/data/val/n1/2.JPEG"),
        (None, "val/n1/1.JPEG", "data", "nothing in it"),
    ],
)
def test_the_likely_cause(tmp_path, there, listed, found, cause):
    (tmp_path / "data").mkdir()
    if there:
        touch(tmp_path, there)
    said = why_missing(index_of([listed]), Folder(tmp_path / "data"))
    before, _, after = said.partition(str(tmp_path / found))
    assert before == "there is "
    assert cause.format(root=tmp_path) in after


def test_a_link_to_nowhere_and_a_pipe_are_said_to_be_such(tmp_path):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "moved.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    said = why_missing(index_of(["link.jpg"]), Folder(tmp_path))
    assert said == f"there is {tmp_path}/link.jpg (a link to {tmp_path}/moved.jpg, which is no file)"
    assert why_missing(index_of(["pipe.jpg"]), Folder(tmp_path)).endswith("pipe.jpg (a folder, a pipe or a device)")


def test_the_cause_is_that_of_the_first_image_with_one(tmp_path):
    touch(tmp_path, "val/n1/there.jpg", "val/n1/2.jpg")
    said = why_missing(index_of(["val/n1/there.jpg", "val/n1/1.JPEG", "val/n1/2.JPEG"]), Folder(tmp_path))
    assert said == f"there is {tmp_path}/val/n1/2.jpg (another case or suffix)"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
@pytest.mark.parametrize("mode", [0o300, 0o000])
def test_a_closed_folder_is_the_cause(tmp_path, mode):
    (tmp_path / "a").mkdir(mode=mode)
    said = why_missing(index_of(["a/1.jpg"]), Folder(tmp_path))
    (tmp_path / "a").chmod(0o755)
    assert said == f"{tmp_path}/a: Permission denied"


def test_a_path_too_long_for_the_disk_is_missing(tmp_path):
    with pytest.raises(DataError, match="1 are not there"):
        check_images(index_of(["a" * 300 + "/b.jpg"]), Folder(touch(tmp_path, "c.jpg")), FILE)
