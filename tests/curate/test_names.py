"""Names in their normal letters, and their forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_extrap.curate.names import forms, normal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("German-Shepherd", "german shepherd"),
        ("Café au lait", "cafe au lait"),
        ("Grey_whale", "gray whale"),
        ("dog's  bone", "dog bone"),
        ("golden_retriever.jpg", "golden retriever jpg"),
        ("U.S. mail", "us mail"),
        ("black & tan", "black and tan"),
        ("ger\u00adman", "german"),
        ("St. Bernard", "st bernard"),
        ("柴犬", "柴犬"),
        ("", ""),
    ],
)
def test_normal(text, expected):
    assert normal(text) == expected


@given(st.text())
def test_what_is_normal_stays_as_it_is(text):
    assert normal(normal(text)) == normal(text)


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("German shepherd", "german shepherds"),
        ("box turtle", "boxturtle"),
        ("finch", "finches"),
        ("canary", "canaries"),
        ("wolf", "wolves"),
        ("knife", "knives"),
        ("sunglasses", "sunglass"),
        ("potato", "potatoes"),
        ("canaries", "canary"),
        ("wolves", "wolf"),
        ("dormouse", "dormice"),
        ("mongoose", "mongooses"),
        ("firemen", "fireman"),
        ("cactus", "cacti"),
        ("bird of paradise", "birds of paradise"),
    ],
)
def test_forms(name, plural):
    assert plural in forms(name)
    assert normal(name) in forms(name)


@pytest.mark.parametrize(("name", "other"), [("bus", "bu"), ("glass", "glas"), ("iris", "iri"), ("cat", "car")])
def test_other_words_are_no_forms(name, other):
    assert other not in forms(name)
