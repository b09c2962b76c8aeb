"""The node `download`: how images of the web are downloaded."""

import re
from dataclasses import dataclass

from lt_extrap.config.checks import check

_CONTACT = re.compile(r"[^\s()<>@:]+@[^\s()<>@:]+\.[^\s()<>@:]+|https?://[^\s()<>/]+\.[^\s()<>]+", re.ASCII)


@dataclass
class Download:
    """Who downloads.

    Attributes:
        contact: your mail address or page, sent to every server with our name, for whoever minds what is done;
            $LT_EXTRAP_CONTACT by default.
    """

    contact: str | None = None

    def __post_init__(self) -> None:
        holds = self.contact is None or _CONTACT.fullmatch(self.contact) is not None
        check(holds, "download.contact", "a mail address, an http(s) address, or null", self.contact)
