"""Tables of millions of rows, read one at a time: CSV, TSV, JSON lines and parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from lt_extrap.errors import ConfigError, DataError

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
_FIRST = 1_000  # rows of JSON lines whose keys are the columns
_BLOCK = 10_000  # rows of parquet in memory


class Table(NamedTuple):
    """A table as opened.

    Attributes:
        columns: their names.
        read: the values of some columns in each row, "" where there is none; None for a row that cannot be read.
    """

    columns: list[str]
    read: Callable[[Sequence[str]], Iterator[list[str] | None]]


def open_table(file: Path, header: Sequence[str] | None = None) -> Table:
    """Open a table by its ending.

    Bytes that are not UTF-8 become U+FFFD. A line of TSV is a row: quotation marks in it mean nothing.

    Args:
        file: the table.
        header: names of the columns of a CSV or TSV file whose first line is a row.

    Raises:
        ConfigError: it is parquet, and the package that reads it is missing.
        DataError: it is not there, of another kind, or not readable, which may show when rows are read.
    """
    openers: dict[str, Callable[[], Table]] = {
        ".csv": lambda: _csv(file, header),
        ".tsv": lambda: _csv(file, header),
        ".jsonl": lambda: _json_lines(file),
        ".parquet": lambda: _parquet(file),
    }

    def refused(found: object) -> DataError:
        return DataError(
            f"a table of captions that can be read ({', '.join(ENDINGS)})", f"{file}: {found}", "correct it or its path"
        )

    if file.suffix.lower() not in openers:
        raise refused("of another kind")
    try:
        columns, read = openers[file.suffix.lower()]()
    except (OSError, ValueError, csv.Error) as error:  # an ArrowInvalid is a ValueError
        raise refused(error) from error
    if not columns or len(set(columns)) < len(columns):
        raise refused(f"columns that are not each named once: {', '.join(columns) or 'none'}")

    def told(chosen: Sequence[str]) -> Iterator[list[str] | None]:
        try:
            yield from read(chosen)
        except (OSError, ValueError) as error:
            raise refused(error) from error

    return Table(columns, told)


def _csv(file: Path, header: Sequence[str] | None) -> Table:
    tabs = file.suffix.lower() == ".tsv"

    def opened() -> IO[str]:
        return file.open(encoding="utf-8-sig", errors="replace", newline="")

    with opened() as lines:
        first = next((line for line in lines if line.strip()), "").rstrip("\r\n")
    widths = {delimiter: len(next(csv.reader([first], delimiter=delimiter), [])) for delimiter in ",;\t"}
    delimiter = "\t" if tabs else max(widths, key=lambda delimiter: widths[delimiter])
    if not tabs and widths[delimiter] > 1 and list(widths.values()).count(widths[delimiter]) > 1:
        raise ValueError(f"commas, semicolons or tabs may separate {first!r}")
    quoting: Literal[0, 3] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL

    def read(chosen: Sequence[str]) -> Iterator[list[str] | None]:
        at = [columns.index(name) for name in chosen]
        with opened() as lines:
            reader = csv.reader(lines, delimiter=delimiter, quoting=quoting)
            named = header is not None
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error:  # a field without end
                    yield None
                    continue
                if not row:
                    continue
                if named:
                    yield [row[i] for i in at] if len(row) == len(columns) else None
                named = True

    if header is not None:
        columns = list(header)
    else:
        columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter, quoting=quoting), [])]
    return Table(columns, read)


def _json_lines(file: Path) -> Table:
    def objects() -> Iterator[dict[str, Any] | None]:
        with file.open("rb") as lines:
            for line in lines:
                try:
                    found = json.loads(line) if line.strip() else {}
                except (ValueError, RecursionError):
                    found = None
                if found != {}:
                    yield found if isinstance(found, dict) else None

    def read(chosen: Sequence[str]) -> Iterator[list[str] | None]:
        return (None if row is None else [_text(row.get(name)) for name in chosen] for row in objects())

    return Table(list(dict.fromkeys(key for row in islice(objects(), _FIRST) for key in row or ())), read)


def _parquet(file: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError("the package that reads parquet", str(error), "pip install 'lt-extrap[parquet]'") from error

    def read(chosen: Sequence[str]) -> Iterator[list[str] | None]:
        with parquet.ParquetFile(file) as opened:
            for block in opened.iter_batches(batch_size=_BLOCK, columns=list(chosen)):
                columns = [block.column(name).to_pylist() for name in chosen]
                yield from ([_text(value) for value in row] for row in zip(*columns, strict=True))

    return Table(list(parquet.read_schema(file).names), read)


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
