"""Why an image was not downloaded."""

_LONGEST = 240  # characters of a detail: it is told in tables, and much of it comes from strangers

# Every kind, and whether another attempt could end otherwise.
_CAN_CHANGE = {
    "url": False,  # no address of the web: spelling, user names, ports
    "scheme": False,  # neither http nor https, or a redirect from https to http
    "address": False,  # the host is of a private network, or of this machine
    "robots": False,  # robots.txt forbids it (True where it could not be read)
    "opt_out": False,  # a header reserves it
    "dns": True,
    "connect": True,
    "tls": True,
    "timeout": True,
    "slow": True,
    "postponed": True,  # its host asks for more patience than this run has
    "redirects": False,  # too many, in a circle, or nowhere
    "placeholder": False,  # a redirect to a picture that says that there is none
    "http_2xx": False,  # a success without a whole picture
    "http_404": False,  # 410 too
    "http_4xx": False,
    "http_429": True,
    "http_5xx": True,
    "protocol": True,  # an answer that is not HTTP
    "large": False,
    "truncated": True,
    "not_image": False,
}
KINDS = tuple(_CAN_CHANGE)


class Failure(Exception):
    """An image that was not downloaded.

    As a string it is "kind: detail", which is what the state keeps as the reason of a candidate.

    Args:
        kind: one of `KINDS`.
        detail: what was met, for people; whatever is not printable ASCII in it is escaped, and a long one is cut.
        final: whether no other attempt can help; None = as the kind says.
    """

    def __init__(self, kind: str, detail: str, final: bool | None = None) -> None:
        super().__init__(kind, detail, final)  # the args, so that it survives pickling between processes
        plain = "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in detail[:_LONGEST])
        self.kind = kind
        self.detail = plain if max(len(plain), len(detail)) <= _LONGEST else plain[: _LONGEST - 3] + "..."
        self.final = not _CAN_CHANGE[kind] if final is None else final

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def kind_of(reason: str) -> str | None:
    """The kind of a failure from the reason that was kept of it; None where it is the reason of something else."""
    kind = reason.partition(":")[0]
    return kind if kind in _CAN_CHANGE else None
