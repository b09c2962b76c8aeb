import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lt_extrap.errors import ConfigError, RunError
from lt_extrap.report.__main__ import ReportConfig, task
from test_table import put


@pytest.fixture
def runs(tmp_path):
    for seed, accuracy in enumerate((0.40, 0.44)):
        put(tmp_path / "runs", f"component+baseline-seed+{seed}", seed, accuracy)
        put(tmp_path / "runs", f"component+silencing-seed+{seed}", seed, accuracy + 0.05)
    return tmp_path / "runs"


def report(runs, **options):
    task(OmegaConf.structured(ReportConfig(runs=str(runs), **options)))


def test_the_command_prints_the_table_and_writes_it(runs, tmp_path, capsys):
    report(runs, csv=str(tmp_path / "table.csv"), figure=str(tmp_path / "figure.png"))
    printed = capsys.readouterr().out
    assert "component+silencing - component+baseline" in printed
    assert str(runs / "component+baseline-seed+0") in printed
    assert "not ended" not in printed
    with (tmp_path / "table.csv").open() as file:
        assert next(csv.reader(file))[:3] == ["row", "runs", "overall"]
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_runs_that_have_not_ended_are_counted_and_named(runs, capsys):
    (runs / "component+random-seed+0").mkdir()
    (runs / "component+random-seed+0" / "run.json").write_text("{}")
    report(runs)
    assert f"not in the table (1):\n{runs / 'component+random-seed+0'}" in capsys.readouterr().out


def test_rows_that_share_no_seed_with_the_baseline_are_named(runs, capsys):
    put(runs, "component+random-seed+7", 7, 0.3)
    report(runs)
    assert capsys.readouterr().out.count("no difference of component+random: it shares no seed with the baseline") == 1


def test_no_finished_run_is_said(tmp_path):
    with pytest.raises(RunError, match="train first"):
        report(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(RunError, match="1 that have not ended"):
        report(tmp_path)


def test_options_have_their_values():
    with pytest.raises(ConfigError, match="test or last"):
        ReportConfig(weights="best")
    with pytest.raises(ConfigError, match=r"\.png, \.svg, \.pdf"):
        ReportConfig(figure="figure.gif")


@pytest.mark.slow
def test_published_results_of_an_older_version_are_read(capsys):
    report(Path(__file__).parents[1] / "docs" / "results")
    assert "tiny_imagenet_lt/component+silencing - component+baseline" in capsys.readouterr().out


@pytest.mark.slow
def test_a_closed_pipe_ends_it_without_a_word(runs):
    command = f"{sys.executable} -m lt_extrap.report runs={runs} | true"
    result = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=True
    )
    assert result.stderr == b""
