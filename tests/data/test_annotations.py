"""iNaturalist's own annotations give what its lists give."""

import json
from pathlib import Path

import pytest

from lt_extrap.data.lists import read_list
from lt_extrap.data.target import read_names
from lt_extrap.errors import DataError

SPECIES = {2: "Apis mellifera", 0: "Salix \u00d7fragilis", 1: "Danaus plexippus"}
ROWS = [
    ("train_val2018/Insecta/2/a.jpg", 2),
    ("train_val2018/Plantae/0/b c.jpg", 0),
    ("train_val2018/Insecta/1/d.jpg", 1),
]


def content() -> dict:
    """As iNaturalist writes it: image ids that are no positions, annotations and categories in orders of their own."""
    ids = [501, 7, 20]
    return {
        "info": {"year": 2018},
        "images": [{"id": id, "file_name": path, "width": 8} for id, (path, _) in zip(ids, ROWS, strict=True)],
        "annotations": [{"id": 9 - i, "image_id": ids[i], "category_id": ROWS[i][1]} for i in (1, 2, 0)],
        "categories": [{"id": id, "name": name, "supercategory": "x"} for id, name in SPECIES.items()],
    }


def written(folder: Path, changed: dict) -> Path:
    file = folder / "train2018.json"
    file.write_text(json.dumps(changed))
    return file


def test_annotations_are_the_list(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{path} {label}\n" for path, label in ROWS))
    ours, theirs = read_list(written(tmp_path, content())), read_list(tmp_path / "list.txt")
    for part in ("labels", "offsets", "text"):
        left, right = getattr(ours, part), getattr(theirs, part)
        assert left.dtype == right.dtype
        assert left.tolist() == right.tolist()


def test_names_are_placed_by_their_number(tmp_path):
    written(tmp_path, content())
    names = (("0", "1", "2"), (SPECIES[0], SPECIES[1], SPECIES[2]))
    assert read_names(tmp_path, "train2018.json:categories") == names
    (tmp_path / "categories.json").write_text(json.dumps(content()["categories"]))
    assert read_names(tmp_path, "categories.json") == names


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "not 0..1"),
        ([{"id": 0, "name": "a"}, {"id": 0, "name": "b"}], "not 0..1"),
        ([{"id": 0, "name": "a"}, {"name": "b"}], "not 0..1"),
        ({"categories": []}, "dict where a list was wanted"),
        ([{"id": 1, "name": "a"}, {"id": 0}], "no name for class 0"),
    ],
)
def test_numbers_that_are_no_labels_are_refused(tmp_path, categories, said):
    (tmp_path / "categories.json").write_text(json.dumps(categories))
    with pytest.raises(DataError, match=said):
        read_names(tmp_path, "categories.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["annotations"].pop(), "no annotation of the image 'train_val2018/Insecta/2/a.jpg'"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "two annotations of the image 'train_val2018/Plantae"),
        (lambda c: c["categories"].pop(), "no category 1, which the image 'train_val2018/Insecta/1/d.jpg' has"),
        (lambda c: c["annotations"].append({"image_id": 99, "category_id": 0}), "an annotation of the image 99"),
        (lambda c: c["images"].append(c["images"][0]), "two images with one id"),
        (lambda c: c["images"][0].update(file_name="a\\b.jpg"), "with / between folders"),
        (lambda c: c["images"][0].update(file_name=3), "the path of an image"),
        (lambda c: [c[key].clear() for key in ("images", "annotations")], "no images"),
        (lambda c: c["categories"][0].update(id=-1) or c["annotations"][2].update(category_id=-1), "the category -1"),
        (lambda c: c["categories"].append({"id": "3", "name": "x"}), "the category '3' where an id"),
        (lambda c: c.pop("annotations"), "KeyError: 'annotations'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, said):
    changed = content()
    change(changed)
    with pytest.raises(DataError, match="annotations in .*train2018.json") as error:
        read_list(written(tmp_path, changed))
    assert said in error.value.found


@pytest.mark.parametrize("text", ["", "[1, 2]", "train/a.jpg 0\n"])
def test_no_annotations_at_all(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match="annotations in"):
        read_list(tmp_path / "x.json")
    with pytest.raises(DataError, match="No such file"):
        read_list(tmp_path / "absent.json")
