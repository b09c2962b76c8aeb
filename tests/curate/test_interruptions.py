"""Curations that are interrupted, by signals, full disks and lost decoders, and go on to the same bytes."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pool import Command, begin, bytes_of, config, words

from lt_extrap.config.curate import STAGES
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.stages import features as features_stage
from lt_extrap.curate.stages import images as images_stage
from lt_extrap.curate.status import INCOMPLETE
from lt_extrap.data import side_by_side
from lt_extrap.data.target import load_target
from lt_extrap.errors import RunError

pytestmark = pytest.mark.slow

prepare, reference = images_stage.prepare, features_stage._reference


@pytest.fixture(scope="module")
def straight(curated):
    """The bytes of a curation that nothing interrupts."""
    return bytes_of(curated)


def stage(said: str) -> str:
    """The stage that was under way at the end of what a command said."""
    done = sum(line.startswith(f"{number}/{len(STAGES)} ") for number in range(9) for line in said.splitlines())
    return STAGES[done] if done < len(STAGES) else "status"


def runs_when(command: Command, reached: Callable[[], bool]) -> bool:
    """Wait until a command has reached something, and say whether it still runs then."""
    while not command.ended() and not reached():
        time.sleep(0.005)
    return not command.ended()


def has_done(command: Command, stages: int) -> bool:
    return stages == 0 or f"{stages}/{len(STAGES)} " in command.said


def one_message(said: str, *parts: str) -> bool:
    return said.count("wanted:") == 1 and "Traceback" not in said and all(part in said for part in parts)


def remount(place: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(place)], check=True)


def test_a_disk_that_is_full_again_and_again(made, straight, tmp_path, tmpfs):
    place = tmpfs("disk", 100)
    failed = set()

    def done(kilobytes: int) -> bool:
        remount(place, f"size={kilobytes}k")
        command = begin(tmp_path / "log", *words(made, place / "state"))
        if (status := command.status()) == INCOMPLETE:
            assert one_message(command.said, "full" if "sqlite" in command.said else "No space left", "same command")
            failed.add(stage(command.said))
        return status == 0

    assert any(done(int(100 * 1.6**growth)) for growth in range(15))
    assert bytes_of(place / "state") == straight
    shutil.rmtree(place / "state" / "set")
    used = shutil.disk_usage(place).used // 1024
    assert any(done(used + room) for room in range(0, 1000, 80))
    assert bytes_of(place / "state") == straight
    assert {"images", "features", "export"} <= failed


@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_that_may_only_be_read(made, tmp_path, tmpfs, begun):
    place = tmpfs("disk", 20_000)
    if begun:
        assert begin(tmp_path / "log", *words(made, place / "state", "do=targets")).status() == 0
    remount(place, "ro")
    command = begin(tmp_path / "log", *words(made, place / "state"))
    assert command.status() == INCOMPLETE
    assert one_message(command.said, "Read-only", "where you may write")


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.long), 2])
def test_interrupted_in_every_stage(made, straight, tmp_path, times):
    """Once: what is in work is finished. Twice: it ends at once."""
    moments, folder, stopped = random.Random(times), tmp_path / "state", 0
    for stages in (0, 3, 3, 4, 4, 5, 6, 7):  # that have been done
        command = begin(tmp_path / "log", *words(made, folder, "workers=2"))
        if runs_when(command, partial(has_done, command, stages)):
            time.sleep(moments.uniform(0, 0.1))
            for _ in range(times):
                command.tell(signal.SIGINT)
        status = command.status()
        assert status in (0, 130), command.said
        assert "Traceback" not in command.said
        stopped += status == 130
        if times == 1 and (folder / "images").is_dir():
            with sqlite3.connect(folder / "state.sqlite") as state:
                (known,) = state.execute("SELECT count(*) FROM image").fetchone()
            state.close()
            assert known <= sum(file.is_file() for file in (folder / "images").rglob("*"))  # written before their rows
    assert stopped >= 2  # how many depends on how fast a stage is
    assert begin(tmp_path / "log", *words(made, folder)).status() == 0
    assert bytes_of(folder) == straight


def slow_image(place, *, begun, **options):
    with begun.open("a") as file:
        file.write(".")
    time.sleep(0.2)
    return prepare(place, **options)


def test_a_second_ctrl_c_waits_for_no_more_than_an_image_of_each_process(made, tmp_path, monkeypatch):
    begun = tmp_path / "begun"
    monkeypatch.setattr(images_stage, "prepare", partial(slow_image, begun=begun))
    command = begin(tmp_path / "log", *words(made, tmp_path / "state", "workers=2"))
    assert runs_when(command, begun.exists)
    command.tell(signal.SIGINT)
    time.sleep(0.5)
    assert not command.ended()
    before = begun.stat().st_size
    command.tell(signal.SIGINT)
    assert command.status() == 130
    assert begun.stat().st_size <= before + 4  # of the 16 that each process takes, and those that wait for it


def test_the_program_itself_is_interrupted(made, straight, tmp_path, cache):
    folder = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-m", "lt_extrap.curate", *words(made, folder, "workers=2")],
        env={**os.environ, "LT_EXTRAP_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not list(folder.glob("images/*/*")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "stopped in images: the same command goes on"
    assert begin(tmp_path / "log", *words(made, folder)).status() == 0
    assert bytes_of(folder) == straight


def test_a_second_process_changes_nothing(made, straight, tmp_path):
    folder = tmp_path / "state"
    first = begin(tmp_path / "first", *words(made, folder))
    assert runs_when(first, lambda: list(folder.glob("images/*/*")))
    first.tell(signal.SIGSTOP)
    second = begin(tmp_path / "second", *words(made, folder))
    assert second.status() == INCOMPLETE
    assert one_message(second.said, "another process", "wait for that one")
    looking = begin(tmp_path / "looking", *words(made, folder, "do=status"))
    assert looking.status() == INCOMPLETE
    assert "the same command goes on" in looking.said
    first.tell(signal.SIGCONT)
    assert first.status() == 0
    assert bytes_of(folder) == straight


def deadly_image(place, **options):
    if place.endswith("blank.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(place, **options)


def deadly_reference(place, **options):
    if place.endswith("0001.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return reference(place, **options)


def test_what_a_decoder_died_of_is_tried_again(made, straight, tmp_path, monkeypatch, capsys):
    """As where the system kills a process for want of memory."""
    folder = tmp_path / "state"
    monkeypatch.setattr(side_by_side, "CHUNK", 2)
    with monkeypatch.context() as patch:
        patch.setattr(images_stage, "prepare", deadly_image)
        assert curate(config(made, folder, "workers=2")) == INCOMPLETE
        said = capsys.readouterr().out
        assert "1 images were not decoded" in said
        assert "1 candidates to do: the same command goes on" in said
        assert curate(config(made, folder, "workers=2", "do=images")) == INCOMPLETE
    assert curate(config(made, folder)) == 0
    assert bytes_of(folder) == straight


def test_an_image_of_the_target_that_a_decoder_died_of_is_not_done_without(made, tmp_path, monkeypatch):
    """Its copies would come into the set."""
    with monkeypatch.context() as patch:
        patch.setattr(side_by_side, "CHUNK", 2)
        patch.setattr(features_stage, "_reference", deadly_reference)
        with pytest.raises(RunError, match=r"(?s)not decoded.*0001\.png.*same command"):
            curate(config(made, tmp_path, "workers=2"))
    assert curate(config(made, tmp_path, "do=features")) == 0
    with sqlite3.connect(tmp_path / "state.sqlite") as state:
        places = {place for (place,) in state.execute("SELECT place FROM reference WHERE reason IS NULL")}
    state.close()
    target = load_target(config(made, tmp_path).target)
    assert places == {place for index in (target.train, target.val, target.test) for place in index.paths()}
