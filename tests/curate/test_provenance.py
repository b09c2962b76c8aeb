"""What a card says of the command that made the set: no path of a machine, no name of a user, every policy."""

import pytest

from lt_extrap.curate.provenance import _flat, add_policies, policies_of
from lt_extrap.curate.state import State


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/somebody/pool/", "pool"),
        ("~/lists/names.csv", "names.csv"),
        ("../pool", "pool"),
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
        ("https://user:secret@api.example.org:8000/v1?key=secret#x", "https://api.example.org:8000/v1"),
        ("two\nlines", r"'two\nlines'"),
        (["/data/a.csv", 3], "[a.csv, 3]"),
        (True, "true"),
        (0.05, "0.05"),
    ],
)
def test_a_value_says_nothing_of_the_machine(value, shown):
    assert dict(_flat({"key": value})) == {"key": shown}


def test_what_is_null_or_empty_is_not_said():
    options = {"a": None, "b": {"c": None, "d": 1, "e": {}}, "f": [], "g": ""}
    assert dict(_flat(options)) == {"b.d": "1"}


def test_every_policy_of_downloads_is_kept(tmp_path):
    strict, lax = {"opt_out": True, "robots": True}, {"opt_out": False, "robots": True}
    with State(tmp_path) as state:
        for policies in ([strict], [strict], [], [lax, strict]):
            with state.transaction():
                add_policies(state, policies)
        assert policies_of(state) == [lax, strict]
