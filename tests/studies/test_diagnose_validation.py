"""Predicted against measured gains, from run folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from conftest import SMALL
from lt_extrap.compose import configure
from lt_extrap.errors import RunError
from lt_extrap.runs import read_json, read_table, write_table
from lt_extrap.studies.diagnose.__main__ import DiagnoseConfig, run
from lt_extrap.studies.diagnose.measured import comparisons, group_gains, network_of, read_world
from lt_extrap.studies.diagnose.statement import Statement
from lt_extrap.studies.diagnose.validation import gain_statements, in_short, validate
from lt_extrap.studies.diagnose.verdict import holds, judge
from lt_extrap.studies.diagnose.worlds import jobs
from lt_extrap.train import train

QUICK = ("budget={unit: steps, amount: 2, warmup: 0}", "target.val=null")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache):
    """A baseline and the method on the small world."""
    folder = tmp_path_factory.mktemp("validation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        for row in ("baseline", "silencing"):
            train(configure(*SMALL, *QUICK, f"component={row}"), folder / f"component+{row}-seed+0")
    return folder


def copied(trained, tmp_path, gain_of, seeds=2, worlds=1):
    """Worlds of runs in which each class gains what a function of its score says, with the noise of a seed."""
    (rows,) = comparisons(trained)
    score = read_world(rows, None).score
    for world in range(worlds):
        for seed in range(seeds):
            rng = np.random.default_rng([world, seed])
            order = rng.permutation(1000).tolist()
            gain = gain_of(score) + 0.02 * rng.standard_normal(len(score))
            for row, more in (("baseline", 0), ("silencing", gain)):
                folder = tmp_path / f"world+{world}" / f"component+{row}-seed+{seed}"
                shutil.copytree(rows[row][0], folder)
                table = read_table(folder / "per_class.csv")
                for line, accuracy in zip(table, 0.3 + more * np.ones(len(score)), strict=True):
                    line["accuracy"] = f"{accuracy:.6f}"
                    line["right"] = "".join("1" if place < 1000 * accuracy else "0" for place in order)
                write_table(folder / "per_class.csv", list(table[0]), [list(line.values()) for line in table])
                for file, change in (("results.json", {"seed": seed}), ("run.json", {})):
                    content = read_json(folder / file) | change
                    if file == "run.json":
                        content["config"]["seed"] = seed
                    (folder / file).write_text(json.dumps(content))
    return tmp_path


def test_gains_are_paired_by_seed(trained):
    (rows,) = comparisons(trained)
    world = read_world(rows, None)
    before, now = (
        [float(line["accuracy"]) for line in read_table(rows[row][0] / "per_class.csv")]
        for row in ("baseline", "silencing")
    )
    assert world.gains[0].tolist() == pytest.approx(np.subtract(now, before).tolist())
    assert (world.seeds, world.backbone, world.target) == ((0,), "ConvNet from scratch", "embedded")
    tests = [read_json(rows[row][0] / "results.json")["test"]["acc"] for row in ("baseline", "silencing")]
    assert group_gains(rows)["silencing"]["overall"] == pytest.approx([100 * (tests[1] - tests[0])])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (0.1, "Held"),
        *(pytest.param(*of, marks=pytest.mark.slow) for of in ((-0.1, "did not hold"), (0.0, "undecided"))),
    ],
)
def test_the_verdict_follows_the_measured_gains(trained, tmp_path, slope, words):
    folder = copied(trained, tmp_path, lambda score: slope * score, worlds=3)
    verdict, statements = validate([folder], None, 200)
    (kind,) = verdict["kinds"]
    assert holds(verdict) is (slope > 0)
    assert (kind["worlds"], kind["seeds"], kind["classes"]) == (3, [2], [9])
    assert words.lower() in statements[0].says.lower()
    if slope:
        assert np.sign(slope) * kind["correlation"][0] > 0.8
        assert kind["reliability"] > 0.8
    assert kind["reliable_over"] == "seeds and test images"


def test_other_settings_of_a_row_and_other_rows_are_no_further_worlds(trained, tmp_path):
    folder = copied(trained, tmp_path, lambda score: 0.05 * score, seeds=1) / "world+0"
    for name, key, value in (("lambda", "loss", 0.5), ("permuted", "auxiliary", True)):
        other = folder / f"component+silencing-{name}-seed+0"
        shutil.copytree(folder / "component+silencing-seed+0", other)
        record = read_json(other / "run.json")
        record["config"][key]["lambda_s" if key == "loss" else "permute"] = value
        (other / "run.json").write_text(json.dumps(record))
    (rows,) = comparisons(folder)
    assert rows == {row: {0: folder / f"component+{row}-seed+0"} for row in ("baseline", "silencing")}
    record = read_json(folder / "component+silencing-seed+0/run.json")
    record["config"]["trainer"]["precision"] = "bf16-mixed"  # of another device
    (folder / "component+silencing-seed+0/run.json").write_text(json.dumps(record))
    assert len(comparisons(folder)) == 1
    record["config"]["budget"]["amount"] = 3.0  # another budget is no pair of the baseline
    for changed in folder.glob("component+silencing*"):
        (changed / "run.json").write_text(json.dumps(record))
    assert comparisons(folder) == []


def test_of_sweeps_alone_what_they_have_in_common_counts(trained, tmp_path):
    folder = copied(trained, tmp_path, lambda score: 0.05 * score, seeds=1) / "world+0"
    common = folder / "component+silencing-seed+0"
    departures = [
        *((f"component+silencing-loss.lambda_s+{value}", "loss", "lambda_s", value) for value in (0, 1)),
        ("component+silencing-auxiliary.samples_per_class+9", "auxiliary", "samples_per_class", 9),
        ("component+silencing-auxiliary.sampling_ratio+1_1_3", "auxiliary", "sampling_ratio", [1, 1, 3]),
    ]
    for name, node, key, value in departures:
        shutil.copytree(common, folder / f"{name}-seed+0")
        record = read_json(common / "run.json")
        record["config"][node][key] = value
        (folder / f"{name}-seed+0" / "run.json").write_text(json.dumps(record))
    longest = common.rename(folder / "component+silencing-auxiliary.samples_per_class+50-the_longest_of_all-seed+0")
    assert [rows["silencing"] for rows in comparisons(folder)] == [{0: longest}]


def test_comparisons_that_share_a_baseline_are_one(trained, tmp_path):
    folder = copied(trained, tmp_path, lambda score: 0.05 * score, seeds=2, worlds=2)
    assert len(comparisons(folder)) == 2
    shutil.copytree(folder / "world+1", folder / "again")
    shutil.rmtree(folder / "again" / "component+baseline-seed+1")
    assert [rows["baseline"][0].parent.name for rows in comparisons(folder)] == ["world+0", "world+1"]


def test_runs_without_accuracies_of_classes_tell_the_gains_of_groups(trained, tmp_path):
    folder = copied(trained, tmp_path, lambda score: score)
    for file in folder.glob("**/per_class.csv"):
        file.unlink()
    verdict, statements = validate([folder], None, 200)
    assert "correlation" not in verdict["kinds"][0]
    assert not holds(verdict)
    assert "neighbors changed the few-shot classes by" in statements[0].says


def test_the_interval_of_a_gain_is_students_over_comparisons_and_of_one_over_its_seeds():
    def gains(*few):
        return {"silencing": {"few": few}}

    several = [gains(1.0, 3.0), gains(5.0), gains(4.0, 4.0, 7.0)]
    (kind,) = judge([], {"a kind": several}, 10)["kinds"]
    cell = kind["gains"]["silencing"]["few"]
    mean = stats.ttest_1samp([2.0, 5.0, 5.0], 0)
    assert cell["points"] == pytest.approx([4, *mean.confidence_interval(0.95)], abs=1e-4)
    assert (cell["n"], cell["over"], cell["deviation"]) == (3, "comparisons", pytest.approx(3**0.5, abs=1e-4))
    for few, points in (((1.0, 3.0), [2, 2 - 12.7062, 2 + 12.7062]), ((2.0,), [2, None, None])):
        (kind,) = judge([], {"a kind": [gains(*few)]}, 10)["kinds"]
        cell = kind["gains"]["silencing"]["few"]
        assert (cell["n"], cell["over"]) == (len(few), "seeds")
        assert cell["points"] == pytest.approx(points, abs=1e-3)


def test_random_classes_are_told_beside_neighbors():
    rows = {"silencing": {"few": [3.0, 3.2, 2.8]}, "random": {"few": [2.0, 2.5, 1.5]}}
    (told,) = gain_statements(judge([], {"a kind": [rows]}, 10))
    assert "neighbors changed the few-shot classes by +3.0" in told.says
    assert "; random classes by +2.0" in told.says
    assert told.numbers["random_few"] == pytest.approx(2)


@pytest.mark.parametrize(("detectable", "words"), [(16.2, "about 4.0 times as many test images"), (5.0, "from chance")])
def test_a_page_says_first_whether_its_test_list_could_show_such_a_gain(detectable, words):
    gains = {f"kind {gain}": [{"silencing": {"few": [gain, gain]}}] for gain in (8.1, -5.5)}
    tests = [Statement("", "test_images", "", ""), Statement("", "detectable", "", "", {"points_few": detectable})]
    (told,) = in_short(tests, judge([], gains, 10))
    assert "by -5.5 to +8.1 points" in told.says
    assert words in told.says
    assert ("cannot show" in told.says) == (detectable > 8.1)
    assert not [*in_short(tests[:1], judge([], gains, 10))]


def test_neighbors_and_further_target_images_are_set_against_each_other_on_the_same_target_sets():
    both = {"silencing": {"few": [3.0, 3.2, 2.8]}, "target_extra": {"few": [15.0, 15.5, 14.5]}}
    others = [{"silencing": {"few": [gain]}} for gain in (1.0, 1.0, 2.0, 1.5)]  # thicker tails, where less is gained
    (told,) = gain_statements(judge([], {"a kind": [both, *others]}, 10))
    assert "neighbors changed the few-shot classes by +1.7" in told.says
    assert "5 comparisons); as many further target images by +15.0" in told.says
    assert "3 seeds), where neighbors changed them by +3.0" in told.says
    assert told.says.endswith("3 seeds): 5.0 times as much, where they can be had")
    assert told.numbers["ratio"] == pytest.approx(5)
    assert [row[0] for row in told.table[1:]] == ["silencing", "target_extra", "silencing, where target_extra is too"]
    (told,) = gain_statements(judge([], {"a kind": [both]}, 10))
    assert "where neighbors changed them" not in told.says
    assert told.numbers["ratio"] == pytest.approx(5)
    apart = [others[0], {"target_extra": both["target_extra"]}]
    (told,) = gain_statements(judge([], {"a kind": apart}, 10))
    assert told.numbers.keys() == {"neighbors_few"}


def test_lists_that_have_changed_are_refused(trained, tmp_path):
    folder = copied(trained, tmp_path, lambda score: score)
    file = folder / "world+0/component+silencing-seed+0/run.json"
    record = read_json(file)
    record["files"]["target.train"] = "0" * 16
    file.write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"others under target\.train"):
        validate([folder], None, 200)


def test_no_pair_of_runs_is_said(tmp_path):
    with pytest.raises(RunError, match="train both"):
        validate([tmp_path], None, 200)


def test_all_worlds_come_with_the_first_seed_before_the_next(tmp_path):
    order = [(job.folder.parent.name, job.folder.name) for job in jobs(tmp_path, 2, 2)]
    assert order[:2] == [("world+0", "component+baseline-seed+0"), ("world+0", "component+silencing-seed+0")]
    assert [world for world, name in order if "baseline" in name] == ["world+0", "world+1"] * 2


@pytest.mark.parametrize(
    ("folder", "network"),
    [
        ("tiny_imagenet_lt", "a network from scratch"),
        ("table6", "ConvNet from scratch"),
        ("tiny_imagenet_lt_vit", "vit_small_patch14_dinov2.lvd142m pretrained"),
        ("tiny_imagenet_lt_vit_adaptformer", "vit_small_patch14_dinov2.lvd142m pretrained, AdaptFormer"),
        ("tiny_imagenet_lt_vit_probe", "vit_small_patch14_dinov2.lvd142m pretrained, frozen"),
    ],
)
def test_networks_are_told_apart_by_what_of_them_learns(folder, network):
    published = Path(__file__).parents[2] / "docs/results" / folder
    assert network_of(next(published.glob("component+silencing*"))) == network


@pytest.mark.slow
def test_worlds_are_trained_once_and_their_verdict_is_read(tmp_path, capsys, monkeypatch):
    overrides = [word for word in (*SMALL, *QUICK) if not word.startswith(("experiment", "data."))]
    options = {"do": "validate", "worlds": 2, "seeds": 1, "overrides": overrides, "resamples": 100, "wordnet": "none"}
    output, verdict = tmp_path / "out", tmp_path / "verdict.json"
    run(DiagnoseConfig(**options, workers=2, output=str(output), verdict=str(verdict)))
    assert json.loads(verdict.read_text()) == json.loads((output / "verdict.json").read_text())
    assert json.loads(verdict.read_text())["kinds"][0]["worlds"] == 2
    ended = {file: file.stat().st_mtime_ns for file in output.glob("runs/**/results.json")}
    assert len(ended) == 4
    run(DiagnoseConfig(**options, workers=0, output=str(output)))
    assert ended == {file: file.stat().st_mtime_ns for file in output.glob("runs/**/results.json")}
    capsys.readouterr()
    target = configure(*SMALL, "component=silencing").target
    run(DiagnoseConfig(target=target, wordnet="none", output=str(tmp_path / "page"), verdict=str(verdict)))
    assert "2 worlds of embedded, ConvNet from scratch" in capsys.readouterr().out
