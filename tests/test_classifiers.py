"""Other classifiers on the features of a finished run."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lt_extrap import runs
from lt_extrap.classifiers import data_of, trained_on
from lt_extrap.config import BatchNormHead, Budget, CosineHead, Head, Loading, Sgd
from lt_extrap.crt import crt
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.evaluate import EvaluateConfig, evaluate, load_module
from lt_extrap.model.heads import build_head
from lt_extrap.model.metrics import LongTailMetrics
from lt_extrap.model.shots import Shot
from lt_extrap.nearest_mean import NearestMean
from lt_extrap.prior import shares
from lt_extrap.tau_normalized import TAUS, best_tau, tau_normalized
from lt_extrap.train import train

CPU = {"accelerator": "cpu", "devices": 1}
FEATURES = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))


def results(run, **options):
    return evaluate(EvaluateConfig(run=str(run), workers=0, trainer=CPU, **options))


def head(kind):
    built = build_head(kind, dim=5, num_target=4, num_auxiliary=3, seed=0)
    with torch.no_grad():
        built.weight *= torch.arange(1.0, 8)[:, None]
    return built


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_rows_are_shortened_by_a_power_of_their_length(tau):
    trained = head(Head())
    with torch.no_grad():
        trained.bias += 3
    before = trained.weight.detach().clone()
    found = tau_normalized(trained, num_target=4, tau=tau)(FEATURES).detach()
    wanted = [[float(f @ w) / float(w.norm()) ** tau for w in before[:4]] for f in FEATURES]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-4, atol=1e-6)
    assert torch.equal(trained.weight, before)


def test_a_batch_normalisation_stays_and_cosines_are_refused():
    trained = head(BatchNormHead())
    trained(3 + FEATURES)
    found = tau_normalized(trained.eval(), num_target=4, tau=1.0).eval()(FEATURES)
    wanted = F.linear(trained.norm(FEATURES), F.normalize(trained.weight[:4], dim=1))
    torch.testing.assert_close(found, wanted)
    with pytest.raises(ConfigError, match="length 1 already"):
        tau_normalized(head(CosineHead()), num_target=4, tau=1.0)


def test_tau_is_picked_where_validation_is_best_and_of_equals_the_smallest():
    trained = head(Head())
    shots = [Shot.MANY] * 4
    lengths = trained.weight[:4].norm(dim=1)
    label = (F.linear(FEATURES, trained.weight[:4] / lengths[:, None] ** 0.7)).argmax(1)
    picked = best_tau(trained, [(FEATURES[:10], label[:10]), (FEATURES[10:], label[10:])], shots=shots)
    assert picked <= 0.7
    right = tau_normalized(trained, num_target=4, tau=picked)(FEATURES).argmax(1) == label
    assert right.all()
    below = [tau for tau in TAUS if tau < picked]
    assert all((tau_normalized(trained, num_target=4, tau=tau)(FEATURES).argmax(1) != label).any() for tau in below)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_the_nearest_mean_is_the_nearest(distance):
    means = 100 + torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    near = NearestMean(means, distance=distance)
    shown = 100 + FEATURES
    with torch.autocast("cpu", torch.bfloat16):
        logits = near(shown)
    a, b = shown.double().numpy()[:, None], means.double().numpy()[None]
    if distance == "cosine":
        wanted = (a * b).sum(2) / np.linalg.norm(a, axis=2) / np.linalg.norm(b, axis=2)
    else:
        wanted = -((a - b) ** 2).sum(2)
    np.testing.assert_allclose(logits.numpy(), wanted, rtol=1e-3 if distance == "euclidean" else 1e-6)
    assert (logits.argmax(1).numpy() == wanted.argmax(1)).all()


def test_balanced_sampling_shows_each_class_alike(small):
    config = small("component=baseline", "sampling=balanced")
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0, balanced=True)
    mean = round(len(target.train) / 9)
    assert training.counts.tolist() == [mean] * 9
    shown = training.index.labels[training.draw.draw(3)]
    assert np.bincount(shown).tolist() == [mean] * 9
    with pytest.raises(ConfigError, match="sampling to be all with auxiliary"):
        small("component=silencing", "sampling=balanced")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classifier": "svm"}, "direct, retrained, crt, tau_normalized, ncm"),
        ({"tau": 0.5}, "tau to be 1 without"),
        ({"classifier": "tau_normalized", "tau": -1.0}, "tau to be at least 0"),
        ({"distance": "euclidean"}, "distance to be cosine without"),
        ({"prior": "sideways"}, "uniform, forward, backward"),
        ({"imbalance": 10.0}, "imbalance to be 50 with"),
        ({"prior": "forward", "imbalance": 0.5}, "imbalance to be more than 1"),
        ({"classifier": "ncm", "prior_known": True}, "prior_known to be false"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ConfigError) as error:
        EvaluateConfig(run="x", **options)
    assert said in str(error.value)


def test_means_and_a_picked_tau_are_of_one_device(convnet_run):
    two = {"accelerator": "cpu", "devices": 2}
    for options in ({"classifier": "ncm"}, {"classifier": "tau_normalized", "tau": None}):
        with pytest.raises(ConfigError, match="one device"):
            evaluate(EvaluateConfig(run=str(convnet_run), workers=0, trainer=two, **options))


def test_no_test_list_picks_tau(convnet_run):
    """Its target has no validation list."""
    with pytest.raises(ConfigError, match="a validation list to pick tau on"):
        results(convnet_run, classifier="tau_normalized", tau=None)


def test_a_run_is_measured_by_each(convnet_run):
    run = runs.load(convnet_run)
    target = load_target(run.config.target)
    plain = results(convnet_run)
    assert "prior" not in plain

    nearest = results(convnet_run, classifier="ncm", distance="euclidean")
    assert nearest["distance"] == "euclidean"
    assert nearest["test"]["acc"] != plain["test"]["acc"]
    assert (convnet_run / "evaluation-ncm-euclidean-selected.json").is_file()

    normalized = results(convnet_run, classifier="tau_normalized", tau=0.5)
    module = load_module(run, target, "selected")
    module.measured.head = tau_normalized(module.measured.head, num_target=9, tau=0.5)
    metrics = LongTailMetrics(target.classes.shots)
    with torch.inference_mode():
        for batch in data_of(run, target, None, module, Loading(workers=0)).test_dataloader():
            metrics.update(module.measured.eval()(batch.images), batch.label)
    assert normalized["test"]["acc"] == pytest.approx(float(metrics.compute()["acc"]))
    assert normalized["tau"] == 0.5
    assert normalized["test"]["aux_mass"] == 0
    assert normalized["test"] != plain["test"]

    crops = results(convnet_run, tte=True)
    assert crops["tte"]
    assert (convnet_run / "evaluation-direct-selected-tte.json").is_file()
    assert crops["test"] != plain["test"]


def test_a_tail_of_the_test_is_expected_from_all_its_images(convnet_run):
    rows = runs.read_table(convnet_run / "per_class.csv")
    accuracy = np.array([float(row["accuracy"]) for row in rows])
    counts = np.array([int(row["train_images"]) for row in rows])
    for shape in ("forward", "backward"):
        found = results(convnet_run, prior=shape, imbalance=10.0)
        wanted = accuracy @ shares(counts, shape=shape, imbalance=10.0)
        assert found["prior"]["acc"] == pytest.approx(wanted, abs=1e-5)
        assert found["test"] == results(convnet_run)["test"]
    known = results(convnet_run, prior="backward", imbalance=50.0, prior_known=True)
    content = json.loads((convnet_run / "evaluation-direct-selected-backward+50-prior_known.json").read_text())
    assert content["prior"] == known["prior"]
    assert known["test"] != found["test"]
    with pytest.raises(ConfigError, match="prior=uniform, which those of this run are for"):
        results(convnet_run, prior_known=True)


def test_a_prior_of_training_is_of_the_lists_of_then(convnet_run):
    run = runs.load(convnet_run)
    target, key = load_target(run.config.target), "auxiliary.train"
    assert trained_on(run, target).counts[:9].tolist() == target.classes.counts.tolist()
    with pytest.raises(RunError, match=rf"another content of {key}"):
        trained_on(dataclasses.replace(run, files=run.files | {key: "another"}), target)


@pytest.mark.slow
def test_crt_trains_a_new_head_by_balanced_sampling(tmp_path, cache, monkeypatch, small):
    train(small("component=silencing"), tmp_path / "run")
    run = runs.load(tmp_path / "run")
    config = crt(run)
    assert (config.budget.amount, config.sampling, type(config.recipe)) == (10, "balanced", Sgd)
    assert config.recipe.lr == pytest.approx(0.2 * config.recipe.batch_size / 512)
    assert (config.recipe.mixup, config.recipe.cutmix, config.loss.smoothing) == (0, 0, 0)
    monkeypatch.setattr("lt_extrap.crt.Budget", lambda **_: Budget(unit="epochs", amount=1.0, warmup=0.0))
    measured = results(tmp_path / "run", classifier="crt")
    record = runs.load(tmp_path / "run" / "crt")
    assert measured["test"] == record.results["test"]
    assert record.results["auxiliary_classes"] == 0
    # Of a run with a validation list tau can be picked, and is told.
    picked = results(tmp_path / "run", classifier="tau_normalized", tau=None)
    assert picked["tau"] in TAUS
    assert picked["tau_of"] == "validation list"
    again = results(tmp_path / "run", classifier="tau_normalized", tau=picked["tau"])
    assert again["test"] == picked["test"]
    # Sampled alike, its logits have no prior of training in them.
    assert results(tmp_path / "run", classifier="crt", prior="forward", prior_known=True)["prior"]["known"]
    with pytest.raises(ConfigError, match="prior=uniform, which those of this run are for"):
        results(tmp_path / "run", classifier="crt", prior_known=True)
