import os
import unicodedata

import pytest

from lt_extrap.data.class_folders import read_class_folders
from lt_extrap.errors import DataError


def put(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode(errors="surrogateescape"))


def found(root):
    return [(image.path, image.label, image.split) for image in read_class_folders(root).images]


def test_a_folder_a_class_with_all_below_it_in_any_case_of_extension(tmp_path):
    put(tmp_path, "snow leopard/img 1.JPG", "snow leopard/deep/er/b.jpeg", "cat/c.JPEG", "cat/d.webp")
    put(
        tmp_path, ".git/x.png", "cat/.hidden.png", "cat/.ipynb_checkpoints/d.png", "__MACOSX/cat/x.png", "cat/Thumbs.db"
    )
    read = read_class_folders(tmp_path)
    assert found(tmp_path) == [
        ("cat/c.JPEG", "cat", None),
        ("cat/d.webp", "cat", None),
        ("snow leopard/deep/er/b.jpeg", "snow leopard", None),
        ("snow leopard/img 1.JPG", "snow leopard", None),
    ]
    assert read.notes == []


def test_what_is_left_out_is_told(tmp_path):
    put(tmp_path, "cat/a.png", "dog/b.png", "stray.png", "readme.txt", "cat/notes.txt", "cat/LICENSE", "labels.csv")
    put(tmp_path, "papers/x.pdf", os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "empty").mkdir()
    assert read_class_folders(tmp_path).notes == [
        "left out, images in no class folder: 2 (caf\\udce9.png, stray.png)",
        "left out, folders without images: 2 (empty, papers)",
        "left out, kinds of other files: 4 (2 .txt, 1 .csv, 1 .pdf, 1 no extension)",
        "labels.csv is not read: target.table=labels.csv would read it",
    ]


@pytest.mark.parametrize(("train", "val", "test"), [("train", "valid", "test"), ("Training", "validation", "Testing")])
def test_ready_splits_are_used_as_they_are(tmp_path, train, val, test):
    put(tmp_path, f"{train}/cat/a.png", f"{train}/dog/deep/b.png", f"{test}/cat/c.png", f"{val}/cat/d.png")
    put(tmp_path, f"{train}/stray.png", "notes.txt")
    (tmp_path / train / "none").mkdir()
    assert sorted(found(tmp_path), key=lambda image: image[0][-5:]) == [
        (f"{train}/cat/a.png", "cat", "train"),
        (f"{train}/dog/deep/b.png", "dog", "train"),
        (f"{test}/cat/c.png", "cat", "test"),
        (f"{val}/cat/d.png", "cat", "val"),
    ]
    notes = read_class_folders(tmp_path).notes
    assert f"left out, images in no class folder: 1 ({train}/stray.png)" in notes
    assert f"left out, folders without images: 1 ({train}/none)" in notes


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["a.png", "b.png"], r"images in <class>/"),
        (["train/a.png", "test/b.png"], r"images in <class>/ or in {train,val,test}/<class>/"),
        (["notes.txt", "labels.csv"], "images in <class>/"),
        (["train/cat/a.png", "test/cat/b.png", "extra/c.png"], "either splits or classes"),
        (["cat/a.png", "dog/a.png", "test/b.png"], "either splits or classes"),
        (["test/cat/a.png", "val/cat/a.png"], "train/ and at most one val/"),
        (["train/cat/a.png", "val/cat/a.png", "valid/cat/a.png"], "train/ and at most one val/"),
        (["cat/a\\b.png", "dog/a.png"], "backslashes"),
        ([os.fsdecode(b"caf\xe9/a.png"), "dog/a.png"], "UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, paths, wanted):
    put(tmp_path, *paths)
    with pytest.raises(DataError) as error:
        read_class_folders(tmp_path)
    assert wanted in error.value.wanted
    if "labels.csv" in paths:
        assert "target.table=labels.csv" in error.value.remedy


def test_one_name_in_two_spellings_is_refused(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    put(tmp_path, f"{composed}/a.png", f"{decomposed}/b.png", "dog/c.png")
    with pytest.raises(DataError, match=r"caf\\xe9, cafe\\u0301|cafe\\u0301', 'caf\\xe9") as error:
        read_class_folders(tmp_path)
    assert error.value.remedy == "merge them"


def test_a_class_may_be_spelled_otherwise_in_another_split(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    put(tmp_path, f"train/{composed}/a.png", f"test/{decomposed}/b.png")
    assert {label for _, label, _ in found(tmp_path)} == {composed}
    assert {path for path, _, _ in found(tmp_path)} == {f"train/{composed}/a.png", f"test/{decomposed}/b.png"}


def test_links_are_followed_and_never_in_a_circle(tmp_path):
    root = tmp_path / "mine"
    put(tmp_path, "elsewhere/x.png", "mine/dog/y.png")
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(root)
    (root / "dog" / "up").symlink_to(root / "dog")
    assert found(root) == [("cat/x.png", "cat", None), ("dog/y.png", "dog", None)]
