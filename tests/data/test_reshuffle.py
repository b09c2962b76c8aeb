from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lt_extrap.compose import configure
from lt_extrap.config import Official, OfficialTarget
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.official import count_hash
from lt_extrap.data.reshuffle import reshuffled
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError

WORLD = (
    "target.world={classes: 12, families: 4, largest: 150, smallest: 5, random_classes: 4, extra_images: 40, "
    "image_size: 16}"
)


def images(prefix, counts):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return SampleIndex.of([f"{prefix}{i}" for i in range(len(labels))], labels)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=2, max_size=8), st.integers(1, 5))
def test_counts_change_places_and_no_image_is_lost_or_made(counts, number):
    train = images("train", [own for own, _ in counts])
    extra = images("extra", [further for _, further in counts])
    drawn, left = reshuffled(train, extra, number, len(counts))
    of = dict(zip([*train.paths(), *extra.paths()], [*train.labels, *extra.labels], strict=True))
    assert dict(zip([*drawn.paths(), *left.paths()], [*drawn.labels, *left.labels], strict=True)) == of
    assert len(drawn) + len(left) == len(of)
    now, before = Counter(drawn.labels.tolist()), sorted(own for own, _ in counts)
    available = [own + further for own, further in counts]
    assert all(1 <= now[label] <= available[label] for label in range(len(counts)))
    assert all(ours <= wanted for ours, wanted in zip(sorted(now.values()), before, strict=True))
    if max(before) <= min(available):  # nothing is short
        assert sorted(now.values()) == before


def target_of(*overrides):
    return load_target(configure("experiment=demo", WORLD, *overrides).target)


@pytest.mark.slow
def test_a_reshuffled_target_keeps_its_classes_and_changes_its_tail(cache):
    listed, other, again = target_of(), target_of("target.reshuffle=1"), target_of("target.reshuffle=1")
    assert other.classes.names == listed.classes.names
    assert list(other.train.paths()) == list(again.train.paths())
    assert other.classes.shots != listed.classes.shots
    assert list(other.test.paths()) == list(listed.test.paths())
    assert other.extra is not None
    assert len(other.train) + len(other.extra) == len(listed.train) + 12 * 40
    assert not set(other.train.paths()) & {*other.extra.paths(), *other.test.paths()}
    assert target_of("target.reshuffle=2").classes.shots != other.classes.shots


def test_further_images_go_to_the_tail_and_leave_the_shots(cache):
    listed, thicker = target_of(), target_of("target.extra_per_class=10")
    assert thicker.classes.shots == listed.classes.shots
    more = Counter(thicker.train.labels.tolist()) - Counter(listed.train.labels.tolist())
    tail = [label for label, shot in enumerate(listed.classes.shots) if shot in ("medium", "few")]
    assert more == dict.fromkeys(tail, 10)
    assert thicker.left_out.sum() == 0
    assert len(set(thicker.train.paths())) == len(thicker.train)


@pytest.mark.parametrize("key", ["target.reshuffle=3", "target.extra_per_class=10"])
def test_further_images_are_not_shown_twice(cache, key):
    config = configure("experiment=demo", WORLD, key, "component=target_extra", "auxiliary.images_per_epoch=30")
    training = build_training_set(config.auxiliary, load_target(config.target), seed=0)
    assert len(set(training.index.paths())) == len(training.index)


def test_without_further_images_it_is_refused():
    with pytest.raises(ConfigError, match=r"target\.extra"):
        configure("experiment=demo", "target.extra=null", "target.reshuffle=1")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["target.reshuffle=1", "target.extra_per_class=3", "component=target_extra"])
@pytest.mark.parametrize(("split", "place"), [("test", 0), ("val", 1), ("train", 2)])
def test_further_images_that_are_on_another_list_are_refused(tmp_path, key, split, place):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    paths = []
    for name in ("test", "val", "train", "extra"):
        own = [f"{name}{i}.png" for i in range(4)]
        for path in own:
            (tmp_path / path).hardlink_to(tmp_path / "a.png")
        paths.append(own)
        more = [paths[place][0]] if name == "extra" else []
        lines = [f"{path} {int(path[-5]) % 2}" for path in own + more]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    lists = [f"target.{name}={name}.txt" for name in ("test", "val", "train", "extra")]
    words = ("target=lists", f"target.root={tmp_path}", *lists, key)
    config = configure(*words, *(["auxiliary.images_per_epoch=2"] if key.startswith("component") else []))
    with pytest.raises(DataError, match=rf"1 on the {split} list \({split}0\.png\)"):
        build_training_set(config.auxiliary, load_target(config.target), seed=0)


def test_an_official_set_may_be_reshuffled(tmp_path):
    """What is checked is the list as it is, before its counts change places."""
    (tmp_path / "names.txt").write_text("a\nb\n")
    own = {"train": "aaab", "test": "ab", "extra": "bbb"}
    for name, labels in own.items():
        (tmp_path / f"{name}.txt").write_text(
            "".join(f"{i}/{name}{n}.png {'ab'.index(i)}\n" for n, i in enumerate(labels))
        )
    figures = {"train": 4, "test": 2, "classes": 2, "few": 2, "many": 0, "medium": 0, "largest": 3, "smallest": 1}
    target = OfficialTarget(
        root=str(tmp_path),
        **{name: f"{name}.txt" for name in own},
        names="names.txt",
        package="",
        reshuffle=1,
        official=Official(**figures, counts=count_hash(np.array([3, 1]))),
    )
    counts = [load_target(replace(target, reshuffle=n), missing="keep").classes.counts.tolist() for n in range(1, 6)]
    assert [1, 3] in counts
    assert {tuple(sorted(own)) for own in counts} == {(1, 3)}
