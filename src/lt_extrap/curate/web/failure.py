"""Why an image was not downloaded."""

_LONGEST = 240  # characters of a detail: it is told in tables, and much of it comes from strangers

KINDS = (
    "url",  # no address of the web: spelling, user names, ports
    "scheme",  # neither http nor https, or a redirect from https to http
    "address",  # the host is of a private network, or of this machine
    "robots",  # robots.txt forbids it, or could not be read
    "opt_out",  # a header reserves it
    "dns",
    "connect",
    "tls",
    "timeout",
    "slow",
    "postponed",  # its host asks for more patience than this run has
    "redirects",  # too many, in a circle, or nowhere
    "placeholder",  # a redirect to a picture that says that there is none
    "http_2xx",  # a success without a whole picture
    "http_404",  # 410 too
    "http_4xx",
    "http_429",
    "http_5xx",
    "protocol",  # an answer that is not HTTP
    "large",
    "truncated",
    "not_image",
)


class Failure(Exception):
    """An image that was not downloaded.

    As a string it is "kind: detail", which is what the state keeps as the reason of a candidate.

    Args:
        kind: one of `KINDS`.
        detail: what was met, for people; whatever is not printable ASCII in it is escaped, and a long one is cut.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)  # the args, so that it survives pickling between processes
        plain = "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in detail[:_LONGEST])
        self.kind = kind
        self.detail = plain if max(len(plain), len(detail)) <= _LONGEST else plain[: _LONGEST - 3] + "..."

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def kind_of(reason: str) -> str | None:
    """The kind of a failure from the reason that was kept of it; None where it is the reason of something else."""
    kind = reason.partition(":")[0]
    return kind if kind in KINDS else None
