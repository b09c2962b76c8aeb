"""Which pair is looked at."""

import numpy as np
import pytest

from lt_extrap.data.target import ClassTable
from lt_extrap.errors import ConfigError
from lt_extrap.model.shots import Shot
from lt_extrap.studies.features.pair import ends, most_confused, named, read_confusions

COUNTS = (300, 200, 50, 9, 5)
NAMES = ("crane", "wolf", "fox", "crane", "dhole, Asian")


def table(counts=COUNTS):
    return ClassTable(tuple(f"n{i}" for i in range(len(counts))), NAMES[: len(counts)], np.array(counts))


def test_both_directions_count():
    confused = {(3, 0): 4, (4, 1): 3, (1, 4): 2, (0, 1): 9, (2, 3): 8, (3, 4): 7}
    assert most_confused(confused, table()) == (1, 4, 3, 2)


def test_equals_go_by_label():
    assert most_confused({(4, 0): 2, (3, 1): 2, (0, 4): 0, (3, 0): 2}, table())[:2] == (0, 3)


@pytest.mark.parametrize(
    ("counts", "groups", "pair"),
    [
        ((50, 40, 9), (Shot.MEDIUM, Shot.FEW), (1, 2)),
        ((300, 50, 20), (Shot.MANY, Shot.MEDIUM), (0, 2)),
        ((9, 5, 9), (Shot.FEW, Shot.FEW), (2, 1)),  # one group alone: more images are the head
        ((300, 9, 0), (Shot.MANY, Shot.FEW), (0, 1)),  # of no image is no tail
    ],
)
def test_the_nearest_groups_where_one_is_empty(counts, groups, pair):
    classes = table(counts)
    assert ends(classes.shots) == groups
    assert most_confused({(1, 2): 3, (0, 2): 2, (0, 1): 1}, classes)[:2] == pair


def test_nothing_confused_is_said():
    with pytest.raises(ConfigError, match="many group and one of the few group"):
        most_confused({(0, 1): 5}, table())


def test_by_name_and_by_id():
    confused = {(4, 1): 3}
    assert named(["dhole, Asian", "n1"], confused, table()) == (1, 4, 3, 0)
    with pytest.raises(ConfigError, match="'crane', which 2 of them have"):
        named(["crane", "fox"], confused, table())
    with pytest.raises(ConfigError, match="'dhole', which none of them have; alike: dhole, Asian"):
        named(["dhole", "fox"], confused, table())
    with pytest.raises(ConfigError, match="fox twice"):
        named(["fox", "n2"], confused, table())


def test_the_file_of_a_run(tmp_path):
    file = tmp_path / "confusions.csv"
    file.write_text("class,predicted,images\n5,3,14\n3,5,2\n")
    assert read_confusions(file) == {(5, 3): 14, (3, 5): 2}
