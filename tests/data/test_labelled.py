import unicodedata
from pathlib import Path

import pytest

from lt_extrap.data.labelled import check_path, label_of, ordered, path_below
from lt_extrap.errors import DataError


def test_classes_are_ordered_by_code_points_or_by_value():
    assert ordered(["b", "a", "Z", "é", "a"]) == ["Z", "a", "b", "é"]
    assert ordered([str(n) for n in range(12)]) == [str(n) for n in range(12)]
    assert ordered(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert ordered(["10", "9", "x"]) == ["10", "9", "x"]
    assert ordered(["002", "010", "001"]) == ["001", "002", "010"]


def test_classes_that_differ_by_case_alone_are_refused():
    with pytest.raises(DataError, match="'Cat', 'cat'"):
        ordered(["dog", "cat", "Cat"])


def test_one_name_has_one_spelling():
    assert label_of(" " + unicodedata.normalize("NFD", "café") + "\t") == "café"


@pytest.mark.parametrize("path", ["a\nb.png", "a\\b.png", " a.png", "a.png ", "a\tb.png"])
def test_a_path_that_no_list_can_hold_is_refused(path):
    with pytest.raises(DataError, match="in row 3") as error:
        check_path(path, "row 3")
    assert repr(path) in error.value.found


def test_paths_with_blanks_within_and_any_letters_pass():
    check_path("snow leopard/img 1  é.jpg", "row 3")
    with pytest.raises(DataError, match="UTF-8"):
        check_path("caf\udce9.png", "row 3")


def test_one_image_has_one_path():
    images = Path("/data/mine")
    for text in ("cat/a b.png", "./cat/a b.png", "cat\\a b.png", "/data/mine/cat/a b.png", "dog/../cat/a b.png"):
        assert path_below(images, text) == "cat/a b.png"
    assert path_below(images, "a.png", "train") == "train/a.png"
    assert path_below(images, "/data/mine too/a.png", "train") == "/data/mine too/a.png"
    assert path_below(images, "../a.png") == "../a.png"
