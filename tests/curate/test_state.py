"""The tables of a curation: whole transactions, one version, words for what SQLite says."""

import sqlite3

import pytest

from lt_extrap.curate.state import STATE, State
from lt_extrap.errors import RunError


@pytest.fixture
def state(tmp_path):
    with State(tmp_path) as state:
        yield state


def test_a_transaction_is_written_whole_or_not_at_all(state):
    rows = [("one", "1"), ("two", None)]
    with pytest.raises(RunError, match="NOT NULL"), state.transaction():
        state.write("INSERT INTO setting VALUES (?, ?)", rows)
    assert state.setting("one") is None
    with state.transaction():
        state.set("one", "1")
    assert state.setting("one") == "1"


def test_what_was_written_is_there_at_the_next_start(tmp_path):
    with State(tmp_path) as state, state.transaction():
        state.write("INSERT INTO search VALUES (?, ?, ?, ?)", [("b", "s", "[]", 2), ("a", "s", "[]", 1)])
    with State(tmp_path) as state:
        assert list(state.rows("SELECT key, asked FROM search ORDER BY key")) == [("a", 1), ("b", 2)]
        assert state.one("SELECT count(*) FROM search WHERE source = ?", "s") == 2


def test_another_version_is_refused(tmp_path):
    with State(tmp_path) as state, state.transaction():
        state.set("format", "0")
    with pytest.raises(RunError, match="format 0"):
        State(tmp_path)


def test_a_file_that_is_no_state_is_named(tmp_path):
    (tmp_path / STATE).write_bytes(b"no database, but as long as the header of one would be. " * 10)
    with pytest.raises(RunError, match=STATE):
        State(tmp_path)


def test_a_full_disk_is_told_and_undoes_one_transaction(state):
    with state.transaction():
        state.set("kept", "1")
    state._connection.execute("PRAGMA max_page_count=1")
    rows = [(f"key {i}", "s", i) for i in range(10_000)]
    with pytest.raises(RunError, match="full") as error, state.transaction():
        state.write("INSERT INTO search VALUES (?, ?, ?)", rows)
    assert "goes on" in error.value.remedy
    assert state.setting("kept") == "1"
    assert state.one("SELECT count(*) FROM search") == 0


def test_a_state_that_lost_a_table_is_told(state, tmp_path):
    other = sqlite3.connect(tmp_path / STATE)
    with other:
        other.execute("DROP TABLE search")
    other.close()
    with pytest.raises(RunError, match="no such table"):
        state.one("SELECT 1 FROM search")
