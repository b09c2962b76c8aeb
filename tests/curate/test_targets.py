"""Target classes by their ids, names and files."""

import csv

import numpy as np
import pytest
from nouns import small_wordnet

from lt_extrap.config import Target
from lt_extrap.curate.targets import described, form, target_classes
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError
from lt_extrap.model.shots import Shot


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    return small_wordnet(tmp_path_factory.mktemp("wordnet"))


def one(wordnet, id: str, name: str):
    return described(ClassTable((id,), (name,), np.array([30])), wordnet)[0]


def test_a_wnid_tells_all_that_is_known(wordnet):
    found = one(wordnet, "n02084071", "dog, mutt")
    assert (found.label, found.id, found.name, found.images, found.shot) == (0, "n02084071", "dog, mutt", 30, "medium")
    assert found.spellings == ("dog", "mutt", "domestic dog", "Canis familiaris")
    assert (found.wnid, found.gloss) == ("n02084071", "a tame canid; a pet")
    assert one(None, "n02084071", "dog, mutt").spellings == ("dog", "mutt")


def test_a_folder_called_by_its_wnid_has_a_name(wordnet):
    found = one(wordnet, "n02088364", "n02088364")
    assert (found.name, found.spellings) == ("beagle", ("beagle",))
    assert one(None, "n02088364", "n02088364").name == "n02088364"


@pytest.mark.parametrize(
    ("name", "wnid", "spellings"),
    [
        ("timber_wolf", "n02114100", ("timber wolf", "grey wolf", "gray wolf")),
        ("gray wolf, timber wolf", "n02114100", ("gray wolf", "timber wolf", "grey wolf")),
        ("dog, beagle", None, ("dog, beagle",)),
        ("crane", None, ("crane",)),
        ("Crane, Stephen Crane", "n10914447", ("Crane", "Stephen Crane")),
        ("/p/poodle_dog", "n02113335", ("poodle dog", "poodle")),
        ("lifting_device-outdoor", "n03664675", ("lifting device-outdoor", "lifting device")),
        ("/b/bazaar/indoor", None, ("bazaar/indoor", "bazaar")),
        ("Rome, Italy", None, ("Rome, Italy",)),
        ("7", None, ("7",)),
    ],
)
def test_a_name_tells_the_synset_that_alone_has_it(wordnet, name, wnid, spellings):
    found = one(wordnet, "some", name)
    assert (found.wnid, found.spellings) == (wnid, spellings)
    assert found.id == "some"


def test_two_cranes_stay_two_classes(wordnet):
    table = ClassTable(("n02012849", "n03126707"), ("crane", "crane"), np.array([5, 200]))
    bird, machine = described(table, wordnet)
    assert (bird.id, bird.shot, machine.id, machine.shot) == ("n02012849", Shot.FEW, "n03126707", Shot.MANY)
    assert bird.gloss != machine.gloss


def test_a_file_knows_better(wordnet, tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text('\ufeffid,wnid,gloss,spellings\na,n03126707,"lifts, and moves",tower crane|derrick\n', "utf-8")
    told, other = described(ClassTable(("a", "b"), ("crane", "dog"), np.array([5, 5])), wordnet, file)
    assert (told.wnid, told.gloss, told.spellings) == (
        "n03126707",
        "lifts, and moves",
        ("crane", "tower crane", "derrick"),
    )
    assert other.wnid == "n02084071"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the columns of an empty file"),
        ("name,wnid\nx,\n", "the columns name, wnid"),
        ("id,wind\na,\n", "the columns id, wind"),
        ("id\nc\n", "line 2, id 'c': no class"),
        ("id\na\na\n", "line 3, id 'a': twice"),
        ("id\na,b\n", "line 2, id 'a': more fields than columns"),
        ("id,wnid\na,dog\n", "line 2: wnid 'dog', not n and 8 digits"),
        ('id\n"a\n', "unexpected end of data"),
    ],
)
def test_a_file_that_tells_nothing_is_refused(tmp_path, text, found):
    file = tmp_path / "classes.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=found):
        described(ClassTable(("a", "b"), ("x", "y"), np.array([5, 5])), None, file)
    with pytest.raises(DataError, match="FileNotFoundError"):
        described(ClassTable(("a", "b"), ("x", "y"), np.array([5, 5])), None, tmp_path / "none.csv")


def test_of_a_target_set(wordnet, tmp_path):
    for name, text in {
        "train.txt": "a.jpg 0\nb.jpg 1\nc.jpg 1\n",
        "test.txt": "d.jpg 0\n",
        "names.txt": "n02084071 dog\nn02088364 beagle\n",
    }.items():
        (tmp_path / name).write_text(text)
    target = Target(
        root=str(tmp_path), folder="x", train="train.txt", test="test.txt", names="names.txt", ids_in_names=True
    )
    assert [(found.id, found.name, found.images) for found in target_classes(target, wordnet)] == [
        ("n02084071", "dog", 1),
        ("n02088364", "beagle", 2),
    ]


def test_a_form_has_what_a_name_may_mean_and_is_read_back(wordnet, tmp_path):
    classes = ClassTable(("a", "b"), ("crane", "beagle"), np.array([5, 200]))
    file = tmp_path / "classes.csv"
    file.write_bytes(form(described(classes, wordnet), wordnet))
    assert described(classes, wordnet, file) == described(classes, wordnet)
    crane, beagle = csv.DictReader(file.read_text().splitlines())
    assert (crane["id"], crane["name"]) == ("a", "crane")
    assert (crane["wnid"], beagle["wnid"], beagle["senses"]) == ("", "n02088364", "")
    senses = crane["senses"].split(" | ")
    assert {sense.split()[0] for sense in senses} == set(wordnet.wnids_of("crane"))
    assert "n02012849 a large long-necked bird" in senses
