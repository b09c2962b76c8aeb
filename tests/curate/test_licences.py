"""Licences, as sources name them."""

import pytest

from lt_extrap.config.curate_source import LICENCES
from lt_extrap.curate.licences import code, name, permitted
from lt_extrap.curate.records import Candidate, Refused

CC = "https://creativecommons.org/"


@pytest.mark.parametrize(
    ("licence", "url", "wanted"),
    [
        ("CC BY-SA 4.0", f"{CC}licenses/by-sa/4.0", "by-sa"),
        ("cc-by-sa-2.0-de", None, "by-sa"),
        ("CC BY 3.0 us", "http://creativecommons.org/licenses/by/3.0/us/", "by"),
        ("by-nc-nd", None, "by-nc-nd"),
        ("CC0", f"{CC}publicdomain/zero/1.0/deed.en", "cc0"),
        ("CC0 1.0 Universal", None, "cc0"),
        ("Public domain", None, "pdm"),
        ("Public Domain Mark 1.0", f"{CC}publicdomain/mark/1.0/", "pdm"),
        ("pd", None, "pdm"),
        ("Creative Commons Attribution-Share Alike 4.0 International", None, "by-sa"),
        ("Creative Commons Attribution-NonCommercial-NoDerivs 2.0 Generic", None, "by-nc-nd"),
        (None, f"{CC}licenses/by-nc/2.0/", "by-nc"),
        ("GFDL", None, None),
        ("Copyrighted free use", None, None),
        ("CC BY-SA or GFDL", None, None),
        ("sampling+", f"{CC}licenses/sampling+/1.0/", None),
        ("CC BY", f"{CC}licenses/by-nc/2.0/", None),  # which of the two?
        ("CC BY", "https://example.org/creativecommons.org/licenses/by-nc/2.0/", "by"),
        (None, f"{CC}licenses/by-anything/2.0/", None),
        ("public domain in France, not elsewhere", None, None),
        ("all rights reserved", None, None),
        ("by", None, "by"),
        ("", "", None),
        (None, None, None),
    ],
)
def test_a_licence_has_the_code_of_its_name_and_address(licence, url, wanted):
    assert code(licence, url) == wanted


@pytest.mark.parametrize("licence", LICENCES)
def test_names_and_codes_are_each_other(licence):
    assert code(name(licence), None) == licence
    assert code(name(licence, "1.0"), None) == licence


def test_what_may_not_be_taken_is_told_by_its_licence():
    free, other, silent = Candidate("a", licence="CC BY 2.0"), Candidate("b", licence="CC BY-NC"), Candidate("c")
    assert [permitted(one, None) for one in (free, other, silent)] == [free, other, silent]
    assert permitted(free, ["by"]) == free
    assert permitted(other, ["by"]) == Refused("b", "licence: by-nc")
    assert permitted(silent, ["by"]) == Refused("c", "licence: not known")
