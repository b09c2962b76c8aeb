"""Rows against their baseline, from run folders."""

import math
import re

import numpy as np
import pytest
from made_runs import COUNTS, make_experiment, make_run, rows_of

from lt_extrap.errors import RunError
from lt_extrap.report.comparison import compare
from lt_extrap.report.outcomes import read_outcomes
from lt_extrap.table import groups_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two seeds of the four components, direct and retrained."""
    return make_experiment(tmp_path_factory.mktemp("made") / "runs", 2, retrained=True)


def compared(rows, weights="test"):
    outcomes = {folder: read_outcomes(folder) for row in rows for folder in row.folders.values()}
    return {one.row.short: one for group in groups_of(rows) for one in compare(group, outcomes, weights)}


def test_differences_are_those_of_results_and_lie_in_their_intervals(made):
    rows = rows_of(made)
    found = compared(rows)
    by_name = {row.short: row for row in rows}
    silencing = found["component+silencing"]
    assert [difference.measure for difference in silencing.differences] == ["overall", "many", "medium", "few"]
    for difference, key in zip(silencing.differences, ("acc", "acc_many", "acc_medium", "acc_few"), strict=True):
        own, other = (by_name[f"component+{name}"].results for name in ("silencing", "baseline"))
        expected = np.mean([100 * (own[seed]["test"][key] - other[seed]["test"][key]) for seed in (0, 1)])
        assert difference.paired.mean == pytest.approx(expected)
        assert difference.interval.low < expected < difference.interval.high
        assert difference.corrected >= difference.paired.p or difference.paired.deviation == 0  # few: there is no p
    assert "component+silencing, retrained" in found
    assert len(silencing.gains) == len(COUNTS)
    assert np.mean([one.gain for one in silencing.gains]) == pytest.approx(silencing.differences[0].paired.mean)


def test_a_row_against_itself_has_no_difference(tmp_path):
    for seed in (0, 1):
        run = make_run(tmp_path, "baseline", seed)
        run.rename(run.with_name(f"component+baseline-again+1-seed+{seed}"))
        make_run(tmp_path, "baseline", seed)
    (again,) = compared(rows_of(tmp_path)).values()
    for difference in again.differences:
        assert (difference.paired.mean, *difference.interval) == (0, 0, 0)
        assert difference.paired.p == 1
        assert math.isnan(difference.paired.detectable)
    assert {one.gain for one in again.gains} == {0}


@pytest.mark.parametrize("missing", [{"per_class": False}, {"outcomes": False}, {"images": 10}])
def test_rows_without_the_same_outcomes_have_numbers_by_seed_alone(tmp_path, missing):
    for seed in (0, 1):
        make_run(tmp_path, "baseline", seed)
        make_run(tmp_path, "neighbors", seed, **(missing if seed else {}))
        make_run(tmp_path, "silencing", seed)
    found = compared(rows_of(tmp_path))
    assert [difference.interval for difference in found["component+neighbors"].differences] == [None] * 4
    assert all(difference.paired.p <= 1 for difference in found["component+neighbors"].differences)
    assert all(difference.interval for difference in found["component+silencing"].differences)


def test_outcomes_of_selected_weights_are_not_those_of_the_last(tmp_path):
    make_experiment(tmp_path, 1)
    rows = rows_of(tmp_path)
    assert compared(rows, "last")["component+random"].differences[0].interval
    for row in rows:
        row.results[0]["selected"] = "best"
    assert compared(rows, "last")["component+random"].differences[0].interval is None
    told = compared(rows)["component+random"].differences[0]
    assert told.interval
    assert math.isnan(told.paired.p)


def test_an_empty_group_is_left_out(tmp_path):
    make_experiment(tmp_path, 2)
    rows = rows_of(tmp_path)
    for row in rows:
        for result in row.results.values():
            result["test"]["acc_medium"] = None
    measures = [difference.measure for difference in compared(rows)["component+random"].differences]
    assert measures == ["overall", "many", "few"]


@pytest.mark.parametrize(
    ("pattern", "new", "said"),
    [
        (r"train_images", "images", "KeyError"),
        (r",[01]{20},", ",1,", "a digit for each test image"),
        (r",[01]{20},", f",{'2' * 20},", "0 or 1"),
    ],
)
def test_a_broken_table_of_classes_is_refused_in_words(tmp_path, pattern, new, said):
    file = make_run(tmp_path, "baseline", 0) / "per_class.csv"
    file.write_text(re.sub(pattern, new, file.read_text(), count=1))
    with pytest.raises(RunError, match=said):
        read_outcomes(file.parent)


def test_classes_without_test_images_are_in_no_number(tmp_path):
    run = make_run(tmp_path, "baseline", 0, images=4)
    file = run / "per_class.csv"
    lines = file.read_text().splitlines()
    lines[3] = "2,n002,none,many,150,0,,,0,0"
    file.write_text("\n".join(lines) + "\n")
    found = read_outcomes(run)
    assert len(found.right) == 4 * (len(COUNTS) - 1)
    assert np.isnan(found.accuracy[2])
