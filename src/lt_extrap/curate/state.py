"""The state of a curation: one SQLite file, in which every row says what became of it.

    setting     what the tables were made for: `target` and `format`
    target      the target classes
    sought      classes whose images are looked for; `used` are those of the last choice of neighbors
    pair        neighbors of a target, by rank
    refused     neighbors that were proposed and dropped, with the reason
    llm_call    what a language model was asked and has answered, with the tokens that it took
    search      by which names, and for how many candidates of a class, a source was asked
    left_out    how many images of a class a source found and did not offer, by reason
    candidate   images that a source offers for a class; `form` is what its caption matched, `sha256` what it became,
                `original` the hash of the file as the source has it, `tries` in how many runs it was not decoded
    offered     (a view) those of the source, the classes and the number of candidates that are asked for now
    image       what is stored in images/, by the hash of the file
    reference   images of the target set: training, validation, test
    feature     rows of the file of features of a model
    compared    with what copies of an image were looked for
    copy        images that are near-copies of one of the target set, or (split `stored`) of one another
    selection   whether an image is kept for a class, and why not
    verdict     what a person said of an image of a class, or (`sha256` is empty) of a whole class
    forgotten   what never comes back

A stage writes in small transactions, so that a kill undoes no more than one of them.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lt_extrap.errors import RunError

STATE = "state.sqlite"
FORMAT = 4  # of the state; another one is refused
FORGOTTEN = "forgotten"  # the reason of a candidate that was removed for good (forget.py)
NOT_NEEDED = "not_needed"  # that of one that was not downloaded, since its class has enough without it

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target (
    label INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, spellings TEXT NOT NULL, wnid TEXT,
    gloss TEXT, images INTEGER NOT NULL, shot TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sought (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, spellings TEXT NOT NULL, wnid TEXT, gloss TEXT, query TEXT NOT NULL,
    proposer TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pair (
    target INTEGER NOT NULL, key TEXT NOT NULL, rank INTEGER, similarity REAL, PRIMARY KEY (target, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
    target INTEGER NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, clash INTEGER,
    PRIMARY KEY (target, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS llm_call (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, target TEXT NOT NULL, round INTEGER NOT NULL, api TEXT NOT NULL,
    model TEXT NOT NULL, format TEXT NOT NULL, question TEXT NOT NULL, reply TEXT NOT NULL, stop TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS search (
    key TEXT NOT NULL, source TEXT NOT NULL, wanted TEXT NOT NULL, asked INTEGER NOT NULL,
    PRIMARY KEY (key, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS left_out (
    key TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (key, source, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS candidate (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, source TEXT NOT NULL, place TEXT NOT NULL, position INTEGER NOT NULL,
    caption TEXT, url TEXT, page TEXT, creator TEXT, licence TEXT, licence_url TEXT,
    form TEXT, ruled TEXT, reason TEXT, sha256 TEXT, original TEXT, tries INTEGER NOT NULL DEFAULT 0,
    UNIQUE (key, source, place));
CREATE INDEX IF NOT EXISTS candidate_sha256 ON candidate (sha256);
CREATE INDEX IF NOT EXISTS candidate_place ON candidate (place, source);
CREATE VIEW IF NOT EXISTS offered AS
    SELECT c.* FROM candidate c JOIN sought s USING (key) WHERE s.used
    AND c.source = (SELECT value FROM setting WHERE name = 'source')
    AND c.position < (SELECT CAST(value AS INTEGER) FROM setting WHERE name = 'candidates_per_class');
CREATE TABLE IF NOT EXISTS image (
    sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, bytes INTEGER NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, content BLOB NOT NULL, thumbnail BLOB NOT NULL, deviation REAL NOT NULL);
CREATE TABLE IF NOT EXISTS reference (
    place TEXT NOT NULL, split TEXT NOT NULL, label INTEGER NOT NULL, content BLOB, thumbnail BLOB, deviation REAL,
    reason TEXT, PRIMARY KEY (split, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feature (
    model TEXT NOT NULL, owner TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (model, owner)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS compared (sha256 TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS copy (
    sha256 TEXT NOT NULL, split TEXT NOT NULL, of TEXT NOT NULL, how TEXT NOT NULL,
    PRIMARY KEY (sha256, split)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS selection (
    key TEXT NOT NULL, sha256 TEXT NOT NULL, reason TEXT, because TEXT, cosines TEXT NOT NULL,
    PRIMARY KEY (key, sha256)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdict (
    key TEXT NOT NULL, sha256 TEXT NOT NULL, verdict TEXT NOT NULL, PRIMARY KEY (key, sha256)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (
    kind TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, value)) WITHOUT ROWID;
"""


class State:
    """The tables of a curation's folder.

    Args:
        folder: made if it is not there.

    Raises:
        RunError: the file cannot be opened or written, or is of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / STATE
        with self._told():
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.file, timeout=60, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        found = self.setting("format")
        if found is None:
            self.set("format", str(FORMAT))
        elif found != str(FORMAT):
            raise RunError(
                f"a curation of this version (format {FORMAT}): {folder}",
                f"format {found}",
                "use the version of lt_extrap that made it, or give another folder=",
            )

    def __enter__(self) -> "State":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in this block, or nothing of it."""
        with self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query."""
        with self._told():
            cursor = self._connection.execute(query, values)
        while True:
            with self._told():
                block = cursor.fetchmany(1000)
            if not block:
                return
            yield from block

    def one(self, query: str, *values: Any) -> Any:
        """The first column of the first row of a query; None where there is none."""
        with self._told():
            row = self._connection.execute(query, values).fetchone()
        return None if row is None else row[0]

    def write(self, statement: str, rows: Iterable[Sequence[Any]] = ((),)) -> None:
        """Execute a statement for each row, within a transaction."""
        with self._told():
            self._connection.executemany(statement, rows)

    def setting(self, name: str) -> str | None:
        """A setting that was kept."""
        value: str | None = self.one("SELECT value FROM setting WHERE name = ?", name)
        return value

    def set(self, name: str, value: str) -> None:
        """Keep a setting."""
        self.write("REPLACE INTO setting VALUES (?, ?)", [(name, value)])

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(
                f"a state of the curation that can be read and written: {self.file}",
                f"{type(error).__name__}: {error}",
                "free disk, or give a folder= on a local disk where you may write; the same command goes on from there",
            ) from error
