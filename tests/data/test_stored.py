"""The auxiliary set on disk: what is written is read again, and what must not be in it is refused by file and line."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lt_extrap.data.stored.reader import read_images, read_set
from lt_extrap.data.stored.schema import ClassRecord, ImageRecord, PairRecord, why_unsafe
from lt_extrap.data.stored.verifier import verify
from lt_extrap.data.stored.writer import line, write_set
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError

TABLE = ClassTable(("n00000001", "n00000002"), ("tench", "goldfish"), np.array([200, 5]))
CLASSES = [
    ClassRecord(0, "dace", "n00000003", ["dace", "Leuciscus"], "a small fish", "somebody"),
    ClassRecord(1, "roach"),
]
PAIRS = [
    PairRecord("n00000001", "tench", 0, 1, 0.9),
    PairRecord("n00000002", "goldfish", 1, 1),
    PairRecord("n00000002", "goldfish", 0, 2, 0.5),
]
IMAGES = [
    ImageRecord("dace/1.png", 0, width=8, height=6, caption="a dace | <b>", creator='=1+1, "x"', licence="CC BY"),
    ImageRecord("dace/2.png", 0, url="https://example.org/2.png", cosine={"n00000002": 0.5, "n00000001": 0.25}),
    ImageRecord("roach/1.png", 1, flags=["small"]),
    ImageRecord("roach/2.png", 1),
]


@pytest.fixture
def pool(tmp_path) -> Path:
    """The images, outside of the set."""
    for image in IMAGES:
        (tmp_path / "pool" / image.path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (len(image.path), 0, 0)).save(tmp_path / "pool" / image.path)
    return tmp_path / "pool"


@pytest.fixture
def folder(tmp_path, pool) -> Path:
    write(tmp_path / "set", copy_from=pool)
    return tmp_path / "set"


def write(folder, *, classes=CLASSES, pairs=PAIRS, images=IMAGES, copy_from=None):
    return write_set(
        folder, target="fish", table=TABLE, classes=classes, pairs=pairs, images=iter(images), copy_from=copy_from
    )


def findings(folder, **options) -> list[str]:
    found = []
    verify(folder, lambda finding: found.append(str(finding)), **options)
    return found


def edit(file: Path, old: str, new: str):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=6).filter(str.strip)
PART = TEXT.filter(lambda part: not set(part) & set("/\\") and part not in (".", "..") and part[1:2] != ":")
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join)
MAYBE = st.none() | TEXT
LINK = st.none() | TEXT.map("https://{}".format)
IMAGE = st.fixed_dictionaries(  # of which the test makes the record: beartype draws at random, which no strategy may
    {
        "path": PATH,
        "aux": st.integers(0, 2),
        "sha256": st.none() | st.just("0123456789abcdef" * 4),
        **dict.fromkeys(("width", "height"), st.none() | st.integers(1, 9999)),
        **dict.fromkeys(("caption", "source", "creator", "licence"), MAYBE),
        **dict.fromkeys(("url", "page", "licence_url"), LINK),
        "cosine": st.none() | st.dictionaries(TEXT, st.floats(-1, 1), max_size=2),
        "flags": st.none() | st.lists(TEXT, max_size=2),
    }
)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(IMAGE, max_size=3, unique_by=lambda image: image["path"]), st.lists(TEXT, min_size=3, max_size=3), MAYBE
)
def test_what_is_written_is_read(tmp_path_factory, images, names, text):
    images = [ImageRecord(**image) for image in images]
    folder = tmp_path_factory.mktemp("round") / "set"
    classes = [ClassRecord(aux, name, None, [name], text, text) for aux, name in enumerate(names)]
    header = write(folder, classes=classes, images=images)
    stored = read_set(folder)
    assert [image for _, image in read_images(folder)] == images
    assert (list(stored.classes), list(stored.pairs), stored.header) == (classes, PAIRS, header)
    assert [stored.index.path(i) for i in range(len(images))] == [image.path for image in images]
    assert stored.index.labels.tolist() == [image.aux for image in images]
    assert not [found for found in findings(folder) if "attribution" in found]


@given(PATH)
def test_paths_below_a_folder_are_safe(path):
    assert why_unsafe(path) is None
    assert os.path.normpath(f"/set/{path}") == f"/set/{path}"


@settings(max_examples=300)
@given(st.text(st.sampled_from("./\\aC:\0\n\x1b\x85\ud800é "), max_size=8))
def test_a_safe_path_leads_nowhere_else(path):
    if why_unsafe(path) is None:
        assert os.path.normpath(f"/set/{path}") == f"/set/{path}"
        assert not set(path) & set("\\\0\n\x1b\x85\ud800")
        path.encode()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "C:/a",
        "c:a",
        "a\\b",
        "a\nb",
        "a\0",
        3,
        None,
        "é" * 128,
        "a/" * 512 + "a",
    ],
)
def test_unsafe_paths(path):
    assert why_unsafe(path) is not None


def test_the_same_bytes_again(folder, tmp_path, pool):
    write(tmp_path / "again", copy_from=pool)
    for file in folder.rglob("*"):
        if file.is_file():
            assert (tmp_path / "again" / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert '"cosine": {"n00000001": 0.25, "n00000002": 0.5}' in (folder / "manifest.jsonl").read_text()


def test_the_card(folder):
    card = (folder / "README.md").read_text()
    assert "| many | 1 | 1 | 1 | 1 | 2 |" in card
    assert "| few | 1 | 1 | 2 | 2 | 4 |" in card
    assert "| CC BY | 1 |" in card
    assert "| unknown | 3 |" in card


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"images": [IMAGES[0], IMAGES[0]]}, "a second time"),
        ({"images": [ImageRecord("none.png", 0)]}, "No such file"),
    ],
)
def test_a_set_is_written_whole_or_not_at_all(tmp_path, pool, content, said):
    with pytest.raises((DataError, OSError), match=said):
        write(tmp_path / "new" / "set", copy_from=pool, **content)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_is_there_stays(folder):
    before = (folder / "manifest.jsonl").read_bytes()
    with pytest.raises(DataError, match="not there yet"):
        write(folder, images=[])
    assert (folder / "manifest.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("set.json", '"format": 1', '"format": 2', "this version (format 1)"),
        ("set.json", '"format": 1', '"format": 1, "x": 3', "unexpected keyword argument 'x'"),
        ("set.json", '"images": 4', '"images": ' + "[" * 100_000, "this version (format 1)"),
        ("set.json", '"images": 4', '"images": 5', "manifest.jsonl: 4 records, and 5 by set.json"),
        ("manifest.jsonl", '"dace/2.png"', '"../2.png"', "manifest.jsonl, line 2: the path '../2.png'"),
        ("manifest.jsonl", '"dace/2.png"', '"dace/1.png"', "line 2: the path dace/1.png a second time"),
        ("manifest.jsonl", '"dace/2.png", "aux": 0', '"dace/2.png", "aux": 2', "line 2: aux 2, and there are 2"),
        ("manifest.jsonl", '"dace/2.png", "aux": 0', '"dace/2.png", "aux": true', "line 2: aux True"),
        ("manifest.jsonl", '"https://example', '"javascript://example', "line 2: url"),
        ("manifest.jsonl", '"n00000002": 0.5', '"n00000002": NaN', "line 2: cosine of n00000002"),
        ("manifest.jsonl", '["small"]', '"small"', "manifest.jsonl, line 3"),
        ("manifest.jsonl", '["small"]', '["\\u001b[2J"]', "line 3: one of flags"),
        ("manifest.jsonl", '"flags": ["small"]', '"flag": 1', "line 3: got an unexpected keyword argument 'flag'"),
        ("manifest.jsonl", '"width": 8', '"width": 0', "line 1: width 0"),
        ("manifest.jsonl", '"a dace | <b>"', "[" * 100_000, "line 1: maximum recursion"),
        ("manifest.jsonl", '["small"]', '"\\ud800"', "manifest.jsonl, line 3"),
        ("classes.jsonl", '"n00000003"', '"../../etc"', "classes.jsonl, line 1: wnid"),
        ("classes.jsonl", '"aux": 1', '"aux": 0', "line 2: aux 0 where 1 was wanted"),
        ("classes.jsonl", '"roach", "wnid": null', '"roach", "wnid": "n00000003"', "line 2: wnid n00000003 a second"),
        ("classes.jsonl", '"roach", ', '" ", ', "line 2: name"),
        ("classes.jsonl", '"roach", ', '"roa\u2028ch", ', "line 2: name"),
        ("pairs.jsonl", '"rank": 2', '"rank": 3', "the ranks [1, 3] of target n00000002"),
        ("pairs.jsonl", '"rank": 2', '"rank": null', "the ranks [1, None] of target n00000002"),
        ("pairs.jsonl", '"aux": 1', '"aux": 2', "line 2: aux 2, and there are 2"),
        ("pairs.jsonl", '"aux": 1', '"aux": 0', "line 3: the pair of n00000002 and 0 a second time"),
        ("pairs.jsonl", '"similarity": 0.5', '"similarity": 1e999', "line 3: similarity inf"),
    ],
)
def test_what_must_not_be_in_a_set(folder, file, old, new, said):
    edit(folder / file, old, new)
    with pytest.raises(DataError, match=re.escape(said)):
        read_set(folder)
    if file != "set.json" or "format" not in said + new:
        assert any(said.removeprefix(f"{file}, ") in found for found in findings(folder))


def test_types_are_checked_where_no_test_checks_them():
    """Under pytest beartype refuses a wrong type before the record does; a user has no beartype."""
    record = {"path": "a.png", "aux": 0}
    wrong = {"path": 3, "aux": "0", "sha256": 1, "width": 1.5, "caption": [], "url": 3, "cosine": [], "flags": {"a": 1}}
    wrong_cosine = {"cosine": {"n00000001": "1"}}
    code = f"""
from lt_extrap.data.stored.schema import ImageRecord
for key, value in [*{wrong}.items(), *{wrong_cosine}.items()]:
    try:
        ImageRecord(**{record} | {{key: value}})
    except ValueError as error:
        assert key in str(error), error
    else:
        raise SystemExit(key)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bytes_that_are_no_text(folder):
    with (folder / "manifest.jsonl").open("ab") as file:
        file.write(b"\xff\n[1]\n" + b" " * (1 << 21))
    found = [finding for finding in findings(folder) if finding.startswith("manifest.jsonl, line")]
    assert [finding.split(":")[0] for finding in found] == [f"manifest.jsonl, line {n}" for n in (5, 6, 7, 8)]


def test_a_file_that_is_missing(folder, tmp_path):
    (folder / "pairs.jsonl").unlink()
    with pytest.raises(DataError, match=r"(?s)pairs\.jsonl.*No such file"):
        read_set(folder)
    with pytest.raises(DataError, match=r"set\.json"):
        read_set(tmp_path)


def test_a_good_set_has_no_finding(folder, pool, tmp_path):
    assert findings(folder) == []
    assert [finding.rpartition(": ")[2] for finding in findings(folder, hashes=True)] == ["no sha256 to compare"] * 4
    write(tmp_path / "thin")
    assert findings(tmp_path / "thin", images=pool) == []
    assert len(findings(tmp_path / "thin")) == 4


def test_all_findings_at_once(folder, tmp_path):
    sha256 = '"sha256": "' + "0" * 64 + '"'
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    lines[1] = lines[1].replace('"sha256": null', sha256)
    good = hashlib.sha256((folder / IMAGES[3].path).read_bytes()).hexdigest()
    lines[3] = lines[3].replace('"sha256": null', f'"sha256": "{good}"')
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    edit(folder / "manifest.jsonl", '"width": 8', '"width": 9')
    (folder / "roach/1.png").write_bytes(b"no image")
    edit(folder / "attribution.csv", "CC BY", "CC0")
    edit(folder / "set.json", '"pairs": 3', '"pairs": 4')
    (folder / "README.md").unlink()
    with (folder / "classes.jsonl").open("a") as file:
        file.write(json.dumps({"aux": 2, "name": "bream"}) + "\n")
    said = [
        r"pairs.jsonl: 3 records",
        r"classes.jsonl: 3 records",
        r"classes.jsonl: aux 2 \(bream\) has no image",
        r"line 1: dace/1.png: 8 x 6 pixels, and 9 x 6",
        r"line 2: dace/2.png: another sha256",
        r"line 3: roach/1.png: cannot be read as an image",
        r"attribution.csv, line 2: not the row of line 1",
        r"README.md: not there",
    ]
    found = findings(folder, hashes=True)
    assert len(found) == len(said)
    assert all(any(re.search(reason, finding) for finding in found) for reason in said)


def test_links_out_of_the_folder_and_what_is_no_file(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes((folder / "dace/1.png").read_bytes())
    (folder / "dace/1.png").unlink()
    (folder / "dace/1.png").symlink_to(tmp_path / "secret.png")
    (folder / "dace/2.png").unlink()
    (folder / "dace/2.png").symlink_to("../roach/1.png")  # stays inside
    assert findings(folder) == ["manifest.jsonl, line 1: dace/1.png: a link leads out of the folder"]
    (folder / "roach").rename(tmp_path / "roach")
    (folder / "roach").symlink_to(tmp_path / "roach")
    assert len([finding for finding in findings(folder) if "leads out" in finding]) == 4
    (folder / "roach").unlink()
    (folder / "roach").mkdir()
    os.mkfifo(folder / "roach/1.png")
    assert "manifest.jsonl, line 3: roach/1.png: not there, or no file" in findings(folder)


def test_a_line_is_a_record():
    assert json.loads(line(PAIRS[1])) == {
        "target": "n00000002",
        "target_name": "goldfish",
        "aux": 1,
        "rank": 1,
        "similarity": None,
    }


def test_what_a_cut_copy_lacks_is_found_to_the_end(folder):
    edit(folder / "set.json", '"classes": 2', '"classes": 2000000000')
    edit(folder / "manifest.jsonl", '"roach/2.png", "aux": 1', '"roach/2.png", "aux": 1900000000')
    edit(folder / "manifest.jsonl", '"dace/2.png"', f'"{"x" * 300}"')
    found = findings(folder)
    assert "classes.jsonl: 2 records, and 2000000000 by set.json" in found
    assert any(said.startswith("manifest.jsonl, line 2: the path 'xxx") for said in found)


def test_an_image_of_no_class_is_left_out_of_what_was_read(folder):
    edit(folder / "manifest.jsonl", '"roach/2.png", "aux": 1', '"roach/2.png", "aux": 7')
    reported = []
    stored = verify(folder, reported.append)
    assert len(stored.index) == 3
    assert "aux 7, and there are 2 classes" in str(reported[0])


def test_a_header_that_nests_without_end_is_refused(folder):
    (folder / "set.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="recursion"):
        read_set(folder)
