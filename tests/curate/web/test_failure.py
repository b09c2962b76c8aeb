import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.curate.web.failure import KINDS, Failure, kind_of


@settings(max_examples=30)
@given(st.sampled_from(KINDS), st.text(max_size=400))
def test_a_reason_is_one_short_printable_line_that_begins_with_its_kind(kind, detail):
    failure = Failure(kind, detail)
    assert kind_of(str(failure)) == kind
    assert str(failure).isascii()
    assert str(failure).isprintable()
    assert len(str(failure)) < 300


def test_kinds_are_words_that_a_command_line_can_hold():
    assert all(kind.replace("_", "").isalnum() and kind == kind.lower() for kind in KINDS)


@pytest.mark.parametrize("reason", ["not an image of a known format (JPEG, PNG)", "forgotten", "caption: none", ""])
def test_other_reasons_have_no_kind(reason):
    assert kind_of(reason) is None


def test_a_failure_survives_a_pickle():
    failure = pickle.loads(pickle.dumps(Failure("robots", "no answer")))
    assert (failure.kind, failure.detail) == ("robots", "no answer")
