import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_extrap.errors import DataError
from lt_extrap.model.relation import NeighborRelation


def relation(pairs, num_target=3, num_classes=6):
    return NeighborRelation.from_pairs(np.array(pairs, np.int64).reshape(-1, 2), num_target, num_classes)


def rows(built):
    return [built.row(column).tolist() for column in range(built.num_classes)]


def test_rows_list_both_directions_and_no_siblings():
    built = relation([(0, 4), (0, 3), (1, 3)])
    assert rows(built) == [[3, 4], [3], [], [0, 1], [0], []]
    assert (built.num_target, built.num_classes, built.width) == (3, 6, 2)
    assert built.start.dtype == built.neighbor.dtype == np.int32


def test_a_repeated_pair_counts_once():
    assert rows(relation([(2, 5), (2, 5), (2, 5)])) == [[], [], [5], [], [], [2]]


@given(st.data())
def test_rows_are_the_sorted_partners_of_the_pairs(data):
    num_target = data.draw(st.integers(1, 6))
    num_classes = num_target + data.draw(st.integers(1, 6))
    pair = st.tuples(st.integers(0, num_target - 1), st.integers(num_target, num_classes - 1))
    pairs = data.draw(st.lists(pair, max_size=30))
    built = relation(pairs, num_target, num_classes)
    either = [*pairs, *[(auxiliary, target) for target, auxiliary in pairs]]
    expected = [sorted({b for a, b in either if a == column}) for column in range(num_classes)]
    assert rows(built) == expected
    assert built.width == max(len(row) for row in expected)
    assert rows(built.target_rows()) == expected[:num_target] + [[]] * (num_classes - num_target)
    assert rows(built.auxiliary_rows()) == [[]] * num_target + expected[num_target:]


def test_the_width_follows_the_rows_that_are_kept():
    built = relation([(0, 3), (1, 3), (2, 3)])
    assert (built.width, built.target_rows().width, built.auxiliary_rows().width) == (3, 1, 3)


def test_no_pair_at_all():
    built = NeighborRelation.empty(3, 6)
    assert rows(built) == rows(built.target_rows()) == rows(built.auxiliary_rows()) == [[]] * 6
    assert built.width == 0


@pytest.mark.parametrize("pair", [(0, 1), (3, 4), (4, 0), (-1, 3), (0, 6), (0, -1)])
def test_a_pair_that_is_none_is_named(pair):
    with pytest.raises(DataError) as caught:
        relation([(0, 3), pair, (7, 7)])
    assert f"2 of 3 pairs are not such, the first is pair 1: ({pair[0]}, {pair[1]})" in caught.value.found
    assert "(0..2)" in caught.value.wanted
    assert "(3..5)" in caught.value.wanted


@pytest.mark.parametrize("per_target", [5, 15])
def test_a_relation_of_48_000_classes_stays_below_two_megabytes(per_target):
    num_target, num_classes = 8142, 48_000
    auxiliary = np.arange(num_target * per_target) % (num_classes - num_target) + num_target
    pairs = np.stack([np.repeat(np.arange(num_target), per_target), auxiliary], axis=1)
    built = NeighborRelation.from_pairs(pairs, num_target, num_classes)
    assert len(built.neighbor) == 2 * len(pairs)
    assert built.nbytes == 4 * (num_classes + 1) + 8 * len(pairs) <= 2_000_000
