"""Who is told to servers, and what they are asked."""

import pytest

from lt_extrap.config.curate_download import Download
from lt_extrap.errors import ConfigError


@pytest.mark.parametrize("contact", ["a.b+c@example.org", "https://example.org/~me", "http://example.org", None])
def test_a_contact_is_a_mail_address_or_a_page(contact):
    assert Download(contact).contact == contact


@pytest.mark.parametrize(
    "contact",
    [
        "",
        "nobody",
        "a@b",
        "a@example.org)\r\nX: y",
        "http://localhost",
        "ftp://a.org",
        "a b@example.org",
        "ä@example.org",
    ],
)
def test_what_is_none_is_refused(contact):
    with pytest.raises(ConfigError, match=r"download\.contact"):
        Download(contact)


@pytest.mark.parametrize(
    "wrong",
    [{"concurrency": 0}, {"rate": 0.0}, {"rates": {"a.example": -1.0}}, {"seconds": float("inf")}, {"ports": [22]}],
)
def test_ranges_are_checked(wrong):
    with pytest.raises(ConfigError, match=f"download.{next(iter(wrong))}"):
        Download(**wrong)
