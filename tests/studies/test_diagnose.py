"""The diagnosis of a target set, from the command's function to its files."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from lt_extrap.compose import configure
from lt_extrap.config import Target
from lt_extrap.config.curate_filter import RunFeatures
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.studies.diagnose.__main__ import DiagnoseConfig, run
from lt_extrap.studies.diagnose.known_neighbors import Neighbors
from lt_extrap.studies.diagnose.score import FORMULA, predicted_gains

UNKNOWN = {"features", "mistakes"}


def verdict(low, kind="embedded, ConvNet from scratch", **more):
    intervals = {key: [0.4, low, 0.6] for key in ("correlation", "counts_alone", "beyond_counts")}
    return {
        "formula": FORMULA,
        "kinds": [{"kind": kind, "worlds": 3, **intervals, "ceiling": 0.7, "gains": {}, **more}],
    }


def write_verdict(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def diagnosed(tmp_path, target, **options):
    options.setdefault("verdict", write_verdict(tmp_path / "verdict.json", verdict(-0.1)))
    run(DiagnoseConfig(target=target, wordnet="none", output=str(tmp_path / "out"), **options))
    statements = json.loads((tmp_path / "out/diagnosis.json").read_text())["statements"]
    assert all(statement["source"] and (statement["numbers"] or not statement["known"]) for statement in statements)
    page = (tmp_path / "out/diagnosis.md").read_text()
    assert all(statement["says"] in page for statement in statements)
    return {statement["key"]: statement for statement in statements}, page


def test_an_embedded_world_without_any_run(tmp_path, small):
    found, _ = diagnosed(tmp_path, small("component=silencing").target)
    assert {key for key, statement in found.items() if not statement["known"]} >= UNKNOWN
    assert found["shots"]["numbers"]["many_classes"] == 1
    assert found["imbalance"]["numbers"]["largest"] == 110
    assert found["superclasses"]["numbers"] == {"superclasses": 3, "classes_known": 9, "with_sibling": 9}
    assert found["test_images"]["numbers"]["median"] == 5
    assert found["existing"]["numbers"] == {"pairs": 27, "fewest": 3, "most": 3}
    assert found["shortage"]["numbers"]["short_few"] == found["shots"]["numbers"]["few_classes"]  # 3 of 5 each
    assert found["advised"]["numbers"]["few"] == 5


def test_features_and_a_baseline_tell_which_classes_are_taken_for_one_another(tmp_path, small, convnet_run):
    features = RunFeatures(run=str(convnet_run))
    found, page = diagnosed(tmp_path, small().target, features=features, baseline=str(convnet_run), images_per_class=8)
    assert all(found[key]["known"] for key in ("nearest_mean", "crossing", "mistakes"))
    assert -1 <= found["nearest_mean"]["numbers"]["lowest"] <= found["nearest_mean"]["numbers"]["highest"] <= 1
    assert 0 < found["crossing"]["numbers"]["share"] < 1
    results = json.loads((convnet_run / "results.json").read_text())["test"]
    mistakes = found["mistakes"]["numbers"]
    assert mistakes["wrong"] / mistakes["images"] == pytest.approx(1 - results["acc_micro"], abs=1e-6)
    assert "at most 8 a class" in page


def test_a_baseline_on_other_classes_is_refused(tmp_path, small, convnet_run):
    with pytest.raises(RunError, match="on the 8 classes of this target"):
        diagnosed(tmp_path, small("target.world.classes=8").target, baseline=str(convnet_run))


def test_a_score_that_does_not_hold_ranks_nothing_and_says_so(tmp_path, small):
    found, page = diagnosed(tmp_path, small().target)
    assert "untested heuristic" in page
    assert "Undecided on 3 worlds of embedded, ConvNet from scratch: rho = +0.40 [-0.10, +0.60]" in page
    shots = [int(row[1]) for row in found["score"]["table"][1:]]
    assert shots == sorted(shots, reverse=True)  # the order of the labels
    assert found["score"]["numbers"]["holds"] == 0


def test_a_score_that_holds_ranks_the_classes(tmp_path, small):
    held = write_verdict(tmp_path / "held.json", verdict(0.2, kind="elsewhere, Timm pretrained"))
    found, page = diagnosed(tmp_path, small().target, verdict=held)
    assert "untested heuristic" not in page
    assert "Held on 3 worlds of elsewhere, Timm pretrained: rho = +0.40 [+0.20, +0.60]" in page
    assert "never tried on this set" in page
    scores = [float(row[3]) for row in found["score"]["table"][1:]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("neighbors", "says"),
    [
        (
            [2.0, 1.0, 3.0],
            "neighbors changed the few-shot classes by +2.0 [+1.0, +3.0] points (sd 0.7 of 4 comparisons);",
        ),
        ([2.0, -1.0, 5.0], "+2.0 [-1.0, +5.0] points (sd 0.7 of 4 comparisons: not told from none);"),
        ([2.0, None, None], "+2.0 points (of a single pair of runs: not told from none);"),
    ],
)
def test_further_target_images_are_so_much_better_only_where_neighbors_gained_for_sure(
    tmp_path, small, neighbors, says
):
    gains = {
        row: {"few": {"points": points, "deviation": 0.7, "n": 4, "over": "comparisons"}}
        for row, points in (("silencing", neighbors), ("target_extra", [10.0, 9.0, 11.0]))
    }
    file = write_verdict(tmp_path / "bought.json", verdict(0.2, gains=gains, beside={"target_extra": gains}))
    found, page = diagnosed(tmp_path, small().target, verdict=file)
    assert says in page
    (numbers,) = [of["numbers"] for of in found.values() if "target_extra_few" in of["numbers"]]
    assert numbers.get("ratio") == (5.0 if neighbors[1] == 1.0 else None)
    assert ("5.0 times as much" in page) is (neighbors[1] == 1.0)


def test_images_that_a_tail_is_given_count_in_its_score(tmp_path, small):
    def told(*overrides):
        diagnosed(tmp_path, small("component=silencing", *overrides).target)
        with (tmp_path / "out/predicted.csv").open() as file:
            return [(int(row["train_images"]), float(row["score"])) for row in csv.DictReader(file)]

    listed, thicker = told(), told("target.extra_per_class=10")
    for (images, score), (more, less) in zip(listed, thicker, strict=True):
        assert more == images + 10 * (images <= 100)
        assert more * (2**less - 1) == pytest.approx(images * (2**score - 1), rel=0.01)  # what neighbors show


@pytest.fixture
def lists(tmp_path):
    """Two classes without images, names of a kind or neighbors; one has no training image."""
    for name, lines in (("train", ["a/1.jpg 0", "a/2.jpg 0"]), ("test", ["a/3.jpg 0", "b/1.jpg 1"])):
        (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "names.txt").write_text("left\nright\n")
    return Target(root=str(tmp_path), folder="lists", train="train.txt", test="test.txt", names="names.txt")


def test_what_a_set_does_not_have_is_unknown(tmp_path, lists):
    found, page = diagnosed(tmp_path, lists)
    known = {key for key, statement in found.items() if statement["known"]}
    assert known == {"shots", "imbalance", "spread", "empty", "test_images", "detectable", "advised"}
    assert found["empty"]["numbers"] == {"empty": 1}
    assert "(right)" in page
    assert not (tmp_path / "out/predicted.csv").exists()


def test_the_score_is_how_often_neighbors_double_the_images():
    neighbors = Neighbors(
        pairs=np.array([[0, 0], [0, 1], [1, 1], [3, 1]]),
        similarity=np.array([0.5, 1.0, np.nan, 0.0]),
        images=np.array([40, 10]),
        names=("x", "y"),
        source="",
    )
    score = predicted_gains(np.array([10, 5, 7, 0]), neighbors)
    assert score[:3].tolist() == pytest.approx([2, 1, 0])  # (10 + 30) / 10; (5 + .5 * 10) / 5; none
    assert np.isnan(score[3])
    unknown = predicted_gains(np.array([10, 10, 7, 1]), replace(neighbors, similarity=np.full(4, np.nan)))
    assert unknown.tolist() == pytest.approx(np.log2([6, 2, 1, 11]).tolist())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "target=<name>"),
        ({"do": "guess"}, "one of diagnose, validate"),
        ({"do": "validate", "worlds": 0}, "a folder with worlds=0"),
        ({"do": "validate", "baseline": "x"}, "null with do=validate"),
        ({"do": "validate", "resamples": 5}, "at least 100"),
        ({"do": "validate", "sampling_ratio": [1.0]}, "three numbers"),
    ],
)
def test_options_have_their_values(options, words):
    with pytest.raises(ConfigError, match=words):
        DiagnoseConfig(**options)


def test_a_verdict_on_another_score_is_refused(tmp_path, small):
    other = write_verdict(tmp_path / "other.json", {"formula": "n", "kinds": []})
    with pytest.raises(RunError, match="run do=validate"):
        diagnosed(tmp_path, small().target, verdict=other)


def test_the_worlds_of_the_study_compose():
    config = configure("experiment=embedded_worlds", "component=silencing", "target.world.seed=3")
    assert config.target.world["seed"] == 3
