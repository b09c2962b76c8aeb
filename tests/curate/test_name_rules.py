"""Why a proposed class is dropped."""

import pytest
from nouns import small_wordnet, target

from lt_extrap.curate.name_rules import Drop, NameRules, Reason, read_forbidden
from lt_extrap.curate.sought import of_name, of_synset
from lt_extrap.errors import DataError

BEAGLE = target(0, "beagle", "n02088364")
POODLE = target(1, "toy poodle", "n02113624")
WOLF = target(2, "timber wolf", "n02114100", ("grey wolf", "gray wolf"))
WOLFHOUND = target(3, "Irish wolfhound", "n02090721")


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    return small_wordnet(tmp_path_factory.mktemp("wordnet"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Beagles", Drop(Reason.TARGET, 0)),
        ("toy-poodle", Drop(Reason.TARGET, 1)),
        ("Toypoodle", Drop(Reason.TARGET, 1)),
        ("GREY  WOLVES", Drop(Reason.TARGET, 2)),
        ("dog", Drop(Reason.HYPERNYM, 0)),
        ("poodle", Drop(Reason.HYPERNYM, 1)),
        ("diver", Drop(Reason.PERSON, None)),
        ("wolfhounds", Drop(Reason.HYPERNYM, 3)),
        ("beegle", Drop(Reason.MISSPELLED, 0)),
        ("beaggle", Drop(Reason.MISSPELLED, 0)),
        ("toy podle", Drop(Reason.MISSPELLED, 1)),
        ("small beagle", Drop(Reason.HYPONYM, 0)),
        ("Toy poodle puppies", Drop(Reason.HYPONYM, 1)),
        ("apricot toy poodle puppy", Drop(Reason.HYPONYM, 1)),
        ("beagle kennel", None),
        ("puppy", None),
        ("redbone", None),
        ("boxer", None),  # a dog or a person
        ("bagel", None),
        ("sea wolf", None),
    ],
)
def test_names(wordnet, name, expected):
    rules = NameRules([WOLFHOUND, WOLF, POODLE, BEAGLE], wordnet)
    assert rules.drop(of_name(name, wordnet, "file")) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gray wolf", Drop(Reason.TARGET, 2)),
        ("wolf", Drop(Reason.HYPERNYM, 2)),
        ("wolfhound", Drop(Reason.HYPERNYM, 3)),
        ("poodle", Drop(Reason.HYPERNYM, 1)),
        ("toy poodle puppy", Drop(Reason.HYPONYM, 1)),
        ("beagles", Drop(Reason.TARGET, 0)),
        ("dog", None),
        ("poodle clip", None),
    ],
)
def test_names_alone(name, expected):
    rules = NameRules([BEAGLE, POODLE, WOLF, WOLFHOUND], None)
    assert rules.drop(of_name(name, None, "file")) == expected


@pytest.mark.parametrize(
    ("wnid", "expected"),
    [
        ("n02084071", Drop(Reason.TARGET, 0)),
        ("n02088364", Drop(Reason.HYPONYM, 0)),
        ("n02083346", Drop(Reason.HYPERNYM, 0)),
        ("n02108089", Drop(Reason.HYPONYM, 0)),
        ("n09870208", Drop(Reason.PERSON, None)),
        ("n02114100", None),
        ("n03126707", Drop(Reason.TARGET, 1)),  # captions could not tell it from the target crane
    ],
)
def test_synsets(wordnet, wnid, expected):
    rules = NameRules([target(0, "dog", "n02084071"), target(1, "crane", "n02012849")], wordnet)
    assert rules.drop(of_synset(wordnet, wnid, "wordnet")) == expected


def test_wordnet_knows_better_than_the_last_word(wordnet):
    """A target that WordNet knows is a kind of a class that it knows, or it is not."""
    known, unknown = target(0, "water redbone", "n02114100"), target(0, "water redbone")
    redbone = of_synset(wordnet, "n02090379", "wordnet")
    assert NameRules([known], wordnet).drop(redbone) is None
    assert NameRules([unknown], wordnet).drop(redbone) == Drop(Reason.HYPERNYM, 0)


def test_another_name_in_common(wordnet):
    rules = NameRules([target(4, "poodle-dog")], wordnet)
    assert rules.drop(of_synset(wordnet, "n02113335", "wordnet")) == Drop(Reason.SHARED_NAME, 4)


def test_a_name_stands_for_each_of_its_senses(wordnet):
    rules = NameRules([target(0, "dog", "n02084071")], wordnet)
    assert rules.drop(of_name("boxer", wordnet, "file")) == Drop(Reason.HYPONYM, 0)
    assert rules.drop(of_name("boxer", wordnet, "file", "n09870208")) == Drop(Reason.PERSON, None)


def test_rules_that_may_be_left_out(wordnet, tmp_path):
    forbidden = tmp_path / "forbidden.txt"
    forbidden.write_text("\ufeffgrey wolf\n\n")
    rules = NameRules(
        [target(0, "dog", "n02084071")],
        wordnet,
        keep_hyponyms=True,
        keep_persons=True,
        forbidden=read_forbidden(forbidden),
    )
    for wnid in ("n02088364", "n09870208"):
        assert rules.drop(of_synset(wordnet, wnid, "wordnet")) is None
    assert rules.drop(of_synset(wordnet, "n02114100", "wordnet")) == Drop(Reason.FORBIDDEN, None)
    with pytest.raises(DataError, match=r"correct names\.forbidden"):
        read_forbidden(tmp_path / "none.txt")


def test_the_order_of_targets_changes_nothing(wordnet):
    targets = [target(label, "toy poodle", "n02113624") for label in range(4)]
    for order in (targets, targets[::-1]):
        assert NameRules(order, wordnet).drop(of_name("toy poodel", wordnet, "file")) is None
        assert NameRules(order, wordnet).drop(of_name("toy poodl", wordnet, "file")) == Drop(Reason.MISSPELLED, 0)
        assert NameRules(order, wordnet).drop(of_name("dog", wordnet, "file")) == Drop(Reason.HYPERNYM, 0)


def test_only_the_own_name_of_a_target_is_sought_in_others():
    """Polygonia comma is called "comma" too; Hesperia comma is another butterfly."""
    rules = NameRules([target(0, "Polygonia comma", spellings=("comma",)), target(1, "tench")], None)
    assert rules.drop(of_name("Hesperia comma", None, "taxonomy")) is None
    assert rules.drop(of_name("small tench", None, "file")) == Drop(Reason.HYPONYM, 1)
    assert rules.drop(of_name("comma", None, "file")) == Drop(Reason.TARGET, 0)


def test_short_names_are_not_misspelled():
    rules = NameRules([target(0, "tench"), target(1, "iguana")], None)
    assert rules.drop(of_name("trench", None, "file")) is None
    assert rules.drop(of_name("iguan", None, "file")) is None
    assert rules.drop(of_name("iguanna", None, "file")) == Drop(Reason.MISSPELLED, 1)
