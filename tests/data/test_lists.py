from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lt_extrap.data import lists
from lt_extrap.data.lists import SampleIndex, read_list
from lt_extrap.errors import DataError

ROWS = [("train/a 1.jpg", 3), ("/data/träin/b.jpg", 0), ("c.jpg", 2147483647), ("d  e.jpg", 10)]
LINES = [f"{path} {label}" for path, label in ROWS]


def rows(index: SampleIndex) -> list[tuple[str, int]]:
    return [(index.path(i), int(index.labels[i])) for i in range(len(index))]


def write(folder: Path, content: str | bytes) -> Path:
    file = folder / "list.txt"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def index_of(pairs: list[tuple[str, int]], folder: Path) -> SampleIndex:
    return read_list(write(folder, "".join(f"{path} {label}\n" for path, label in pairs)))


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(LINES) + "\n",
        "\n".join(LINES),
        "\r\n".join(LINES) + "\r\n",
        "\r".join(LINES) + "\r",
        "\ufeff" + "\r\n".join(LINES),
        "\n\n" + "\n \t\n".join(LINES) + "\n\n\n",
        "".join(f"{line}  \t \n" for line in LINES),
        "".join(f" \t{path}\t \t{label}\n" for path, label in ROWS),
    ],
    ids=["unix", "no last end", "windows", "old mac", "mark", "blank lines", "trailing", "tabs and leading"],
)
def test_every_spelling_of_a_list_is_the_same_index(tmp_path, content):
    assert rows(read_list(write(tmp_path, content))) == ROWS


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_index_equals_a_line_by_line_reading(tmp_path, monkeypatch, block, data):
    monkeypatch.setattr(lists, "_BLOCK", block)
    word = st.text(st.characters(min_codepoint=33, exclude_characters="\\", exclude_categories=["Cs"]), min_size=1)
    blank = st.text(" \t", min_size=1, max_size=3)
    pad = st.text(" \t", max_size=2)
    line = st.tuples(pad, word, st.lists(st.tuples(blank, word), max_size=2), blank, st.integers(0, 2**31 - 1), pad)
    expected, content = [], ""
    for before, head, tail, separator, label, after in data.draw(st.lists(line, min_size=1, max_size=8)):
        path = head + "".join(gap + part for gap, part in tail)
        expected.append((path, label))
        content += f"{before}{path}{separator}{label}{after}" + data.draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    assert rows(read_list(write(tmp_path, content))) == expected


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a.jpg", "a path, a space and a label"),
        ("7", "a path, a space and a label"),
        ("a.jpg,7", "a path, a space and a label"),
        ("a.jpg seven", "an integer"),
        ("a.jpg -1", "an integer"),
        ("a.jpg +1", "an integer"),
        ("a.jpg 1.0", "an integer"),
        ("a.jpg 2147483648", "an integer"),
        ("a.jpg 9999999999", "an integer"),
        ("a.jpg 10000000003", "an integer"),
        ("a.jpg 18446744073709551617", "an integer"),
        ("a.jpg ٣", "an integer"),
        ("train\\n01\\a.jpg 0", "/ between folders"),
        ("a\0.jpg 0", "control characters"),
        ("a.jpg 0\x1a", "control characters"),
    ],
)
@pytest.mark.parametrize("block", [8, 1 << 20])
@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_a_bad_line_is_named(tmp_path, monkeypatch, line, wanted, block, mark, end):
    monkeypatch.setattr(lists, "_BLOCK", block)
    file = write(tmp_path, mark + end.join(["ok.jpg 1", "", "fine.jpg 2", line, "later.jpg x", ""]))
    with pytest.raises(DataError) as caught:
        read_list(file)
    assert wanted in caught.value.wanted
    assert caught.value.found == f"{file}, line 4: {line!r}"


def test_the_first_bad_line_of_several_is_named(tmp_path):
    with pytest.raises(DataError, match=r"line 2: 'b\.jpg x'"):
        read_list(write(tmp_path, "a.jpg 0\nb.jpg x\nc\nd\\e 0\n"))


def test_a_mark_is_no_part_of_the_first_line(tmp_path):
    with pytest.raises(DataError, match="line 1: 'a x'"):
        read_list(write(tmp_path, "\ufeffa x\n"))


def test_a_list_in_another_encoding_is_named(tmp_path):
    with pytest.raises(DataError, match="line 2: 'b\N{REPLACEMENT CHARACTER}") as caught:
        read_list(write(tmp_path, "a.jpg 0\nbä.jpg 1\n".encode("latin-1")))
    assert caught.value.wanted == "a list file in UTF-8"
    with pytest.raises(DataError, match="UTF-8"):
        read_list(write(tmp_path, "a.jpg 0\n".encode("utf-16")))


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf"])
def test_a_list_without_samples_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="no samples"):
        read_list(write(tmp_path, content))


def test_a_file_that_cannot_be_read_is_named_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="No such file") as caught:
        read_list(Path("lists/train.txt"))
    assert str(tmp_path / "lists/train.txt") in caught.value.found
    with pytest.raises(DataError, match="Is a directory"):
        read_list(tmp_path)


def test_paths_outside_the_index_are_refused(tmp_path):
    index = index_of(ROWS, tmp_path)
    assert index.path(np.int64(3)) == ROWS[3][0]
    for position in (-1, 4):
        with pytest.raises(IndexError, match="an index of 4"):
            index.path(position)


def test_memory_is_three_arrays_of_the_bytes_needed(tmp_path):
    index = index_of(ROWS, tmp_path)
    assert index.nbytes == sum(len(path.encode()) for path, _ in ROWS) + 8 * 5 + 4 * 4
    assert all(array.base is None for array in (index.labels, index.offsets, index.text))  # no larger buffer


def test_concatenation_keeps_the_order(tmp_path):
    first, second = index_of(ROWS[:3], tmp_path), index_of(ROWS[1:], tmp_path)
    assert rows(SampleIndex.concatenate([first])) == ROWS[:3]
    assert rows(SampleIndex.concatenate([first, second, first])) == ROWS[:3] + ROWS[1:] + ROWS[:3]


def test_other_labels_keep_the_paths(tmp_path):
    index = index_of(ROWS, tmp_path)
    moved = index.with_labels(np.array([5, 6, 7, 8], np.int32))
    assert rows(moved) == [(path, 5 + i) for i, (path, _) in enumerate(ROWS)]
    assert rows(index) == ROWS


@pytest.mark.parametrize("block", [1, 2, 1 << 16])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(positions=st.lists(st.integers(0, 3), max_size=9))
def test_selection_follows_the_positions(tmp_path, monkeypatch, block, positions):
    monkeypatch.setattr(lists, "_GATHER_ROWS", block)
    chosen = index_of(ROWS, tmp_path).select(np.array(positions, np.int64))
    assert rows(chosen) == [ROWS[position] for position in positions]


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**31 - 1)), max_size=9))
def test_an_index_of_paths_gives_them_back(pairs):
    index = SampleIndex.of([path for path, _ in pairs], [label for _, label in pairs])
    assert rows(index) == pairs
    assert list(index.paths()) == [path for path, _ in pairs]
    assert index.text.flags.writeable
    assert index.text.base is None


def test_duplicates_are_the_later_rows(tmp_path):
    pairs = [("a", 0), ("b", 1), ("a", 0), ("c", 2), ("b", 7), ("a", 0), ("ab", 0)]
    assert index_of(pairs, tmp_path).duplicates().tolist() == [2, 4, 5]
    assert index_of(pairs[:2], tmp_path).duplicates().tolist() == []
