"""Who is told to servers."""

import pytest

from lt_extrap.config.curate_download import Download
from lt_extrap.errors import ConfigError


@pytest.mark.parametrize("contact", ["a.b+c@example.org", "https://example.org/~me", "http://example.org", None])
def test_a_contact_is_a_mail_address_or_a_page(contact):
    assert Download(contact).contact == contact


@pytest.mark.parametrize(
    "contact",
    ["", "nobody", "a@b", "a@example.org)\r\nX: y", "http://localhost", "ftp://a.org", "a b@example.org"],
)
def test_what_is_none_is_refused(contact):
    with pytest.raises(ConfigError, match=r"download\.contact"):
        Download(contact)
