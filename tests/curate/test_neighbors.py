"""Which classes become neighbors."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nouns import small_wordnet, target

from lt_extrap.curate.name_rules import Drop, NameRules, Reason
from lt_extrap.curate.neighbors import choose, choose_random, wanted_counts
from lt_extrap.curate.proposers.random import RandomProposer, things
from lt_extrap.curate.proposers.wordnet import WordNetProposer
from lt_extrap.curate.sought import of_name
from lt_extrap.curate.targets import described
from lt_extrap.curate.verdicts import Verdict
from lt_extrap.curate.wordnet import find_wordnet, read_wordnet
from lt_extrap.data.target import ClassTable, read_names
from lt_extrap.errors import DataError
from lt_extrap.model.shots import Shot

TARGETS = [target(0, "tench"), target(1, "goldfish"), target(2, "pike")]


class Listed:
    """Proposes names that are given here."""

    name = "listed"

    def __init__(self, **names: list[str]):
        self._names = names

    def propose(self, target):
        for number, name in enumerate(self._names.get(target.name, ())):
            yield of_name(name, None, self.name), 1 / (1 + number)


LISTED = Listed(
    tench=["Tenches", "dace", "carp", "DACE", "roach"],
    goldfish=["tench", "roach", "dace"],
    pike=["dace", "zander", "perch"],
)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_class_of_several_targets_is_one_class(reverse):
    rules = NameRules(TARGETS, None)
    choice = choose(TARGETS[:: -1 if reverse else 1], LISTED, rules, np.array([2, 4, 0]))
    assert [sought.name for sought in choice.classes] == ["dace", "carp", "roach"]
    assert [(pair.target, pair.key, pair.rank, pair.similarity) for pair in choice.pairs] == [
        (0, "name:dace", 1, 1 / 2),
        (0, "name:carp", 2, 1 / 3),
        (1, "name:roach", 1, 1 / 2),
        (1, "name:dace", 2, 1 / 3),
    ]
    assert [(one.sought.name, one.target, *one.drop) for one in choice.dropped] == [
        ("Tenches", 0, Reason.TARGET, 0),
        ("tench", 1, Reason.TARGET, 0),
    ]


def test_a_class_that_is_named_twice_for_a_target_is_one_neighbor():
    choice = choose(TARGETS, LISTED, NameRules(TARGETS, None), np.array([9, 0, 0]))
    assert [(pair.key, pair.rank) for pair in choice.pairs] == [("name:dace", 1), ("name:carp", 2), ("name:roach", 3)]


def test_fewer_wanted_are_the_first_of_more():
    rules = NameRules(TARGETS, None)
    more = choose(TARGETS, LISTED, rules, np.array([3, 3, 3])).pairs
    assert choose(TARGETS, LISTED, rules, np.array([2, 1, 2])).pairs == tuple(
        pair for pair in more if pair.rank <= (2, 1, 2)[pair.target]
    )


def test_wanted_counts_are_those_of_training():
    shots = [(200, Shot.MANY), (150, Shot.MANY), (50, Shot.MEDIUM), (5, Shot.FEW), (0, Shot.ZERO)]
    targets = [replace(target(i, str(i)), images=images, shot=shot) for i, (images, shot) in enumerate(shots)]
    assert wanted_counts(targets[::-1], 5).tolist() == [5, 5, 10, 10, 0]
    assert wanted_counts(targets, 4, [0.5, 1.0, 2.0]).tolist() == [2, 2, 4, 8, 0]
    assert wanted_counts(targets, 4, [0.5, 1.0, 2.0], "largest").tolist() == [1, 1, 2, 4, 0]


def test_random_classes_are_nobodys_neighbors(tmp_path):
    wordnet = small_wordnet(tmp_path)
    beagle = target(0, "beagle", "n02088364")
    pool = list(things(wordnet))
    choice = choose_random(RandomProposer(pool, 0), NameRules([beagle], wordnet), 3)
    assert (len(choice.classes), choice.pairs) == (3, ())
    every = choose_random(RandomProposer(pool, 0), NameRules([beagle], wordnet), 1000)
    assert every.classes[:3] == choice.classes
    assert {(one.sought.name, one.drop.reason, one.target) for one in every.dropped} == {
        ("beagle", Reason.TARGET, None),
        ("boxer", Reason.PERSON, None),
        ("diver", Reason.PERSON, None),
    }
    assert len(every.classes) + len(every.dropped) == len(pool)


# --- the real WordNet and the real names ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def imagenet_lt() -> Path:
    """The folder of ImageNet-LT's class names, or a skip. A session fixture is set up before `_environment`."""
    root = Path(os.environ.get("LT_EXTRAP_DATA") or "absent")
    for folder in (root / "official_lists" / "ImageNet_LT", root / "ImageNet_LT"):
        if (folder / "classnames.txt").is_file():
            return folder.resolve()
    pytest.skip("LT_EXTRAP_DATA names no folder with ImageNet_LT/classnames.txt")


@pytest.mark.slow
def test_imagenet_has_neighbors_in_wordnet(imagenet_lt):
    """Every class of the 1,000 is found, and nearly all have 5 neighbors and 15, each once and none a target."""
    try:
        wordnet = read_wordnet(find_wordnet())
    except DataError as error:
        pytest.skip(f"WordNet is not installed: {error.remedy}")
    ids, names = read_names(imagenet_lt, "classnames.txt", ids=True)
    targets = described(ClassTable(ids, names, np.full(1000, 50)), wordnet)
    assert all(found.wnid in wordnet for found in targets)
    rules = NameRules(targets, wordnet)
    choice = choose(targets, WordNetProposer(wordnet, 4), rules, np.full(1000, 15))
    have = np.bincount([pair.target for pair in choice.pairs], minlength=1000)
    assert (have >= 5).sum() >= 991
    assert (have >= 15).sum() >= 964
    assert not {*ids} & {sought.key for sought in choice.classes}
    assert len({(pair.target, pair.key) for pair in choice.pairs}) == len(choice.pairs)
    assert len(choice.classes) < len(choice.pairs) / 2
    siblings = {
        below for found in targets for above in wordnet[found.wnid].hypernyms for below in wordnet.hyponyms(above)
    }
    hypernyms = {above for found in targets for above in wordnet.ancestors(found.wnid)}
    assert len(siblings & hypernyms) > 350  # an exact-name filter would pass "dog" beside beagle
    assert not hypernyms & {sought.key for sought in choice.classes}


class NearSynonyms(NameRules):
    """These rules, after which an encoder finds two names near a target's."""

    def drop(self, sought):
        near = Drop(Reason.NEAR_SYNONYM, 0) if sought.name in ("carp", "roach") else None
        return super().drop(sought) or near


def test_a_person_drops_classes_and_lets_in_what_is_only_near_in_meaning():
    rules = NearSynonyms(TARGETS, None)
    said = {"name:dace": Verdict.DROP, "name:carp": Verdict.KEEP, "name:tenches": Verdict.KEEP}
    choice = choose(TARGETS, LISTED, rules, np.array([9, 0, 0]), said)
    assert [sought.name for sought in choice.classes] == ["carp"]
    assert {dropped.sought.name: dropped.drop.reason for dropped in choice.dropped} == {
        "Tenches": Reason.TARGET,
        "dace": Reason.REVIEWED,
        "roach": Reason.NEAR_SYNONYM,
    }
