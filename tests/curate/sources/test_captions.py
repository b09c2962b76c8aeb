"""Tables of captions, and what is found in them."""

import json
import os
import pickle
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lt_extrap.config.curate_source import CaptionSource
from lt_extrap.curate.caption_rule import CaptionRule, plain
from lt_extrap.curate.records import Candidate, Refused, Sought, Source
from lt_extrap.curate.sources import captions as module
from lt_extrap.curate.sources import open_source
from lt_extrap.curate.sources.captions import Captions
from lt_extrap.curate.sources.said import line
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.errors import ConfigError, DataError

URL = "https://example.org/"


def sought(*names):
    return Sought(f"name:{names[0]}", names[0], names)


def jsonl(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def of_captions(folder, captions):
    rows = [{"url": f"{URL}{number}.jpg", "caption": caption} for number, caption in enumerate(captions)]
    return Captions(CaptionSource([str(jsonl(folder / "captions.jsonl", rows))]))


def numbers(source, *names):
    return [int(found.place.removeprefix(URL).partition(".")[0]) for found in source.search(sought(*names))]


ROWS = [("a.jpg", 'A sea lion, and a "tiger"', "?"), ("b.jpg", "two\ttigers", "CC0"), ("c.jpg", "", "CC0")]


@pytest.mark.parametrize("ending", ["csv", "semicolon.csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_table_says_the_same(tmp_path, ending):
    file = tmp_path / f"laion.{ending}"
    head = ("URL", "TEXT", "LICENSE")
    rows = [(URL + name, caption.replace("\t", " "), licence) for name, caption, licence in ROWS]
    if ending == "parquet":
        parquet.write_table(pa.table([list(column) for column in zip(*rows, strict=True)], names=list(head)), file)
    elif ending == "jsonl":
        jsonl(file, [dict(zip(head, row, strict=True)) for row in rows])
    else:
        by = "\t" if ending == "tsv" else ";" if ending.startswith("semi") else ","
        said = (
            '"' + rows[0][1].replace('"', '""') + '"' if ending != "tsv" else rows[0][1],
            *[row[1] for row in rows[1:]],
        )
        lines = [by.join(head), *(by.join((row[0], text, row[2])) for row, text in zip(rows, said, strict=True))]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    source = Captions(CaptionSource([str(file)]))
    assert isinstance(source, Source)
    assert [*source.search(sought("tiger"))] == [
        Candidate(URL + "a.jpg", 'A sea lion, and a "tiger"', url=URL + "a.jpg"),
        Candidate(URL + "b.jpg", "two tigers", url=URL + "b.jpg", licence="CC0"),
    ]
    assert source.notes == ("captions: 2", "rows left out, without a caption: 1")
    assert not source.offers(sought("shark"))
    assert [*source.classes()] == []


def test_rows_of_other_licences_are_told_and_not_offered(tmp_path):
    rows = [("a", "CC BY-NC 2.0"), ("b", "CC0"), ("c", "")]
    said = [{"url": f"{URL}{name}.jpg", "caption": "a tiger", "license": licence} for name, licence in rows]
    file = str(jsonl(tmp_path / "x.jsonl", [*said, {"url": f"{URL}d.jpg", "caption": "a lion", "license": "by-nd"}]))
    source = Captions(CaptionSource([file], licences=["cc0"]))
    found = [*source.search(sought("tiger"))]
    assert [type(one) for one in found] == [Refused, Candidate, Refused]
    assert [one.reason for one in found if isinstance(one, Refused)] == ["licence: by-nc", "licence: not known"]
    assert source.offers(sought("tiger"))
    assert not source.offers(sought("lion"))
    with pytest.raises(ConfigError, match=r"source\.licences"):
        CaptionSource([file], licences=["free"])


def test_names_are_quoted_and_bound(tmp_path):
    source = of_captions(tmp_path, ["bow-tie", "rock 'n' roll", "a AND b", "C++ book", "50% off", "柴犬です", "x\0y"])
    assert numbers(source, "bow tie") == [0]
    assert numbers(source, "rock 'n' roll") == [1]
    assert numbers(source, "AND") == [2]
    assert numbers(source, "c++") == [3]
    assert numbers(source, "50%") == [4]
    assert numbers(source, "柴犬") == [5]
    assert numbers(source, "x\0y") == [6]
    assert numbers(source, "bow tie", "AND") == [0, 2]
    for name in ('" OR text:*', "bo*", "", "++", "NEAR(bow tie)", "'; DROP TABLE image; --", "text: bow", "%"):
        assert numbers(source, name) == [], name
    assert numbers(source, *(f"bow tie {number}" for number in range(300)), "bow tie") == [0]


SPECIAL = st.sampled_from("ab c.-'&\"éß柴犬क\u093f_\0;*")
TEXTS = st.text(SPECIAL | st.characters(), max_size=8)
NAMES = st.text(SPECIAL | st.characters(codec="utf-8"), max_size=8)  # read from a file, where no half of a pair is


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), NAMES)
def test_whatever_the_rule_takes_is_found(parts, name):
    captions = [before + name + behind for before, behind in parts]
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(module._SCHEMA)
        rows = [(row, module._indexed(plain(line(caption)))) for row, caption in enumerate(captions, 1)]
        database.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", rows)
        query = module._query([name])
        found = database.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,)) if query else ()
        found = {row for (row,) in found}
    for row, caption in enumerate(captions, 1):
        form = CaptionRule([]).match([name], line(caption))
        assert row in found or form is None or not module._has_word(form)


def test_rows_come_in_their_order_and_a_place_once(tmp_path):
    rows = [{"url": f"{URL}{number % 3}.jpg", "caption": f"lion {number}"} for number in (2, 1, 5, 0, 4)]
    source = Captions(CaptionSource([str(jsonl(tmp_path / "x.jsonl", rows))]))
    assert numbers(source, "lion") == [2, 1, 0]
    assert next(source.search(sought("lion"))).caption == "lion 2"


def test_rows_that_are_no_candidates_are_counted(tmp_path):
    file = tmp_path / "x.jsonl"
    jsonl(
        file,
        [
            {"url": "file:///etc/passwd", "caption": "lion"},
            {"url": URL, "caption": "lion", "NSFW": "NSFW"},
            {"url": URL, "caption": "lion", "punsafe": 0.9},
            {"caption": "lion"},
            {"url": URL + "ok.jpg", "alt": "", "caption": "lion \ud800\x00 &amp; cub", "page": "javascript:alert(1)"},
        ],
    )
    with file.open("a") as lines:
        lines.write("[1]\n{\n\n")
    source = Captions(CaptionSource([str(file)], columns={"caption": "caption"}))
    assert [*source.search(sought("lion and cub"))] == [
        Candidate(URL + "ok.jpg", "lion ? &amp; cub", url=URL + "ok.jpg")
    ]
    assert source.notes == (
        "captions: 1",
        "rows left out, marked as unsafe: 2",
        "rows left out, not readable: 2",
        "rows left out, with a URL that is not http or https: 1",
        "rows left out, without a path or URL: 1",
    )


def test_paths_are_read_below_the_root_and_urls_not_at_all(tmp_path):
    root, outside = tmp_path / "images", tmp_path / "secret.jpg"
    root.mkdir()
    outside.write_bytes(b"secret")
    (root / "a.jpg").write_bytes(b"a lion")
    (root / "link.jpg").symlink_to(outside)
    paths = ["a.jpg", "../secret.jpg", str(outside), "link.jpg", "none.jpg", "."]
    rows = [{"path": path, "title": "Lions", "text": f"{path}"} for path in paths]
    rows.append({"url": URL + "a.jpg", "text": "a lion"})
    source = Captions(CaptionSource([str(jsonl(tmp_path / "x.jsonl", rows))], root=str(root)))
    source = pickle.loads(pickle.dumps(source))
    found = [*source.search(sought("lion"))]
    assert [candidate.place for candidate in found] == [*paths, URL + "a.jpg"]
    assert found[0].caption == "Lions | a.jpg"
    assert source.read("a.jpg") == b"a lion"
    reasons = {}
    for candidate in found[1:]:
        with pytest.raises(UnreadableImage) as error:
            source.read(candidate.place)
        assert error.value.path == candidate.place
        reasons[candidate.place] = error.value.reason
    assert [*reasons.values()] == [
        "outside of the folder of images",
        "outside of the folder of images",
        "outside of the folder of images",
        "No such file or directory",
        "outside of the folder of images",
        "needs the network",
    ]


def test_a_table_without_a_header_is_given_one(tmp_path):
    file = tmp_path / "cc12m.tsv"
    file.write_text(f'{URL}0.jpg\t"lion" said he\n{URL}1.jpg\ta "lion\nbroken\n{URL}2.jpg\tlion\n')
    with pytest.raises(DataError, match=r"source\.header"):
        Captions(CaptionSource([str(tmp_path)]))
    source = Captions(CaptionSource([str(tmp_path)], header=["url", "caption"]))
    assert numbers(source, "lion") == [0, 1, 2]
    assert source.notes == ("captions: 3", "rows left out, not readable: 1")


def test_an_index_is_built_once_and_again_where_a_table_changed(tmp_path):
    first = of_captions(tmp_path, ["lion"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_write", None)
        assert numbers(of_captions_again(tmp_path), "lion") == [0]
    time_of = (tmp_path / "captions.jsonl").stat().st_mtime_ns
    jsonl(tmp_path / "captions.jsonl", [{"url": URL + "7.jpg", "caption": "lion"}])
    os.utime(tmp_path / "captions.jsonl", ns=(time_of + 1, time_of + 1))
    assert numbers(of_captions_again(tmp_path), "lion") == [7]
    assert numbers(first, "lion") == [0]


def of_captions_again(folder):
    return open_source(CaptionSource([str(folder / "captions.jsonl")]))


def killed(text):
    raise KeyboardInterrupt


def test_a_killed_build_begins_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    jsonl(tmp_path / "captions.jsonl", [{"url": f"{URL}{number}.jpg", "caption": "lion"} for number in range(9)])
    with pytest.MonkeyPatch.context() as patch:  # a signal that nobody survives leaves no time to clear up
        patch.setattr(module, "_indexed", killed)
        patch.setattr(shutil, "rmtree", lambda folder, **options: None)
        with pytest.raises(KeyboardInterrupt):
            of_captions_again(tmp_path)
    left = [place for place in (tmp_path / "cache/captions").iterdir() if place.is_dir()]
    assert len(left) == 1
    assert numbers(of_captions_again(tmp_path), "lion") == [*range(9)]
    folders = [place for place in (tmp_path / "cache/captions").iterdir() if place.is_dir()]
    assert len(folders) == 1
    assert folders != left


def test_the_index_does_not_hang_on_how_often_it_was_made(tmp_path, monkeypatch):
    contents = []
    for name in ("one", "two"):
        monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / name))
        source = of_captions(tmp_path, ["lion", "sea lion"]) if name == "one" else of_captions_again(tmp_path)
        contents.append(Path(source._index).read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("rows", "changes", "error"),
    [
        ([{"url": URL}], {}, DataError),
        ([{"caption": "x"}], {}, DataError),
        ([{"url": URL, "caption": "x", "text": "y"}], {}, DataError),
        ([{"url": URL, "caption": "x"}], {"columns": {"licence": "none"}}, DataError),
        ([{"url": URL, "caption": "x"}], {"root": "."}, ConfigError),
        ([{"path": "x", "caption": "x"}], {"root": "none"}, DataError),
        ([], {}, DataError),
        ([{"url": URL, "caption": "x"}], {"files": []}, ConfigError),
        ([{"url": URL, "caption": "x"}], {"files": ["none.csv"]}, DataError),
        ([{"url": URL, "caption": "x"}], {"files": ["none.txt"]}, DataError),
        ([{"url": URL, "caption": "x"}], {"columns": {"colour": "x"}}, ConfigError),
        ([{"url": URL, "caption": "x"}], {"header": ["a", "a"]}, ConfigError),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, rows, changes, error):
    file = jsonl(tmp_path / "x.jsonl", rows)
    with pytest.raises(error):
        Captions(CaptionSource(**{"files": [str(file)], **changes}))


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(DataError, match=r"x\.parquet"):
        Captions(CaptionSource([str(tmp_path)]))


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="room for an index"):
        of_captions(tmp_path, ["lion"])
