"""Verdicts are taken in from a file that anybody may have written."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gallery import composed, write_many
from lt_extrap.curate import review as reviewing
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.review import FORMAT, read_verdicts, review, target_id
from lt_extrap.curate.shards import remember
from lt_extrap.curate.state import State
from lt_extrap.curate.verdicts import Verdict, of_classes, of_images
from lt_extrap.errors import DataError
from lt_extrap.signals import StopSignal

HASH = "ab" * 32


def entry(key="n1", image=None, verdict="keep", **more):
    return {"class": key, "image": image, "verdict": verdict, **more}


def content(*verdicts, **more):
    return json.dumps({"format": FORMAT, "target": "t", "verdicts": list(verdicts), **more})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "verdicts.json"


@pytest.fixture
def curation(tmp_path):
    write_many(tmp_path / "state", targets=2, neighbors=2, images=3)
    with State(tmp_path / "state") as state:
        yield Curation(composed(tmp_path / "state"), tmp_path / "state", state, StopSignal())


def test_a_file_is_read_as_the_gallery_saves_it(file):
    file.write_text(content(entry(), entry(image=HASH, verdict="drop"), entry("n2", verdict=None), entry()))
    assert read_verdicts(file, "t") == [("n1", "", Verdict.KEEP), ("n1", HASH, Verdict.DROP), ("n2", "", None)]
    file.write_text(content())
    assert read_verdicts(file, "t") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "recursion|none|nested"),
        ("\ud800", "utf-8|Expecting|surrogate"),
        ("[]", "no 'lt_extrap verdicts 1'"),
        ('{"format": "lt_extrap verdicts 2"}', "no 'lt_extrap verdicts 1'"),
        (content(folder="/etc"), "'folder'"),
        (content(verdicts={}), "no list"),
        (content("n1"), "verdict 1 is none"),
        (content(entry(), entry(note="?")), "verdict 2 is none"),
        (content(entry(verdict="maybe")), "verdict 1 is none"),
        (content(entry(verdict=["keep"])), "verdict 1 is none"),
        (content(entry(key="")), "verdict 1 is none"),
        (content(entry(key=5)), "verdict 1 is none"),
        (content(entry(key="n" * 1001)), "verdict 1 is none"),
        (content(entry(key="n1\x1b[2J")), "verdict 1 is none"),
        (content(entry(image=HASH[:-1])), "verdict 1 is none"),
        (content(entry(image="../../etc/passwd")), "verdict 1 is none"),
        (content(entry(), entry(verdict="drop")), "verdict 2 is another one"),
    ],
)
def test_what_is_none_of_these_is_refused(file, text, found):
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=f"(?i){found}"):
        read_verdicts(file, "t")


def test_a_file_that_is_too_large_or_not_there_or_of_another_target_is_refused(file, monkeypatch):
    with pytest.raises(DataError, match="No such file"):
        read_verdicts(file, "t")
    file.write_text(content(entry()))
    with pytest.raises(DataError, match="another one"):
        read_verdicts(file, "u")
    monkeypatch.setattr(reviewing, "LARGEST", 40)
    with pytest.raises(DataError, match="more than"):
        read_verdicts(file, "t")


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["format", "target", "verdicts", "class", "image", "verdict"]), inner)
        ),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_refused(tmp_path_factory, found):
    file = tmp_path_factory.mktemp("any") / "verdicts.json"
    body = found if isinstance(found, dict) else {}
    file.write_text(json.dumps({**body, "format": FORMAT, "target": "t"}))
    with contextlib.suppress(DataError):
        assert all(isinstance(one.key, str) for one in read_verdicts(file, "t"))


def test_verdicts_are_added_changed_and_taken_back(curation, file, capsys):
    keys = [sought.key for sought in curation.sought()]
    hashes = [
        sha256 for (sha256,) in curation.state.rows("SELECT sha256 FROM candidate WHERE key = ? ORDER BY id", keys[0])
    ]

    def take(*verdicts):
        file.write_text(content(*verdicts, target=target_id(curation)))
        review(curation, file)
        return capsys.readouterr().out

    said = take(entry(keys[0], hashes[0], "drop"), entry(keys[0], hashes[1]), entry(keys[1], verdict="drop"))
    assert said == "verdicts: 3 new of 3; 3 in all\n"
    assert "0 new of 1; 3 in all" in take(entry(keys[1], verdict="drop"))
    said = take(
        entry(keys[0], hashes[0], "keep"), entry(keys[1], verdict=None), entry("n404"), entry(keys[1], hashes[0])
    )
    assert said == (
        f"verdicts: 2 new of 4; 2 in all\non what this curation does not have, 2: 'n404', '{keys[1]}/{hashes[0]}'\n"
    )
    assert of_classes(curation.state) == {}
    assert of_images(curation.state) == {(keys[0], hash): Verdict.KEEP for hash in hashes[:2]}
    with pytest.raises(DataError, match="none of it: 'n404'"):
        take(entry("n404"))


def test_a_shard_knows_the_verdicts_of_its_curation(curation, tmp_path):
    with curation.state.transaction():
        curation.state.write("INSERT INTO verdict VALUES ('n1', '', 'drop')")
    with State(tmp_path / "shard") as state:
        shard = Curation(curation.config, tmp_path / "shard", state, StopSignal())
        with state.transaction():
            state.write("INSERT INTO verdict VALUES ('n2', '', 'keep')")  # taken back since
        remember(shard, curation.folder)
        assert of_classes(state) == {"n1": Verdict.DROP}
