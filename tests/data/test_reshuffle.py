from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_extrap.compose import configure
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.reshuffle import reshuffled
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError

WORLD = "target.world={classes: 12, families: 4, largest: 150, smallest: 5, random_classes: 4, extra_images: 40}"


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
