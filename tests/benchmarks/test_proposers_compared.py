"""The figures of the comparison of proposers, on a few nouns where each can be counted by hand."""

import json
from collections import Counter

import numpy as np
import pytest

from benchmarks import proposers
from benchmarks.proposers import Named, compared, distances, overlap, page, slug
from conftest import SMALL
from lt_extrap.curate.records import TargetClass
from lt_extrap.curate.wordnet import Synset, WordNet
from lt_extrap.model.shots import Shot

ENTITY, DOG, CAT, BIRD, CRANE, STORK, HOIST = (f"n0000000{i}" for i in range(7))
WORDNET = WordNet(
    {
        ENTITY: Synset(("entity",), "all", (), False),
        DOG: Synset(("dog",), "barks", (ENTITY,), False),
        CAT: Synset(("cat",), "mews", (ENTITY,), False),
        BIRD: Synset(("bird",), "flies", (ENTITY,), False),
        CRANE: Synset(("crane",), "wades", (BIRD,), False),
        STORK: Synset(("stork",), "brings babies", (BIRD,), False),
        HOIST: Synset(("hoist", "crane"), "lifts", (ENTITY,), False),
    }
)
TARGETS = [
    TargetClass(0, DOG, "dog", ("dog",), DOG, None, 200, Shot.MANY),
    TargetClass(1, STORK, "stork", ("stork",), STORK, None, 5, Shot.FEW),
    TargetClass(2, "x", "thing", ("thing",), None, None, 5, Shot.FEW),
]
WANTED = np.array([1, 2, 2], np.int64)
ONE = Named(
    "wordnet",
    {0: ((CAT, "cat", CAT),), 1: ((CRANE, "crane", CRANE), (CAT, "cat", CAT))},
    Counter({(0, "hypernym"): 1, (1, "target"): 2}),
)
OTHER = Named("llm", {1: (("name:crane", "crane", None), (CAT, "cat", CAT)), 2: (("name:y", "y", None),)}, Counter())


def test_the_distance_is_to_the_nearest_sense():
    assert list(distances(TARGETS[1], ONE, WORDNET)) == [pytest.approx(1 - 4 / 6), pytest.approx(1 - 2 / 5)]
    assert next(distances(TARGETS[1], OTHER, WORDNET)) == pytest.approx(1 - 4 / 6)  # the bird, not the hoist
    assert list(distances(TARGETS[2], OTHER, WORDNET)) == [None]
    assert list(distances(TARGETS[1], ONE, None)) == [None, None]


def test_overlap_is_meaned_over_targets_with_a_neighbor():
    assert overlap(ONE, OTHER) == pytest.approx((0 + 1 / 3 + 0) / 3)
    assert overlap(ONE, ONE) == 1.0
    assert overlap(Named("a", {}, Counter()), Named("b", {}, Counter())) == 0.0


def test_figures_of_a_proposer():
    report = compared([ONE, OTHER], TARGETS, WANTED, WORDNET)
    assert report["targets"] == {"many": 1, "medium": 0, "few": 2}
    first, second = report["proposers"]
    assert (first["classes"], first["pairs"], first["proposed"]) == (2, 3, 6)
    assert first["dropped"] == {"hypernym": round(1 / 6, 4), "target": round(2 / 6, 4)}
    assert first["groups"]["many"] == {"coverage": 1.0, "without": 0, "distance": 0.5, "known": 1.0}
    assert first["groups"]["few"]["coverage"] == 0.5
    assert first["groups"]["all"]["without"] == 1
    assert second["groups"]["many"] == {"coverage": 0.0, "without": 1, "distance": None, "known": None}
    assert second["groups"]["all"]["known"] == round(2 / 3, 4)
    text = page(report)
    assert "1 many-shot targets want 1, 2 few-shot targets want 2 neighbors." in text
    assert "| wordnet | 2 | 3 | 100.0% | 50.0% | 1 |" in text
    assert "| wordnet |  | 11.1% |" in text


def test_proposers_have_folders_of_their_own():
    names = ["wordnet", "wordnet proposer.levels=2", "wordnet proposer.levels=3", "random"]
    assert len({slug(name) for name in names}) == len(names)
    assert slug("random") == "random"


@pytest.mark.slow
def test_the_command(tmp_path, cache, monkeypatch, capsys):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(cache))
    world = [word for word in SMALL if word.startswith("target.world")]
    words = ["target=embedded", *world, "names.use_wordnet=false", "neighbors_per_class=2", "--with", "own"]
    monkeypatch.setattr("sys.argv", ["proposers", str(tmp_path), *words])
    proposers.main()
    (own,) = json.loads((tmp_path / "proposers.json").read_text())["proposers"]
    assert (own["groups"]["all"]["coverage"], own["groups"]["all"]["distance"]) == (1.0, None)
    assert (tmp_path / "proposers.md").read_text() in capsys.readouterr().out
