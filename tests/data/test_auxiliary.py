import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lt_extrap.config import AuxiliaryClasses, NoAuxiliary, OfficialTarget, Target, TargetExtra
from lt_extrap.data.auxiliary import add_classes, add_target_images, spread
from lt_extrap.data.pairs import neighbors_by_shot, read_pairs
from lt_extrap.data.target import ClassTable, TargetSet, load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import DataError
from lt_extrap.model.shots import Shot

COUNTS = [101, 100, 20, 19, 5]  # many, medium, medium, few, few
RANKS = [[[0, 0.9], [1, 0.8], [2, 0.7]], [[1, 0.9], [0, 0.8], [3, 0.7]], [[2, 0.9], [1, 0.5], [0, 0.4]]]
RANKS += [[[3, 0.9], [2, 0.8], [1, 0.7]], [[4, 0.9], [3, 0.8], [0, 0.7]]]


@pytest.fixture
def target(tmp_path: Path) -> TargetSet:
    """Five classes of all groups; six auxiliary classes of 1..6 images; further target images."""
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    lists = {
        "train": [label for label, count in enumerate(COUNTS) for _ in range(count)],
        "test": range(5),
        "auxiliary": [j for j in range(6) for _ in range(j + 1)],
        "extra": [0] * 50 + [1] * 40 + [3] * 30 + [4] * 3,
    }
    for name, labels in lists.items():
        images = [f"extra{i}.png" if name == "extra" else "x.png" for i in range(len(labels))]
        (tmp_path / f"{name}.txt").write_text(
            "".join(f"{i} {label}\n" for i, label in zip(images, labels, strict=True))
        )
    for name in images:  # of the further ones
        (tmp_path / name).hardlink_to(tmp_path / "x.png")
    (tmp_path / "names.txt").write_text("".join(f"wug {j}\n" for j in range(6)))
    (tmp_path / "ranks.json").write_text(json.dumps({"ranks": RANKS}))
    (tmp_path / "edges.json").write_text(json.dumps({"edges": [[0, 0], [0, 1], [4, 1], [0, 1]]}))
    return load_target(Target(root=str(tmp_path), train="train.txt", test="test.txt"))


def classes(**changed) -> AuxiliaryClasses:
    options = {
        "pairs": "ranks.json",
        "neighbors_per_class": 1,
        "sampling_ratio": [1.0, 1.0, 1.0],
        "samples_per_class": 3,
    }
    return AuxiliaryClasses(train="auxiliary.txt", names="names.txt", **(options | changed))


def proposed(pairs) -> set[tuple[int, int]]:
    return {(int(t), int(a)) for t, a in pairs}


def test_the_first_pairs_of_each_target_are_kept(target):
    added = add_classes(classes(), target, seed=0)
    # five targets, nearest first: auxiliary classes 0, 1, 2, 3, 4; class 5 is nobody's and leaves the run
    assert proposed(added.pairs) == {(0, 5), (1, 6), (2, 7), (3, 8), (4, 9)}
    assert added.names == ("wug 0", "wug 1", "wug 2", "wug 3", "wug 4")
    assert added.column.tolist() == [5, 6, 7, 8, 9]
    assert np.bincount(added.index.labels).tolist() == [1, 2, 3, 4, 5]


def test_ratio_counts_by_group_and_many_to_many(target):
    added = add_classes(classes(neighbors_per_class=2, sampling_ratio=[0.0, 0.5, 1.5]), target, seed=0)
    # medium targets 1, 2 keep one; few targets 3, 4 keep three: auxiliary 1, 2 | 3, 2, 1 | 4, 3, 0
    names = {"wug 0": 5, "wug 1": 6, "wug 2": 7, "wug 3": 8, "wug 4": 9}
    assert added.names == tuple(names)
    assert proposed(added.pairs) == {(1, 6), (2, 7), (3, 8), (3, 7), (3, 6), (4, 9), (4, 8), (4, 5)}


def test_a_class_keeps_its_key_when_others_leave(target):
    few = add_classes(classes(sampling_ratio=[0.0, 0.0, 1.0]), target, seed=0)
    full = add_classes(classes(), target, seed=0)
    assert few.names == ("wug 3", "wug 4")
    keys = dict(zip(full.names, full.key, strict=True))
    assert few.key.tolist() == [keys["wug 3"], keys["wug 4"]]


def test_unranked_pairs_are_all_or_nothing(target):
    added = add_classes(classes(pairs="edges.json", neighbors_per_class=None, sampling_ratio=None), target, seed=0)
    assert proposed(added.pairs) == {(0, 5), (0, 6), (4, 6)}
    with pytest.raises(DataError, match="without an order"):
        add_classes(classes(pairs="edges.json"), target, seed=0)


def test_classes_without_pairs_all_stay(target):
    added = add_classes(classes(pairs=None, neighbors_per_class=None, sampling_ratio=None), target, seed=0)
    assert len(added.names) == 6
    assert len(added.pairs) == 0


@pytest.mark.parametrize("seed", range(5))
def test_permuted_pairs_are_wrong_and_keep_their_numbers(target, seed):
    right = add_classes(classes(neighbors_per_class=1), target, seed=seed)
    wrong = add_classes(classes(neighbors_per_class=1, permute=True), target, seed=seed)
    assert wrong.names == right.names
    assert not proposed(right.pairs) & proposed(wrong.pairs)
    for side in (0, 1):
        assert sorted(wrong.pairs[:, side]) == sorted(right.pairs[:, side])


def test_a_permutation_that_stays_right_is_refused(target):
    (target.place.root / "all.json").write_text(json.dumps({"edges": [[t, a] for t in range(5) for a in range(6)]}))
    everyone = classes(pairs="all.json", neighbors_per_class=None, sampling_ratio=None, permute=True)
    with pytest.raises(DataError, match="30 of 30 pairs"):
        add_classes(everyone, target, seed=0)


def test_right_pairs_are_counted(target):
    some = classes(neighbors_per_class=2, permute=False)
    assert add_classes(some, target, seed=0).right_pairs == 10
    alone = classes(neighbors_per_class=1, permute=True)
    assert add_classes(alone, target, seed=0).right_pairs == 0


def test_the_prior_is_what_an_epoch_shows(target):
    training = build_training_set(classes(), target, seed=0)
    assert training.counts.tolist() == [*COUNTS, 1, 2, 3, 3, 3]
    assert training.target_views == sum(COUNTS)
    shown = training.index.labels[training.draw.draw(2)]
    assert np.bincount(shown).tolist() == training.counts.tolist()


def test_the_prior_with_repeats(target):
    training = build_training_set(classes(repeat=True, samples_per_class=4), target, seed=0)
    assert training.counts[5:].tolist() == [4] * 5
    assert np.bincount(training.index.labels[training.draw.draw(0)])[5:].tolist() == [4] * 5


def test_target_images_keep_their_place_and_order(target):
    alone = build_training_set(NoAuxiliary(), target, seed=3)
    together = build_training_set(classes(), target, seed=3)
    order = together.draw.draw(1)
    assert order[order < sum(COUNTS)].tolist() == alone.draw.draw(1).tolist()
    assert together.index.labels[: sum(COUNTS)].tolist() == alone.index.labels.tolist()


def test_further_target_images_count_for_the_prior_and_not_for_the_shots(target):
    extra = TargetExtra(train="extra.txt", images_per_epoch=12, shots=["medium", "few"])
    added = add_target_images(extra, target)
    # medium and few classes with images are 1, 3 and 4; class 4 has only 3
    assert added.column.tolist() == [1, 3, 4]
    assert added.cap.tolist() == [5, 4, 3]
    training = build_training_set(extra, target, seed=0)
    assert training.counts.tolist() == [101, 105, 20, 23, 8]
    assert training.auxiliary_names == ()
    assert target.classes.shots[1] is Shot.MEDIUM
    shown = training.index.labels[training.draw.draw(0)]
    assert np.bincount(shown).tolist() == training.counts.tolist()
    assert training.target_views == len(shown)


def test_a_budget_beyond_the_images_is_refused(target):
    with pytest.raises(DataError, match="74 further images"):
        add_target_images(TargetExtra(train="extra.txt", images_per_epoch=74), target)


def test_the_budget_of_further_images_is_that_of_the_auxiliary_classes(target):
    extra = TargetExtra(train="extra.txt", budget_list="auxiliary.txt", samples_per_class=3)
    assert add_target_images(extra, target).cap.sum() == 1 + 2 + 3 + 3 + 3 + 3


@given(st.integers(0, 60), st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_spread_is_even(total, available):
    shares = spread(total, np.array(available))
    assert shares.sum() == min(total, sum(available))
    assert (shares <= np.array(available)).all()
    below = [share for share, most in zip(shares, available, strict=True) if share < most]
    assert not below or shares.max() - min(below) <= 1


def table(many: int, medium: int, few: int) -> ClassTable:
    counts = np.array([200] * many + [50] * medium + [5] * few)
    names = tuple(map(str, range(len(counts))))
    return ClassTable(names, names, counts)


@pytest.mark.parametrize(
    ("groups", "numbers"),
    [
        ((385, 479, 136), (5, 5, 15)),  # ImageNet-LT: 1:1:3
        ((131, 163, 71), (5, 5, 10)),  # Places-LT: 1:1:2
        ((842, 4076, 3224), (5, 5, 5)),  # iNaturalist 2018: 1:1:1
        ((0, 10, 10), (0, 5, 5)),  # an empty group has no ratio and is no error
    ],
)
def test_default_ratio_counts_classes(groups, numbers):
    assert tuple(neighbors_by_shot(table(*groups), 5, None).values()) == numbers


def test_scale_and_ceiling():
    classes = table(1, 1, 1)
    assert list(neighbors_by_shot(classes, 5, [1.0, 1.0, 3.0], "largest").values()) == [2, 2, 5]
    assert list(neighbors_by_shot(classes, 5, [0.6, 0.5, 0.0]).values()) == [3, 3, 0]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("pairs.json", '{"edges": [[0, 6]]}', r"auxiliary ids 0\.\.5"),
        ("pairs.json", '{"edges": [[5, 0]]}', r"target ids 0\.\.4"),
        ("pairs.json", '{"edges": [[-1, 0]]}', r"target ids 0\.\.4"),
        ("pairs.json", '{"pairs": []}', "KeyError"),
        ("pairs.json", "{", "JSONDecodeError"),
        ("pairs.json", '{"edges": [[0, 1, 1], [1, 2, 0]]}', "2 whole numbers"),
        ("pairs.json", '{"edges": [[0, 1.7]]}', "2 whole numbers"),
        ("pairs.json", '{"edges": [[0, 1180591620717411303424]]}', "OverflowError"),
        ("pairs.json", '{"ranks": [[[0, 0.5]]]}', "ranks of 1 targets"),
    ],
)
def test_bad_pairs(target, file, content, said):
    (target.place.root / file).write_text(content)
    with pytest.raises(DataError, match=said):
        add_classes(classes(pairs=file, neighbors_per_class=None, sampling_ratio=None), target, seed=0)


def test_an_auxiliary_class_with_a_targets_name(target):
    (target.place.root / "names.txt").write_text("a\nb\nc\nd\ne\n_3 \n")
    with pytest.raises(DataError, match="is called '_3', as is target class 3"):
        add_classes(classes(), target, seed=0)


def test_nothing_left(target):
    (target.place.root / "pairs.json").write_text('{"ranks": [[], [], [], [], []]}')
    with pytest.raises(DataError, match="none is left"):
        add_classes(classes(pairs="pairs.json"), target, seed=0)


def test_missing_auxiliary_images(target):
    (target.place.root / "auxiliary.txt").write_text("x.png 0\ny.png 1\n")
    with pytest.raises(DataError, match=r"1 are not there: y\.png"):
        add_classes(classes(), target, seed=0)


def test_no_images_for_the_shots(target):
    (target.place.root / "extra.txt").write_text("extra0.png 0\n")
    with pytest.raises(DataError, match="medium and few"):
        add_target_images(TargetExtra(train="extra.txt", images_per_epoch=3), target)


def test_pairs_file_is_missing(tmp_path):
    with pytest.raises(DataError, match="FileNotFoundError"):
        read_pairs(tmp_path / "none.json", 5)


def test_files_keep_their_labels_where_classes_are_numbered_by_name(target, tmp_path):
    (tmp_path / "classes.txt").write_text("b\nc\na\ne\nd\n")
    by_name = load_target(
        OfficialTarget(
            root=str(tmp_path), train="train.txt", test="test.txt", names="classes.txt", package="", label_order="name"
        )
    )
    class_of = [1, 2, 0, 4, 3]  # three in a circle: there and back are not the same
    ratio = {"sampling_ratio": [1.0, 2.0, 3.0]}  # another number of pairs for each group
    pairs = [proposed(add_classes(classes(**ratio), of, seed=0).pairs) for of in (target, by_name)]
    assert pairs[1] == {(class_of[t], a) for t, a in pairs[0]}
    assert len(pairs[0]) == 11
    extra = TargetExtra(train="extra.txt", shots=["many", "few"], images_per_epoch=60)
    added = [add_target_images(extra, of) for of in (target, by_name)]
    assert added[0].column.tolist() == [0, 3, 4]
    assert added[1].column.tolist() == [1, 3, 4]
    images = [np.bincount(of.column[of.index.labels], minlength=5).tolist() for of in added]
    assert images == [[50, 0, 0, 30, 3], [0, 50, 0, 3, 30]]


def test_further_images_that_are_excluded_are_not_shown(target, tmp_path):
    (tmp_path / "extra.txt").write_text("extra0.png 4\ny.png 4\nextra1.png 4\n")
    (tmp_path / "y.png").write_bytes(b"")
    (tmp_path / "exclude.txt").write_text("y.png\n")
    excluding = load_target(Target(root=str(tmp_path), train="train.txt", test="test.txt", exclude="exclude.txt"))
    extra = TargetExtra(train="extra.txt", images_per_epoch=2)
    assert list(add_target_images(extra, target).index.paths()) == ["extra0.png", "y.png", "extra1.png"]
    assert list(add_target_images(extra, excluding).index.paths()) == ["extra0.png", "extra1.png"]
