"""A small CIFAR-100 in its own file format: 100 classes of 6 training and 2 test images, random pixels."""

import hashlib
import json
import pickle
import signal
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR100

from lt_extrap import checkpoints
from lt_extrap.checkpoints import Checkpoints
from lt_extrap.compose import configure
from lt_extrap.config import AdamW, CifarTarget
from lt_extrap.data import cifar
from lt_extrap.data.cifar import choose_classes, image_folder, training_counts, write_images
from lt_extrap.data.lists import read_list
from lt_extrap.data.pairs import read_pairs
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.export import ExportConfig, export
from lt_extrap.model.shots import Shot, shot_of
from lt_extrap.predict import PredictConfig, predict
from lt_extrap.runs import load
from lt_extrap.signals import Stopped
from lt_extrap.train import train

TRAIN, TEST = 6, 2


@pytest.mark.parametrize(
    ("imbalance", "images", "shots"),
    [(100.0, 10_847, (35, 35, 30)), (50.0, 12_608, (41, 41, 18)), (10.0, 19_573, (69, 31, 0)), (1.0, 50_000, None)],
)
def test_the_profile_is_that_of_the_field(imbalance, images, shots):
    counts = training_counts(100, 500, imbalance)
    assert (sum(counts), counts[0], counts[-1]) == (images, 500, 500 / imbalance)
    assert counts == sorted(counts, reverse=True)
    if shots:
        groups = Counter(shot_of(counts))
        assert tuple(groups[shot] for shot in (Shot.MANY, Shot.MEDIUM, Shot.FEW)) == shots


def test_the_profile_of_the_extrapolation_benchmark():
    counts = training_counts(60, 450, 100.0)
    assert (sum(counts), counts[0], counts[-1], min(counts)) == (5_911, 450, 4, 4)
    assert Counter(shot_of(counts)) == {Shot.MANY: 20, Shot.MEDIUM: 20, Shot.FEW: 20}


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """The folder that holds cifar-100-python/."""
    root = tmp_path_factory.mktemp("cifar")
    (root / "cifar-100-python").mkdir()
    rng = np.random.default_rng(0)
    for name, images in (("train", TRAIN), ("test", TEST)):
        fine = rng.permutation(np.repeat(np.arange(100), images)).tolist()
        batch = {
            "data": rng.integers(256, size=(len(fine), 3072), dtype=np.uint8),
            "fine_labels": fine,
            "coarse_labels": [label % 20 for label in fine],
            "filenames": [f"{i}.png" for i in range(len(fine))],
        }
        (root / "cifar-100-python" / name).write_bytes(pickle.dumps(batch))
    names = {
        "fine_label_names": [f"class{i:02d}" for i in range(100)],
        "coarse_label_names": [f"kind{i:02d}" for i in range(20)],
    }
    (root / "cifar-100-python" / "meta").write_bytes(pickle.dumps(names))
    return root


@pytest.fixture(autouse=True)
def _sums_of_the_small_one(monkeypatch, source):
    sums = {
        name: hashlib.md5((source / "cifar-100-python" / name).read_bytes()).hexdigest()
        for name in ("train", "test", "meta")
    }
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": sums["meta"]})


@pytest.fixture
def make(source):
    """Read a target with the lists of conf/target/; the extrapolation benchmark keeps 2 images a class for val."""

    def read(name, **fields):
        lists = {"train": "train.txt", "test": "test.txt", "names": "classes.json:target"}
        if name == "cifar100_extrapolation":
            lists |= {"val": "val.txt", "val_per_class": 2, "auxiliary_per_superclass": 2}
        return load_target(CifarTarget(folder="cifar100", **{"root": str(source), **lists, **fields}))

    return read


def paths(index):
    return [index.path(i) for i in range(len(index))]


def test_the_pixels_are_those_of_the_source(make, source):
    target = make("cifar100_lt")
    batch = pickle.loads((source / "cifar-100-python" / "train").read_bytes())
    for path, label in zip(paths(target.train), target.train.labels, strict=True):
        number = int(Path(path).stem)
        assert batch["fine_labels"][number] == label
        assert path == f"train/class{label:02d}/{number:05d}.png"
        if number % 20 == 0:
            pixels = np.asarray(Image.open(target.place.images.path / path))
            assert np.array_equal(pixels, batch["data"][number].reshape(3, 32, 32).transpose(1, 2, 0))
    assert len(list(target.place.images.path.glob("*/*/*.png"))) == 100 * (TRAIN + TEST)


def test_the_long_tail_of_the_field_has_all_classes_and_all_test_images(make):
    target = make("cifar100_lt", imbalance=3.0)
    assert target.classes.names == tuple(f"class{i:02d}" for i in range(100))
    assert target.classes.ids == tuple(map(str, range(100)))
    assert target.classes.counts.tolist() == training_counts(100, TRAIN, 3.0)
    assert target.val is None
    assert np.bincount(target.test.labels).tolist() == [TEST] * 100
    assert len({*paths(target.train), *paths(target.test)}) == len(target.train) + 100 * TEST


def test_seeds_choose_images_and_a_smaller_imbalance_only_adds_some(make):
    steep, other, flat = (
        set(paths(make("cifar100_lt", imbalance=imbalance, subset_seed=seed).train))
        for imbalance, seed in ((3.0, 0), (3.0, 1), (2.0, 0))
    )
    assert len(steep) == len(other)
    assert steep != other
    assert steep < flat


def test_the_extrapolation_benchmark(make):
    target = make("cifar100_extrapolation", imbalance=2.0)
    lists = target.place.lists
    assert target.classes.counts.tolist() == training_counts(60, TRAIN - 2, 2.0)
    assert np.bincount(target.val.labels).tolist() == [2] * 60
    assert np.bincount(target.test.labels).tolist() == [TEST] * 60
    extra, neighbors = read_list(lists / "extra.txt"), read_list(lists / "neighbors.txt")
    assert np.bincount(neighbors.labels).tolist() == [TRAIN] * 40
    # Every training image of the data set is in one list, and in one only.
    used = [path for index in (target.train, target.val, extra, neighbors) for path in paths(index)]
    assert len(set(used)) == len(used) == 100 * TRAIN
    classes = json.loads((lists / "classes.json").read_text())
    assert Counter(entry["superclass"] for entry in classes["target"]) == {f"kind{i:02d}": 3 for i in range(20)}
    assert [entry["name"] for entry in classes["target"]] != sorted(entry["name"] for entry in classes["target"])
    pairs = read_pairs(lists / "neighbors.json", 60)
    assert pairs.rank is None
    expected = {
        (i, j)
        for i, one in enumerate(classes["target"])
        for j, other in enumerate(classes["auxiliary"])
        if int(one["id"]) % 20 == int(other["id"]) % 20
    }
    assert {tuple(pair) for pair in pairs.pairs.tolist()} == expected
    assert len(expected) == 60 * 2
    of = {"target": (target.train, target.val, target.test, extra), "auxiliary": (neighbors,)}
    for group, indices in of.items():
        for index in indices:
            for path, label in zip(paths(index), index.labels, strict=True):
                assert path.split("/")[1] == classes[group][label]["name"]


def test_the_partition_is_drawn_within_each_superclass():
    superclasses = [f"kind{i % 20:02d}" for i in range(100)]
    drawn = [choose_classes(superclasses, auxiliary, seed) for auxiliary, seed in ((2, 0), (2, 1), (4, 0))]
    for (targets, others), auxiliary in zip(drawn, (2, 2, 4), strict=True):
        assert sorted(targets + others) == list(range(100))
        assert Counter(label % 20 for label in others) == dict.fromkeys(range(20), auxiliary)
    assert set(drawn[0][1]) != set(drawn[1][1])
    assert set(drawn[0][1]) < set(drawn[2][1])
    assert choose_classes(superclasses, 0, 0) == (list(range(100)), [])
    assert choose_classes(superclasses, 2, 0) == drawn[0]


def test_validation_images_stay_when_the_tail_changes(make):
    one, other = (make("cifar100_extrapolation", imbalance=value) for value in (1.0, 4.0))
    assert paths(one.val) == paths(other.val)
    assert set(paths(other.train)) < set(paths(one.train))


def test_a_second_call_does_no_work_and_needs_no_source(make, tmp_path, monkeypatch):
    first = make("cifar100_lt")
    monkeypatch.setattr(cifar, "write_whole_folder", None)
    assert make("cifar100_lt", root=f"{tmp_path}/absent", download=False).place == first.place


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cifar100"


def test_the_archive_alone_is_enough(make, source, tmp_path, empty_cache, monkeypatch):
    with tarfile.open(tmp_path / CIFAR100.filename, "w:gz", compresslevel=1) as tar:
        tar.add(source / "cifar-100-python", "cifar-100-python")
    monkeypatch.setattr(CIFAR100, "tgz_md5", hashlib.md5((tmp_path / CIFAR100.filename).read_bytes()).hexdigest())
    monkeypatch.setattr(cifar, "_fill_images", lambda folder, train, test, superclasses: (folder / "written").touch())
    for download in (True, False):
        folder = image_folder(empty_cache / str(download))
        write_images(folder, tmp_path, download=download)
        assert [file.name for file in folder.iterdir()] == ["written"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("absent", "not there, or damaged"),
        ("cut", "not there, or damaged"),
        ("cut archive", "not there, or damaged"),  # which no download may mend: it was refused
        ("no network", "URLError"),
        ("not a folder", "FileExistsError"),
    ],
)
def test_a_source_that_is_not_whole_is_refused(make, source, tmp_path, empty_cache, monkeypatch, spoil, said):
    root = tmp_path / "root"
    if spoil == "cut":
        (root / "cifar-100-python").mkdir(parents=True)
        for file in (source / "cifar-100-python").iterdir():
            (root / "cifar-100-python" / file.name).write_bytes(file.read_bytes()[:-1])
    if spoil == "cut archive":
        root.mkdir()
        (root / CIFAR100.filename).write_bytes(b"the first half of it")
    if spoil == "not a folder":
        root.write_text("")
    monkeypatch.setattr(CIFAR100, "url", f"http://127.0.0.1:1/{CIFAR100.filename}")  # nobody listens there
    with pytest.raises(DataError) as error:
        make("cifar100_lt", root=str(root), download=spoil in ("no network", "not a folder"))
    assert str(root) in error.value.wanted
    assert "cifar-100-python.tar.gz there" in error.value.remedy
    assert error.value.found.startswith(said)
    assert not [path for path in empty_cache.iterdir() if path.suffix != ".lock"]


def test_a_full_disk_is_told_and_leaves_nothing(make, empty_cache, monkeypatch):
    saved = []

    def full(self, *args, **kwargs):
        saved.append(args)
        if len(saved) == 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="room to write the images of CIFAR-100.*\n.*No space left"):
        make("cifar100_lt")
    assert not [path for path in empty_cache.iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("imbalance", 0.5, r"in 1\.\.498"),
        ("imbalance", 499.0, r"in 1\.\.498"),
        ("auxiliary_per_superclass", 5, r"in 0\.\.4"),
        ("val_per_class", 0, r"positive with a validation list \(target.val\)"),
        ("val_per_class", 500, r"in 0\.\.499"),
        ("subset_seed", -1, r"in 0\.\."),
        ("images", "/x", "null"),
        ("archive", "x.tar", "null"),
    ],
)
def test_values_out_of_range_are_named(make, key, value, said):
    with pytest.raises(ConfigError, match=f"target.{key} to be {said}"):
        make("cifar100_extrapolation", **{key: value})


SHORT = (
    *("backbone.depth=8", "recipe.batch_size=16", "budget={unit: steps, amount: 4, warmup: 1}"),
    *("recipe.milestones=[0.5]", "recipe.gamma=0.1", "data.workers=0", "logger=none", "trainer.accelerator=cpu"),
)


def short(source, name, *overrides):
    held_out = ("target.val_per_class=2",) if name == "cifar100_extrapolation" else ()
    return configure(f"experiment={name}", f"target.root={source}", *held_out, *SHORT, *overrides)


def state(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def test_the_fields_benchmark_trains(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    results = train(short(source, "cifar100_lt"), tmp_path / "run")
    assert (results["selected"], results["steps"], results["auxiliary_classes"]) == ("last", 4, 0)
    assert load(tmp_path / "run").config == short(source, "cifar100_lt")
    said = "Sgd, batch 16, lr 0.0125 (blr 0.2 x batch / 256), x 0.1 at [0.5] of the budget, momentum 0.9, weight decay"
    assert said in capsys.readouterr().out


def test_the_extrapolation_benchmark_trains(source, tmp_path):
    results = train(short(source, "cifar100_extrapolation", "component=silencing"), tmp_path / "run")
    assert (results["target_classes"], results["auxiliary_classes"], results["pairs"]) == (60, 40, 120)
    assert results["target_views"] < results["views"]


@pytest.mark.slow
def test_a_resident_run_goes_on_and_equals_one_from_files(source, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "strip", lambda folder: None)
    component = ("component=silencing", "auxiliary.samples_per_class=2", "target.val=null")
    config = short(source, "cifar100_extrapolation", *component)
    results = train(short(source, "cifar100_extrapolation", *component, "data.resident=false"), tmp_path / "files")
    ended = Checkpoints.on_train_batch_end

    def stopped_at_step_3(self, trainer, *args):  # behind the milestone
        if trainer.global_step == 3:
            self.stop.received = signal.SIGTERM
        ended(self, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", stopped_at_step_3)
        with pytest.raises(Stopped):
            train(config, tmp_path / "resident")
    assert train(config, tmp_path / "resident")["test"] == results["test"]
    straight, resumed = state(tmp_path / "files"), state(tmp_path / "resident")
    assert straight["global_step"] == resumed["global_step"] == 4
    for key, value in straight["state_dict"].items():
        assert torch.equal(resumed["state_dict"][key], value), key
    optimizers = [each["optimizer_states"][0] for each in (straight, resumed)]
    assert optimizers[0]["param_groups"] == optimizers[1]["param_groups"]
    assert optimizers[0]["param_groups"][0]["lr"] == pytest.approx(0.0125 * 0.1, rel=1e-12)
    assert len(optimizers[0]["state"]) > 10
    for one, other in zip(*(each["state"].values() for each in optimizers), strict=True):
        assert torch.equal(one["momentum_buffer"], other["momentum_buffer"])


@pytest.mark.parametrize(
    ("component", "classes", "pairs", "further"),
    [("baseline", 0, 0, 0), ("neighbors", 40, 120, 80), ("permuted", 40, 120, 80), ("target_extra", 0, 0, 80)],
)
def test_every_component_has_its_training_set(source, component, classes, pairs, further):
    cap = ("auxiliary.samples_per_class=2",) if component != "baseline" else ()
    config = short(source, "cifar100_extrapolation", f"component={component}", *cap)
    training = build_training_set(config.auxiliary, load_target(config.target), seed=0)
    assert (len(training.auxiliary_names), training.pairs) == (classes, pairs)
    assert len(training.draw) == sum(training_counts(60, TRAIN - 2, 100.0)) + further


@pytest.mark.slow
def test_a_run_is_evaluated_retrained_exported_and_predicts(source, tmp_path):
    run = tmp_path / "run"
    config = short(source, "cifar100_extrapolation", "component=neighbors")
    results = train(config, run)
    node = {"run": str(run), "workers": 0, "trainer": {"accelerator": "cpu", "devices": 1}}
    assert evaluate(EvaluateConfig(**node))["test"] == results["test"]
    evaluate(EvaluateConfig(**node, classifier="retrained"))
    assert load(run / "retrained").config.recipe == AdamW(
        batch_size=len(load_target(config.target).train),
        blr=1e-3,
        image_size=32,
        padding=4,
        crop_scale=None,
        crop_ratio=None,
        mixup=0.8,
        cutmix=1.0,
    )
    for kind in ("safetensors", "torchscript", "onnx"):
        assert export(ExportConfig(run=str(run), format=kind, output=str(tmp_path / kind))).difference < 1e-4
    images = load_target(config.target).place.images.path / "test" / "class00"
    assert predict(PredictConfig(run=str(run), images=str(images), output=str(tmp_path / "p"), workers=0))
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == TEST
