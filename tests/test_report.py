import csv
import json

import pytest
from omegaconf import OmegaConf

from lt_extrap.errors import ConfigError, RunError
from lt_extrap.report import ReportConfig, main, markdown, read_rows, tabulate


def put(folder, name, seed, overall, few, steps=10):
    run = folder / name
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    test = {"acc": overall, "acc_many": 0.9, "acc_medium": None, "acc_few": few}
    content = {"seed": seed, "test": test, "last": test, "steps": steps, "views": 5, "target_views": 3}
    (run / "results.json").write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path):
    put(tmp_path, "component+baseline-seed+0", 0, 0.40, 0.20)
    put(tmp_path, "component+baseline-seed+1", 1, 0.44, 0.10)
    put(tmp_path, "component+silencing-seed+0", 0, 0.45, 0.30)
    put(tmp_path, "component+silencing-seed+1", 1, 0.47, 0.24)
    put(tmp_path, "component+random-seed+2", 2, 0.30, 0.10, steps=11)
    (tmp_path / "component+unfinished").mkdir()
    return tmp_path


def test_rows_are_what_differs_in_more_than_the_seed(runs):
    rows, folders = read_rows(runs)
    assert {row.name: sorted(row.results) for row in rows} == {
        "component+baseline": [0, 1],
        "component+random": [2],
        "component+silencing": [0, 1],
    }
    assert len(folders) == 5


def test_means_deviations_and_paired_differences(runs):
    table = tabulate(read_rows(runs)[0], ReportConfig(runs=str(runs)))
    rows = {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}
    assert list(rows) == [
        "component+baseline",
        "component+random",
        "component+silencing",
        "component+silencing - component+baseline",
    ]
    assert rows["component+baseline"]["overall"] == "42.0 ± 2.8"
    assert rows["component+baseline"]["medium"] == "-"
    assert rows["component+random"]["overall"] == "30.0"
    assert rows["component+random"]["steps"] == "11"
    # by seed: 0.05 and 0.03; 0.10 and 0.14
    difference = rows["component+silencing - component+baseline"]
    assert (difference["overall"], difference["few"], difference["runs"]) == (
        "+4.0 ± 1.4",
        "+12.0 ± 2.8",
        "2",
    )


def test_markdown_lines_up(runs):
    lines = markdown(tabulate(read_rows(runs)[0], ReportConfig())).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({line.count("|") for line in lines}) == 1


def test_a_baseline_that_is_not_there(runs):
    with pytest.raises(RunError, match="component\\+random"):
        tabulate(read_rows(runs)[0], ReportConfig(baseline="component+basline"))


def test_without_a_baseline_there_are_no_differences(runs):
    rows = [row for row in read_rows(runs)[0] if "baseline" not in row.name]
    assert [row[0] for row in tabulate(rows, ReportConfig())] == ["row", "component+random", "component+silencing"]


def test_two_runs_of_a_seed_in_a_row(runs):
    put(runs, "component+silencing", 0, 0.5, 0.5)
    with pytest.raises(RunError, match="one run a seed"):
        read_rows(runs)


def test_weights_are_test_or_last():
    with pytest.raises(ConfigError, match="test or last"):
        ReportConfig(weights="best")


def test_no_runs_is_said(tmp_path):
    with pytest.raises(RunError, match="train first"):
        read_rows(tmp_path)


def test_the_command_prints_the_table_and_writes_it(runs, tmp_path, capsys):
    options = OmegaConf.structured(ReportConfig(runs=str(runs), csv=str(tmp_path / "table.csv")))
    main.__wrapped__(options)
    printed = capsys.readouterr().out
    assert "component+silencing - component+baseline" in printed
    assert str(runs / "component+baseline-seed+0") in printed
    with (tmp_path / "table.csv").open() as file:
        assert next(csv.reader(file))[:3] == ["row", "runs", "overall"]
