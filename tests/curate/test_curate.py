"""A whole curation on the embedded world: from class names to a set that training reads."""

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from PIL import Image
from pool import begin, bytes_of, config, words

from conftest import SMALL
from lt_extrap.compose import configure, configure_command
from lt_extrap.curate import __main__ as command
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.shards import folder_of
from lt_extrap.curate.stages import copies as copies_stage
from lt_extrap.curate.stages import images as images_stage
from lt_extrap.curate.state import State
from lt_extrap.curate.status import INCOMPLETE, NOTHING
from lt_extrap.data.stored.reader import read_images, read_provenance, read_set
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.signals import Stopped


def hash_of(made: Path, name: str) -> str:
    (file,) = (made / "pool").rglob(name)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def shards_of(made, folder, shards=3):
    for shard in range(shards):
        assert curate(config(made, folder, f"shard={shard}", f"shards={shards}")) == 0


def test_it_makes_a_set_that_training_reads(made, curated):
    stored = read_set(curated / "set")
    assert stored.header.classes == 9
    assert {pair.rank for pair in stored.pairs} == {1, 2, 3}
    lists = ("train", "names", "pairs")
    of = [f"target.neighbors.folder={curated / 'set'}", *(f"target.neighbors.{key}=null" for key in lists)]
    run = configure(*SMALL, "component=silencing", *of)
    training = build_training_set(run.auxiliary, load_target(run.target), seed=0)
    assert len(training.auxiliary_names) == 9
    for _, image in read_images(curated / "set"):
        assert hashlib.sha256((curated / "set" / image.path).read_bytes()).hexdigest() == image.sha256
        assert all(-1 <= value <= 1 for value in image.cosine.values())


def test_what_was_planted_is_dropped_with_its_reason(made, curated):
    lines = [json.loads(line) for line in (curated / "dropped.jsonl").read_text().splitlines()]
    reason = {Path(line["place"]).name: line["reason"] for line in lines}
    assert reason["leak.jpg"] == reason["leak_mirrored.png"] == "copy_of_test"
    assert reason["blank.png"] == "blank"
    assert reason["page.jpg"] == "unreadable"
    assert "again.png" not in reason  # the same bytes are one image
    assert [Path(image.path).stem for _, image in read_images(curated / "set")].count(hash_of(made, "again.png")) == 1
    status = json.loads((curated / "status.json").read_text())
    assert sum(row["count"] for row in status["candidates"]) == 9 * 20 + 5
    assert sum(row["count"] for row in status["candidates"] if row["reason"] == "same file") == 1
    assert (
        sum(row["count"] for row in status["candidates"] if row["stage"] == "kept")
        == read_set(curated / "set").header.images
    )
    assert set(status["stages"]) == set(command.STAGES)


def test_the_card_says_how_the_set_was_made(made, curated):
    known, stored = read_provenance(curated / "set"), read_set(curated / "set")
    assert sum(fate.count for fate in known.fates if fate.stage == "kept") == stored.header.images
    assert sum(fate.count for fate in known.fates if fate.reason == "copy_of_test") == 2
    assert {found.split for found in known.compared} == {"test", "val", "train"}
    assert known.failures == {"no readable image": 1}
    assert known.settings["proposer.file"] == "neighbors.json"
    assert known.settings["source.root"] == "pool"
    assert known.settings["filter.near_copies.overlap"] == "0.75"
    assert "download.robots" not in known.settings
    for file in ("README.md", "provenance.json"):
        text = (curated / "set" / file).read_text()
        assert str(made) not in text
        assert str(made.parent) not in text


def test_a_second_start_reads_nothing_again_and_ends_with_the_same_bytes(made, curated, monkeypatch):
    before = bytes_of(curated)

    def prepare(*args, **kwargs):
        raise AssertionError("an image was read again")

    monkeypatch.setattr(images_stage, "prepare", prepare)
    assert curate(config(made, curated)) == 0
    assert bytes_of(curated) == before


def test_what_is_said_to_train_by_can_be_pasted(made, curated, tmp_path, capsys):
    folder = shutil.copytree(curated, tmp_path / "mine, it's a state")
    assert curate(dataclasses.replace(config(made, curated, "do=status"), folder=str(folder))) == 0
    told = capsys.readouterr().out.partition("train on it by: ")[2].splitlines()[0]
    assert configure(*SMALL, *shlex.split(told)).target.neighbors.folder == str(folder / "set")


def test_of_a_set_without_pairs_it_says_what_training_takes(made, curated, tmp_path, capsys):
    """Whatever the proposer of the command that asks: without k, training would want ranks."""
    folder = shutil.copytree(curated, tmp_path / "state")
    header = json.loads((folder / "set" / "set.json").read_text())
    (folder / "set" / "set.json").write_text(json.dumps(header | {"pairs": 0}))
    with State(folder) as state:
        unread = "UPDATE reference SET reason = 'Truncated File Read' WHERE split = 'train' AND place = "
        state.write(f"{unread}(SELECT min(place) FROM reference WHERE split = 'train')")
    assert curate(config(made, folder, "do=status")) == 0
    told = capsys.readouterr().out
    words = shlex.split(told.partition("train on it by: ")[2].splitlines()[0])
    assert words[0] == f"target.random.folder={folder / 'set'}"
    assert "target.random.neighbors_per_class=null" in words
    assert configure(*SMALL, *words).target.random.folder == str(folder / "set")
    assert "1 training image could not be read, so no copies of it were looked for: Truncated File Read" in told


@pytest.mark.slow
def test_other_thresholds_need_no_image(made, curated, tmp_path, monkeypatch):
    folder = shutil.copytree(curated, tmp_path / "state")
    shutil.move(made / "pool", made / "away")
    try:
        assert curate(config(made, folder, "do=selection", "images_per_class=5")) == 0
        assert curate(config(made, folder, "do=export", "images_per_class=5")) == 0
    finally:
        shutil.move(made / "away", made / "pool")
    assert read_set(folder / "set").header.images == 9 * 5
    few = {image.sha256 for _, image in read_images(folder / "set")}
    assert few < {image.sha256 for _, image in read_images(curated / "set")}
    other = ("filter.gamma_low=0.999999", "images_per_class=5")
    with pytest.raises(RunError, match=r"filter\.gamma_low=0\.999999, not -1"):
        curate(config(made, folder, "do=export", *other))
    with pytest.raises(RunError, match="near-copies"):  # whose options are those of another stage
        curate(config(made, folder, "do=selection", "filter.near_copies.overlap=0.9"))
    assert curate(config(made, folder, "do=selection", *other)) == 0
    assert curate(config(made, folder, "do=export", *other)) == NOTHING
    assert not (folder / "set").exists()


@pytest.mark.slow
def test_a_stage_wants_those_before_it_and_looks_at_what_is_new(made, curated, tmp_path, monkeypatch):
    """Above all the search for copies: a test image that came since is not to be kept."""
    folder = shutil.copytree(curated, tmp_path / "state")
    (leak,) = (made / "pool").rglob("leak.jpg")
    (tmp_path / "pool" / leak.parent.name).mkdir(parents=True)
    image = Image.open(leak)
    image.save(tmp_path / "pool" / leak.parent.name / "new.jpg", quality=60)
    source = f"source.root={tmp_path / 'pool'}"
    with pytest.raises(RunError, match="do=candidates"):
        curate(config(made, folder, source, "do=images"))
    assert curate(config(made, folder, source, "do=candidates")) == 0
    assert curate(config(made, folder, source, "do=images")) == 0
    with pytest.raises(RunError, match="do=features"):
        curate(config(made, folder, source, "do=copies"))
    assert curate(config(made, folder, source, "do=features")) == 0
    with pytest.raises(RunError, match="do=copies"):
        curate(config(made, folder, source, "do=selection"))
    with pytest.raises(RunError, match="do=copies"):
        curate(config(made, folder, source, "do=export"))
    seen, whole = [], copies_stage.copies_of
    monkeypatch.setattr(copies_stage, "copies_of", lambda new, *a, **k: seen.append(len(new)) or whole(new, *a, **k))
    assert curate(config(made, folder, source, "do=copies")) == 0
    assert set(seen) == {1}
    with pytest.raises(RunError, match="do=selection"):
        curate(config(made, folder, source, "do=export"))
    assert curate(config(made, folder, source, "do=selection")) == 0
    assert curate(config(made, folder, source, "do=export")) == NOTHING
    (dropped,) = (folder / "dropped.jsonl").read_text().splitlines()
    assert json.loads(dropped)["reason"] == "copy_of_test"
    assert curate(config(made, folder)) == 0  # with the first pool again, nothing is to be done
    assert bytes_of(folder) == bytes_of(curated)
    assert set(seen) == {1}


def test_a_place_is_read_once_and_an_image_of_a_class_is_in_the_set_once(made, curated, tmp_path, monkeypatch):
    folder = shutil.copytree(curated, tmp_path / "state")
    first, second = sorted(file.name for file in (made / "pool").iterdir())[:2]
    with State(folder) as state, state.transaction():
        columns = "source, position, caption, form, ruled"
        for place in (f"{second}/0003.png", f"{second}/a copy of it.png"):
            state.write(
                f"INSERT INTO candidate (key, place, {columns}) "
                f"SELECT key, ?, {columns} FROM candidate WHERE place = ?",
                [(place, f"{first}/0003.png")],
            )
        state.write(
            "UPDATE candidate SET sha256 = (SELECT sha256 FROM candidate WHERE place = ?) WHERE place = ?",
            [(f"{first}/0003.png", f"{second}/a copy of it.png")],
        )
    monkeypatch.setattr(images_stage, "prepare", lambda *args, **kwargs: pytest.fail("an image was read again"))
    for stage in ("images", "selection", "export"):
        assert curate(config(made, folder, f"do={stage}")) == 0
    found = [image.sha256 for _, image in read_images(folder / "set")]
    assert len(found) == len(set(found)) == read_set(curated / "set").header.images


@pytest.mark.slow
def test_forgetting_that_was_killed_is_done_by_the_same_command(made, curated, tmp_path, monkeypatch):
    folder = shutil.copytree(curated, tmp_path / "state")
    _, image = next(iter(read_images(folder / "set")))
    assert curate(config(made, folder, "do=gallery")) == 0
    shutil.copytree(folder / "set", folder / "set.old")  # of an export that was killed

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            curate(config(made, folder, "do=forget", f"forget.sha256={image.sha256}"))
    assert list(folder.rglob(f"{image.sha256}*"))
    assert curate(config(made, folder, "do=forget", f"forget.sha256={image.sha256}")) == 0
    assert not list(folder.rglob(f"{image.sha256}*"))


@pytest.mark.slow
def test_target_images_that_could_not_be_read_are_told_and_read_again(made, curated, tmp_path, capsys):
    folder = shutil.copytree(curated, tmp_path / "state")
    with State(folder) as state, state.transaction():
        state.write(
            "UPDATE reference SET reason = 'its decoder died', content = NULL, thumbnail = NULL WHERE split = 'test'"
        )
    assert curate(config(made, folder)) == 0
    assert (
        "45 test images could not be read, so no copies of them were looked for: its decoder died"
        in capsys.readouterr().out
    )
    assert bytes_of(folder) != bytes_of(curated)
    assert curate(config(made, folder, "do=retry", "errors=[died]")) == 0
    assert bytes_of(folder) == bytes_of(curated)


def test_a_random_control_shares_no_class_with_the_neighbors(made, curated, tmp_path, capsys):
    """Of a pool that has hardly more than the neighbors: what is left is fewer than wanted, and that is said."""
    pool = shutil.copytree(made / "pool", tmp_path / "pool")
    shutil.copytree(next(pool.iterdir()), pool / "zebra")
    given = [word for word in words(made, tmp_path / "state") if not word.startswith(("proposer", "source.root"))]
    given += ["proposer=random", "proposer.within=true", f"source.root={pool}"]
    found = []
    for without in (curated / "set", "null"):
        for do in ("targets", "neighbors"):
            config = configure_command("curate", *given, f"proposer.without={without}", f"do={do}")
            assert curate(config) == 0
        with State(tmp_path / "state") as state:
            names = [name for (name,) in state.rows("SELECT name FROM sought WHERE used")]
            found.append((names, state.setting("proposed_note")))
    (first, note), (every, other) = found
    assert (first, len(every)) == (["zebra"], 10)
    assert note.endswith(f"at random of what the pool has, less targets and less the 9 classes of {curated.name}")
    assert other.endswith("at random of what the pool has, less targets")
    assert "fewer classes than wanted: 1 of " in capsys.readouterr().out


@pytest.mark.slow
def test_random_classes(made, tmp_path):
    """The control RD: those of the source that are no targets, without pairs."""
    target, pool = load_target(configure(*SMALL).target), shutil.copytree(made / "pool", tmp_path / "pool")
    names = [entry["name"] for entry in json.loads((target.place.root / "classes.json").read_text())["aux_random"]]
    for name in (*names, target.classes.names[0]):
        folder = name.replace(" ", "_")
        shutil.copytree(target.place.root / "images" / folder, pool / folder)
    given = [word for word in words(made, tmp_path / "state") if not word.startswith(("proposer", "source.root"))]
    drawn = ("proposer=random", "proposer.within=true", f"source.root={pool}")
    command = begin(tmp_path / "log", *given, *drawn)
    assert command.status() == 0, command.said
    stored = read_set(tmp_path / "state" / "set")
    assert {made.name for made in stored.classes} >= set(names)
    assert (stored.header.classes, stored.header.pairs) == (18, 0)
    with sqlite3.connect(tmp_path / "state" / "state.sqlite") as state:
        assert list(state.execute("SELECT name, reason FROM refused")) == [(target.classes.names[0], "target")]
    state.close()
    (train_by,) = (line for line in command.said.splitlines() if line.startswith("train on it by: "))
    run = configure(*SMALL, "component=random", *train_by.removeprefix("train on it by: ").split())
    training = build_training_set(run.auxiliary, load_target(run.target), seed=0)
    assert len(training.auxiliary_names) == 18
    assert training.relation.neighbor.size == 0


@pytest.mark.slow
def test_images_by_their_captions(made, tmp_path):
    names = sorted(folder.name for folder in (made / "pool").iterdir())
    spoken = [name.replace("_", " ") for name in names]
    says = ("A {}, in the rain", "TWO {}S", "<b>{}</b>&nbsp;of my aunt", "IMG_0007 {}.jpg")
    right = {
        f"{name}/{number:04}.png": says[number % len(says)].format(spoken[place])
        for place, name in enumerate(names)
        for number in range(1, 11)
    }
    (leak,) = (made / "pool").rglob("leak.jpg")
    one, (first, _, last) = spoken[0], spoken[0].partition(" ")
    wrong = {
        f"{names[0]}/0011.png": "a lamp",
        f"{names[0]}/0012.png": f"{first}; {last}",
        f"{names[0]}/gone.png": f"a {one}",
        "../outside.png": f"a {one}",
        str(leak.relative_to(made / "pool")): f"a {one}",
    }
    rows = [
        *({"path": path, "text": caption, "author": "A. Person"} for path, caption in {**right, **wrong}.items()),
        {"url": "http://127.0.0.1/1.jpg", "text": f"a {one}"},
        {"path": f"{names[0]}/0013.png", "text": f"a {one}", "punsafe": 0.9},
    ]
    table = tmp_path / "captions.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "state"
    given = [word for word in words(made, folder) if not word.startswith("source")]
    of = ("source=captions", f"source.files=[{table}]", f"source.root={made / 'pool'}")
    nobody = begin(tmp_path / "log", *given, *of, "download.contact=null")
    assert (nobody.status(), "download.contact" in nobody.said) == (2, True)
    assert "rows left out, marked as unsafe: 1" in nobody.said
    of = (*of, "download.contact=somebody@example.org")
    command = begin(tmp_path / "log", *given, *of)
    assert command.status() == 0, command.said
    kept = {image.sha256: image for _, image in read_images(folder / "set")}
    assert set(kept) == {hashlib.sha256((made / "pool" / path).read_bytes()).hexdigest() for path in right}
    assert {image.creator for image in kept.values()} == {"A. Person"}
    assert {image.caption for image in kept.values()} == set(right.values())
    dropped = [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]
    because = {Path(line["place"]).name: line["because"] or line["reason"] for line in dropped}
    assert because.pop("1.jpg").startswith("address: ")
    assert because == {
        "0012.png": "caption",
        "gone.png": "No such file or directory",
        "outside.png": "outside of the folder of images",
        "leak.jpg": load_target(configure(*SMALL).target).test.path(0),
    }
    before = bytes_of(folder)
    assert begin(tmp_path / "log", *given, *of).status() == 0
    assert bytes_of(folder) == before


def test_what_a_kill_left_of_a_set_is_removed(made, curated, tmp_path):
    folder = shutil.copytree(curated, tmp_path / "state")
    (folder / "set.new.of_a_start_that_was_killed").mkdir()
    assert curate(config(made, folder, "do=export")) == 0
    assert not list(folder.glob("set.*"))


@pytest.mark.slow
def test_images_of_target_classes_are_collected_too(made, tmp_path, capsys):
    """Of a pool that is the world itself: all of its training and test images are copies."""
    target = load_target(configure(*SMALL).target)
    source = f"source.root={target.place.root / 'images'}"
    folder = tmp_path / "state"
    assert curate(config(made, folder, source, "what=target", "extra_shots=[few]")) == 0
    listed = (folder / "target_extra" / "extra.txt").read_text().splitlines()
    labels = {int(line.rpartition(" ")[2]) for line in listed}
    assert labels == {label for label, shot in enumerate(target.classes.shots) if str(shot) == "few"}
    told = capsys.readouterr().out.partition("train on further target images by: ")[2].splitlines()[0]
    run = configure(*SMALL, *shlex.split(told))
    training = build_training_set(run.auxiliary, load_target(run.target), seed=0)
    trained = {(target.place.images.path / path).read_bytes() for path in target.train.paths()}
    assert not trained & {Path(line.rpartition(" ")[0]).read_bytes() for line in listed}
    assert training.relation.neighbor.size == 0
    assert not (folder / "set").exists()


@pytest.mark.slow
def test_what_is_forgotten_is_gone_and_stays_gone(made, curated, tmp_path, capsys):
    folder = shutil.copytree(curated, tmp_path / "state")
    _, image = next(iter(read_images(folder / "set")))
    before = {found.sha256 for _, found in read_images(folder / "set")}
    assert curate(config(made, folder, "filter.gamma_low=0.99", "do=forget", f"forget.sha256={image.sha256}")) == 0
    assert {found.sha256 for _, found in read_images(folder / "set")} == before - {image.sha256}  # by no other filter
    assert not list(folder.rglob(f"{image.sha256}*"))
    assert curate(config(made, folder, "do=retry")) == 0
    assert image.sha256 not in {found.sha256 for _, found in read_images(folder / "set")}
    pool = shutil.copytree(made / "pool", tmp_path / "pool")  # another source, which offers it again
    assert curate(config(made, folder, f"source.root={pool}")) == 0
    assert read_set(folder / "set").header.images > 0
    assert not list(folder.rglob(f"{image.sha256}*"))
    assert curate(config(made, folder, "do=verify")) == 0
    assert "unreadable, 1: not an image of a known format" in capsys.readouterr().out


def test_a_changed_image_is_found(made, curated, tmp_path, capsys):
    folder = shutil.copytree(curated, tmp_path / "state")
    _, image = next(iter(read_images(folder / "set")))
    (folder / "images" / image.path).write_bytes(b"other")
    assert curate(config(made, folder, "do=verify")) == INCOMPLETE
    assert image.path in capsys.readouterr().out


@pytest.mark.slow
def test_another_target_needs_another_folder(made, curated, tmp_path):
    folder = shutil.copytree(curated, tmp_path / "state")
    with pytest.raises(RunError, match="another"):
        curate(config(made, folder, "target.world.test_per_class=6"))


def test_a_second_process_is_kept_out_and_may_ask_how_far_it_is(made, curated, tmp_path, capsys):
    folder = shutil.copytree(curated, tmp_path / "state")
    with command._alone(folder):
        with pytest.raises(RunError, match="another process"):
            curate(config(made, folder))
        assert curate(config(made, folder, "do=status")) == 0
    assert "copy_of_test" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="none in"):
        curate(config(made, tmp_path / "nowhere", "do=status"))


@pytest.mark.parametrize("do", ["neighbors", "images", "copies", "selection", "export", "retry", "forget"])
def test_no_stage_goes_on_with_another_target(made, curated, tmp_path, do):
    folder = shutil.copytree(curated, tmp_path / "state")
    (image, *_) = (image for _, image in read_images(folder / "set"))
    more = (f"forget.sha256={image.sha256}",) if do == "forget" else ()
    before = bytes_of(folder)
    with pytest.raises(RunError, match=r"the target whose curation is in [^\n]*\n.*another target\.samples_per_class"):
        curate(config(made, folder, "target.samples_per_class=3", f"do={do}", *more))
    if do == "forget":  # which is never refused
        assert image.sha256 not in "".join(str(file) for file in folder.rglob("*"))
    else:
        assert bytes_of(folder) == before


def test_targets_that_have_no_neighbor_are_told(made, curated, tmp_path, capsys):
    folder = shutil.copytree(curated, tmp_path / "state")
    names = json.loads((made / "neighbors.json").read_text())
    first, *others = names
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps({name: names[name] for name in others}))
    assert curate(config(made, folder, "do=neighbors", f"proposer.file={fewer}")) == 0
    curate(config(made, folder, "do=status"))
    assert "without a neighbor: 1 target classes: " in capsys.readouterr().out
    (told,) = json.loads((folder / "status.json").read_text())["without_neighbors"]
    assert told.endswith(f"({first})")
    curate(config(made, folder, "do=status", "what=target"))
    assert "without a neighbor" not in capsys.readouterr().out


def test_a_source_that_has_none_of_the_classes_ends_it_before_hours_of_features(made, tmp_path, capsys, monkeypatch):
    other = shutil.copytree(made / "pool" / next(p.name for p in (made / "pool").iterdir()), tmp_path / "pool" / "xyz")
    monkeypatch.setattr(command.features, "compute", None)
    assert curate(config(made, tmp_path / "state", f"source.root={other.parent}")) == NOTHING
    told = capsys.readouterr().out
    assert "no image of these classes was found" in told
    assert "4/8" not in told


@pytest.mark.parametrize("do", ["retry", "verify", "forget"])
def test_what_looks_after_a_curation_wants_one(made, tmp_path, do):
    more = ["forget.creator=somebody"] if do == "forget" else []
    with pytest.raises(ConfigError, match="none in"):
        curate(config(made, tmp_path / "misspelled", f"do={do}", *more))
    assert not (tmp_path / "misspelled").exists()


def test_a_stage_wants_those_before_it(made, tmp_path):
    with pytest.raises(ConfigError, match="never begun: targets"):
        curate(config(made, tmp_path, "do=neighbors"))
    assert curate(config(made, tmp_path, "do=targets")) == 0
    with pytest.raises(ConfigError, match="never begun: neighbors, candidates"):
        curate(config(made, tmp_path, "do=images"))


@pytest.mark.slow
def test_shards_that_are_merged_are_the_set_of_one_machine(made, curated, tmp_path, capsys):
    folder = tmp_path / "state"
    with pytest.raises(RunError, match="no state in"):
        curate(config(made, folder, "do=merge", "shards=3"))
    shards_of(made, folder)
    assert "shard 2 of 3 is done" in capsys.readouterr().out
    with State(folder_of(folder, 0, 3)) as state:
        assert 0 < state.one("SELECT count(DISTINCT key) FROM candidate") < 9
    assert curate(config(made, folder, "do=merge", "shards=3")) == 0
    assert bytes_of(folder) == bytes_of(curated)
    assert curate(config(made, folder)) == 0
    assert curate(config(made, folder, "do=merge", "shards=3")) == 0
    assert bytes_of(folder) == bytes_of(curated)


def test_retry_wants_reasons_that_there_are(made, curated, tmp_path):
    folder = shutil.copytree(curated, tmp_path / "state")
    with pytest.raises(ConfigError, match="not an image"):
        curate(config(made, folder, "do=retry", "errors=[timeout]"))


@pytest.mark.slow
def test_a_signal_ends_it_after_a_transaction_and_it_goes_on(made, curated, tmp_path, monkeypatch, capsys):
    seen = []
    whole = images_stage.prepare

    def prepare(*args, **kwargs):
        seen.append(1)
        if len(seen) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(*args, **kwargs)

    monkeypatch.setattr(images_stage, "prepare", prepare)
    with pytest.raises(Stopped) as stopped:
        curate(config(made, tmp_path / "state"))
    assert stopped.value.code == 130
    assert "stopped in images: the same command goes on" in capsys.readouterr().out
    assert curate(config(made, tmp_path / "state")) == 0
    assert len(seen) == 9 * 20 + 5 + 1 - 1
    assert bytes_of(tmp_path / "state") == bytes_of(curated)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: other threads wait
def test_killed_at_fifty_moments(made, curated, tmp_path):
    """And begun again each time, until it ends by itself, again and again: always the same bytes."""
    moments, kills, folder = random.Random(0), 0, 0
    while kills < 50:
        child = os.fork()
        if child == 0:
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.02, 1.2))  # which ends it as SIGKILL does
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                os._exit(curate(config(made, tmp_path / str(folder))))
        moments.random()  # as the child has
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGALRM
            kills += 1
        else:
            assert os.WEXITSTATUS(status) == 0
            assert bytes_of(tmp_path / str(folder)) == bytes_of(curated)
            folder += 1
    assert curate(config(made, tmp_path / str(folder))) == 0
    assert bytes_of(tmp_path / str(folder)) == bytes_of(curated)


@pytest.mark.slow
def test_the_exit_status_of_a_mistake_is_2_and_of_a_folder_in_use_3(made, curated, tmp_path, monkeypatch):
    folder = shutil.copytree(curated, tmp_path / "state")
    monkeypatch.chdir(tmp_path)

    def run(*more: str) -> tuple[int, str]:
        begun = begin(tmp_path / "log", *words(made, folder, *more))
        return begun.status(), begun.said

    for more, status in ((("do=everything",), 2), (("filter.gamma_lo=1",), 2), ((), 0), (("do=status",), 0)):
        ended, said = run(*more)
        assert (ended, "Traceback" in said) == (status, False), said
    with command._alone(folder):
        ended, said = run()
        assert (ended, "another process" in said) == (3, True)
    assert not (tmp_path / "outputs").exists()
