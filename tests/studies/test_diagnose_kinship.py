import json
from itertools import product

import numpy as np
import pytest

from lt_extrap.data.target import ClassTable
from lt_extrap.studies.diagnose.kinship import kinship_of, read_table
from tests.curate.nouns import small_wordnet

CATS = [
    {"name": "lynx", "hypernyms": [{"wnid": None, "name": "animal"}, {"wnid": None, "name": "cat"}]},
    {"name": "puma", "hypernyms": [{"wnid": None, "name": "animal"}, {"wnid": None, "name": "cat"}]},
    {"name": "wren", "hypernyms": [{"wnid": None, "name": "animal"}, {"wnid": None, "name": "bird"}]},
    {"name": "chair", "hypernyms": [{"wnid": None, "name": "thing"}]},
    {"name": "unheard of"},
]


def table_of(entries):
    names = tuple(entry["name"] for entry in entries)
    ids = tuple(entry.get("wnid") or str(i) for i, entry in enumerate(entries))
    return ClassTable(ids, names, np.ones(len(names), np.int64))


def test_hypernyms_of_the_class_table():
    kinship = kinship_of(CATS, table_of(CATS), None)
    assert kinship.known == 4
    assert kinship.parents(0) == {"cat"}
    assert kinship.parents(4) == frozenset()
    assert kinship.similarity(0, kinship, 1) == pytest.approx(4 / 6)
    assert kinship.similarity(0, kinship, 2) == pytest.approx(2 / 6)
    assert kinship.similarity(0, kinship, 3) == 0
    assert kinship.similarity(0, kinship, 0) == 1
    assert np.isnan(kinship.similarity(0, kinship, 4))
    nearest = kinship.nearest()
    assert [found and (found.other, pytest.approx(found.similarity)) for found in nearest] == [
        (1, 4 / 6),
        (0, 4 / 6),
        (0, 2 / 6),
        None,
        None,
    ]


def test_a_taxonomy_has_the_similarities_of_curation():
    ranks = ("kingdom", "phylum", "class", "order", "family", "genus")
    one = {rank: f"{rank} a" for rank in ranks}
    entries = [{"name": "a b", **one}, {"name": "a c", **one}, {"name": "d e", **one, "genus": "d", "family": "x"}]
    kinship = kinship_of(entries, table_of(entries), None)
    assert kinship.source == "the taxonomy in the class table"
    assert kinship.similarity(0, kinship, 1) == pytest.approx(6 / 7)
    assert kinship.similarity(0, kinship, 2) == pytest.approx(4 / 7)


def test_wordnet_is_asked_by_name_and_id_and_the_nearest_is_the_most_similar(tmp_path):
    wordnet = small_wordnet(tmp_path)
    entries = [{"name": name} for name in ("beagle", "toy poodle", "gray wolf", "crane", "no such thing")]
    classes = table_of([*entries, {"name": "?", "wnid": "n02108089"}])
    kinship = kinship_of([None] * 6, classes, wordnet)
    wnids = ["n02088364", "n02113624", "n02114100", "n02012849", None, "n02108089"]
    known = [label for label, wnid in enumerate(wnids) if wnid and kinship.above[label]]
    assert {0, 1, 2, 5} <= set(known)
    assert kinship.above[4] is None
    for a, b in product(known, known):
        assert kinship.similarity(a, kinship, b) == pytest.approx(wordnet.similarity(wnids[a], wnids[b]))
    for label in known:
        best = max(wordnet.similarity(wnids[label], wnids[other]) for other in known if other != label)
        assert kinship.nearest()[label].similarity == pytest.approx(best)


def test_nobody_knows_anything():
    assert kinship_of([None] * 5, table_of(CATS), None) is None


def test_entries_are_found_by_id_whatever_their_order(tmp_path):
    entries = [{"id": 1, "name": "b"}, {"id": 0, "name": "a"}]
    (tmp_path / "names.json").write_text(json.dumps({"target": entries}))
    assert [entry["name"] for entry in read_table(tmp_path, "names.json:target", ("0", "1"))] == ["a", "b"]
    assert read_table(tmp_path, "names.txt", ("0", "1")) == [None, None]
    assert read_table(tmp_path, None, ("0",)) == [None]
