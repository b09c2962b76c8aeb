"""The pilot study: what is drawn, what is measured, what is concluded, and the way from pool to verdict."""

import dataclasses
import json
import re
import shutil
from collections import Counter

import hydra
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from lt_extrap.compose import configure, from_hydra
from lt_extrap.data.lists import read_list
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.paths import conf_dir
from lt_extrap.studies.granularity.__main__ import granularity, report
from lt_extrap.studies.granularity.config import GranularityConfig, GridConfig, PoolConfig
from lt_extrap.studies.granularity.gaps import Measured, measure
from lt_extrap.studies.granularity.point import Point, draw, lists, points, profile
from lt_extrap.studies.granularity.pool import PoolClass, read_pool
from lt_extrap.studies.granularity.story import story, verdict
from lt_extrap.studies.granularity.study import plan, prepare
from lt_extrap.studies.granularity.superclasses import choose_cut, cut
from lt_extrap.studies.granularity.trend import AGAINST, OPEN, SUPPORTS, trends
from tests.curate.nouns import write_nouns

GRID = GridConfig(classes=6, superclasses=[2, 3], ratios=[1.0, 0.25], draws=1, largest=12)
POOL = PoolConfig(
    name="embedded",
    root=None,
    target=[
        "target=embedded",
        "target.val=null",
        "target.world={families: 4, classes: 16, neighbors_per_family: 0, random_classes: 0, extra_images: 0,"
        "largest: 12, smallest: 12, val_per_class: 0, test_per_class: 3, image_size: 16, auxiliary_images: 1}",
    ],
    hypernyms="classes.json:target",
    train=[
        "experiment=demo",
        "recipe.image_size=16",
        "recipe.batch_size=16",
        "backbone.widths=[8,16]",
        "data.resident=true",
        "data.workers=0",
        "logger=none",
    ],
    steps=10,
    images_per_second=1000.0,
)
FAMILIES = [["creature", f"family {label % 9}", f"member {label}"] for label in range(60)]  # 6 or 7 of each


def study_of(**changes):
    return dataclasses.replace(GranularityConfig(name="test", pool=POOL, grid=GRID), **changes)


def composed(*overrides):
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return from_hydra(hydra.compose("studies/granularity", list(overrides)))


# What is drawn

_trees = st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=30).map(
    lambda ways: [
        ["root", *("".join(map(str, way[: depth + 1])) for depth in range(len(way))), f"class {label}"]
        for label, way in enumerate(ways)
    ]
)


@given(_trees, st.integers(1, 30))
@settings(max_examples=40)
def test_a_cut_is_the_partition_by_the_highest_synsets_that_are_small_enough(paths, most):
    superclasses = cut(paths, most)
    assert sorted(label for labels in superclasses.values() for label in labels) == list(range(len(paths)))
    for superclass, labels in superclasses.items():
        assert labels == [label for label, path in enumerate(paths) if superclass in path]
        assert len(labels) <= most
        for label in labels:
            above = paths[label][: paths[label].index(superclass)]
            assert all(sum(synset in path for path in paths) > most for synset in above)


def test_a_class_with_many_classes_below_it_is_alone():
    paths = [["root", "dog"], ["root", "dog", "pug"], ["root", "dog", "beagle"]]
    assert cut(paths, 2) == {"dog itself": [0], "pug": [1], "beagle": [2]}


def test_families_are_the_superclasses_where_the_grid_asks_for_them():
    superclasses = choose_cut(FAMILIES, 12, [2, 6])
    assert superclasses.keys() == {f"family {family}" for family in range(9)}


def test_the_finest_cut_is_chosen_that_leaves_a_choice():
    # Pairs below nine: two of one superclass are had from the pairs, and only then from the whole families.
    paths = [["root", f"nine {label // 9}", f"pair {label // 2}", f"{label}"] for label in range(90)]
    assert all(name.startswith("pair") for name in choose_cut(paths, 20, [10, 20]))
    assert all(name.startswith("nine") for name in choose_cut(paths, 20, [4, 8]))


def test_a_pool_that_cannot_give_the_grid_is_told_with_what_it_has():
    with pytest.raises(DataError) as error:
        choose_cut(FAMILIES, 40, [4, 20])
    assert "5 of at least 10, 25 of at least 2 classes" in error.value.wanted
    assert "a pool of 60 classes" in error.value.found


@given(st.integers(0, 99), st.sampled_from([(12, 2), (12, 6), (13, 4), (7, 7)]))
@settings(max_examples=15)
def test_a_draw_has_its_superclasses_in_equal_parts_and_is_the_same_at_all_ratios(seed, size):
    classes, number = size
    superclasses = cut(FAMILIES, 7)
    drawn = draw(superclasses, Point(number, 0.1, seed), classes)
    assert drawn == draw(superclasses, Point(number, 1.0, seed), classes)
    assert len(set(drawn)) == classes
    parts = Counter(FAMILIES[label][1] for label in drawn)
    assert len(parts) == number
    assert max(parts.values()) - min(parts.values()) == (classes % number > 0)


def test_from_draw_to_draw_other_classes_are_the_tail():
    superclasses = cut(FAMILIES, 7)
    last = {FAMILIES[draw(superclasses, Point(9, 0.1, seed), 9)[-1]][1] for seed in range(60)}
    assert last == {f"family {family}" for family in range(9)}


def test_profiles():
    assert profile(3, 100, 0.01) == [100, 10, 1]
    assert profile(40, 150, 0.02)[::39] == [150, 3]
    assert profile(3, 5, 0.1) == [5, 2, 1]
    assert profile(3, 5, 1.0) == [5, 5, 5]


def test_fewer_images_are_a_part_of_more():
    pool = [PoolClass(f"c{i}", f"class {i}", (), tuple(f"{i}/{n}" for n in range(9)), (f"t{i}",)) for i in range(3)]
    more, fewer = (dict(lists([2, 0], pool, counts, seed=1)) for counts in ([9, 6], [9, 2]))
    assert set(fewer["train.txt"].split("\n")) < set(more["train.txt"].split("\n"))
    assert more["test.txt"] == "t2 0\nt0 1\n"
    assert json.loads(more["classes.json"]) == [{"id": "c2", "name": "class 2"}, {"id": "c0", "name": "class 0"}]
    assert dict(lists([2, 0], pool, [9, 2], seed=2))["train.txt"] != fewer["train.txt"]


# What is measured


def leave(folder, point, grid, accuracies, config):
    """What a run leaves that has ended."""
    run = folder / point.folder
    run.mkdir(parents=True)
    counts = profile(grid.classes, grid.largest, point.ratio)
    pairs = enumerate(zip(counts, accuracies, strict=True))
    rows = [f"{i},{i},c,few,{count},9,{accuracy:.6f}" for i, (count, accuracy) in pairs]
    head = "class,id,name,shot,train_images,test_images,accuracy"
    (run / "per_class.csv").write_text("\n".join([head, *rows]))
    (run / "results.json").write_text(json.dumps({"seconds": 60.0, "seed": point.seed}))
    (run / "run.json").write_text(json.dumps({"config": config, "kinds": {}}))


def test_gaps_are_those_of_thirds_by_rank(tmp_path):
    grid = dataclasses.replace(GRID, classes=7, superclasses=[2])
    leave(tmp_path, Point(2, 1.0, 0), grid, [0.8, 0.9, 0.1, 0.1, 0.1, 0.8, 0.7], {"budget": 1})
    leave(tmp_path, Point(2, 0.25, 0), grid, [0.7, 0.9, 0.3, 0.3, 0.3, 0.1, 0.5], {"budget": 1})
    balanced, long_tailed = measure(tmp_path, points(grid, 0), grid)
    assert (balanced.head, balanced.tail) == (pytest.approx(85), pytest.approx(75))
    assert (balanced.gap, balanced.adjusted) == (pytest.approx(10), 0)
    assert long_tailed.gap == pytest.approx(50)
    assert long_tailed.adjusted == pytest.approx(40)
    assert long_tailed.relative == pytest.approx(100 * 50 / 80)
    assert (balanced.images, long_tailed.images) == (84, sum(profile(7, 12, 0.25)))


def test_without_the_balanced_run_the_gap_is_not_adjusted(tmp_path):
    leave(tmp_path, Point(2, 0.25, 0), GRID, [0, 0, 0.5, 0.5, 1, 1], {})
    (one,) = measure(tmp_path, points(GRID, 0), GRID)
    assert one.adjusted != one.adjusted
    assert one.relative != one.relative  # nothing of the head is right
    assert "3 runs have not ended" in story([one], [], missing=3)


def test_runs_of_another_grid_or_recipe_are_refused(tmp_path):
    leave(tmp_path, Point(2, 1.0, 0), GRID, [0.5] * 6, {"budget": 1})
    leave(tmp_path, Point(2, 0.25, 0), GRID, [0.5] * 6, {"budget": 2, "seed": 3, "target": {"root": "elsewhere"}})
    with pytest.raises(RunError, match=r"another budget in"):
        measure(tmp_path, points(GRID, 0), GRID)
    with pytest.raises(RunError, match=r"30 down to 30 images\n.*12 down to 12"):
        measure(tmp_path, points(GRID, 0)[:1], dataclasses.replace(GRID, largest=30))


def test_nothing_to_report_is_an_error(tmp_path):
    with pytest.raises(RunError, match="ended"):
        report(study_of(), tmp_path)


# What is concluded


def gaps(by_superclasses, ratio=0.1):
    """Runs whose gap is given, head 50, and no gap at ratio 1."""
    return [
        Measured(Point(superclasses, at, seed), 9, 40.0, 50.0, 50.0 - gap, gap, gap, 2 * gap)
        for superclasses, values in by_superclasses.items()
        for seed, value in enumerate(values)
        for at, gap in ((1.0, 0.0), (ratio, value))
    ]


def test_a_planted_trend_is_found_in_both_directions():
    noise = [-1.0, -0.5, 0.0, 0.5, 1.0]
    for sign, said in ((1, SUPPORTS), (-1, AGAINST), (0, OPEN)):
        found = trends(gaps({s: [20 + sign * 3 * np.log2(s) + e for e in noise] for s in (4, 8, 20, 40)}))
        assert [trend.measure for trend in found] == ["gap", "adjusted", "relative"]
        assert found[0].slope == pytest.approx(3 * sign)
        assert found[2].slope == pytest.approx(6 * sign)
        assert {trend.verdict for trend in found} == {said}


def test_the_slope_is_that_of_least_squares_over_all_draws():
    values = {4: [1.0, 2.0], 8: [4.0, 3.0, 9.0], 40: [5.0, 7.0]}
    x = [np.log2(s) for s, of in values.items() for _ in of]
    y = [value for of in values.values() for value in of]
    assert trends(gaps(values))[0].slope == pytest.approx(np.polyfit(x, y, 1)[0])


def test_the_interval_has_the_width_of_independent_draws():
    drawn = np.random.default_rng(0)
    values = {s: drawn.normal(10, 4, 5).tolist() for s in (4, 8, 20, 40)}
    x = np.log2(list(values))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    error = np.sqrt(sum(w**2 * np.var(of, ddof=1) / 5 for w, of in zip(weights, values.values(), strict=True)))
    many = {s: of * 1000 for s, of in values.items()}  # of which Student's t is the normal distribution
    trend = trends(gaps(many))[0]
    error *= (4 / 4999) ** 0.5
    assert (trend.high - trend.low) / 2 == pytest.approx(1.96 * error, rel=0.001)
    assert trend.detectable == pytest.approx(2.8 * error * np.log2(10), rel=0.002)


@pytest.mark.parametrize("draws", [2, 5])
def test_the_interval_holds_what_it_says_of_few_draws(draws):
    """Of studies in which nothing is to be found 5 in 100 find something, whatever the spread of each granularity."""
    drawn, found = np.random.default_rng(0), 0
    for _ in range(400):
        values = {s: drawn.normal(10, 1 + s / 10, draws).tolist() for s in (4, 8, 20, 40)}
        found += trends(gaps(values))[0].verdict != OPEN
    assert 0.01 <= found / 400 <= 0.08


def test_two_granularities_have_the_interval_of_welch():
    values = {4: [1.0, 4.0, 2.0], 8: [9.0, 3.0, 8.0, 8.5]}
    expected = stats.ttest_ind(values[8], values[4], equal_var=False).confidence_interval(0.95)
    trend = trends(gaps(values))[0]
    assert (trend.low, trend.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("draws", [2, 5])
def test_what_is_detectable_is_found_in_4_of_5_studies(draws):
    of_deviation_1 = (np.arange(draws) / np.std(np.arange(draws), ddof=1)).tolist()
    trend = trends(gaps({4: of_deviation_1, 40: of_deviation_1}))[0]
    values = np.random.default_rng(draws).normal(0, 1, (2, 20_000, draws))
    found = stats.ttest_ind(values[1] + trend.detectable, values[0], axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_draws_that_agree_have_an_interval_of_a_point():
    trend = trends(gaps({4: [10.0, 10.0], 8: [30.0, 30.0]}))[0]
    assert (trend.low, trend.high) == (20, 20)
    measured = gaps({4: [10.0, 10.0], 8: [10.0, 10.0]})
    text = story(measured, trends(measured), missing=0)  # that they agree says nothing of what could be found
    assert f"**{OPEN}**" in text
    assert not re.search("nan|would have been found", text)


def test_one_draw_has_no_interval_and_decides_nothing():
    found = trends(gaps({4: [10.0], 40: [30.0]}))
    assert {trend.verdict for trend in found} == {OPEN}
    assert "no interval" in verdict(found)


def test_the_verdict_is_by_the_adjusted_gap_at_the_smallest_ratio():
    up, down = {4: [10.0, 10.1], 40: [30.0, 30.1]}, {4: [30.0, 30.1], 40: [10.0, 10.1]}
    measured = [*gaps(up, ratio=0.5), *(one for one in gaps(down) if one.point.ratio < 1)]
    text = story(measured, trends(measured), missing=0)
    assert f"at ratio 0.1, by the gap less that at ratio 1: **{AGAINST}**" in text
    assert re.search(r"\| 4 +\| 0\.1 +\| 2 +\| 9 .*\| 30\.1 ± 0\.1", text)


# From pool to verdict


@pytest.mark.slow
def test_a_study_trains_what_no_other_process_is_at(tmp_path, capsys, cache):
    folder = tmp_path / "study"
    config = study_of(grid=dataclasses.replace(GRID, superclasses=[2]))
    granularity(dataclasses.replace(config, do="plan"), folder)
    assert "2 runs, 2 of them to do" in capsys.readouterr().out
    assert not folder.exists()

    study = prepare(config, folder)
    held = folder / Point(2, 0.25, 0).folder
    held.mkdir(parents=True)
    with FileLock(held / ".lock"):  # another process is at that run
        granularity(config, folder)
    said = capsys.readouterr().out
    assert "1 of 2  superclasses+2-ratio+1-seed+0" in said
    assert "1 runs are with other processes" in said
    assert [point.folder for point in study.pending] == [held.name]
    assert not (folder / "granularity.csv").exists()
    assert "1 of them to do" in plan(study)
    assert "the mean of the 1 that have ended" in plan(study)


@pytest.mark.slow
def test_a_study_from_its_pool_to_its_verdict(tmp_path, capsys, cache):
    folder, config = tmp_path / "study", study_of()
    study = prepare(config, folder)
    granularity(config, folder)
    said = capsys.readouterr().out
    assert "4 of 4  superclasses+3-ratio+0.25-seed+0" in said
    assert "Finding 1" in said
    endings = ("csv", "md", "png", "svg")
    assert {file.name for file in folder.glob("granularity.*")} == {f"granularity.{ending}" for ending in endings}
    with Image.open(folder / "granularity.png") as figure:
        assert figure.width > figure.height

    runs = {point: folder / point.folder for point in study.points}
    for point, of in runs.items():
        text = "".join((of / "data" / name).read_text() for name in ("train.txt", "test.txt", "classes.json"))
        assert str(tmp_path) not in text
        assert str(cache) not in text
        train, test = (read_list(of / "data" / f"{name}.txt") for name in ("train", "test"))
        assert np.bincount(train.labels).tolist() == profile(6, 12, point.ratio)
        assert not set(train.paths()) & set(test.paths())
        assert json.loads((of / "run.json").read_text())["config"]["loss"]["tau"] == 1  # balanced softmax
    for superclasses in (2, 3):
        one, other = (runs[Point(superclasses, ratio, 0)] / "data/classes.json" for ratio in GRID.ratios)
        assert one.read_text() == other.read_text()

    # What is committed of a run is enough to go on from.
    table = (folder / "granularity.csv").read_text()
    again = tmp_path / "again"
    for of in runs.values():
        (again / of.name).mkdir(parents=True)
        for file in ("run.json", "results.json", "per_class.csv"):
            shutil.copy(of / file, again / of.name)
    granularity(config, again)
    assert (again / "granularity.csv").read_text() == table
    assert not list(again.glob("*/checkpoints"))

    # And another study in its place is refused.
    with pytest.raises(RunError, match="budget.amount was 10"):
        granularity(dataclasses.replace(config, pool=dataclasses.replace(POOL, steps=11)), again)
    with pytest.raises(RunError, match="the lists of this study"):
        granularity(dataclasses.replace(config, grid=dataclasses.replace(GRID, largest=11)), folder)


def test_the_papers_grid_wants_a_larger_pool(tmp_path, cache):
    paper = composed("pool=embedded", "grid=paper")
    assert (paper.grid.classes, paper.grid.superclasses, paper.grid.draws) == (500, [20, 40, 60, 100], 5)
    assert paper.grid.ratios == [1, 0.5, 0.1, 0.05, 0.01, 0.001]
    with pytest.raises(
        DataError, match=r"grid.classes=500 classes with grid.largest=1000(.|\n)*0 in the pool embedded"
    ):
        prepare(dataclasses.replace(study_of(), grid=paper.grid), tmp_path)
    with pytest.raises(DataError, match="a pool of 16 classes"):
        prepare(dataclasses.replace(study_of(), grid=dataclasses.replace(GRID, superclasses=[5])), tmp_path)


@pytest.mark.parametrize("name", ["embedded", "tiny_imagenet", pytest.param("wordnet", marks=pytest.mark.slow)])
def test_every_pool_composes_and_can_be_trained(name):
    config = composed(f"pool={name}", *["pool.root=/data/my images"] * (name == "wordnet"))
    assert config.name == f"granularity_{name}"
    assert configure(*config.pool.target).target.root == ("/data/my images" if name == "wordnet" else None)
    recipe = configure(*config.pool.train, "target=lists", "target.train=-", "target.test=-")
    assert (type(recipe.loss).__name__, type(recipe.auxiliary).__name__) == ("Balanced", "NoAuxiliary")


def test_a_pool_of_ones_own_wants_its_folder():
    assert {file.stem for file in (conf_dir() / "pool").glob("*.yaml")} == {"embedded", "tiny_imagenet", "wordnet"}
    with pytest.raises(ConfigError, match=r"pool\.root"):
        composed("pool=wordnet")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ratios": [0.1]}, "with 1"),
        ({"ratios": [1.0, 0.01]}, "an image for the smallest class"),
        ({"ratios": [1.0, 1.0]}, "each once"),
        ({"superclasses": [7]}, "1..6"),
        ({"superclasses": []}, "at least one value"),
        ({"classes": 2}, "a class a third"),
        ({"draws": 0}, "grid.draws"),
    ],
)
def test_grids_that_mean_nothing_are_refused(changed, said):
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(GRID, **changed)


def test_superclasses_come_from_wordnet_by_the_names_of_class_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("WNHOME", str(write_nouns(tmp_path / "wordnet")))
    wnids = ("n02088364", "n02090379", "n02000954", "n02012849")  # beagle, redbone, stork, crane
    for shade, wnid in enumerate(wnids):
        for n in range(9):
            file = tmp_path / "pool" / wnid / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (shade, n, 0)).save(file)
    words = ["target=folder", f"target.root={tmp_path / 'pool'}", "target.val=null"]
    config = dataclasses.replace(POOL, target=words, hypernyms="wordnet")
    pool = read_pool(config, dataclasses.replace(GRID, classes=4, superclasses=[2], largest=5))
    assert {one.id for one in pool.classes} == set(wnids)
    superclasses = cut([one.path for one in pool.classes], 2)
    named = {name: {pool.classes[label].id for label in labels} for name, labels in superclasses.items()}
    assert named == {"n02083346": set(wnids[:2]), "n01503061": set(wnids[2:])}
    with pytest.raises(DataError, match=r"the hypernyms of each class in .*classes\.json under the key 'target'"):
        read_pool(dataclasses.replace(config, hypernyms="classes.json:target"), GridConfig(3, [3], [1.0], 1, 5))


@pytest.mark.slow
def test_the_pool_of_real_photographs(real_data, monkeypatch, tmp_path):
    monkeypatch.setenv("LT_EXTRAP_DATA", str(real_data))
    study = prepare(composed(), tmp_path)
    assert len(study.points) == 80
    assert len(study.superclasses) == 61
    assert max(map(len, study.superclasses.values())) == 15
    assert "80 of them to do" in plan(study)
