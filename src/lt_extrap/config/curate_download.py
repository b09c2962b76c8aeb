"""The node `download` of curation: how images are fetched from the web."""

import re
from dataclasses import dataclass, field

from lt_extrap.config.checks import check

_CONTACT = re.compile(r"[^\s()<>@:]+@[^\s()<>@:]+\.[^\s()<>@:]+|https?://[^\s()<>/]+\.[^\s()<>]+", re.ASCII)
_PORTS = (80, 443, 8080, 8443)


@dataclass
class Download:
    """How images are fetched from the web. Waiting for a host's turn counts for none of the times.

    Attributes:
        contact: your mail address or page, sent to every server with our name, for whoever minds what is done; null =
            nothing is fetched. $LT_EXTRAP_CONTACT by default.
        concurrency: requests at a time.
        per_host: requests at a time to one host.
        rate: requests a second to one host.
        rates: the same for hosts that say what they bear, by their names.
        seconds: that an image may take, with its redirects and further attempts.
        connect_seconds: that looking up and connecting to a host may take.
        slowest: KiB a second that a body has to come at, once it has come for `connect_seconds`. Twice these are the
            longest silence.
        megabytes: of an image; larger ones are not read to their end.
        redirects: that are followed for an image.
        retries: further attempts where another one may help.
        longest_wait: seconds; hosts that ask for more (Retry-After) are asked no more for as long as they said.
        robots: whether robots.txt is obeyed; false = it is not read.
        opt_out: whether what reserves an image (noai, noindex, tdm-reservation, ..., and what robots.txt says of
            training) is obeyed; false = it is recorded.
        ports: that may be asked.
        lost: the share of hosts, of at least 20 in the last 100 downloads, whose names could not be looked up above
            which all is given up, as where the network is gone; 1 = never.
    """

    contact: str | None = None
    concurrency: int = 64
    per_host: int = 2
    rate: float = 1.0
    rates: dict[str, float] = field(default_factory=lambda: {"upload.wikimedia.org": 10.0, "thumb.wikimedia.org": 10.0})
    seconds: float = 30.0
    connect_seconds: float = 5.0
    slowest: float = 2.0
    megabytes: float = 20.0
    redirects: int = 5
    retries: int = 2
    longest_wait: float = 60.0
    robots: bool = True
    opt_out: bool = True
    ports: list[int] = field(default_factory=lambda: [80, 443])
    lost: float = 0.5

    def __post_init__(self) -> None:
        contact = self.contact
        check(
            contact is None or (contact.isascii() and len(contact) <= 200 and _CONTACT.fullmatch(contact) is not None),
            "download.contact",
            "a mail address, an http(s) address, or null",
            contact,
        )
        for key, least in (("concurrency", 1), ("per_host", 1), ("redirects", 0), ("retries", 0)):
            check(getattr(self, key) >= least, f"download.{key}", f"at least {least}", getattr(self, key))
        check(self.concurrency <= 1024, "download.concurrency", "at most 1024", self.concurrency)
        for key in ("rate", "seconds", "connect_seconds", "megabytes"):
            value = getattr(self, key)
            check(0 < value < float("inf"), f"download.{key}", "positive, and finite", value)
        for host, value in self.rates.items():
            check(0 < value < float("inf"), f"download.rates.{host}", "positive, and finite", value)
        check(0 < self.lost <= 1, "download.lost", "above 0, at most 1", self.lost)
        check(self.slowest >= 0, "download.slowest", "at least 0", self.slowest)
        check(0 <= self.longest_wait <= 3600, "download.longest_wait", "in 0..3600", self.longest_wait)
        for port in self.ports:
            check(port in _PORTS, "download.ports", "some of " + ", ".join(map(str, _PORTS)), port)
