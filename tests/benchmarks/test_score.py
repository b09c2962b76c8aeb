import dataclasses
import json
import shutil

import pytest
from rich.console import Console

from benchmarks.curation.__main__ import POOLS, arguments_of, trainings
from benchmarks.curation.outcome import Dropped, Outcome, read_outcome, read_seconds
from benchmarks.curation.score import Share, score
from benchmarks.curation.truth import Planted, read_truth
from lt_extrap.compose import configure
from lt_extrap.errors import DataError
from lt_extrap.model.shots import Shot

PLAIN = Planted("a/1", "clean", None, True, "a", "1.jpg", None, None, Shot.FEW, "an a", "0" * 64)


def planted(place, what="clean", kind=None, **fields):
    keep = what in ("clean", "odd format")
    shows = {"label noise": "b", "leak": "t", "suspect": "t"}.get(what, place[0])
    row = {"place": place, "what": what, "kind": kind, "keep": keep, "shows": shows, "sha256": place, **fields}
    return dataclasses.replace(PLAIN, **row)


def kept(*rows):
    return frozenset((row.folder, row.sha256) for row in rows)


def test_the_interval_is_wilsons():
    low, high = Share(9, 10).interval
    assert (round(low, 4), round(high, 4)) == (0.5958, 0.9821)  # by R's binom.confint(9, 10, methods="wilson")
    assert Share(10, 10).interval[1] == 1.0
    assert Share(0, 0).interval == (0.0, 1.0)
    assert Share(0, 0).json()["value"] is None


def test_precision_and_recall_are_of_what_was_looked_at():
    good = [planted(f"a/{i}") for i in range(4)]
    noise = planted("a/9", "label noise")
    unseen = planted("z/1")
    dropped = {"a/3": Dropped("selection", "below the band")}
    found = score([*good, noise, unseen], Outcome(kept(*good[:3], noise), dropped))
    assert (found.precision, found.recall) == (Share(3, 4), Share(3, 4))
    assert found.right_picture == Share(3, 4)
    assert found.shots == {Shot.FEW: Share(3, 4)}
    assert found.whats == {"clean": Share(3, 4), "label noise": Share(1, 1)}
    assert found.reasons["clean"] == {Dropped("selection", "below the band"): 1}


def test_what_is_over_the_cap_was_accepted():
    rows = [planted("a/1"), planted("a/2")]
    found = score(rows, Outcome(kept(rows[0]), {"a/2": Dropped("selection", "more_than_asked")}))
    assert (found.kept, found.precision, found.recall) == (1, Share(2, 2), Share(2, 2))


def test_of_a_picture_and_its_duplicates_one_is_right():
    original, copy = planted("a/1"), planted("a/2", "duplicate", "halved", twin="a/1")
    dropped = Dropped("selection", "duplicate")
    both = score([original, copy], Outcome(kept(original, copy), {}))
    assert (both.precision, both.recall) == (Share(1, 2), Share(1, 1))
    stands_in = score([original, copy], Outcome(kept(copy), {"a/1": dropped}))
    assert (stands_in.precision, stands_in.recall) == (Share(1, 1), Share(1, 1))
    neither = score([original, copy], Outcome(frozenset(), {"a/1": dropped, "a/2": dropped}))
    assert (neither.precision, neither.recall) == (Share(0, 0), Share(0, 1))


def test_a_file_that_is_there_twice_is_kept_once():
    original = planted("a/2", sha256="s")
    same = planted("a/1", "duplicate", "same file", twin="a/2", sha256="s")
    found = score([same, original], Outcome(kept(original), {}))
    assert (found.kept, found.precision, found.recall) == (1, Share(1, 1), Share(1, 1))
    assert found.whats["duplicate"] == Share(0, 1)


def test_a_duplicate_in_another_class_is_wrong_there():
    original = planted("a/1")
    across = planted("b/1", "duplicate across", "JPEG 70", twin="a/1", shows="a")
    found = score([original, across], Outcome(kept(original, across), {}))
    assert (found.precision, found.right_picture) == (Share(1, 2), Share(1, 2))


def test_leaks_are_kept_out_by_any_rule_and_told_by_one():
    rows = [planted(f"a/{i}", "leak", "gray", split="test") for i in range(5)]
    dropped = {
        "a/0": Dropped("selection", "copy_of_test"),
        "a/1": Dropped("selection", "below the band"),
        "a/2": Dropped("candidates", "caption"),  # no rule has seen its picture
        "a/4": Dropped("selection", "more_than_asked"),  # is accepted, though not kept
    }
    found = score(rows, Outcome(kept(rows[3]), dropped))
    assert found.kept_out == {("gray", "test"): Share(3, 5)}
    assert found.told == {("gray", "test"): Share(1, 4)}
    assert found.precision == Share(0, 2)


def test_false_alarms_are_clean_images_told_as_copies():
    rows = [planted("a/1"), planted("a/2"), planted("a/3", "odd format", "CMYK"), planted("a/4", "junk", "noise")]
    dropped = {"a/2": Dropped("selection", "copy_of_train"), "a/4": Dropped("selection", "copy_of_test")}
    found = score(rows, Outcome(kept(rows[0], rows[2]), dropped))
    assert (found.false_alarms, found.alarms) == (Share(1, 3), ("a/2",))
    assert found.kinds == {("junk", "noise"): Share(0, 1), ("odd format", "CMYK"): Share(1, 1)}


def test_suspect_classes_and_placeholders_are_found_or_not():
    rows = [planted("s/1", "suspect"), planted("s/2", "suspect"), planted("u/1", "suspect"), planted("a/1")]
    rows += [planted(f"a/{i}", "placeholder", "same file", shows=None) for i in (2, 3)]
    dropped = {
        "s/1": Dropped("selection", "suspect"),
        "s/2": Dropped("selection", "suspect"),
        "a/1": Dropped("selection", "suspect"),
        "a/2": Dropped("selection", "placeholder"),
    }
    found = score(rows, Outcome(kept(rows[2], rows[5]), dropped))
    assert found.suspects == {"s": Share(0, 2), "u": Share(1, 1)}
    assert found.suspected == ("a", "s")
    assert found.placeholders_told == Share(1, 2)


def test_an_image_of_no_pool_is_refused():
    with pytest.raises(DataError, match="1 that are not, such as ff of the class a"):
        score([planted("a/1")], Outcome(frozenset({("a", "ff")}), {}))


def test_all_of_it_is_told():
    rows = [planted("a/1"), planted("a/2", "leak", "gray", split="test"), planted("s/1", "suspect")]
    dropped = {"a/2": Dropped("selection", "copy_of_test"), "s/1": Dropped("selection", "suspect")}
    found = score(rows, Outcome(kept(rows[0]), dropped))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(found.table())
    told = capture.get()
    assert "leak, gray: kept out" in told
    assert "1 of 1 = 100.0 % (20.7 to 100.0)" in told
    assert "suspect class s (suspected), accepted" in told
    written = json.loads(json.dumps(found.json()))
    assert written["leaks_told"]["gray"]["test"]["value"] == 1.0
    assert written["dropped"] == {"leak": {"selection: copy_of_test": 1}, "suspect": {"selection: suspect": 1}}


def write_lines(file, *records):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def curated(tmp_path):
    """What a curation of either pool leaves."""
    hashes = ["a" * 64, "b" * 64]
    header = {"format": 1, "target": "t", "made_by": "test", "images": 2, "classes": 2, "pairs": 0}
    write_lines(tmp_path / "set" / "set.json", header)
    classes = ({"aux": 0, "name": "goldfish", "wnid": "n01443537"}, {"aux": 1, "name": "brimo olka"})
    write_lines(tmp_path / "set" / "classes.jsonl", *classes)
    write_lines(tmp_path / "set" / "pairs.jsonl")
    images = [{"path": f"{digest}.jpg", "aux": aux, "sha256": digest} for aux, digest in enumerate(hashes)]
    write_lines(tmp_path / "set" / "manifest.jsonl", *images)
    write_lines(tmp_path / "target_extra" / "manifest.jsonl", {"path": "x.jpg", "label": 1, "sha256": hashes[0]})
    gone = {"class": "n01443537", "source": "folders", "place": "n01443537/1.jpg", "sha256": None, "because": None}
    write_lines(tmp_path / "dropped.jsonl", {**gone, "stage": "candidates", "reason": "caption"})
    (tmp_path / "status.json").write_text(json.dumps({"stages": {"targets": 0.5, "images": 12.0}}))
    return tmp_path


def test_what_a_curation_leaves_is_read(curated):
    neighbors, target = (read_outcome(curated, pool, ("t0", "t1")) for pool in POOLS)
    assert neighbors.kept == {("n01443537", "a" * 64), ("brimo_olka", "b" * 64)}
    assert target.kept == {("t1", "a" * 64)}
    assert neighbors.dropped == {"n01443537/1.jpg": Dropped("candidates", "caption")}
    assert read_seconds(curated) == {"targets": 0.5, "images": 12.0}


def test_what_a_curation_has_not_left_is_told(curated):
    (curated / "status.json").unlink()
    with pytest.raises(DataError, match="curate the pool first"):
        read_seconds(curated)
    (curated / "dropped.jsonl").unlink()
    with pytest.raises(DataError, match="curate the pool first"):
        read_outcome(curated, "neighbors", ())
    manifest = curated / "set" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace(f', "sha256": "{"a" * 64}"', ""))
    with pytest.raises(DataError, match="hashes"):
        read_outcome(curated, "neighbors", ())
    shutil.rmtree(curated / "set")
    with pytest.raises(DataError, match="set.json"):
        read_outcome(curated, "neighbors", ())


def test_what_was_not_planted_is_told(tmp_path):
    with pytest.raises(DataError, match="plant it first"):
        read_truth(tmp_path)


def test_the_trainings_that_are_named_compose(tmp_path):
    commands = trainings(tmp_path)
    assert len(commands) == 3
    for command in commands:
        python, _, module, sweep, *overrides = command.split()
        assert (python, module, sweep) == ("python", "lt_extrap.train", "-m")
        configure(
            *(override.replace("baseline,silencing", "silencing").replace("0,1,2", "0") for override in overrides)
        )


def test_each_pool_is_curated_in_a_folder_of_its_own(tmp_path):
    folders = {next(word for word in arguments_of(tmp_path, pool) if word.startswith("folder=")) for pool in POOLS}
    assert folders == {f"folder={tmp_path}/curated/{pool}" for pool in ("neighbors", "target")}
