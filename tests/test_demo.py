"""The demonstration, on the small world."""

import csv
import os
import signal
import subprocess
import sys

import pytest

from conftest import SMALL
from lt_extrap.compose import configure
from lt_extrap.data.stored.reader import read_set
from lt_extrap.data.target import load_target
from lt_extrap.demo import CURATED, EACH, POOL, RUNS, WORLD, demo, write_pool
from lt_extrap.errors import RunError

WORDS = (*SMALL[1:], "target.world.image_size=32")


def test_the_pool_is_labelled(tmp_path):
    write_pool(load_target(configure(*SMALL).target), tmp_path)
    with (tmp_path / "truth.csv").open(newline="") as rows:
        truth = {row["path"]: row["what"] for row in csv.DictReader(rows)}
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.glob("*/*")} == set(truth)
    assert len(truth) == 9 * 20 + 7 * EACH
    with (tmp_path / "captions.csv").open(newline="") as rows:
        captions = {row["path"]: row["caption"] for row in csv.DictReader(rows)}
    wrong = {path for path, caption in captions.items() if path.split("/")[0].replace("_", " ") not in caption}
    assert wrong == {path for path, what in truth.items() if what.startswith("pictures whose caption")}


@pytest.mark.slow
def test_the_pool_of_another_world_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    POOL.mkdir(parents=True)
    (POOL / WORLD).write_text("another")
    with pytest.raises(RunError, match="remove runs/demo_curation"):
        demo(WORDS)
    assert not RUNS.exists()


@pytest.mark.slow
def test_what_is_interrupted_may_end_by_itself(tmp_path):
    (tmp_path / "patient.py").write_text(
        "import signal, time\n"
        "def answer(*_):\n    time.sleep(2)\n    print('saved', flush=True)\n    raise SystemExit(130)\n"
        "signal.signal(signal.SIGINT, answer)\n"
        "print('begun', flush=True)\n"
        "time.sleep(60)\n"
    )
    code = "import sys; from lt_extrap.demo import run_command; sys.exit(run_command(['patient']))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.stdout.read() == "saved\n"
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.long
def test_it_ends_with_a_table(tmp_path, monkeypatch, capfd):
    """That each of its commands goes on where it was is for the tests of the command."""
    monkeypatch.chdir(tmp_path)
    assert demo(WORDS) == 0
    told = capfd.readouterr().out
    found = {line[1].strip(): line[2:4] for line in (row.split("│") for row in told.splitlines()) if len(line) == 5}
    kept = {what: int(numbers[1]) for what, numbers in found.items() if numbers[1].strip().isdigit()}
    assert kept["test images, saved again as JPEG"] == kept["test images, mirrored"] == 0
    assert kept["web pages named .jpg"] == kept["pictures of one colour"] == 0
    assert kept["pictures whose caption names another class"] == 0
    assert kept["pictures of the class they are offered for"] > 0
    assert read_set(CURATED / "set").header.images > 0
    rows = [line.split("|")[1] for line in told.splitlines() if line.startswith("| component")]
    assert {row.partition("-")[0].strip() for row in rows} == {"component+baseline", "component+silencing"}
    assert len([*RUNS.glob("*/results.json")]) == 2
    assert (POOL / "truth.csv").is_file()
