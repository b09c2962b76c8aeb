import pytest
from hostile import SAID
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.curate.web.opt_out import opt_outs


def said(*headers: tuple[str, str]) -> tuple[str, ...]:
    return opt_outs(headers, agent="lt-extrap")


@pytest.mark.parametrize("value", SAID)
def test_every_form_of_x_robots_tag(value):
    assert bool(said(("X-Robots-Tag", value))) == (SAID[value] is not None)


def test_what_was_said_is_told_word_by_word_and_once():
    headers = (("x-robots-tag", "noai, noimageai"), ("X-Robots-Tag", "NOAI"), ("TDM-Reservation", " 1 "))
    assert said(*headers) == ("x-robots-tag: noai", "x-robots-tag: noimageai", "tdm-reservation: 1")


@pytest.mark.parametrize(
    ("value", "reserved"),
    [
        ("train-ai=n", True),
        ("search=n", False),
        ("search=y, train-ai=n", True),
        ("train-ai=y, bots=n", False),
        ("bots=n", True),
        ("Train-AI = n;q=1", True),
        ("train-ai=?0", True),
        ("train-ai", False),
        ("", False),
    ],
)
def test_content_usage(value, reserved):
    assert bool(said(("Content-Usage", value))) is reserved


def test_content_signal():
    assert said(("Content-Signal", "search=yes, ai-train=no")) == ("content-signal: ai-train=no",)
    assert said(("Content-Signal", "search=no, ai-train=yes")) == ()


@settings(max_examples=30)
@given(st.sampled_from(["noai", "noindex", "none"]), st.lists(st.sampled_from(["nofollow", "max-snippet: 3", "all"])))
def test_a_reserving_word_counts_wherever_it_stands(word, others):
    for position in range(len(others) + 1):
        value = ", ".join([*others[:position], word, *others[position:]])
        assert said(("X-Robots-Tag", value)) == (f"x-robots-tag: {word}",)


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_any_header_can_be_read(value):
    for name in ("x-robots-tag", "tdm-reservation", "content-usage"):
        assert isinstance(said((name, value)), tuple)
