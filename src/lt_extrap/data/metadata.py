"""Tables with a row an image: CSV, TSV, JSON lines and parquet, among them those of a Hugging Face imagefolder."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lt_extrap.config import FolderTarget
from lt_extrap.data.labelled import SPLITS, Labelled, LabelledImage, check_path, label_of, path_below
from lt_extrap.errors import ConfigError, DataError, some

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
_PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path")
_LABELS = ("label", "class", "class_name", "category", "category_name", "species")


class Table(NamedTuple):
    """A table as opened.

    Attributes:
        columns: their names.
        read: the values of some columns in each row, behind the number by which a reader of the file finds it.
    """

    columns: list[str]
    read: Callable[[Sequence[str]], Iterable[tuple[int, Sequence[Any]]]]


def find_metadata(target: FolderTarget, root: Path) -> dict[str, Path]:
    """The metadata files of a Hugging Face imagefolder, by their folder: that of a split, or "" for the root.

    A `metadata.*` without `file_name` or labels is something else.

    Raises:
        DataError: two of them could be meant, or one cannot be read.
        OSError: the folder cannot be read.
    """
    found: dict[str, Path] = {}
    folders = [path for path in sorted(root.iterdir()) if path.name.casefold() in SPLITS and path.is_dir()]
    for folder in (root, *folders):
        for ending in ENDINGS:
            file = folder / f"metadata{ending}"
            columns = set(open_table(file).columns) if file.is_file() else set()
            labels = {name for name in columns if name == target.label_column or name.lower() in _LABELS}
            if "file_name" in columns and labels:
                key = "" if folder == root else folder.name
                if found and (key in found or "" in found):
                    other = next(iter(found.values()))
                    raise DataError("one table", f"{other} and {file}", "choose: target.table=<one of them>")
                found[key] = file
    return found


def read_table(target: FolderTarget, file: Path, *, images: Path, start: str = "") -> Labelled:
    """The images of a table.

    Blanks around a value mean nothing, and a backslash in a path is a slash. Where the path of every row starts with
    a folder named after a split, that is the split of the image, unless there is a column of splits.

    Args:
        target: names the columns.
        file: the table.
        images: the folder of the images.
        start: the folder below it where the paths start.

    Raises:
        ConfigError: the package that reads parquet is missing.
        DataError: the file or a row, named by its number, is not what it should be; a column is not there or could
            be either of two; or an image has two labels.
    """
    columns, read = open_table(file)
    chosen = {
        "path": _choose("path_column", target.path_column, columns, _PATHS, file),
        "label": _choose("label_column", target.label_column, columns, _LABELS, file),
        **{
            key: _choose(f"{key}_column", name, columns, (), file)
            for key in ("split", "group")
            if (name := getattr(target, f"{key}_column")) is not None
        },
    }
    rows: dict[str, tuple[int, LabelledImage]] = {}
    repeated, turned = 0, 0
    for number, values in read(list(chosen.values())):
        row = dict(zip(chosen, map(_text, values), strict=True))
        image = _image(row, f"row {number} of {file}", images=images, start=start)
        path, turned = image.path, turned + ("\\" in row["path"])
        before, other = rows.setdefault(path, (number, image))
        if image != other:
            raise DataError(
                f"one label, split and group an image in {file}",
                f"{path}: {_said(other)} in row {before}, {_said(image)} in row {number}",
                "remove one of the rows",
            )
        repeated += before != number
    if not rows:
        raise DataError(f"rows in {file}", "none", "correct target.table")
    found, read_from = [image for _, image in rows.values()], dict(chosen)
    if target.split_column is None and all(path.partition("/")[0].casefold() in SPLITS for path in rows):
        found = [image._replace(split=SPLITS[image.path.partition("/")[0].casefold()]) for image in found]
        read_from["split"] = "the first folder of the path"
    unread = [column for column in columns if column not in chosen.values()]
    return Labelled(
        found,
        [
            f"{file.name}: " + ", ".join(f"{key} from {place}" for key, place in read_from.items()),
            *([f"{file.name}: columns not read: {some(unread)}"] if unread else []),
            *([f"{file.name}: rows that repeat an image, and count once: {repeated:,}"] if repeated else []),
            *([f"{file.name}: paths with backslashes, read as slashes: {turned:,}"] if turned else []),
        ],
    )


def _image(row: Mapping[str, str], where: str, *, images: Path, start: str) -> LabelledImage:
    for key, value in row.items():
        if not value:
            raise DataError(f"a {key} of each image", f"none in {where}", "complete the row, or remove it")
    path = path_below(images, row["path"], start)
    check_path(path, where)
    split = SPLITS.get(row["split"].casefold()) if "split" in row else None
    if "split" in row and split is None:
        raise DataError("train, val or test in the column of splits", f"{row['split']!r} in {where}", "correct it")
    return LabelledImage(path, label_of(row["label"]), split, row.get("group"))


def _said(image: LabelledImage) -> str:
    return ", ".join(value for value in image[1:] if value is not None)


def _choose(key: str, wanted: str | None, columns: Sequence[str], usual: Sequence[str], file: Path) -> str:
    found = [name for name in columns if (name.lower() in usual if wanted is None else name == wanted)]
    if len(found) != 1:
        raise DataError(
            f"the column {wanted!r} in {file}" if wanted else f"one column of {file} named {', '.join(usual)}",
            f"the columns {', '.join(columns)}",
            f"give target.{key}=<one of them>",
        )
    return found[0]


def open_table(file: Path) -> Table:
    """Open a table by its ending.

    Raises:
        ConfigError: it is parquet, and the package that reads it is missing.
        DataError: it is not there, of another kind, or not readable.
    """
    readers = {".csv": _csv, ".tsv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
    wanted = f"a table that can be read ({', '.join(ENDINGS)})"
    if file.suffix.lower() not in readers:
        raise DataError(wanted, str(file), "correct target.table")
    try:
        return readers[file.suffix.lower()](file)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(wanted, f"{file}: {error}", "correct the file, in UTF-8, or target.table") from error


def _csv(file: Path) -> Table:
    """A row's number is that of its last line; the header decides between commas, semicolons and tabs."""
    text = file.read_text(encoding="utf-8-sig")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiters = "\t" if file.suffix.lower() == ".tsv" else ",;\t"
    widths = {delimiter: len(next(csv.reader([first], delimiter=delimiter), [])) for delimiter in delimiters}
    delimiter = max(widths, key=lambda delimiter: widths[delimiter])
    if list(widths.values()).count(widths[delimiter]) > 1 and widths[delimiter] > 1:
        raise ValueError(f"commas, semicolons or tabs may separate {first!r}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = [(reader.line_num, row) for row in reader if row]
    columns = [name.strip() for name in rows[0][1]] if rows else []
    for number, row in rows:
        if len(row) != len(columns):
            raise ValueError(f"row {number} has {len(row)} fields, the header {len(columns)}")
    return _table(columns, rows[1:])


def _json_lines(file: Path) -> Table:
    objects: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                objects.append((number, dict(json.loads(line))))
                json.dumps(objects[-1], ensure_ascii=False).encode()  # an escape may be half a character
            except (ValueError, TypeError) as error:
                raise ValueError(f"row {number} is no JSON object: {error}") from error
    columns = list(dict.fromkeys(key for _, row in objects for key in row))
    return _table(columns, [(number, [row.get(key) for key in columns]) for number, row in objects])


def _parquet(file: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError("the package that reads parquet", str(error), "pip install 'lt-extrap[parquet]'") from error

    def read(chosen: Sequence[str]) -> Iterable[tuple[int, Sequence[Any]]]:
        content = parquet.read_table(file, columns=list(chosen))
        return enumerate(zip(*(content[name].to_pylist() for name in chosen), strict=True), 1)

    return Table(list(parquet.read_schema(file).names), read)  # an ArrowInvalid is a ValueError


def _table(columns: list[str], rows: Sequence[tuple[int, Sequence[Any]]]) -> Table:
    if len(set(columns)) < len(columns):
        raise ValueError(f"two columns of one name: {', '.join(columns)}")

    def read(chosen: Sequence[str]) -> Iterable[tuple[int, Sequence[Any]]]:
        at = [columns.index(name) for name in chosen]
        return ((number, [row[i] for i in at]) for number, row in rows)

    return Table(columns, read)


def _text(value: object) -> str:
    """A value as a CSV file has it: 3.0, which a table with gaps makes of 3, is 3."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None or value != value else str(value).strip()
