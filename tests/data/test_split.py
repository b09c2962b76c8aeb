from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.data.split import LEAST, assign, ties

FRACTIONS = {"test": 0.2, "val": 0.1}
sizes = st.lists(st.integers(1, 30), min_size=2, max_size=4)


def images(sizes):
    """A label and a name for each image of some classes."""
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    return labels, [f"{label}/{number}.png" for number, label in enumerate(labels)]


@settings(max_examples=25, deadline=None)
@given(sizes, st.integers(0, 2**63 - 1), st.floats(0.01, 0.5), st.floats(0.01, 0.49))
def test_single_images_give_each_class_exactly_what_it_wants(sizes, seed, test, val):
    labels, names = images(sizes)
    counts = Counter(zip(labels, assign(labels, names, fractions={"test": test, "val": val}, seed=seed), strict=True))
    for label, n in enumerate(sizes):
        large = n >= LEAST
        assert counts[label, "test"] == (max(1, round(test * n)) if large else 0)
        assert counts[label, "val"] == min(max(1, round(val * n)) if large else 0, n - counts[label, "test"] - 1)
        assert counts[label, "train"] >= 1


@settings(max_examples=25, deadline=None)
@given(sizes, st.integers(0, 9), st.data())
def test_a_unit_stays_together_and_every_class_is_trained_on(sizes, seed, data):
    labels, names = images(sizes)
    units = data.draw(st.lists(st.sampled_from(names[:8]), min_size=len(names), max_size=len(names)))
    splits = assign(labels, units, fractions=FRACTIONS, seed=seed)
    of_unit = defaultdict(set)
    for unit, split in zip(units, splits, strict=True):
        of_unit[unit].add(split)
    assert all(len(found) == 1 for found in of_unit.values())
    trained = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    assert trained == set(labels)


@settings(max_examples=25, deadline=None)
@given(sizes, st.integers(0, 9), st.randoms())
def test_the_order_of_images_and_other_classes_do_not_matter(sizes, seed, random):
    labels, names = images(sizes)
    whole = dict(zip(names, assign(labels, names, fractions=FRACTIONS, seed=seed), strict=True))
    rows = [(label, name) for label, name in zip(labels, names, strict=True) if label]
    random.shuffle(rows)
    part = assign([label for label, _ in rows], [name for _, name in rows], fractions=FRACTIONS, seed=seed)
    assert {name: whole[name] for _, name in rows} == dict(zip([name for _, name in rows], part, strict=True))


def test_further_images_move_few_others():
    labels, names = images([400])
    before = assign(labels, names, fractions=FRACTIONS, seed=0)
    more = [f"0/more {number}.png" for number in range(20)]
    after = assign([0] * 420, [*names, *more], fractions=FRACTIONS, seed=0)
    assert sum(a != b for a, b in zip(before, after, strict=False)) <= 3 * 20
    other = assign(labels, names, fractions=FRACTIONS, seed=1)
    assert sum(a != b for a, b in zip(before, other, strict=True)) > 100


def test_a_group_that_would_overshoot_is_trained_on():
    labels = [0] * 20
    splits = assign(labels, ["large"] * 12 + ["middle"] * 5 + ["a", "b", "c"], fractions={"test": 0.2}, seed=0)
    assert splits[:12] == ["train"] * 12
    assert 3 <= splits.count("test") <= 5


def test_marks_tie_through_others():
    assert ties(["g", None, "h", None, "g"], [None, 1, 1, None, None]) == [0, 1, 1, 3, 0]
    assert ties(["g", "h", "h", "g"], [None, 7, None, 7]) == [0, 0, 0, 0]
    assert ties([], []) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.none() | st.integers(0, 5)] * 2), max_size=9))
def test_ties_are_the_smallest_that_hold(marks):
    first = ties(*zip(*marks, strict=True)) if marks else ties([], [])
    linked = {frozenset((i, j)) for i in range(len(marks)) for j in range(len(marks)) if set_of(marks, i, j)}
    reach = {i: {i} for i in range(len(marks))}
    for _ in marks:
        for pair in linked:
            joined = set().union(*(reach[i] for i in pair))
            for i in pair:
                reach[i] = joined
    assert first == [min(reach[i]) for i in range(len(marks))]


def set_of(marks, i, j):
    return any(a is not None and a == b for a, b in zip(marks[i], marks[j], strict=True))


def test_a_class_keeps_a_training_image():
    assert assign(["a"] * 5, ["one"] * 5, fractions={"test": 0.6}, seed=0) == ["train"] * 5
    splits = assign(["a"] * 6, [f"image {i}" for i in range(6)], fractions={"test": 0.5, "val": 0.49}, seed=0)
    assert sorted(splits) == ["test"] * 3 + ["train"] + ["val"] * 2
