"""WordNet's nouns: found, read, and refused."""

import zipfile

import pytest
from nouns import LICENCE, NOUNS, line, small_wordnet, write_nouns

from lt_extrap.curate.wordnet import Synset, WordNet, _usual_places, find_wordnet, read_wordnet
from lt_extrap.errors import DataError


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    return small_wordnet(tmp_path_factory.mktemp("wordnet"))


def test_synsets(wordnet):
    assert len(wordnet) == len(NOUNS) == len(list(wordnet))
    assert "n02084071" in wordnet
    assert "n99999999" not in wordnet
    dog = wordnet["n02084071"]
    assert dog.lemmas == ("dog", "domestic dog", "Canis familiaris")
    assert dog.hypernyms == ("n02083346", "n01317541")
    assert dog.gloss == "a tame canid; a pet"
    assert [wordnet[wnid].is_instance for wnid in ("n02084071", "n11111111", "n00001740")] == [False, True, False]


def test_what_is_above_and_below(wordnet):
    assert wordnet.ancestors("n02088364") == {
        "n02087122": 1,
        "n02084071": 2,
        "n02083346": 3,
        "n01317541": 3,
        "n00015388": 4,
        "n00003553": 5,
        "n00001740": 6,
    }
    assert wordnet.hyponyms("n02084071") == ("n02087122", "n02108089", "n02113335", "n11111111")
    assert wordnet.descendants("n02090475") == {"n02090721": 1}
    assert wordnet.hyponyms("n02090721") == ()
    assert [wordnet.depth(wnid) for wnid in ("n00001740", "n02084071", "n02088364")] == [1, 5, 7]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("n02088364", "n02088364", 1.0),
        ("n02088364", "n02090379", 2 * 6 / (1 + 1 + 2 * 6)),  # both hunting dogs
        ("n02088364", "n02113624", 2 * 5 / (2 + 2 + 2 * 5)),  # both dogs
        ("n02088364", "n02087122", 2 * 6 / (1 + 0 + 2 * 6)),
        ("n02012849", "n03126707", 2 * 2 / (3 + 2 + 2 * 2)),
    ],
)
def test_similarity_of_wu_and_palmer(wordnet, one, other, expected):
    assert wordnet.similarity(one, other) == wordnet.similarity(other, one) == pytest.approx(expected)


def test_nothing_in_common():
    wordnet = WordNet({name: Synset((name,), "", (), False) for name in ("verb", "noun")})
    assert wordnet.similarity("verb", "noun") == 0


@pytest.mark.parametrize(
    ("lemma", "expected"),
    [
        ("dog", ("n02084071",)),
        ("Canis-familiaris", ("n02084071",)),
        ("Grey Wolf", ("n02114100",)),
        ("CRANE", ("n02012849", "n03126707", "n10914447")),
        ("unicorn", ()),
        ("", ()),
    ],
)
def test_senses_of_a_noun(wordnet, lemma, expected):
    assert wordnet.wnids_of(lemma) == expected


def test_found_where_it_is_said_to_be(tmp_path, monkeypatch):
    home = write_nouns(tmp_path / "home" / "dict")
    assert find_wordnet(str(tmp_path / "home")) == find_wordnet(str(home)) == home
    monkeypatch.setenv("WNHOME", str(tmp_path / "home"))
    assert find_wordnet() == home
    monkeypatch.delenv("WNHOME")
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "nltk"))
    assert tmp_path / "nltk" / "corpora" / "wordnet" in list(_usual_places())
    with pytest.raises(DataError, match="apt install wordnet-base") as told:
        find_wordnet(str(tmp_path / "nothing"))
    assert str(tmp_path / "nothing") in told.value.found


def test_the_archive_that_nltk_leaves(tmp_path):
    folder = write_nouns(tmp_path / "wordnet")
    archive = tmp_path / "corpora" / "wordnet.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "data.noun", "wordnet/data.noun")
    assert find_wordnet(str(archive.parent)) == archive
    assert read_wordnet(archive).wnids_of("dog") == ("n02084071",)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("wordnet/readme", "nothing")
    with pytest.raises(DataError, match=r"data\.noun"):
        read_wordnet(archive)
    archive.write_bytes(b"no archive")
    with pytest.raises(DataError, match="BadZipFile"):
        read_wordnet(archive)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (LICENCE.replace("3.0", "3.1"), r"WordNet 3\.1 Copyright 2006.*: offsets differ between versions"),
        ("", "no version: offsets differ between versions"),
    ],
)
def test_another_version_is_refused(tmp_path, head, found):
    with pytest.raises(DataError, match=found):
        read_wordnet(write_nouns(tmp_path, head=head))


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("rubbish\n", "line 28: .*'rubbish"),
        ("\n", "line 28"),
        (line("n02088364").replace("002 @", "003 @"), "line 28: no line of a noun"),
        (line("n02088364").replace(" n ", " v ", 1), "line 28: no line of a noun"),
        (line("n02088364").replace(" 01 beagle", " xx beagle"), "line 28: invalid literal"),
        (line("n02088364").replace(" 01 beagle", " ff beagle"), "line 28: list index"),
        (line("n02088364").replace("@ 02087122", "@ 99999999"), "no synset n99999999, a hypernym of n02088364"),
        (line("n02088364").replace("@ 02087122", "@ 02088364"), "hypernyms of n02088364 that run in a circle"),
        ("\udcff", "UnicodeDecodeError"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, more, found):
    file = write_nouns(tmp_path) / "data.noun"
    file.write_bytes(file.read_bytes() + more.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=found):
        read_wordnet(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (write_nouns(tmp_path) / "data.noun").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="1,099,511,627,776 bytes, more than"):
        read_wordnet(tmp_path)
