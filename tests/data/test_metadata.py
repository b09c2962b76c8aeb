import json
import sys
import unicodedata

import pytest

from lt_extrap.config import FolderTarget
from lt_extrap.data.metadata import find_metadata, open_table, read_table
from lt_extrap.errors import ConfigError, DataError

ROWS = [("photos/snow leopard/img 1.jpg", "snow leopard"), ("photos/b.png", "cat"), ("/elsewhere/c.png", "cat")]


def target(**keys):
    return FolderTarget(root="/data", folder="folder", **keys)


def write(file, columns, rows):
    """A table of any of the forms."""
    if file.suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({c: [row[i] for row in rows] for i, c in enumerate(columns)}), file)
    elif file.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        delimiter = "\t" if file.suffix == ".tsv" else ","
        text = "".join(delimiter.join(map(str, row)) + "\n" for row in [columns, *rows])
        file.write_text(text, encoding="utf-8")
    return file


def read(file, text=None, **keys):
    if text is not None:
        file.write_bytes(text.encode())
    return read_table(target(**keys), file, images=file.parent)


def images(file, text=None, **keys):
    return [tuple(image) for image in read(file, text, **keys).images]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_every_form_says_the_same(tmp_path, form):
    file = write(tmp_path / f"labels.{form}", ["id", "path", "label"], [(i, *row) for i, row in enumerate(ROWS)])
    assert open_table(file).columns == ["id", "path", "label"]
    found = read(file)
    assert [(image.path, image.label) for image in found.images] == ROWS
    assert found.notes == [f"labels.{form}: path from path, label from label", f"labels.{form}: columns not read: id"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_labels_may_be_numbers_and_splits_and_groups_columns(tmp_path, form):
    rows = [("a.png", 10, "train", "left"), ("b.png", 9, "Validation", "left"), ("c.png", 9, "test", "right")]
    file = write(tmp_path / f"all.{form}", ["Image", "Species", "part", "camera"], rows)
    assert images(file, split_column="part", group_column="camera") == [
        ("a.png", "10", "train", "left"),
        ("b.png", "9", "val", "left"),
        ("c.png", "9", "test", "right"),
    ]
    assert images(file)[0] == ("a.png", "10", None, None)


def test_numbers_that_a_gap_made_fractions_are_numbers(tmp_path):
    file = write(tmp_path / "a.parquet", ["path", "label"], [("a.png", 3.0), ("b.png", 2.5)])
    assert [label for _, label, *_ in images(file)] == ["3", "2.5"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath,label\r\na b.png,cat\r\n\r\nc.png,dog\r\n",
        "path;label\na b.png;cat\nc.png;dog",
        "path\tlabel\n a b.png\tcat \nc.png\tdog\n",
        '"path","label"\n"a b.png","cat"\n"c.png","dog"\n',
        "label, path\ncat, a b.png\ndog, ./c.png\n",
    ],
)
def test_csv_as_programs_write_it(tmp_path, text):
    assert [image[:2] for image in images(tmp_path / "a.csv", text)] == [("a b.png", "cat"), ("c.png", "dog")]


def test_a_quoted_field_holds_delimiters(tmp_path):
    assert images(tmp_path / "a.csv", 'path,label\n"a,b.png","cat, large"\n')[0][:2] == ("a,b.png", "cat, large")


def test_backslashes_repeats_and_spellings_are_told_once(tmp_path):
    text = f"path,label\ntrain\\a.jpg,cat\nx/../train/a.jpg,cat\nb\\c.jpg,{unicodedata.normalize('NFD', 'café')}\n"
    found = read(tmp_path / "a.csv", text)
    assert [(image.path, image.label) for image in found.images] == [("train/a.jpg", "cat"), ("b/c.jpg", "café")]
    assert found.notes[1:] == [
        "a.csv: rows that repeat an image, and count once: 1",
        "a.csv: paths with backslashes, read as slashes: 2",
    ]


def test_absolute_paths_below_the_images_are_relative(tmp_path):
    text = f"path,label\n{tmp_path}/a.png,cat\na.png,cat\n/b.png,cat\n../c.png,cat\n"
    assert [path for path, *_ in images(tmp_path / "a.csv", text)] == ["a.png", "/b.png", "../c.png"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\na.png,cat\na.png,dog\n", "a.png: cat in row 2, dog in row 3"),
        ("path,label\na.png,\n", "none in row 2"),
        ("path,label\n ,cat\n", "none in row 2"),
        ("path,label\na.png,cat\nb.png\n", "row 3 has 1 fields, the header 2"),
        ("path,label\n", "none"),
        ("", "the columns "),
        ("a.png,cat\n", "the columns a.png, cat"),
        ("path,label,class\na.png,cat,1\n", "the columns path, label, class"),
        ("path,name\na.png,cat\n", "the columns path, name"),
        ("path,label,label\na.png,cat,cat\n", "two columns of one name"),
        ('path,label\n"a.png,cat\n', "unexpected end of data"),
        ("path;x,label\na.png,cat\n", "may separate"),
        ("path,label\n'a\x00.png',cat\n", "a\\x00.png"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, text, said):
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.csv", text)
    assert said in error.value.found
    assert "a.csv" in str(error.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"split_column": "part"}, "'dev' in row 3"),
        ({"split_column": "no"}, "the columns path, label, part"),
        ({"label_column": "Label"}, "the columns path, label, part"),
    ],
)
def test_columns_that_are_not_as_named(tmp_path, keys, said):
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.csv", "path,label,part\na.png,cat,train\nb.png,cat,dev\n", **keys)
    assert said in error.value.found


@pytest.mark.parametrize("line", ["[1, 2]", '{"path"', '{"path": "\\ud800", "label": "x"}', "3"])
def test_lines_that_are_no_objects_are_named(tmp_path, line):
    with pytest.raises(DataError, match="row 2 is no JSON object"):
        read(tmp_path / "a.jsonl", '{"path": "a.png", "label": "x"}\n' + line)


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "a.csv").write_bytes("path,label\na.png,café\n".encode("latin-1"))
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    for name in ("a.csv", "a.parquet", "a.xlsx", "absent.csv"):
        with pytest.raises(DataError, match="a table that can be read"):
            open_table(tmp_path / name)


def test_parquet_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"pip install 'lt-extrap\[parquet\]'"):
        open_table(tmp_path / "a.parquet")


def test_paths_that_begin_with_a_split_say_it(tmp_path):
    text = "path,label\ntrain/a.png,cat\nValid/b.png,cat\ntest/c.png,cat\n"
    assert [split for *_, split, _ in images(tmp_path / "a.csv", text)] == ["train", "val", "test"]
    assert read(tmp_path / "a.csv").notes[0].endswith("label from label, split from the first folder of the path")
    assert [split for *_, split, _ in images(tmp_path / "a.csv", text + "d.png,cat\n")] == [None] * 4
    other = "path,label,part\ntrain/a.png,cat,test\ntest/b.png,cat,train\n"
    assert [split for *_, split, _ in images(tmp_path / "a.csv", other, split_column="part")] == ["test", "train"]


def test_the_metadata_of_an_imagefolder_are_found_at_the_root_or_in_splits(tmp_path):
    for folder in ("train", "test", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "metadata.csv").write_text("file_name,label\na.png,cat\n")
    found = find_metadata(target(), tmp_path)
    assert found == {name: tmp_path / name / "metadata.csv" for name in ("train", "test")}
    assert images(found["train"]) == [("a.png", "cat", None, None)]
    part = read_table(target(), found["train"], images=tmp_path, start="train").images
    assert [tuple(image) for image in part] == [("train/a.png", "cat", "train", None)]
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "label": "cat"}\n')
    with pytest.raises(DataError, match="one table"):
        find_metadata(target(), tmp_path)


def test_metadata_without_file_names_or_labels_are_something_else(tmp_path):
    (tmp_path / "metadata.csv").write_text("author,licence\nx,y\n")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a cat"}\n')
    assert find_metadata(target(), tmp_path) == {}
    assert find_metadata(target(label_column="text"), tmp_path) == {"": tmp_path / "metadata.jsonl"}


def test_a_caption_may_hold_what_only_python_takes_for_a_line_end(tmp_path):
    file = write(tmp_path / "a.jsonl", ["path", "label", "caption"], [(*row, "two\u2028lines\x85") for row in ROWS])
    assert [(path, label) for path, label, *_ in images(file)] == ROWS
