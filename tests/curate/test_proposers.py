"""Who names neighbors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nouns import small_wordnet, target

from lt_extrap.config.curate_proposer import (
    FileNeighbors,
    RandomClasses,
    TaxonomyNeighbors,
    WordNetNeighbors,
)
from lt_extrap.curate.proposers import make_proposer, make_random
from lt_extrap.curate.proposers.file import FileProposer
from lt_extrap.curate.proposers.random import RandomProposer, things
from lt_extrap.curate.proposers.taxonomy import TaxonomyProposer
from lt_extrap.curate.proposers.within import Within
from lt_extrap.curate.proposers.wordnet import WordNetProposer
from lt_extrap.curate.records import Sought
from lt_extrap.curate.sought import of_synset
from lt_extrap.data.stored.schema import ClassRecord
from lt_extrap.data.stored.writer import write_set
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import ConfigError, DataError

BEAGLE = target(0, "beagle", "n02088364")


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    return small_wordnet(tmp_path_factory.mktemp("wordnet"))


class Offers:
    """A source of some classes; it has no images."""

    name = "offers"
    notes = ()

    def __init__(self, *offered: Sought, divided: bool = True):
        self._offered, self._divided = offered, divided

    def offers(self, sought):
        return sought.key in {offered.key for offered in self._offered}

    def classes(self):
        return self._offered if self._divided else ()

    def search(self, sought):
        return iter(())

    def read(self, place):
        return b""


def named(proposals):
    return [sought.name for sought, _ in proposals]


# --- WordNet --------------------------------------------------------------------------------------------------------


def test_wordnet_climbs_level_by_level(wordnet):
    levels = [["redbone", "Irish wolfhound"], ["boxer", "toy poodle"], ["grey wolf"], ["crane", "stork"]]
    for most in range(1, 5):
        found = named(WordNetProposer(wordnet, most).propose(BEAGLE))
        parts = [sorted(found[:2]), sorted(found[2:4]), found[4:5], sorted(found[5:])]
        assert parts[:most] == [sorted(level) for level in levels[:most]]
        assert not any(parts[most:])
    assert found[:2] == ["redbone", "Irish wolfhound"]  # the nearer of a level first
    assert found[2] == "boxer"


def test_wordnet_tells_the_similarity(wordnet):
    found = {sought.wnid: similarity for sought, similarity in WordNetProposer(wordnet, 20).propose(BEAGLE)}
    assert found == {wnid: pytest.approx(wordnet.similarity("n02088364", wnid)) for wnid in found}
    assert {"n11111111", "n10914447"}.isdisjoint(found)  # individuals
    assert {"n03126707", "n10019552"} < found.keys()


def test_wordnet_with_kinds_that_hold_others(wordnet):
    found = named(WordNetProposer(wordnet, 1, leaves=False).propose(BEAGLE))
    assert sorted(found) == ["Irish wolfhound", "redbone", "wolfhound"]


def test_wordnet_among_some(wordnet):
    among = ["n02090475", "n02084071", "n02114100", "n99999999", "n11111111"]
    assert named(WordNetProposer(wordnet, 20, among=among).propose(BEAGLE)) == ["wolfhound", "grey wolf"]
    assert named(WordNetProposer(wordnet, 20, among=among[::-1]).propose(BEAGLE)) == ["wolfhound", "grey wolf"]


def test_wordnet_knows_nothing_of_a_class_without_synset(wordnet):
    for unknown in (target(0, "unicorn"), target(0, "unicorn", "n99999999")):
        assert named(WordNetProposer(wordnet, 4).propose(unknown)) == []


def test_targets_of_one_family_have_their_own_orders(wordnet):
    """What is equally near comes in another order for at least one of some targets, and in the same each time."""
    ties = [target(0, f"beagle {number}", "n02088364") for number in range(20)]
    ties = [type(one)(**{**vars(one), "id": one.name}) for one in ties]
    orders = [tuple(named(WordNetProposer(wordnet, 4).propose(one))[-2:]) for one in ties]
    assert {*orders} == {("crane", "stork"), ("stork", "crane")}
    assert orders == [tuple(named(WordNetProposer(wordnet, 4).propose(one))[-2:]) for one in ties]


# --- taxonomy -------------------------------------------------------------------------------------------------------

SPECIES = [
    {
        "id": 0,
        "name": "Canis lupus",
        "genus": "Canis",
        "family": "Canidae",
        "order": "Carnivora",
        "kingdom": "Animalia",
    },
    {"id": 1, "name": "Canis latrans", "genus": "Canis", "family": "Canidae", "order": "Carnivora"},
    {"name": "Vulpes vulpes", "common_name": "Red Fox", "genus": "Vulpes", "family": "Canidae", "order": "Carnivora"},
    {"id": 3, "name": "Felis catus", "genus": "Felis", "family": "Felidae", "order": "Carnivora"},
    {"id": 4, "name": "Grus grus", "genus": "Grus", "family": "Gruidae", "order": "Gruiformes"},
]


def write(file, content):
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


@pytest.mark.parametrize("reverse", [False, True])
def test_taxonomy_goes_from_genus_to_order(tmp_path, reverse):
    proposer = TaxonomyProposer(write(tmp_path / "categories.json", SPECIES[:: -1 if reverse else 1]))
    found = list(proposer.propose(target(0, "canis lupus")))
    assert named(found) == ["Canis latrans", "Vulpes vulpes", "Felis catus"]
    assert [similarity for _, similarity in found] == pytest.approx([6 / 7, 5 / 7, 4 / 7])
    fox = found[1][0]
    assert (fox.key, fox.spellings, fox.wnid) == ("name:vulpes vulpes", ("Vulpes vulpes", "Red Fox"), None)
    assert named(proposer.propose(target(0, "red fox")))[-1] == "Felis catus"  # by its common name
    assert named(proposer.propose(target(0, "Canis dirus")))[-2:] == ["Vulpes vulpes", "Felis catus"]  # by its genus
    assert named(proposer.propose(target(0, "airplane"))) == []


def test_taxonomy_of_the_targets_in_a_file_of_their_own(tmp_path):
    species, own = write(tmp_path / "new.json", SPECIES[1:]), write(tmp_path / "old.json", SPECIES[:1])
    wolf = target(0, "Canis lupus")
    assert named(TaxonomyProposer(species, own).propose(wolf)) == ["Canis latrans", "Vulpes vulpes", "Felis catus"]
    assert "Canis lupus" not in named(TaxonomyProposer(species, own).propose(target(1, "Vulpes vulpes")))


@pytest.mark.parametrize(
    "content",
    ["", "[", {}, [], ["Canis lupus"], [{"name": "Canis lupus"}], [SPECIES[0] | {"genus": 3}], "[" * 100_000],
)
def test_taxonomy_that_is_none(tmp_path, content):
    with pytest.raises(DataError, match=r"categories\.json of a larger year"):
        TaxonomyProposer(write(tmp_path / "categories.json", content))


# --- file -----------------------------------------------------------------------------------------------------------

CRANES = [target(0, "crane", "n02012849"), target(1, "crane", "n03126707"), target(2, "tench"), target(3, "gold-fish")]


def test_file_in_both_forms(wordnet, tmp_path):
    as_json = write(
        tmp_path / "a.json",
        {
            "n02012849": ["stork", {"name": "crowned crane", "wnid": "n99999999", "similarity": 1}],
            "Tench": ["dace", "carp"],
            "goldfish ": [],
            "gold fish": ["dace"],
        }
        | {},
    )
    with pytest.raises(DataError, match="'goldfish '"):
        FileProposer(as_json, CRANES, wordnet)
    as_json.write_text(as_json.read_text().replace('"goldfish ": [],', ""))
    lines = "target,name,wnid,similarity\nn02012849,stork,,\nTench,dace,,\nn02012849,crowned crane,n99999999,1\n"
    as_csv = write(tmp_path / "a.csv", lines + "Tench,carp,,\ngold fish,dace,,\n")
    for file in (as_json, as_csv):
        proposer = FileProposer(file, CRANES, wordnet)
        found = list(proposer.propose(CRANES[0]))
        assert [(sought.name, sought.key, similarity) for sought, similarity in found] == [
            ("stork", "n02000954", None),
            ("crowned crane", "n99999999", 1.0),
        ]
        assert named(proposer.propose(CRANES[1])) == []
        assert named(proposer.propose(CRANES[2])) == ["dace", "carp"]
        assert named(proposer.propose(CRANES[3])) == ["dace"]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.json", {"crane": ["stork"]}, r"'crane' \(n02012849 or n03126707\)"),
        ("a.json", {"pike": ["stork"]}, "'pike'"),
        ("a.json", ["stork"], "ValueError"),
        ("a.json", {"tench": "dace"}, "ValueError"),
        ("a.json", {"tench": [3]}, "3 where a name was wanted"),
        ("a.json", {"tench": ["..."]}, "'...' where a name was wanted"),
        ("a.json", {"tench": ["da\x00ce"]}, "where a name was wanted"),
        ("a.json", {"tench": [{"wnid": "n02000954"}]}, "TypeError"),
        ("a.json", {"tench": [{"name": "stork", "rank": 1}]}, "TypeError"),
        ("a.json", {"tench": [{"name": "stork", "wnid": "stork"}]}, "not n and 8 digits"),
        ("a.json", '{"tench": [{"name": "stork", "similarity": NaN}]}', "nan of 'stork': not a number"),
        ("a.json", {"tench": [{"name": "stork", "similarity": True}]}, "not a number"),
        ("a.json", "[" * 100_000, "RecursionError"),
        ("a.csv", "", "the columns of an empty file"),
        ("a.csv", "target,neighbor\ntench,dace\n", "the columns target, neighbor"),
        ("a.csv", "target,name\ntench\n", "line 2: not 2 fields"),
        ("a.csv", "target,name\ntench,dace,carp\n", "line 2: not 2 fields"),
        ("a.csv", "target,name,similarity\ntench,dace,near\n", "could not convert"),
    ],
)
def test_file_that_is_refused(tmp_path, name, content, found):
    with pytest.raises(DataError, match=found):
        FileProposer(write(tmp_path / name, content), CRANES, None)


# --- random ---------------------------------------------------------------------------------------------------------


def test_random_order_depends_on_seed_and_class_alone(wordnet):
    pool = list(things(wordnet))
    order = [sought.name for sought in RandomProposer(pool, 3).draw()]
    assert len(order) == len(pool)
    assert [sought.name for sought in RandomProposer(reversed(pool), 3).draw(4)] == order[:4]
    assert [sought.name for sought in RandomProposer(pool, 4).draw()] != order
    fewer = [sought for sought in pool if sought.name != order[1]]
    assert [sought.name for sought in RandomProposer(fewer, 3).draw()] == order[:1] + order[2:]


def test_things_are_leaves_and_no_individuals(wordnet):
    found = {sought.key for sought in things(wordnet)}
    assert {"n02088364", "n03126707", "n09870208"} < found
    assert {"n02084071", "n00001740", "n10914447", "n11111111"}.isdisjoint(found)


# --- within a source, and by configuration --------------------------------------------------------------------------


def test_within_a_source(wordnet):
    source = Offers(of_synset(wordnet, "n02114100", ""), of_synset(wordnet, "n02090379", ""))
    proposer = Within(WordNetProposer(wordnet, 3), source)
    assert (proposer.name, named(proposer.propose(BEAGLE))) == ("wordnet", ["redbone", "grey wolf"])


@pytest.mark.parametrize("divided", [False, True])
def test_wordnet_within_a_source(wordnet, divided):
    """Where a source has classes, leaves are those of them that hold no other."""
    source = Offers(*(of_synset(wordnet, wnid, "") for wnid in ("n02114100", "n02090475")), divided=divided)
    proposer = make_proposer(WordNetNeighbors(within=True), [BEAGLE], wordnet, source)
    assert named(proposer.propose(BEAGLE)) == (["wolfhound", "grey wolf"] if divided else ["grey wolf"])


def test_wordnet_within_a_source_whose_classes_have_ids_and_names(wordnet):
    wolf = of_synset(wordnet, "n02114100", "")
    named_folder = replace(of_synset(wordnet, "n02090475", ""), wnid=None)  # a wolfhound, by its spelling alone
    source = Offers(wolf, named_folder)
    proposer = make_proposer(WordNetNeighbors(within=True), [BEAGLE], wordnet, source)
    assert named(proposer.propose(BEAGLE)) == ["wolfhound", "grey wolf"]


def test_made_by_configuration(wordnet, tmp_path):
    source = Offers()
    lists = write(tmp_path / "a.json", {"beagle": ["dace"], "n02088364": ["carp"]})
    species = write(tmp_path / "categories.json", SPECIES)
    made = [
        make_proposer(options, [BEAGLE], wordnet, source)
        for options in (
            WordNetNeighbors(),
            FileNeighbors(file=str(lists)),
            TaxonomyNeighbors(file=str(species), target_file=str(species)),
        )
    ]
    assert [proposer.name for proposer in made] == ["wordnet", "file", "taxonomy"]
    assert named(made[1].propose(BEAGLE)) == ["dace", "carp"]
    with pytest.raises(ConfigError, match=r"names\.use_wordnet=true"):
        make_proposer(WordNetNeighbors(), [BEAGLE], None, source)
    with pytest.raises(ConfigError, match=r"proposer\.levels"):
        WordNetNeighbors(levels=0)


def test_random_by_configuration(wordnet):
    options = RandomClasses(within=True)
    with pytest.raises(ConfigError, match="offers, which is not"):
        make_random(options, wordnet, Offers())
    mine = Sought("name:my class", "my class", ("my class",))
    source = Offers(Sought("n02088364", "n02088364", ("n02088364",), "n02088364"), mine)
    found = {sought.name: sought for sought in make_random(options, wordnet, source).draw()}
    assert found.keys() == {"beagle", "my class"}
    assert found["my class"].proposer == "random"
    assert len(list(make_random(RandomClasses(), wordnet, source).draw())) == len(list(things(wordnet)))
    with pytest.raises(ConfigError, match=r"names\.use_wordnet=true"):
        make_random(RandomClasses(), None, source)


def test_random_less_the_classes_of_a_set(wordnet, tmp_path):
    """By id and by name: a set knows the synset of what a folder may name without it."""
    table = ClassTable(("0",), ("beagle",), np.array([5]))
    classes = [ClassRecord(0, "Grey wolf", "n02114100", ["grey wolf", "timber wolf"]), ClassRecord(1, "My class")]
    write_set(tmp_path / "set", target="dogs", table=table, classes=classes, pairs=[], images=iter(()))
    names = ("my class", "timber wolf", "lamp")
    offered = [Sought(f"name:{name}", name, (name,)) for name in names]
    source = Offers(*offered, of_synset(wordnet, "n02114100", ""), of_synset(wordnet, "n02090379", ""))
    options = RandomClasses(within=True, without=str(tmp_path / "set"))
    assert {sought.name for sought in make_random(options, wordnet, source).draw()} == {"lamp", "redbone"}
    every = {sought.key for sought in things(wordnet)}
    left = make_random(RandomClasses(without=str(tmp_path / "set")), wordnet, source).draw()
    assert every - {sought.key for sought in left} == {"n02114100"}
    with pytest.raises(DataError, match="an auxiliary set"):
        make_random(RandomClasses(without=str(tmp_path)), wordnet, source)
