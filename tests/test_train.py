"""Whole runs on the small embedded world."""

import csv
import gc
import itertools
import json
import signal
import weakref

import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from safetensors import safe_open
from safetensors.torch import load_file

from conftest import SMALL
from lt_extrap import trainer
from lt_extrap.checkpoints import Checkpoints
from lt_extrap.compose import configure
from lt_extrap.data.erasing import Erasing
from lt_extrap.data.lists import read_list
from lt_extrap.data.mixing import Mixing
from lt_extrap.data.resident import ResidentImages
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError, RunError, TrainingError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.model.metrics import LongTailMetrics
from lt_extrap.model.preprocessing import preprocessing_of
from lt_extrap.module import ExtrapolationModule, build_module
from lt_extrap.signals import Stopped
from lt_extrap.train import train

COMPONENTS = ["baseline", "random", "neighbors", "silencing", "permuted", "target_extra"]


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "component",
    [
        *("baseline", "silencing"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("random", "neighbors", "permuted", "target_extra")),
    ],
)
def test_every_component_trains_and_leaves_everything(small, tmp_path, component):
    config = small(f"component={component}")
    results = train(config, tmp_path / "run")
    folder = tmp_path / "run"
    assert results == json.loads((folder / "results.json").read_text())
    assert results["steps"] == 12
    assert results["views"] == 12 * 32
    assert (results["auxiliary_classes"] > 0) == (component not in ("baseline", "target_extra"))
    assert (results["pairs"] > 0) == (component in ("neighbors", "silencing", "permuted"))
    assert (results["target_views"] < results["views"]) == (results["auxiliary_classes"] > 0)
    assert (results["test"]["aux_mass"] > 0) == (results["auxiliary_classes"] > 0)
    for key in ("acc", "acc_many", "acc_medium", "acc_few", "acc_micro", "ece"):
        assert 0 <= results["test"][key] <= 1
    with (folder / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    mean = sum(float(row["accuracy"]) for row in rows) / 9
    assert mean == pytest.approx(results["test"]["acc"], abs=1e-5)
    assert all(row["right"].count("1") / len(row["right"]) == pytest.approx(float(row["accuracy"])) for row in rows)
    assert {len(row["right"]) for row in rows} == {int(row["test_images"]) for row in rows}
    taken = [(int(row["to_neighbors"]), int(row["to_auxiliary"]), int(row["test_images"])) for row in rows]
    assert all(0 <= neighbors <= auxiliary <= images for neighbors, auxiliary, images in taken)
    assert (sum(auxiliary for _, auxiliary, _ in taken) > 0) == (results["auxiliary_classes"] > 0)
    assert results["device"] in ("CPU", "MPS")
    exported = load_file(folder / "model.safetensors")
    assert exported["head.weight"].shape == (9, 16)
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["classes"]) == [row["name"] for row in rows]


def test_runs_of_one_key_are_equal_bit_for_bit(small, tmp_path):
    recipe = ("recipe.mixup=0.8", "recipe.cutmix=1.0", "recipe.randaugment=[9,0.5]", "recipe.erasing=0.25")
    train(small("component=silencing", *recipe), tmp_path / "a")
    torch.rand(7)  # the global generator plays no part
    train(small("component=silencing", *recipe, "data.workers=2"), tmp_path / "b")
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_a_cpu_beside_a_gpu_is_no_reason_to_warn(small, tmp_path, monkeypatch):
    monkeypatch.setattr(CUDAAccelerator, "is_available", staticmethod(lambda: True))
    assert train(small("component=baseline", "trainer.accelerator=cpu"), tmp_path)["device"] == "CPU"


@pytest.mark.slow
def test_the_images_of_a_run_do_not_stay_for_the_next_of_its_process(small, tmp_path, monkeypatch):
    kept, made = weakref.WeakSet(), itertools.count()
    decoded = ResidentImages.__init__

    def remembered(self, *args, **options):
        decoded(self, *args, **options)
        kept.add(self)
        next(made)

    def counted(config, target, *args, **options):
        begins.append(len(kept))
        return build_module(config, target, *args, **options)

    begins = []
    monkeypatch.setattr(ResidentImages, "__init__", remembered)
    monkeypatch.setattr("lt_extrap.train.build_module", counted)
    gc.collect()
    gc.disable()  # the collector comes by when it likes
    try:
        for seed in range(2):
            train(small("component=silencing", "data.resident=true", f"seed={seed}"), tmp_path / str(seed))
    finally:
        gc.enable()
    assert begins == [0, 0]
    assert next(made) == 6  # training, validation, test of both


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Experiment logs directory")  # the csv logger begins its file anew
def test_a_resident_run_equals_one_from_files_and_itself_after_an_interruption(small, tmp_path, monkeypatch):
    budget = "budget={unit: epochs, amount: 2, warmup: 0}"
    common = ("component=silencing", "recipe.mixup=0.8", "recipe.erasing=0.5", budget)
    first = train(small(*common), tmp_path / "files")
    resident = small(*common, "data.resident=true")
    step_ended = Checkpoints.on_train_batch_end

    def stopped_at_step_3(self, trainer, *args):
        if trainer.global_step == 3:
            self.stop.received = signal.SIGTERM
        step_ended(self, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", stopped_at_step_3)
        with pytest.raises(Stopped):
            train(resident, tmp_path / "resident")
    state = torch.load(tmp_path / "resident" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3  # in the first of two epochs
    second = train(resident, tmp_path / "resident")
    a, b = weights(tmp_path / "files"), weights(tmp_path / "resident")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert second["test"] == first["test"]
    assert second["val"] == first["val"]


@pytest.mark.slow
def test_a_step_erases_by_the_epoch_of_its_batch_and_then_mixes(small, tmp_path, monkeypatch):
    """In noise around the mean of the backbone."""
    config = small("component=baseline", "recipe.mixup=0.8", "recipe.erasing=1")
    whole, erased = [], []
    erase, mix = Erasing.__call__, Mixing.__call__

    def erasing(self, images, sample, **how):
        whole.append((images.clone(), sample))
        erase(self, images, sample, **how)

    def mixing(self, images, label, **how):
        erased.append(images.clone())
        return mix(self, images, label, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Erasing, "__call__", erasing)
        patch.setattr(Mixing, "__call__", mixing)
        train(config, tmp_path / "run")
    draw = build_training_set(config.auxiliary, load_target(config.target), seed=config.seed).draw
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in preprocessing_of(config.backbone)[:2])
    an_epoch = len(draw) // config.recipe.batch_size
    assert len(whole) == len(erased) == 12 > an_epoch  # into the second epoch
    for step, ((images, sample), after) in enumerate(zip(whole, erased, strict=True)):
        epoch, batch = divmod(step, an_epoch)
        assert sample.tolist() == draw.draw(epoch)[batch * len(sample) : (batch + 1) * len(sample)].tolist()
        Erasing(seed=config.seed, probability=1.0)(images, sample, mean=mean, std=std, epoch=epoch)
        assert torch.equal(images, after)


def test_golden_curve(small, tmp_path):
    """Losses of the first steps on CPU in float32: a change of any part of the method shows here."""
    train(small("component=silencing", "trainer.log_every_n_steps=1"), tmp_path / "run")
    with (tmp_path / "run" / "csv" / "version_0" / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses == pytest.approx(GOLDEN, abs=2e-3)


@pytest.mark.slow
def test_a_log_gets_a_line_an_epoch(small, tmp_path, capsys):
    train(small("component=baseline", "budget={unit: epochs, amount: 3, warmup: 0}"), tmp_path / "run")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("acc " in line and "few " in line for line in lines)


def test_a_finished_run_returns_at_once(small, tmp_path, capsys):
    first = train(small("component=baseline"), tmp_path / "run")
    stamp = (tmp_path / "run" / "results.json").stat().st_mtime_ns
    assert train(small("component=baseline"), tmp_path / "run") == first
    assert (tmp_path / "run" / "results.json").stat().st_mtime_ns == stamp
    assert "finished before" in capsys.readouterr().out
    with pytest.raises(RunError, match="recipe.blr"):
        train(small("component=baseline", "recipe.blr=1e-3"), tmp_path / "run")


# validations after epochs 1 and 2, and once more at the end of training
@pytest.mark.slow
@pytest.mark.parametrize(
    ("accuracies", "selected"),
    [
        pytest.param((0.9, 0.1, 0.1), "best", marks=pytest.mark.slow),
        ((0.1, 0.9, 0.9), "last"),
        pytest.param((0.5, 0.5, 0.5), "last", marks=pytest.mark.slow),
    ],
)
def test_the_headline_is_the_selected_weights(small, tmp_path, monkeypatch, accuracies, selected):
    scripted = iter(accuracies)
    compute = LongTailMetrics.compute

    def scripted_on_validation(self):
        values = compute(self)
        if int(self.support.sum()) == 9 * 5 and (accuracy := next(scripted, None)) is not None:
            values["acc"] = torch.tensor(accuracy)
        return values

    monkeypatch.setattr(LongTailMetrics, "compute", scripted_on_validation)
    config = small("component=baseline", "budget={unit: epochs, amount: 2, warmup: 1}", "target.world.test_per_class=6")
    results = train(config, tmp_path / "run")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    last, exported = weights(tmp_path / "run"), load_file(tmp_path / "run" / "model.safetensors")
    assert results["selected"] == selected
    chosen, other = (best["state_dict"], last) if selected == "best" else (last, best["state_dict"])
    assert torch.equal(exported["head.weight"], chosen["model.head.weight"][:9])
    if selected == "best":
        assert best["global_step"] == 10
        assert not torch.equal(exported["head.weight"], other["model.head.weight"][:9])
        assert results["last"] != results["test"]
    else:
        assert results["last"] == results["test"]


def test_without_a_validation_list_the_last_weights_count(small, tmp_path):
    results = train(small("component=baseline", "target.val=null"), tmp_path / "run")
    assert results["selected"] == "last"
    assert "val" not in results
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize(("unit", "amount"), [("epochs", 2), ("steps", 12), ("target_views", 700)])
def test_budgets(small, unit, amount):
    config = small("component=silencing", f"budget={{unit: {unit}, amount: {amount}, warmup: 0}}")
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    steps = training.steps(unit, config.budget.amount, 32)
    if unit == "target_views":
        # counted over the batches of that many steps, epoch after epoch
        labels = [label for epoch in range(9) for label in training.index.labels[training.draw.draw(epoch)][:-1]]
        shown = sum(label < 9 for label in labels[: steps * 32])
        assert abs(shown - 700) <= 32
    else:
        assert steps == {"epochs": 2 * (len(training.draw) // 32), "steps": 12}[unit]


@pytest.mark.slow
def test_the_average_is_measured_and_exported_and_touches_nothing_else(small, tmp_path, monkeypatch):
    trajectory, modules = [], []
    step = ExtrapolationModule.optimizer_step

    def recorded(self, *args, **kwargs):
        step(self, *args, **kwargs)
        modules[:] = [self]
        state = self.model.state_dict()
        trajectory.append({key: state[key].detach().clone() for key in AVERAGED})

    monkeypatch.setattr(ExtrapolationModule, "optimizer_step", recorded)
    config = small("component=silencing", "recipe.ema=0.9", "budget={unit: steps, amount: 25, warmup: 1}")
    results = train(config, tmp_path / "run")
    state = weights(tmp_path / "run")
    for key in AVERAGED:
        average = trajectory[0][key]  # the first step begins it
        for step_after in trajectory[1:]:
            average = 0.9 * average + 0.1 * step_after[key]
        assert torch.allclose(state[f"average.module.{key}"], average, atol=1e-6), key
        assert torch.equal(state[f"model.{key}"], trajectory[-1][key]), key
    selected = torch.load(tmp_path / "run" / "checkpoints" / f"{results['selected']}.ckpt", weights_only=True)
    exported = load_file(tmp_path / "run" / "model.safetensors")["head.weight"]
    assert torch.equal(exported, selected["state_dict"]["average.module.head.weight"][:9])
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    neighbor = training.relation.neighbor.tolist()
    assert modules[0].loss.neighbor.tolist()[: len(neighbor)] == neighbor
    assert modules[0].loss.counts.tolist() == training.counts.tolist()


AVERAGED = ("head.weight", "backbone.network.stem.1.running_mean")  # buffers are averaged as well


@pytest.mark.parametrize(("precision", "native"), [("bf16-mixed", False), ("bf16-mixed", True), ("32-true", False)])
def test_a_precision_that_the_device_emulates_is_told(small, tmp_path, monkeypatch, capsys, precision, native):
    def losses(self, batch):
        raise TrainingError("a step", "the end of this test", "nothing")

    monkeypatch.setattr(ExtrapolationModule, "losses", losses)
    monkeypatch.setattr(trainer, "computes_in_bfloat16", lambda device: native)
    with pytest.raises(TrainingError, match="the end of this test"):
        train(small("component=baseline", f"trainer.precision={precision}"), tmp_path)
    told = "this CPU has no instructions for trainer.precision=bf16-mixed and emulates them, many times slower than"
    assert (f"{told} trainer.precision=32-true\n" in capsys.readouterr().out) == (
        precision == "bf16-mixed" and not native
    )


def test_what_does_not_fit_into_a_gpu_is_told_with_what_would(small, tmp_path, monkeypatch):
    """No GPU is here to be filled: it is raised as torch does. tests/test_gpu.py fills one."""

    def losses(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of")

    monkeypatch.setattr(ExtrapolationModule, "losses", losses)
    with pytest.raises(TrainingError) as error:
        train(small("component=baseline"), tmp_path)
    assert error.value.wanted == "memory for 32 images of 16 pixels at once"
    assert error.value.found == "CUDA out of memory. Tried to allocate 2.00 GiB"
    others = "begin another run with recipe.accumulate=2 (the same batch in more parts) or trainer.precision=bf16-mixed"
    assert error.value.remedy == f"end what else uses that device, or {others}"
    with pytest.raises(TrainingError) as error:
        train(small("component=baseline", "recipe.accumulate=32", "trainer.precision=bf16-mixed"), tmp_path / "least")
    assert error.value.wanted == "memory for 1 images of 16 pixels at once"
    assert error.value.remedy == "end what else uses that device"
    words = [word for word in SMALL if not word.startswith(("backbone", "recipe.image_size"))]
    words += ["backbone=timm", "backbone.model=test_vit", "recipe.image_size=32", "data.resident=true"]
    with pytest.raises(TrainingError) as error:
        train(configure(*words, "component=baseline"), tmp_path / "vit")
    same = "go on with data.resident=false and backbone.gradient_checkpointing=true, which changes no result"
    assert same in error.value.remedy


def test_a_loss_that_is_not_finite_stops_with_step_and_samples(small, tmp_path, monkeypatch):
    from lt_extrap.model.losses import OffsetCrossEntropy

    forward = OffsetCrossEntropy.forward
    calls = []

    def poisoned(self, logits, label, mixed=None):
        calls.append(label)
        return forward(self, logits, label, mixed) * (float("nan") if len(calls) == 5 else 1)

    monkeypatch.setattr(OffsetCrossEntropy, "forward", poisoned)
    with pytest.raises(TrainingError, match=r"nan at step 4, for the samples \[\d+"):
        train(small("component=baseline"), tmp_path / "run")
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_rate_that_diverges_ends_in_our_message(small, tmp_path):
    with pytest.raises(TrainingError, match=r"recipe\.blr"):
        train(small("component=baseline", "recipe.blr=1e30", "recipe.clip=null"), tmp_path / "run")


def corrupt(small, tmp_path, monkeypatch):
    """The small world in a cache of its own, one training image cut short."""
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    target = load_target(small("component=baseline").target)
    file = target.place.images.path / target.train.path(3)
    file.write_bytes(file.read_bytes()[:60])
    return target.train.path(3)


@pytest.mark.parametrize(
    "how",
    [
        "data.workers=0",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("data.workers=2", "data.resident=true")),
    ],
)
def test_an_unreadable_image_stops_the_run_by_name(small, tmp_path, monkeypatch, how):
    path = corrupt(small, tmp_path, monkeypatch)
    with pytest.raises(DataError) as error:
        train(small("component=baseline", how), tmp_path / "run")
    assert path in str(error.value)
    assert "Traceback" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("resident", ["false", "true"])
def test_an_unreadable_image_is_left_out_named_once_and_counted(small, tmp_path, monkeypatch, capsys, resident):
    path = corrupt(small, tmp_path, monkeypatch)
    skip = ("data.on_unreadable=skip", "budget={unit: epochs, amount: 2, warmup: 0}", f"data.resident={resident}")
    results = train(small("component=baseline", *skip), tmp_path / "run")
    assert [path in line for line in results["unreadable"]] == [True]
    assert capsys.readouterr().out.count("left out, unreadable") == 1


@pytest.mark.slow
def test_missing_images_leave_the_prior_and_are_told_by_class(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    target = load_target(small("component=baseline").target)
    auxiliary = read_list(target.place.root / "lists/aux_neighbor_train.txt")
    for index in (target.train, auxiliary):
        (target.place.images.path / index.path(3)).unlink()
    (target.place.images.path / target.train.path(4)).unlink()
    skip = "data.on_unreadable=skip"
    with pytest.raises(DataError, match="2 are not there"):
        train(small("component=neighbors"), tmp_path / "run")
    results = train(small("component=neighbors", skip), tmp_path / "run")
    label = int(target.train.labels[3])
    assert results["left_out"] == {str(label): 2}
    name = target.classes.names[label]
    assert f"2 of the training list: {name} 2" in capsys.readouterr().out
    config = small("component=neighbors", skip)
    less = load_target(config.target, missing="skip")
    training = build_training_set(config.auxiliary, less, seed=0, missing="skip")
    assert training.counts[label] == target.classes.counts[label] - 2
    assert training.counts[len(target.classes) :].sum() == 9 * 20 - 1
    again = evaluate(EvaluateConfig(run=str(tmp_path / "run"), workers=0, trainer={"accelerator": "cpu"}))
    assert again["test"] == results["test"]


@pytest.mark.slow
@pytest.mark.parametrize("resident", ["false", "true"])
def test_an_unreadable_test_image_is_never_skipped(small, tmp_path, monkeypatch, resident):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    target = load_target(small("component=baseline").target)
    (target.place.images.path / target.test.path(3)).write_bytes(b"")
    config = small("component=baseline", "data.on_unreadable=skip", f"data.resident={resident}")
    with pytest.raises(DataError) as error:
        train(config, tmp_path / "run")
    assert target.test.path(3) in str(error.value)


def test_a_budget_of_no_step_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match="at least one step"):
        train(small("component=baseline", "budget.amount=0.4", "budget.warmup=0"), tmp_path / "run")


@pytest.mark.parametrize("key", ["auxiliary.train", "auxiliary.pairs", "target.val", "target.names"])
def test_a_file_that_is_not_there_is_named_and_leaves_no_trace(small, tmp_path, key):
    with pytest.raises(DataError, match=r"nope\.txt"):
        train(small("component=silencing", f"{key}=nope.txt"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_silencing_without_pairs_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match="neighbor pairs for loss=silencing"):
        train(small("component=baseline", "loss=silencing"), tmp_path / "run")


def test_a_batch_larger_than_an_epoch_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match=r"recipe\.batch_size to at most"):
        train(small("component=baseline", "recipe.batch_size=5000"), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+trainer.max_epochs=3", "trainer.max_epochs to be left alone"),
        ("+trainer.gradient_clip=3", "gradient_clip"),
        ("trainer.accelerator=abacus", "abacus"),
        ("+trainer.fast_dev_run=true", "fast_dev_run to be left alone"),
        ("+trainer.limit_train_batches=3", "limit_train_batches to be left alone"),
        ("+trainer.accumulate_grad_batches=2", r"recipe\.accumulate"),
        ("trainer.precision=16-mixed", r"set trainer\.precision=bf16-mixed"),
        ("trainer.precision=bf16-true", "one of 32-true, bf16-mixed, 16-mixed"),
        ("recipe.layer_decay=0.5", "layer_decay=1"),
        ("recipe.freeze=1", "names none"),
    ],
)
def test_trainer_arguments(small, tmp_path, override, said):
    with pytest.raises(ConfigError, match=said):
        train(small("component=baseline", override), tmp_path / "run")


GOLDEN = [2.4870, 2.2591, 2.3978, 2.2400, 2.2179, 2.4334, 2.5763, 2.3399, 2.6633, 2.4763, 2.4754, 2.6885]
