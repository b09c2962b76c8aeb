"""Somebody's set by its manifest: the same bytes, or an account of what is lost."""

import hashlib
import json
import shutil

import hydra
import numpy as np
import pytest
from loopback import serving
from PIL import Image
from pool import WORLD

from conftest import SMALL
from lt_extrap.compose import configure, from_hydra
from lt_extrap.config.curate import CurateConfig
from lt_extrap.config.curate_download import Download
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.stages.images import prepare
from lt_extrap.data.stored.reader import read_images, read_set
from lt_extrap.data.stored.schema import ClassRecord, Fate, ImageRecord, PairRecord, Provenance
from lt_extrap.data.stored.verifier import verify
from lt_extrap.data.stored.writer import write_set
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.paths import conf_dir

EACH = 4


@pytest.fixture(scope="module")
def target():
    return configure(*SMALL).target


@pytest.fixture
def server(tmp_path):
    folder, draw = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for number in range(3 * EACH):
        kind, size = ("png", 40) if number % 2 else ("jpg", 90)
        said = Image.Exif()
        said[0x010E] = "taken at home"
        options = {"exif": said} if number in (2, 3) else {}
        Image.fromarray(draw.integers(0, 255, (size, size, 3), np.uint8)).save(
            folder / f"{number:02}.{kind}", **options
        )
    with serving(folder) as server:
        yield server


@pytest.fixture
def given(tmp_path, server, target, cache):
    """A set of three classes as a curation of this server would write it, without its images."""
    return set_of(tmp_path, server, target, longest_edge=64)


def set_of(tmp_path, server, target, longest_edge):
    table, records = load_target(target).classes, []
    for number, file in enumerate(sorted(server.folder.iterdir())):
        url = f"{server.address}/{file.name}"
        found = prepare(url, read=lambda place, file=file: file.read_bytes(), longest_edge=longest_edge)
        (tmp_path / "images" / found.name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / found.name).write_bytes(found.content)
        original = found.original if found.original != found.sha256 else None
        records.append(
            ImageRecord(
                found.name, number // EACH, found.sha256, found.width, found.height, url=url, original_sha256=original
            )
        )
    write_set(
        tmp_path / "given",
        target="embedded",
        table=table,
        classes=[ClassRecord(aux, f"class {aux}") for aux in range(3)],
        pairs=[PairRecord(table.ids[0], table.names[0], aux, aux + 1) for aux in range(3)],
        images=sorted(records, key=lambda record: (record.aux, record.path)),
        copy_from=tmp_path / "images",
        provenance=Provenance({"proposer": "file"}, [Fate("kept", None, "few", 12)], {}, {}, [], []),
    )
    shutil.copytree(tmp_path / "given", tmp_path / "whole")
    for _, record in read_images(tmp_path / "given"):
        (tmp_path / "given" / record.path).unlink()
    return tmp_path / "given"


def restored(target, given, folder, server) -> int:
    download = Download(contact="somebody@example.org", rate=100000.0, per_host=8, retries=0, connect_seconds=20.0)
    config = CurateConfig(
        do="restore", restore=str(given), folder=str(folder), target=target, download=download, workers=0
    )
    return curate(config, downloader=server.downloader)


def bytes_of(folder) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_all_that_is_still_there_is_the_same_set(tmp_path, server, target, given):
    assert restored(target, given, tmp_path / "new", server) == 0
    assert bytes_of(tmp_path / "new" / "set") == bytes_of(tmp_path / "whole")
    assert len(server.asked) == 3 * EACH
    assert restored(target, given, tmp_path / "new", server) == 0  # and nothing is asked for again
    assert len(server.asked) == 3 * EACH


@pytest.mark.parametrize("longest_edge", [512, None])
def test_an_image_that_was_only_rid_of_metadata_is_no_limit_to_the_size_of_others(
    tmp_path, server, target, cache, longest_edge
):
    given = set_of(tmp_path, server, target, longest_edge)
    assert restored(target, given, tmp_path / "new", server) == 0
    assert bytes_of(tmp_path / "new" / "set") == bytes_of(tmp_path / "whole")


def test_a_set_whose_images_had_metadata_is_restored_without(tmp_path, server, target, cache, capsys):
    given = set_of(tmp_path, server, target, 512)
    manifest = given / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["sha256"], line["original_sha256"] = line["original_sha256"] or line["sha256"], None
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert restored(target, given, tmp_path / "new", server) == 0
    assert "2 images are the same pictures in other bytes" in capsys.readouterr().out
    found = []
    verify(tmp_path / "new" / "set", found.append, hashes=True)
    assert found == []
    assert not any(b"taken at home" in file.read_bytes() for file in (tmp_path / "new" / "set").rglob("*.*"))
    made_of = {image.original_sha256 for _, image in read_images(tmp_path / "new" / "set")} - {None}
    assert made_of <= {hashlib.sha256(file.read_bytes()).hexdigest() for file in server.folder.iterdir()}
    assert len(made_of) == 2


def test_what_is_lost_is_told_by_its_reason_and_the_rest_is_a_set(tmp_path, server, target, given, capsys):
    server.status |= {"00.jpg": 404, "01.png": 404, "05.png": 503}
    shutil.copy(server.folder / "06.jpg", server.folder / "02.jpg")
    shutil.copy(server.folder / "07.png", server.folder / "03.png")
    (server.folder / "04.jpg").write_text("<html>gone")
    assert restored(target, given, tmp_path / "new", server) == 3
    said = capsys.readouterr().out
    assert "restored: 6 of 12 images\nlost: 2 " in said
    assert "1 of 3 classes have no image left: class 0" in said
    lines = [json.loads(line) for line in (tmp_path / "new" / "lost.jsonl").read_text().splitlines()]
    assert {line["url"].rpartition("/")[2]: line["reason"].partition(":")[0] for line in lines} == {
        "00.jpg": "http_404",
        "01.png": "http_404",
        "02.jpg": "changed",
        "03.png": "changed",
        "04.jpg": "not_image",
        "05.png": "http_5xx",
    }
    found = []
    stored = verify(tmp_path / "new" / "set", found.append, hashes=True)
    assert (found, [made.name for made in stored.classes]) == ([], ["class 1", "class 2"])
    assert [(pair.aux, pair.rank) for pair in stored.pairs] == [(0, 1), (1, 2)]
    assert "12 images; 6 are lost: " in (tmp_path / "new" / "set" / "README.md").read_text()
    server.status.clear()
    server.asked.clear()
    assert restored(target, given, tmp_path / "new", server) == 3
    assert sorted(server.asked) == ["00.jpg", "01.png", "02.jpg", "03.png", "04.jpg", "05.png"]
    stored = read_set(tmp_path / "new" / "set")
    assert (stored.header.images, stored.header.classes) == (9, 3)


@pytest.mark.slow
def test_a_set_that_lacks_a_whole_class_is_trained_on(tmp_path, server, target, given):
    server.status |= {f"{number:02}.{'png' if number % 2 else 'jpg'}": 404 for number in range(EACH)}
    assert restored(target, given, tmp_path / "new", server) == 3
    words = [f"target.neighbors.folder={tmp_path / 'new' / 'set'}"]
    words += [f"target.neighbors.{key}=null" for key in ("train", "names", "pairs")]
    run = configure(*SMALL, "component=silencing", *words)
    training = build_training_set(run.auxiliary, load_target(run.target), seed=0)
    assert len(training.auxiliary_names) == 2


def test_images_that_another_encoder_made_smaller_are_the_same_pictures(tmp_path, server, target, given, capsys):
    manifest = given / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        if line["original_sha256"]:
            line["sha256"] = "0" * 64
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert restored(target, given, tmp_path / "new", server) == 0
    assert "7 images are the same pictures in other bytes" in capsys.readouterr().out
    whole = bytes_of(tmp_path / "new")
    server.asked.clear()
    assert restored(target, given, tmp_path / "new", server) == 0
    assert server.asked == []  # what is there is known by its own hash
    for file in sorted((tmp_path / "new" / "images").rglob("*.*"))[:3]:  # damaged since, in other bytes or not
        file.write_bytes(file.read_bytes()[:200])
    assert restored(target, given, tmp_path / "new", server) == 0
    assert len(server.asked) == 3
    (tmp_path / "new" / "stored.jsonl").write_text("")
    assert {**bytes_of(tmp_path / "new"), "stored.jsonl": whole["stored.jsonl"]} == whole
    found = []
    verify(tmp_path / "new" / "set", found.append, hashes=True)
    assert found == []


def test_images_without_an_address_or_a_hash_are_lost(tmp_path, server, target, given):
    manifest = given / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[0]["url"], lines[1]["sha256"] = None, None
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert restored(target, given, tmp_path / "new", server) == 3
    lost = [json.loads(line)["reason"] for line in (tmp_path / "new" / "lost.jsonl").read_text().splitlines()]
    assert [reason.partition(":")[0] for reason in lost] == ["no_url", "no_sha256"]


def test_the_words_of_the_command_are_few(given):
    words = ["target=embedded", *WORLD, "do=restore", f"restore={given}", "folder=new"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        found = from_hydra(hydra.compose("curate", words))
    assert found.restore == str(given)


def test_nothing_left_is_no_set(tmp_path, server, target, given):
    for file in server.folder.iterdir():
        file.unlink()
    assert restored(target, given, tmp_path / "new", server) == 4
    assert not (tmp_path / "new" / "set").exists()


def test_a_set_of_another_target_and_a_folder_of_a_curation_are_refused(tmp_path, server, target, given):
    pairs = (given / "pairs.jsonl").read_text().replace('"target_name": "', '"target_name": "another ')
    (given / "pairs.jsonl").write_text(pairs)
    with pytest.raises(DataError, match="choose the target="):
        restored(target, given, tmp_path / "new", server)
    (tmp_path / "new" / "state.sqlite").touch()
    with pytest.raises(ConfigError, match="without a curation"):
        restored(target, given, tmp_path / "new", server)
