import numpy as np
import pytest

from lt_extrap.curate import nearest
from lt_extrap.curate.nearest import near
from lt_extrap.curate.prototypes import unit


def rows(seed, images, dim=24):
    """Features around a few directions, so that cosines of all sizes come up."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(8, dim))
    return (centres[rng.integers(8, size=images)] + rng.normal(0, 0.5, (images, dim))).astype(np.float16)


def wanted(one, other, at_least):
    cosines = unit(one).astype(float) @ unit(other).astype(float).T
    return {(i, j): cosines[i, j] for i, j in np.argwhere(cosines >= at_least).tolist()}


def found(*args, **options):
    return {tuple(p): float(c) for pairs, cs in near(*args, **options) for p, c in zip(pairs.tolist(), cs, strict=True)}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("at_least", [0.3, 0.8, 0.95])
def test_no_pair_is_missed_and_none_is_made_up(monkeypatch, at_least, native):
    monkeypatch.setattr(nearest, "computes_in_bfloat16", lambda device: native)
    monkeypatch.setattr(nearest, "_ROWS", 64)
    monkeypatch.setattr(nearest, "_COLUMNS", 50)
    one, other = rows(0, 300), rows(1, 170)
    expected = wanted(one, other, at_least)
    pairs = found(one, other, at_least=at_least)
    assert len(expected) > 10
    # Between a sum in 32 bits and one in 64 a cosine may be on either side of the bound.
    assert all(abs(expected.get(p, pairs.get(p)) - at_least) < 1e-6 for p in expected.keys() ^ pairs.keys())
    assert all(abs(expected[p] - pairs[p]) < 1e-6 for p in expected.keys() & pairs.keys())


def test_the_nearest_few_are_the_same_in_blocks_of_any_size(monkeypatch):
    one, other = rows(0, 200), rows(1, 170)
    other[100:110] = other[:10]  # ties
    whole = [*near(one, other, at_least=0.5, most=3)]
    monkeypatch.setattr(nearest, "_ROWS", 7)
    monkeypatch.setattr(nearest, "_COLUMNS", 13)
    parts = [*near(one, other, at_least=0.5, most=3)]
    assert (np.concatenate([p for p, _ in whole]) == np.concatenate([p for p, _ in parts])).all()
    assert np.concatenate([c for _, c in whole]).tobytes() == np.concatenate([c for _, c in parts]).tobytes()
    everything = found(one, other, at_least=0.5)
    for i in range(200):
        best = sorted(((-c, j) for (row, j), c in everything.items() if row == i))[:3]
        kept = np.concatenate([p[p[:, 0] == i, 1] for p, _ in whole])
        assert kept.tolist() == [j for _, j in best]


def test_a_row_is_not_paired_with_itself_and_nothing_is_near_to_what_has_no_direction():
    features = rows(0, 60)
    features[5], features[6, 0], features[7, 3] = 0, np.nan, np.inf
    pairs = found(features, features, at_least=0.05, itself=True)
    assert len(pairs) > 100
    assert not any(i == j or {i, j} & {5, 6, 7} for i, j in pairs)
    assert not [*near(features[:0], features, at_least=0.5)]
    assert not [*near(features, features[:0], at_least=0.5)]


def test_a_cosine_that_half_precision_cannot_look_for_is_refused():
    with pytest.raises(ValueError, match="0.05"):
        [*near(rows(0, 2), rows(0, 2), at_least=0.0)]


@pytest.mark.slow
def test_features_that_are_all_alike_take_no_more_memory_when_few_are_asked_for(monkeypatch):
    """As CLIP's are: nearly every pair is above the bound, and 3 of a row are wanted."""
    looked_at = []
    checked = nearest._checked

    def counted(rows, other, pairs):
        looked_at.append(len(pairs))
        return checked(rows, other, pairs)

    monkeypatch.setattr(nearest, "_checked", counted)
    one, other = rows(0, 100) + np.float16(2), rows(1, 2000) + np.float16(2)
    everything = sorted(found(one, other, at_least=0.6).items(), key=lambda pair: (pair[0][0], -pair[1], pair[0][1]))
    assert len(everything) > 0.9 * 100 * 2000
    few = [*found(one, other, at_least=0.6, most=3).items()]
    assert few == [pair for i in range(100) for pair in [pair for pair in everything if pair[0][0] == i][:3]]
    assert looked_at[1] < 0.1 * looked_at[0]
