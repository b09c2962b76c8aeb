"""Tables with a line a class, from run folders."""

import csv
import io

import numpy as np
import pytest
from made_runs import COUNTS, make_experiment, make_run, rows_of

from lt_extrap.report.classes import ENDS, MOST, taken_most
from lt_extrap.report.document import make_report, page
from lt_extrap.report.outcomes import read_outcomes
from lt_extrap.report.sheet import as_csv, as_latex, as_markdown
from lt_extrap.table import groups_of


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Two seeds of the four components, direct and retrained."""
    return rows_of(make_experiment(tmp_path_factory.mktemp("made") / "runs", 2, retrained=True))


def lines(sheet):
    return list(csv.DictReader(io.StringIO(as_csv(sheet), newline="")))


def outcomes_of(rows):
    return {folder: read_outcomes(folder) for row in rows for folder in row.folders.values()}


def taken_of(rows, *, baseline=None, weights="test"):
    (group,) = groups_of(rows, baseline)
    return taken_most(group, "e1", outcomes_of(rows), weights)


def test_every_class_is_told_and_a_page_has_the_ends(rows):
    report = make_report(rows, title="classes")
    (sheet,) = (sheet for sheet in report.sheets() if sheet.key == "e1-classes")
    told = lines(sheet)
    assert len(told) == 7 * len(COUNTS)
    outcomes, by_name = outcomes_of(rows), {row.label: row for row in rows}
    own, other = (
        [100 * outcomes[folder].accuracy for folder in by_name[f"component+{name}"].folders.values()]
        for name in ("silencing", "baseline")
    )
    silencing = [line for line in told if line["row"] == "component+silencing"]
    assert [int(line["training images"]) for line in silencing] == sorted(COUNTS, reverse=True)
    for name, values in (("accuracy, %", own), ("baseline, %", other), ("gain, points", np.subtract(own, other))):
        assert [float(line[name]) for line in silencing] == pytest.approx(np.mean(values, axis=0))
    assert {(line["seeds"], line["class"][0]) for line in told} == {("2", "n")}
    ends = [row[-1] for row in sheet.excerpt.rows if row[0] == "component+silencing"]
    gains = sorted((float(line["gain, points"]) for line in silencing), reverse=True)
    assert ends == pytest.approx(gains[:ENDS] + gains[-ENDS:])
    table = [line for line in as_markdown(sheet).splitlines() if line.startswith("|")]
    assert len(table) == 2 + 7 * 2 * ENDS
    for shown in (as_markdown(sheet), page(report)):
        assert "All 91 lines are in e1-classes.csv." in shown
    assert as_latex(sheet).count("class 5") == 7


def test_few_classes_are_all_shown_once(tmp_path):
    for component in ("baseline", "silencing"):
        file = make_run(tmp_path, component, 0) / "per_class.csv"
        file.write_text("\n".join(file.read_text().splitlines()[:5]) + "\n")  # ENDS + 1 of them
    (sheet,) = (one for one in make_report(rows_of(tmp_path), title="few").sheets() if one.key == "e1-classes")
    assert (len(sheet.rows), sheet.excerpt) == (4, None)


def test_the_targets_that_neighbors_take_most(rows):
    sheet = taken_of(rows)
    told = lines(sheet)
    assert {line["row"] for line in told} == {f"component+{name}" for name in ("random", "neighbors", "silencing")}
    silencing = [line for line in told if line["row"] == "component+silencing"]
    (row,) = (row for row in rows if row.label == "component+silencing")
    runs = list(outcomes_of([row]).values())
    shares = {
        id: (100 * np.mean(near) / 20, 100 * np.mean(any_), 100 * np.mean(right))
        for id, near, any_, right in zip(
            runs[0].ids,
            np.transpose([run.to_neighbors for run in runs]),
            np.transpose([run.to_auxiliary / 20 for run in runs]),
            np.transpose([run.accuracy for run in runs]),
            strict=True,
        )
    }
    assert [float(line["to a neighbor, %"]) for line in silencing] == pytest.approx(
        sorted((share[0] for share in shares.values()), reverse=True)[:MOST]
    )
    for line in silencing:
        found = [float(line[f"{name}, %"]) for name in ("to a neighbor", "to any auxiliary class", "accuracy")]
        assert found == pytest.approx(shares[line["class"]])
        assert line["runs"] == "2"
    assert not [column.name for column in sheet.columns if "baseline" in column.name]  # it has no such columns


def test_a_baseline_with_auxiliary_classes_stands_beside(rows):
    direct = [row for row in rows if "retrained" not in row.label]
    told = lines(taken_of(direct, baseline="component+neighbors"))
    own = {line["class"]: line["to a neighbor, %"] for line in told if line["row"] == "component+neighbors"}
    both = [line for line in told if line["row"] == "component+silencing" and line["class"] in own]
    assert both
    assert all(line["baseline, to a neighbor, %"] == own[line["class"]] for line in both)
    assert {line["baseline, accuracy, %"] for line in told if line["row"] == "component+neighbors"} == {""}


def test_outcomes_of_other_weights_are_in_no_line(tmp_path):
    make_experiment(tmp_path, 1)
    rows = rows_of(tmp_path)
    assert taken_of(rows, weights="last").rows
    for row in rows:
        row.results[0]["selected"] = "best"
    assert taken_of(rows, weights="last") is None


def test_what_is_taken_for_is_of_the_weights_that_are_asked_for(tmp_path):
    make_experiment(tmp_path, 2)
    rows = rows_of(tmp_path)
    (silencing,) = (row for row in rows if row.label == "component+silencing")
    silencing.results[1]["selected"] = "best"  # per_class.csv is of other weights than the last

    def told(weights):
        (section,) = (one for one in make_report(rows, title="taken", weights=weights).sections if one.key == "e1")
        named = {row[0] for sheet in section.sheets if sheet.key == "e1-taken-for" for row in sheet.rows}
        return named, [line for line in section.text if "auxiliary classes take" in line]

    others = {"component+neighbors", "component+random"}
    assert told("test") == ({*others, "component+silencing"}, [])
    named, (why,) = told("last")
    assert named == others
    assert "not told of component+silencing: not all runs have" in why
    for row in rows:
        row.results[0]["selected"] = "best"
    named, (why,) = told("last")  # no table is left to have a note
    assert named == set()
    assert all(row.label in why for row in rows if row.label != "component+baseline")
