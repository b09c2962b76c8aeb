"""Classes to look for, and what a search engine is asked."""

import pytest
from nouns import small_wordnet

from lt_extrap.curate.sought import of_name, of_synset, query
from lt_extrap.curate.wordnet import Synset, WordNet


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    return small_wordnet(tmp_path_factory.mktemp("wordnet"))


def test_of_a_synset(wordnet):
    dog = of_synset(wordnet, "n02084071", "wordnet")
    assert (dog.key, dog.name, dog.wnid, dog.gloss) == ("n02084071", "dog", "n02084071", "a tame canid; a pet")
    assert dog.spellings == ("dog", "domestic dog", "Canis familiaris")
    assert (dog.query, dog.proposer) == ("dog", "wordnet")


def test_of_a_name(wordnet):
    assert of_name("Timber-wolf", wordnet, "file").key == "n02114100"
    assert of_name("Timber-wolf", wordnet, "file").spellings == (
        "Timber-wolf",
        "grey wolf",
        "gray wolf",
        "timber wolf",
    )
    assert of_name("crane", wordnet, "file").wnid is None  # several senses
    assert of_name("crane", wordnet, "file", "n03126707").query == "crane device"
    assert of_name("Sea  Dragon", wordnet, "file").key == of_name("sea-dragon", None, "file").key == "name:sea dragon"
    unknown = of_name("emu", wordnet, "file", "n99999999")
    assert (unknown.key, unknown.wnid, unknown.gloss) == ("n99999999", "n99999999", None)


@pytest.mark.parametrize(
    ("wnid", "expected"),
    [
        ("n02012849", "crane bird"),
        ("n03126707", "crane device"),
        ("n02108089", "boxer dog"),
        ("n09870208", "boxer person"),
        ("n02088364", "beagle"),
    ],
)
def test_a_homonym_is_asked_for_with_a_word_that_the_others_lack(wordnet, wnid, expected):
    assert query(wordnet, wnid) == expected


def test_a_word_of_the_nearest_hypernym_that_tells_homonyms_apart():
    """Both setters stand below a dog of a kind; neither query says dog, and neither repeats the name."""
    above = {"thing": "", "animal": "thing", "lawn setter": "animal", "hunting dog": "lawn setter", "top dog": "thing"}
    synsets = {name: Synset((name,), "", tuple(filter(None, [up])), False) for name, up in above.items()}
    synsets["one"] = Synset(("setter",), "", ("hunting dog",), False)
    synsets["other"] = Synset(("setter",), "", ("top dog",), False)
    setters = WordNet(synsets)
    assert query(setters, "one") == "setter animal"
    assert query(setters, "other") == "setter dog"  # no word of its own: the nearest
    assert query(setters, "top dog") == "top dog"
