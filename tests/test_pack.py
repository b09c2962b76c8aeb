"""Packed targets: the command that makes them, and what trains, evaluates, predicts and checks on them."""

import dataclasses
import io
import json
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image

from command import run
from conftest import SMALL
from lt_extrap.auxiliary_set import AuxiliarySetConfig, check_set, convert
from lt_extrap.check import CheckConfig, check_data
from lt_extrap.checkpoints import Stopped
from lt_extrap.compose import configure
from lt_extrap.config import FolderTarget, TrainConfig
from lt_extrap.data import facts
from lt_extrap.data.store import open_store
from lt_extrap.data.store.index import INDEX
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.export import ExportConfig, export
from lt_extrap.pack import PackConfig, main, pack, verify
from lt_extrap.plan import plan
from lt_extrap.predict import PredictConfig, predict
from lt_extrap.train import train
from test_resume import assert_same_run, stop_at

LISTS = (
    *(override for override in SMALL if not override.startswith("target.world")),
    "component=silencing",
    "target=lists",
    "target.train=lists/target_train.txt",
    "target.val=lists/target_val.txt",
    "target.test=lists/target_test.txt",
    "target.names=classes.json:target",
    "target.neighbors.train=lists/aux_neighbor_train.txt",
    "target.neighbors.names=classes.json:aux_neighbor",
    "target.neighbors.pairs=neighbor_ranks.json",
)


@pytest.fixture
def world(small) -> Path:
    """The folder of the small world."""
    return load_target(small().target).place.root


def lists(world: Path, *overrides: str) -> TrainConfig:
    """The small world as lists, whose images may lie elsewhere."""
    return configure(*LISTS, f"target.root={world}", *overrides)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, cache) -> Path:
    """The images of the small world, packed."""
    folder = tmp_path_factory.mktemp("packed") / "world"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        pack(PackConfig(folder=str(folder), target=configure(*SMALL).target, shard_megabytes=1, workers=0))
    return folder


@pytest.mark.slow
def test_a_packed_target_trains_as_its_folder_does(world, shards, tmp_path, monkeypatch):
    train(lists(world), tmp_path / "straight")
    stop_at(monkeypatch, 5)
    with pytest.raises(Stopped):
        train(lists(world, f"target.images={shards}", "data.workers=2"), tmp_path / "run")
    train(lists(world), tmp_path / "run")  # where the images lie is no part of what a run is
    assert_same_run(tmp_path / "straight", tmp_path / "run")


@pytest.mark.slow
def test_a_run_does_not_go_on_with_images_of_another_size(world, shards, tmp_path, monkeypatch):
    """Nor does what has ended return the results of originals for those of smaller copies."""
    small = tmp_path / "small"
    pack(PackConfig(folder=str(small), target=lists(world).target, longest_edge=16, workers=0))
    assert [open_store(folder).longest_edges for folder in (world, shards, small)] == [{None}, {None}, {16}]
    stop_at(monkeypatch, 3)
    with pytest.raises(Stopped):
        train(lists(world), tmp_path / "run")
    for _ in ("stopped", "ended"):
        with pytest.raises(RunError, match=r"the longest edge .* was none, now 16"):
            train(lists(world, f"target.images={small}"), tmp_path / "run")
        train(lists(world, f"target.images={shards}"), tmp_path / "run")


@pytest.mark.slow
def test_a_run_on_packed_images_is_measured_predicts_and_is_exported(world, shards, tmp_path):
    train(lists(world, f"target.images={shards}"), tmp_path / "run")
    packed = evaluate(EvaluateConfig(run=str(tmp_path / "run"), workers=2, trainer={"accelerator": "cpu"}))
    assert packed["test"] == json.loads((tmp_path / "run" / "results.json").read_text())["test"]
    done = export(ExportConfig(run=str(tmp_path / "run"), format="safetensors"))
    assert (done.images, done.difference) == (32, 0)
    rows = []
    for number, source in enumerate((world, shards, f"file://{shards}")):
        output = tmp_path / str(number)
        predict(PredictConfig(run=str(tmp_path / "run"), images=str(source), output=str(output), workers=0))
        rows.append(output.with_suffix(".jsonl").read_text())
    assert rows[0] == rows[1] == rows[2] != ""


@pytest.mark.slow
def test_resident_images_may_be_packed(world, shards, tmp_path):
    train(lists(world), tmp_path / "straight")
    train(lists(world, f"target.images=file://{shards}", "data.resident=true", "data.workers=2"), tmp_path / "run")
    assert_same_run(tmp_path / "straight", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("url", ["", pytest.param("file://", marks=pytest.mark.slow)])
def test_an_auxiliary_set_may_lie_in_a_packed_folder_of_its_own(world, shards, tmp_path, url):
    convert(AuxiliarySetConfig(do="convert", folder=str(tmp_path / "set"), target=lists(world).target, copy=True))
    pack(PackConfig(folder=str(tmp_path / "packed"), images=str(tmp_path / "set"), workers=0))
    shutil.rmtree(tmp_path / "set" / "images")
    cleared = [f"target.neighbors.{key}=null" for key in ("train", "names", "pairs")]
    config = lists(
        world,
        f"target.images={url}{shards}",
        f"target.neighbors.folder={tmp_path / 'set'}",
        f"target.neighbors.images={url}{tmp_path / 'packed'}",
        *cleared,
    )
    training, plain = (
        build_training_set(one.auxiliary, load_target(one.target), seed=0) for one in (config, lists(world))
    )
    assert len(training.index) == len(plain.index)
    # The set is by class and path, the list as it was written.
    read, expected = (
        sorted((one.images.read(path), label) for path, label in zip(one.index.paths(), one.index.labels, strict=True))
        for one in (training, plain)
    )
    assert read == expected
    found = plan(config)
    assert next(line for line in found.there if "images" in line) == f"{len(plain.index):,} training images"
    with pytest.raises(ConfigError, match="a folder of files"):
        check_set(AuxiliarySetConfig(do="verify", folder=str(tmp_path / "set"), images=str(tmp_path / "packed")))


@pytest.mark.slow
def test_a_packed_target_is_checked_as_its_folder_is(world, shards, tmp_path, monkeypatch):
    def findings(number, *overrides):
        config = lists(world, "component=baseline", *overrides)
        output = str(tmp_path / str(number))
        check_data(CheckConfig(config.target, config.auxiliary, output, workers=2))
        said = [(tmp_path / str(number) / name).read_text() for name in ("check.txt", "check.json")]
        return [text.replace(output, "").replace(str(shards), str(world)) for text in said]

    expected, packed = findings(0), findings(1, f"target.images={shards}")
    assert packed == expected
    monkeypatch.setattr(facts, "look", lambda *_: pytest.fail("looked again"))
    assert findings(2, f"target.images={shards}") == expected
    with pytest.raises(ConfigError, match="a request an image"):
        findings(3, f"target.images=file://{world}")


def test_images_that_are_not_packed_are_named(world, tmp_path):
    paths = load_target(lists(world).target).test
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in list(paths.paths())[1:]))
    images = {"images": str(tmp_path / "list.txt"), "root": str(world)}
    pack(PackConfig(folder=str(tmp_path / "packed"), workers=0, **images))
    with pytest.raises(DataError) as error:
        load_target(lists(world, f"target.images={tmp_path / 'packed'}").target)
    assert paths.path(0) in error.value.found or "not there" in error.value.found
    assert f"{tmp_path / 'packed'} has {len(paths) - 1} images" in error.value.found
    with pytest.raises(DataError, match="no folder"):
        load_target(lists(world, f"target.images={tmp_path / 'nowhere'}").target)


def test_missing_images_of_a_target_are_refused_or_left_out(world, tmp_path, capsys):
    shutil.copytree(world, tmp_path / "world")
    target = lists(tmp_path / "world").target
    gone = load_target(target).train.path(3)
    (tmp_path / "world" / gone).unlink()
    config = PackConfig(folder=str(tmp_path / "packed"), target=target, workers=0)
    with pytest.raises(DataError, match=f"1 are not there: {gone}"):
        pack(config)
    assert not (tmp_path / "packed").exists()
    index = pack(dataclasses.replace(config, on_unreadable="skip"))
    assert index.reasons == {gone: "No such file or directory"}
    said = capsys.readouterr().out
    assert "1 left out" in said
    assert f"left out: {gone} (No such file or directory)" in said


def test_the_lists_of_a_folder_of_classes_are_kept(tmp_path, capsys):
    for number in range(12):
        file = tmp_path / "mine" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    (tmp_path / "exclude.txt").write_text("a/0.png\n")
    exclude = str(tmp_path / "exclude.txt")
    target = FolderTarget(root=str(tmp_path / "mine"), folder="mine", exclude=exclude, samples_per_class=3)
    before = load_target(target)
    pack(PackConfig(folder=str(tmp_path / "packed"), target=target, workers=0))
    with pytest.raises(RunError, match="another target.split_seed"):
        pack(PackConfig(folder=str(tmp_path / "packed"), target=dataclasses.replace(target, split_seed=1), workers=0))
    shutil.rmtree(tmp_path / "mine")
    (words,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train on it by: ")]
    after = load_target(configure("component=baseline", "backbone=convnet", *words.split()[4:]).target)
    for split in ("train", "val", "test"):
        assert list(getattr(after, split).paths()) == list(getattr(before, split).paths())
    assert after.classes.names == before.classes.names
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="which is packed"):
        load_target(dataclasses.replace(target, images=str(tmp_path / "packed")))


@pytest.mark.slow
def test_what_is_printed_trains_from_an_archive_and_from_odd_names(world, tmp_path, capsys):
    shutil.copytree(world, tmp_path / "world")
    with tarfile.open(tmp_path / "world" / "images.tar", "w") as archive:
        archive.add(tmp_path / "world" / "images", "images")
    overrides = (*LISTS, f"target.root={tmp_path / 'world'}")
    folder = tmp_path / "gepackt (512), für $1"
    pack(PackConfig(folder=str(folder), target=configure(*overrides, "target.archive=images.tar").target, workers=0))
    words = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("train on it by: "))
    target = configure(*overrides, "target.archive=images.tar", *words).target
    assert load_target(target).place.images == open_store(folder)


def test_a_packed_folder_that_lost_a_shard_is_not_finished(shards, tmp_path):
    folder = Path(shutil.copytree(shards, tmp_path / "packed"))
    with (folder / "shard-000000.tar").open("r+b") as shard:
        shard.truncate(512)
    config = PackConfig(folder=str(folder), target=configure(*SMALL).target, shard_megabytes=1, workers=0)
    with pytest.raises(DataError, match="512 bytes of") as error:
        pack(config)
    assert "remove its images.index" in error.value.remedy
    (folder / INDEX).unlink()
    pack(config)
    verify(folder)


def test_a_packed_folder_is_verified(shards, tmp_path, capsys):
    index = verify(shards)
    assert capsys.readouterr().out.startswith(f"nothing is wrong with {shards}: {len(index):,} images in ")
    shutil.copytree(shards, tmp_path / "copy")
    for file in ("shard-000000.tar", INDEX):
        content = bytearray((tmp_path / "copy" / file).read_bytes())
        content[-2000] ^= 1
        (tmp_path / "copy" / file).write_bytes(content)
    with pytest.raises(DataError, match=r"[2-9] faults"):
        verify(tmp_path / "copy")
    assert "images.index: another checksum" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "target or images"),
        ({"images": "x", "target": 1}, "target or images"),
        ({"images": "x", "do": "verify"}, "do"),
        ({"do": "unpack"}, "do"),
        ({"target": 1, "root": "x"}, "root"),
        ({"images": "x", "shard_megabytes": 0}, "shard_megabytes"),
        ({"images": "x", "longest_edge": 0}, "longest_edge"),
        ({"images": "x", "on_unreadable": "keep"}, "on_unreadable"),
        ({"images": "x", "workers": -1}, "workers"),
    ],
)
def test_options_that_mean_nothing(options, key):
    with pytest.raises(ConfigError, match=f"{key} to be"):
        PackConfig(folder="packed", **options)


def words(world: Path, folder: Path) -> tuple[str, ...]:
    return (f"folder={folder}", f"images={world}", "shard_megabytes=1", "workers=2")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.fixture
def photos(tmp_path) -> Path:
    """Some megabytes of noise."""
    rng = random.Random(0)
    for number in range(600):
        file = tmp_path / "photos" / str(number % 7) / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(rng.randbytes(20_000))
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_again_and_again(photos, tmp_path, workers):
    """Later and later, until it gets through."""
    straight, config = (
        PackConfig(folder=str(tmp_path / name), images=str(photos), shard_megabytes=1, workers=workers)
        for name in ("straight", "packed")
    )
    pack(straight)
    kills = 0
    while True:
        process = get_context("fork").Process(target=pack, args=(config,))
        process.start()
        process.join(0.01 * 1.3**kills)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert kills >= 2
    assert process.exitcode == 0
    assert files(tmp_path / "packed") == files(tmp_path / "straight")
    pack(config)
    assert files(tmp_path / "packed") == files(tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are told by /proc")
def test_workers_end_with_a_pack_that_is_killed(photos, tmp_path):
    """Although nobody takes what they have read."""
    line = [sys.executable, "-m", "lt_extrap.pack", *words(photos, tmp_path / "packed")]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    while not (tmp_path / "packed" / "shard-000000.tar.tmp").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGSTOP)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) == 2
    time.sleep(1)  # in which they read as much as a pipe holds, and wait
    process.kill()
    process.wait()
    for _ in range(100):
        left = [worker for worker in workers if _runs(Path("/proc", worker, "stat"))]
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"{left} are left")


def _runs(stat: Path) -> bool:
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_a_full_disk(photos, tmp_path, tmpfs, capsys):
    place = tmpfs("disk", 5000)
    status, said = run(main, *words(photos, place / "packed"), cwd=tmp_path)
    assert status == 1
    assert "Traceback" not in said
    assert all(word in said for word in ("No space left", "the shards that are whole stay")), said
    assert (place / "packed" / "shard-000002.tar").is_file()
    subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
    pack(PackConfig(folder=str(place / "packed"), images=str(photos), shard_megabytes=1, workers=0))
    assert "goes on behind" in capsys.readouterr().out
    store = open_store(place / "packed")
    assert all(store.read(path.decode()) == (photos / path.decode()).read_bytes() for path in store.index.paths())


def test_two_at_once(world, tmp_path):
    config = PackConfig(folder=str(tmp_path / "packed"), images=str(world), workers=0)
    (tmp_path / "packed").mkdir()
    with FileLock(tmp_path / "packed" / ".lock"), pytest.raises(RunError, match="another process"):
        pack(config)
    assert not (tmp_path / "packed" / INDEX).exists()


@pytest.mark.slow
def test_the_command(world, tmp_path):
    folder = f"folder={tmp_path / 'packed'}"
    listed = [override for override in LISTS if override.startswith("target")]
    status, said = run(main, folder, *listed, f"target.root={world}", "longest_edge=16", cwd=tmp_path)
    assert status == 0, said
    assert said.splitlines()[-1] == f"train on it by: target.images={tmp_path / 'packed'}"
    store = open_store(tmp_path / "packed")
    assert Image.open(io.BytesIO(store.read(store.index.path(0)))).size == (16, 16)
    status, said = run(main, folder, "do=verify", cwd=tmp_path)
    assert status == 0, said
    assert said.startswith("nothing is wrong with")
