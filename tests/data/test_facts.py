import hashlib
import os
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_extrap.data import facts, side_by_side
from lt_extrap.data.facts import DIED, Facts, FactStore, look, survey
from lt_extrap.data.store import Folder
from lt_extrap.errors import DataError

FILES = Folder(Path("/"))  # of whole paths


def noise(width=40, height=30, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8))


@pytest.fixture
def files(tmp_path):
    """Forty images."""
    paths = [str(tmp_path / f"{number:02d}.png") for number in range(40)]
    for number, path in enumerate(paths):
        noise(seed=number).save(path)
    return paths


@pytest.fixture
def store(tmp_path):
    with FactStore(tmp_path / "store" / "facts.sqlite") as store:
        yield store


class Looks(list):
    """The paths that were looked at."""

    def __init__(self, monkeypatch):
        super().__init__()
        monkeypatch.setattr(facts, "look", lambda path, images: self.append(path) or look(path, images))


def silent(done, total):
    pass


def test_facts_of_a_picture(tmp_path):
    path = tmp_path / "a.png"
    noise().save(path)
    found = look(str(path), FILES)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert found.reason is None
    picture = found.picture
    assert picture[:9] == ("PNG", "RGB", 8, 40, 30, 1, False, False, False)
    assert picture.deviation == pytest.approx(np.asarray(noise().convert("L")).std(), abs=1e-3)
    assert len(picture.thumbnail) == 32 * 32


@pytest.mark.parametrize("quality", [30, 95])
def test_a_cut_photograph_is_found_although_it_is_decoded_small(tmp_path, quality):
    path = tmp_path / "a.jpg"
    noise(800, 600).save(path, quality=quality)
    whole = path.read_bytes()
    assert look(str(path), FILES).picture is not None
    for left_out in (3, 50, len(whole) // 3):
        path.write_bytes(whole[:-left_out])
        assert "truncated" in look(str(path), FILES).reason


def test_a_gray_picture_in_colour(tmp_path):
    noise().convert("L").convert("RGB").save(tmp_path / "a.jpg", quality=60)
    assert look(str(tmp_path / "a.jpg"), FILES).picture.gray


@pytest.mark.parametrize("workers", [0, 2])
def test_only_new_and_changed_files_are_looked_at(files, store, workers, monkeypatch):
    told = []
    assert survey(files[:30], FILES, store, workers=workers, report=lambda *numbers: told.append(numbers)) == []
    assert told[-1] == (30, 30)
    looks = Looks(monkeypatch)
    noise(seed=99).save(files[3])
    os.utime(files[4])
    Path(files[5]).unlink()
    os.utime(files[6], ns=(0, 0))  # as an archive has it
    assert survey(files, FILES, store, workers=0, report=silent) == [5]
    assert looks == [files[3], files[4], files[6], *files[30:]]
    assert store.get(files[3]) == look(files[3], FILES)
    with pytest.raises(KeyError):
        store.get("nobody.png")


def test_a_file_that_cannot_be_read_is_looked_at_again(files, store, monkeypatch):
    unreadable = Facts(None, "Permission denied", None)
    monkeypatch.setattr(facts, "look", lambda path, images: unreadable)
    survey(files[:1], FILES, store, workers=0, report=silent)
    assert store.get(files[0]) == unreadable
    looks = Looks(monkeypatch)
    survey(files[:1], FILES, store, workers=0, report=silent)
    assert looks == files[:1]


def test_a_folder_and_a_pipe_are_no_files(tmp_path, store):
    os.mkfifo(tmp_path / "pipe.png")
    assert survey([str(tmp_path), str(tmp_path / "pipe.png")], FILES, store, workers=0, report=silent) == [0, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_survey_keeps_what_was_found(files, store, workers, monkeypatch):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(files, FILES, store, workers=workers, report=interrupt)
    looks = Looks(monkeypatch)
    survey(files, FILES, store, workers=0, report=silent)
    assert len(looks) in (len(files) - 16, len(files) - 8)  # the chunk that was ready first


def deadly(path, images):
    if path.endswith(("07.png", "33.png")):
        os.kill(os.getpid(), signal.SIGKILL)
    return look(path, images)


@pytest.mark.slow
def test_a_worker_that_dies_costs_the_image_that_it_died_of(files, store, monkeypatch):
    monkeypatch.setattr(facts, "look", deadly)
    monkeypatch.setattr(side_by_side, "CHUNK", 2)
    survey(files, FILES, store, workers=2, report=silent)
    reasons = {path: store.get(path).reason for path in files}
    assert {path for path, reason in reasons.items() if reason} == {files[7], files[33]}
    assert reasons[files[7]] == DIED


def test_a_file_that_is_no_store_is_named(tmp_path):
    (tmp_path / "facts.sqlite").write_text("no database, but long enough to be taken for a header of one" * 100)
    with pytest.raises(DataError, match=r"facts\.sqlite"):
        FactStore(tmp_path / "facts.sqlite")


def test_a_store_that_cannot_be_used_any_more_is_named(files, store, tmp_path):
    with sqlite3.connect(tmp_path / "store" / "facts.sqlite") as other:
        other.execute("DROP TABLE images")
    other.close()
    with pytest.raises(DataError, match=r"facts\.sqlite"):
        survey(files, FILES, store, workers=0, report=silent)
    with pytest.raises(DataError, match=r"facts\.sqlite"):
        store.put([(files[0], FILES.stamp(files[0]), look(files[0], FILES))])


def test_a_full_disk_is_named(files, store):
    store._connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(DataError, match="full") as error:
        survey(files, FILES, store, workers=0, report=silent)
    assert "LT_EXTRAP_CACHE" in error.value.remedy


def test_two_surveys_at_once_share_a_store(files, tmp_path):
    with FactStore(tmp_path / "facts.sqlite") as one, FactStore(tmp_path / "facts.sqlite") as other:
        survey(files[:20], FILES, one, workers=0, report=silent)
        survey(files, FILES, other, workers=0, report=silent)
        assert one.get(files[39]) == look(files[39], FILES)
    with sqlite3.connect(tmp_path / "facts.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM images").fetchone() == (40,)
    connection.close()
