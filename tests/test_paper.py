"""The paper's numbers: that they are whole, agree among themselves, and where the paper misprints."""

from lt_extrap import paper
from lt_extrap.paper import Accuracies


def test_tables_are_whole():
    tables = paper.results()
    assert sorted({one.table for one in tables}) == [2, 3, 4, 5, 6]
    for table, starts in ((2, 9), (3, 3), (4, 3), (5, 3), (6, 1)):
        assert len([one for one in tables if one.table == table]) == starts
    for one in tables:
        assert all(0 < value < 100 for accuracies in one.rows.values() for value in accuracies)
        assert all(min(row[1:]) <= row.overall <= max(row[1:]) for row in one.rows.values())
    assert [one.target for one in paper.data_sets()] == ["imagenet_lt", "inat18"]


def test_tables_agree_where_they_tell_the_same():
    (second,) = [one for one in paper.results("imagenet_lt", "dinov2") if one.table == 2]
    (third,) = [one for one in paper.results("imagenet_lt", "dinov2") if one.table == 3]
    (sixth,) = [one for one in paper.results() if one.table == 6]
    assert sixth.rows["Baseline"] == second.rows["Baseline"] == third.rows["Baseline"]
    assert sixth.rows["+ Random Category"] == second.rows["+ RD"]
    assert sixth.rows["+ Neighbor Category"] == second.rows["+ SD"] == third.rows["+ SD"]
    assert sixth.rows["+ Direct Classifier"] == second.rows["+ Ours"] == third.rows["+ Ours"]


def test_improvements_are_recomputed_and_misprints_named():
    found = {(one.target, one.start): one.misprints() for one in paper.results() if one.misprints()}
    assert found == {
        ("imagenet_lt", "clip"): {"overall": (3.5, 3.3)},
        ("inat18", "clip"): {"many": (1.5, 1.7)},
    }
    (one,) = [one for one in paper.results("imagenet_lt", "scratch") if one.table == 2]
    assert one.rows["+ Ours"].minus(one.rows["Baseline"]) == Accuracies(7.3, 1.6, 9.4, 16.0)
