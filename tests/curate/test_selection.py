"""Which images are kept: caps that are stable, copies, and duplicates without chains."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from lt_extrap.curate.stages.selection import Choice, cap, drop_copies, drop_duplicates, judge
from lt_extrap.curate.verdicts import Verdict


def image(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def kept(choices) -> set[tuple[str, str]]:
    return {(choice.key, choice.sha256) for choice in choices if choice.reason is None}


@given(
    numbers=st.sets(st.integers(0, 300), max_size=40),
    more=st.sets(st.integers(301, 400), max_size=5),
    seed=st.integers(0, 9),
)
def test_a_cap_keeps_so_many_whatever_their_order_and_few_change_when_some_are_added(numbers, more, seed):
    choices = [Choice("a", image(number), number) for number in sorted(numbers)]
    cap(choices, 10, seed)
    assert len(kept(choices)) == min(10, len(numbers))
    again = [Choice("a", image(number), number) for number in sorted(numbers | more, reverse=True)]
    cap(again, 10, seed)
    assert len(kept(choices) - kept(again)) <= len(more)
    assert {choice.reason for choice in again} <= {None, "more_than_asked"}


def test_a_cap_counts_each_class_by_itself_and_only_what_is_left():
    choices = [Choice(key, image(number), number) for key in "ab" for number in range(8)]
    choices[0].drop("blank")
    cap(choices, 7, 0)
    assert [sum(choice.reason is None for choice in choices if choice.key == key) for key in "ab"] == [7, 7]


def test_another_seed_keeps_others():
    def of(seed):
        choices = [Choice("a", image(number), number) for number in range(100)]
        cap(choices, 10, seed)
        return kept(choices)

    assert of(0) == of(0) != of(1)


def test_a_copy_is_told_of_the_split_that_matters_most():
    choices = [Choice("a", image(number), number) for number in range(3)]
    drop_copies(choices, {(image(0), "train"): "t.jpg", (image(0), "test"): "e.jpg", (image(1), "train"): "u.jpg"})
    assert [(choice.reason, choice.because) for choice in choices] == [
        ("copy_of_test", "e.jpg"),
        ("copy_of_train", "u.jpg"),
        (None, None),
    ]


def test_of_duplicates_the_one_nearest_to_a_target_stays():
    one, other = Choice("a", image(0), 0, cosines={3: 0.8}), Choice("b", image(0), 0, cosines={4: 0.9})
    drop_duplicates([one, other], {})
    assert (one.reason, one.because) == ("duplicate_of_another_class", f"b/{image(0)}")
    assert other.reason is None


@given(st.permutations(range(6)))
def test_duplicates_do_not_depend_on_the_order_of_rows(order):
    group = {image(0): "one", image(5): "one", image(2): "other", image(3): "other"}
    choices = [Choice("ab"[number % 2], image(number), number, cosines={0: 0.5}) for number in range(6)]
    shuffled = [Choice("ab"[number % 2], image(number), number, cosines={0: 0.5}) for number in order]
    drop_duplicates(choices, group)
    drop_duplicates(shuffled, group)
    assert kept(choices) == kept(shuffled)
    assert len(kept(choices)) == 4


def test_a_person_overrules_all_but_copies_and_comes_first():
    choices = [Choice("a", image(number), number) for number in range(12)]
    judge(choices, {("a", image(number)): Verdict.KEEP for number in range(8)}, {})
    for choice, reason in zip(
        choices, ("small", "blank", "placeholder", "cosine", "suspect", "copy_of_val"), strict=False
    ):
        choice.drop(reason)
    drop_copies(choices, {(image(6), "test"): "e.jpg"})
    cap(choices, 7, 0)
    assert [choice.reason for choice in choices[:8]] == [*[None] * 5, "copy_of_val", "copy_of_test", None]
    assert sum(choice.reason is None for choice in choices) == 7
    cap(choices, 5, 0)
    assert kept(choices) < {("a", image(number)) for number in range(8)}


def test_what_a_person_drops_takes_its_near_copies_of_the_class_along():
    choices = [Choice(key, image(number), number) for key in "ab" for number in range(4)]
    verdicts = {("a", image(0)): Verdict.DROP, ("a", image(2)): Verdict.KEEP}
    judge(choices, verdicts, {image(number): "one" for number in range(3)})
    assert [(choice.reason, choice.because) for choice in choices[:4]] == [
        ("reviewed", None),
        ("reviewed", f"a near-copy of {image(0)}"),
        (None, None),
        (None, None),
    ]
    assert all(choice.reason is None for choice in choices[4:])
    later = [Choice("a", image(1), 0)]  # of another source, which does not have the image that was dropped
    judge(later, verdicts, {image(number): "one" for number in range(3)})
    assert later[0].reason == "reviewed"


def test_of_duplicates_a_person_chooses():
    one, other = Choice("a", image(0), 0, cosines={3: 0.8}), Choice("b", image(0), 0, cosines={4: 0.9})
    judge([one, other], {("a", image(0)): Verdict.KEEP}, {})
    drop_duplicates([one, other], {})
    assert one.reason is None
    assert other.reason == "duplicate_of_another_class"
