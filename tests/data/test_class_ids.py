"""Class folders against labels."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_extrap.data.class_ids import Disagreement, check_folders, folders_against_ids, rows_of_folders
from lt_extrap.data.lists import SampleIndex
from lt_extrap.errors import DataError

IDS = ("n1", "n2", "n3")
ROWS = [("train/n1/a.jpg", 0), ("train/n1/b.jpg", 0), ("train/n2/c.jpg", 1), ("train/n3/d.jpg", 2)]
FILE = Path("train.txt")


def index_of(rows):
    return SampleIndex.of([path for path, _ in rows], [label for _, label in rows])


def test_folders_that_agree_or_are_no_ids_say_nothing():
    assert folders_against_ids(index_of(ROWS), IDS) == []
    other = [("a.jpg", 0), ("/data/images/b.jpg", 1), ("apartment_building/outdoor/c.jpg", 2), ("n2/x/d.jpg", 0)]
    assert folders_against_ids(index_of(other), IDS) == []


def test_two_names_exchanged_are_found():
    """Field report A15."""
    exchanged = ("n2", "n1", "n3")
    assert folders_against_ids(index_of(ROWS), exchanged) == [
        Disagreement(label=0, id="n2", folder="n1", images=2),
        Disagreement(label=1, id="n1", folder="n2", images=1),
    ]
    with pytest.raises(DataError, match=r"label 0, which is n2 .* of 2 images in the folder n1; 1 more"):
        check_folders(index_of(ROWS), exchanged, FILE)


@given(st.permutations(IDS))
def test_the_folder_finds_the_name_whatever_its_place(ids):
    rows = rows_of_folders(index_of(ROWS), ids, FILE)
    assert [ids[row] for row in rows] == list(IDS)


def test_a_folder_an_image_is_told_at_once():
    index = index_of([(f"{i}/{i}/a.jpg", 0) for i in range(100_000)])
    with pytest.raises(DataError, match="label 0 in '0', .* and 99997 more"):
        rows_of_folders(index, IDS, FILE)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:3], "no image of label 2"),
        ([*ROWS, ("train/n1/e.jpg", 2)], "label 2 in 'n1', label 2 in 'n3'"),
        ([*ROWS[:3], ("train/n1/d.jpg", 2)], "label 0 in 'n1', label 2 in 'n1'"),
        ([*ROWS[:3], ("train/n4/d.jpg", 2)], "label 2 in 'n4'"),
        ([*ROWS[:3], ("d.jpg", 2)], "label 2 in ''"),
    ],
)
def test_folders_that_tell_no_class_are_named(rows, said):
    with pytest.raises(DataError, match="a folder for each of 3 labels") as error:
        rows_of_folders(index_of(rows), IDS, FILE)
    assert said in error.value.found
