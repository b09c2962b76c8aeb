"""Tables of captions: image-text data sets, built once into a full-text index.

The index is a SQLite file in the cache, named after all that it is built from:

    image    a row an image, in the order of the tables
    words    FTS5 of the normal words of what is said of it; rows have the same numbers
    note     what its owner should know
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from lt_extrap.config.curate_source import CAPTION_FIELDS, CaptionSource
from lt_extrap.curate.caption_rule import plain, words_of
from lt_extrap.curate.licences import permitted
from lt_extrap.curate.names import forms
from lt_extrap.curate.records import Candidate, Refused, Sought
from lt_extrap.curate.sources.below import read_below
from lt_extrap.curate.sources.said import LONGEST, WEB, address, line
from lt_extrap.curate.sources.tables import ENDINGS, Table, open_table
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.files import write_whole_folder
from lt_extrap.paths import cache_dir

_FORMAT = 1  # of the index: raise it when the words or the columns change
_FILE = "captions.sqlite"
_BLOCK = 10_000  # rows written at once
_USUAL = {  # names of columns, in lower case
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image_path"),
    "url": ("url", "image_url"),
    "caption": ("caption", "text", "alt", "alt_text"),
    "title": ("title",),
    "page": ("page", "page_url", "foreign_landing_url"),
    "creator": ("creator", "author", "artist"),
    "licence": ("licence", "license"),
    "licence_url": ("licence_url", "license_url"),
    "nsfw": ("nsfw",),
    "punsafe": ("punsafe",),
}
_UNSAFE = ("nsfw", "unsafe", "true", "1")
_MOST_UNSAFE = 0.5  # of `punsafe`, a probability
_SCHEMA = """
CREATE TABLE image(
    id INTEGER PRIMARY KEY, place TEXT NOT NULL, caption TEXT NOT NULL, url TEXT, page TEXT, creator TEXT, licence TEXT,
    licence_url TEXT
);
CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, tokenize='ascii');
CREATE TABLE note(text TEXT NOT NULL);
"""
_SEARCH = """
SELECT place, caption, url, page, creator, licence, licence_url FROM words JOIN image ON image.id = words.rowid
WHERE words MATCH ? ORDER BY words.rowid
"""


class _Image(NamedTuple):
    """A row of `image`, but for its number."""

    place: str
    caption: str
    url: str | None
    page: str | None
    creator: str | None
    licence: str | None
    licence_url: str | None


class Captions:
    """Images by what is said of them.

    Attributes:
        name: of the source.
        root: where the paths of images start, which none leaves; None where all rows have URLs.
        notes: what its owner should know, a line each.

    Raises:
        ConfigError: a root without paths, no root where one is needed, or a package that is missing.
        DataError: a table is not what it should be, or the index cannot be written.
    """

    name = "captions"

    def __init__(self, config: CaptionSource) -> None:
        tables = _tables(config)
        self._licences = config.licences
        self.root = _root(config, tables)
        self._index = _built(tables, config.header)
        with closing(self._opened()) as database:
            self.notes = tuple(text for (text,) in database.execute("SELECT text FROM note ORDER BY rowid"))

    def offers(self, sought: Sought) -> bool:
        """Whether there may be images of a class."""
        return any(isinstance(found, Candidate) for found in self.search(sought))

    def classes(self) -> Iterable[Sought]:
        """None: captions are not divided into classes."""
        return ()

    def search(self, sought: Sought) -> Iterator[Candidate | Refused]:
        """Images whose captions may have a spelling of a class, in the order of the rows, each place once.

        The caption rule decides: what is found here may have the words of a name with other signs between them.
        """
        if not (query := _query(sought.spellings)):
            return
        seen = set()
        with closing(self._opened()) as database:
            for row in database.execute(_SEARCH, (query,)):
                candidate = Candidate(**_Image(*row)._asdict())
                if candidate.place not in seen:
                    seen.add(candidate.place)
                    yield permitted(candidate, self._licences)

    def read(self, place: str) -> bytes:
        """The bytes of an image that has a path.

        Raises:
            UnreadableImage: it cannot be read, is outside of the root, or has no path but a URL.
        """
        if WEB.match(place):
            raise UnreadableImage(place, "needs the network")
        if self.root is None:
            raise UnreadableImage(place, "no place of these tables")
        return read_below(self.root, place)

    def _opened(self) -> sqlite3.Connection:
        """A connection of its own for each search, so that threads and forked processes share none."""
        return sqlite3.connect(f"{self._index.as_uri()}?mode=ro&immutable=1", uri=True)


def _query(spellings: Iterable[str]) -> str:
    """A query for any form of any spelling as a phrase; empty where no spelling has a word."""
    phrases = sorted({_indexed(form) for name in spellings for form in forms(name)})
    quoted = ['"' + phrase.replace('"', '""') + '"' for phrase in phrases if _has_word(phrase)]
    return " OR ".join(quoted)


def _indexed(text: str) -> str:
    """A normal text as it is indexed: FTS5's ascii tokenizer parts words where `words_of` does."""
    return text.replace("\0", " ") if text.isascii() else " ".join(words_of(text)).replace("\0", " ")


def _has_word(text: str) -> bool:
    return any(letter.isalnum() or not letter.isascii() for letter in text)


def _tables(config: CaptionSource) -> dict[Path, tuple[Table, dict[str, str]]]:
    """Each table by its path, and the column of each field that it has."""
    files: dict[Path, None] = {}
    for place in map(Path, config.files):
        if place.is_dir():
            found = [file for file in place.iterdir() if file.suffix.lower() in ENDINGS and file.is_file()]
            if not found:
                raise DataError(f"tables in {place} ({', '.join(ENDINGS)})", "none", "correct source.files")
            files |= dict.fromkeys(sorted(found, key=os.fsencode))
        else:
            files[place] = None
    opened = {file.resolve(): open_table(file, config.header) for file in files}
    return {file: (table, _fields(config.columns, table.columns, file)) for file, table in opened.items()}


def _fields(named: Mapping[str, str], columns: Sequence[str], file: Path) -> dict[str, str]:
    chosen = {}
    for field in CAPTION_FIELDS:
        wanted = named.get(field)
        found = [name for name in columns if (name.lower() in _USUAL[field] if wanted is None else name == wanted)]
        if len(found) > 1 or (wanted is not None and not found):
            raise DataError(
                f"one column of {file} for {field}",
                f"{', '.join(found) or wanted} of {', '.join(columns)}",
                f"give source.columns.{field}=<one of them>",
            )
        if found:
            chosen[field] = found[0]
    if not chosen.keys() & {"caption", "title"} or not chosen.keys() & {"url", "path"}:
        raise DataError(
            f"a column of captions in {file}, and one of URLs or paths",
            f"the columns {', '.join(columns)}",
            "name them: source.columns={caption: ..., url: ...}, or source.header=[...] where the first line is a row",
        )
    return chosen


def _root(config: CaptionSource, tables: Mapping[Path, tuple[Table, dict[str, str]]]) -> Path | None:
    with_paths = {file.parent for file, (_, fields) in tables.items() if "path" in fields}
    if not with_paths:
        if config.root is not None:
            raise ConfigError("no source.root for tables without paths", config.root, "leave source.root alone")
        return None
    if config.root is None and len(with_paths) > 1:
        raise ConfigError(
            "source.root, for tables in several folders", ", ".join(map(str, sorted(with_paths))), "give source.root"
        )
    root = with_paths.pop() if config.root is None else Path(config.root).expanduser()
    if not root.is_dir():
        raise DataError("the folder where the paths of images start", f"no folder {root}", "correct source.root")
    return root.resolve()


def _built(tables: Mapping[Path, tuple[Table, dict[str, str]]], header: Sequence[str] | None) -> Path:
    """The index of some tables: that of the cache, or a new one, whole or not at all. A killed one is begun again."""
    identity = json.dumps([_FORMAT, header, [[*_stamp(file), fields] for file, (_, fields) in tables.items()]])
    folder = cache_dir() / "captions" / hashlib.sha256(identity.encode()).hexdigest()[:16]

    def write(new: Path) -> None:
        stamps = [_stamp(file) for file in tables]
        _write(new / _FILE, tables.values())
        if stamps != [_stamp(file) for file in tables]:
            raise DataError("tables of captions that stay as they are", "one was written to", "start again")

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            with FileLock(folder.with_name(f"{folder.name}.lock")):  # whoever comes second waits, and takes it
                for left in folder.parent.glob(f"{folder.name}.*"):
                    if left.is_dir():
                        shutil.rmtree(left)
                write_whole_folder(folder, write)
    except (OSError, sqlite3.Error) as error:
        raise DataError(
            f"room for an index of captions in {folder.parent}, and a SQLite with FTS5",
            str(error),
            "free disk, or set LT_EXTRAP_CACHE",
        ) from error
    return folder / _FILE


def _stamp(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return str(file), status.st_size, status.st_mtime_ns


def _write(file: Path, tables: Iterable[tuple[Table, dict[str, str]]]) -> None:
    left_out: Counter[str] = Counter()
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")  # a file that is not whole is removed
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -65536")
        database.executescript(_SCHEMA)
        database.execute("INSERT INTO words(words, rank) VALUES ('hashsize', 67108864)")
        database.execute("BEGIN")
        images, count = (image for table, fields in tables for image in _images(table, fields, left_out)), 0
        while block := list(islice(images, _BLOCK)):
            numbers = range(count + 1, count + len(block) + 1)
            rows = ((number, *image) for number, image in zip(numbers, block, strict=True))
            database.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            words = ((number, _indexed(plain(image.caption))) for number, image in zip(numbers, block, strict=True))
            database.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", words)
            count += len(block)
        notes = [f"captions: {count:,}", *(f"rows left out, {why}: {rows:,}" for why, rows in sorted(left_out.items()))]
        database.executemany("INSERT INTO note VALUES (?)", ((note,) for note in notes))
        database.execute("COMMIT")
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _images(table: Table, fields: Mapping[str, str], left_out: Counter[str]) -> Iterator[_Image]:
    """The rows that can be candidates; the others are counted by reason."""
    for values in table.read(list(fields.values())):
        if values is None:
            left_out["not readable"] += 1
            continue
        row = dict(zip(fields, map(line, values), strict=True))
        caption = " | ".join(filter(None, (row.get("title"), row.get("caption"))))[:LONGEST]
        place = row.get("path") or row.get("url")
        if not caption:
            left_out["without a caption"] += 1
        elif not place:
            left_out["without a path or URL"] += 1
        elif not row.get("path") and not WEB.match(place):
            left_out["with a URL that is not http or https"] += 1
        elif row.get("nsfw", "").lower() in _UNSAFE or _number(row.get("punsafe")) > _MOST_UNSAFE:
            left_out["marked as unsafe"] += 1
        else:
            licence = row.get("licence")
            yield _Image(
                place=place,
                caption=caption,
                url=address(row.get("url")),
                page=address(row.get("page")),
                creator=row.get("creator") or None,
                licence=None if licence in ("", "?") else licence,
                licence_url=address(row.get("licence_url")),
            )


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
