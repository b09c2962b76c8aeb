"""What only a CUDA device can show: `make test-gpu`. All other tests are kept from it (conftest.py)."""

import contextlib
import io
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from command import LONGEST
from conftest import SMALL
from lt_extrap import checkpoints
from lt_extrap.compose import configure
from lt_extrap.data.lists import read_list
from lt_extrap.data.resident import ResidentImages
from lt_extrap.data.store import Folder
from lt_extrap.data.transforms import EvalTransform, PaddedCrop, TrainTransform
from lt_extrap.errors import TrainingError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.predict import PredictConfig, predict
from lt_extrap.pretrain import pretrain
from lt_extrap.train import train
from test_pretrain import tiny
from test_resume import assert_equal, state, stopped_and_resumed
from tests.data.test_resident import kept, noise
from tests.model.test_losses import batch, silencing

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device, or not by `make test-gpu`")
GPU = "trainer.accelerator=gpu"
WITHOUT = [word for word in SMALL if not word.startswith(("backbone", "recipe.image_size"))]
TEST_VIT = (*WITHOUT, "backbone=timm", "backbone.model=test_vit", "recipe.image_size=32")


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    """One order of summation, so that runs may be compared bit for bit, and float32 is float32, as a CPU has it."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize(
    "transform",
    [
        TrainTransform(size=48),
        TrainTransform(size=48, interpolation="bilinear"),
        PaddedCrop(size=48, padding=4),
        EvalTransform(size=48, crop_fraction=0.875),
    ],
    ids=lambda transform: f"{type(transform).__name__}-{transform.interpolation}",
)
def test_resident_pixels_are_those_of_a_cpu(tmp_path, transform):
    for i in range(40):
        noise(64, 64, i).save(tmp_path / f"{i}.png")
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i % 3}\n" for i in range(40)))
    index = read_list(tmp_path / "list.txt")
    here = kept(index, tmp_path, transform=transform)
    there = ResidentImages(index, Folder(tmp_path), transform, 5, device=torch.device("cuda"), workers=0, room=10**9)
    shown = [here[epoch, sample][0] for epoch in range(3) for sample in range(40)]
    assert torch.equal(there.render(shown).cpu(), here.render(shown))


@pytest.mark.parametrize("mixed", [False, True])
def test_losses_and_gradients_are_those_of_a_cpu(mixed):
    logits, label, (label_b, lam) = batch()
    loss = silencing()
    values = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float64), ("cuda", torch.float32)):
        leaf = logits.detach().to(device, dtype).requires_grad_()
        other = (label_b.to(device), lam.to(device, dtype)) if mixed else None
        value = loss.to(device)(leaf, label.to(device), other)
        (gradient,) = torch.autograd.grad(value, leaf)
        values.append((value.detach().cpu().double(), gradient.cpu().double()))
    for (value, gradient), tolerance in zip(values[1:], (1e-12, 1e-5), strict=True):
        torch.testing.assert_close(value, values[0][0], rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(gradient, values[0][1], rtol=tolerance, atol=tolerance)


def test_a_run_is_that_of_a_cpu(small, tmp_path):
    """The same images, order and start, up to rounding; a run of a GPU is measured on a CPU and the other way round."""
    words = ("component=silencing", "trainer.precision=32-true", "recipe.ema=0.5")
    results = {}
    for device in ("cpu", "gpu"):
        train(small(*words, f"trainer.accelerator={device}"), tmp_path / device)
        results[device] = json.loads((tmp_path / device / "results.json").read_text())
    weights = [load_file(tmp_path / device / "model.safetensors") for device in ("cpu", "gpu")]
    for key, value in weights[0].items():
        torch.testing.assert_close(
            weights[1][key], value, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key} {text}"
        )
    for device, other in (("cpu", "gpu"), ("gpu", "cpu")):
        trainer = {"accelerator": other, "devices": 1}
        again = evaluate(EvaluateConfig(run=str(tmp_path / device), workers=0, trainer=trainer))["test"]
        assert again["acc"] == pytest.approx(results[device]["test"]["acc"], abs=0.03)  # 1 of 45 images


@pytest.mark.parametrize(
    "words",
    [
        ("component=baseline", "trainer.precision=32-true"),
        ("component=silencing", "trainer.precision=bf16-mixed", "data.resident=true", "recipe.mixup=0.8"),
        ("component=silencing", "trainer.precision=16-mixed", "recipe.accumulate=2", "recipe.clip=1"),
        (
            "component=silencing",
            "trainer.precision=bf16-mixed",
            "recipe.fused=true",
            "recipe.ema=0.9",
            "data.workers=2",
        ),
        ("component=silencing", "recipe.color_jitter=0.2", "recipe.erasing=0.5", "recipe.cutmix=1"),
        ("component=silencing", "retrained=true", "data.resident=true"),
    ],
    ids=" ".join,
)
def test_runs_end_with_finite_weights_that_give_their_numbers_again(small, tmp_path, words):
    train(small(GPU, *words), tmp_path)
    assert_ended(tmp_path)


@pytest.mark.parametrize("words", [(), ("compile=true",)], ids=" ".join)
@pytest.mark.parametrize("base", [SMALL, TEST_VIT], ids=["convnet", "timm"])
def test_commands(tmp_path, base, words):
    """In processes of their own: the checks of shapes here are not for the compiler."""
    mixed = ("component=silencing", "trainer.precision=bf16-mixed", f"hydra.run.dir={tmp_path}")
    subprocess.run([sys.executable, "-m", "lt_extrap.train", *base, GPU, *mixed, *words], check=True, timeout=LONGEST)
    assert_ended(tmp_path)


def assert_ended(folder):
    results = json.loads((folder / "results.json").read_text())
    assert results["device"] == torch.cuda.get_device_name()
    assert all(value.isfinite().all() for value in load_file(folder / "model.safetensors").values())
    again = evaluate(EvaluateConfig(run=str(folder), workers=0, trainer={"accelerator": "gpu", "devices": 1}))
    assert again["test"]["acc"] == pytest.approx(results["test"]["acc"], abs=0.03)


@pytest.mark.parametrize(
    "words",
    [
        SMALL,
        (*SMALL, "data.resident=true"),
        (*SMALL, "trainer.precision=16-mixed", "recipe.accumulate=2"),
        (*TEST_VIT, "backbone.drop_path=0.5"),
    ],
    ids=["float32", "resident", "float16", "drop path"],
)
def test_a_stopped_run_goes_on_as_the_straight_one(tmp_path, monkeypatch, words):
    monkeypatch.setattr(checkpoints, "strip", lambda folder: None)
    long = ("recipe.mixup=0.8", "recipe.ema=0.9", "budget={unit: epochs, amount: 2, warmup: 1}")
    config = configure(*words, GPU, "component=silencing", *long)
    with contextlib.redirect_stdout(io.StringIO()):
        train(config, tmp_path / "straight")
    stopped_and_resumed(config, tmp_path / "resumed", monkeypatch, (5, 13))
    assert_equal(*(state(tmp_path / name) for name in ("straight", "resumed")))


def test_what_does_not_fit_is_told_with_what_would(small, tmp_path):
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(TrainingError, match="memory for 32 images of 96 pixels at once") as error:
            train(small(GPU, "component=baseline", "recipe.image_size=96", "backbone.widths=[512,512]"), tmp_path)
        assert "Tried to allocate" in error.value.found
        assert "recipe.accumulate=2" in error.value.remedy
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_its_memory_and_its_time_are_told(small, tmp_path, capsys):
    train(small(GPU, "component=silencing"), tmp_path / "run")
    assert " of the GPU" in capsys.readouterr().out


def test_a_masked_pretraining_ends(tmp_path):
    pretrain(tiny(GPU, "trainer.precision=bf16-mixed"), tmp_path / "run")
    assert all(value.isfinite().all() for value in load_file(tmp_path / "run" / "model.safetensors").values())


def test_predictions_are_those_of_a_cpu(small, tmp_path):
    train(small(GPU, "component=silencing"), tmp_path / "run")
    (tmp_path / "images").mkdir()
    for i in range(7):
        noise(40, 30, i).save(tmp_path / "images" / f"{i}.png")
    probabilities = []
    for device in ("cpu", "cuda"):
        words = {"run": str(tmp_path / "run"), "images": str(tmp_path / "images"), "output": str(tmp_path / device)}
        predict(PredictConfig(**words, top=9, device=device, workers=0))
        lines = (tmp_path / f"{device}.jsonl").read_text().splitlines()
        ranked = [{label["class"]: label["probability"] for label in json.loads(line)["top"]} for line in lines]
        probabilities.append([[one[key] for key in sorted(one)] for one in ranked])
    torch.testing.assert_close(*map(torch.tensor, probabilities), rtol=0, atol=2e-3)
