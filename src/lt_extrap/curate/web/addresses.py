"""Which addresses may be asked: of the web by their spelling, of machines by their network."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, urlsplit

import idna

from lt_extrap.curate.web.failure import Failure

PORTS = {"http": 80, "https": 443}

_LONGEST = 8000  # characters of a URL
_LONGEST_HOST = 253
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of characters, which no encoding has
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PATH = "/%:@!$&'()*+,;=-._~[]|"  # what browsers, and httpx, leave as it is in a path, and in a query
_QUERY = "/%:@!$&()*+,;=-._~[]|?{}^`"

# IANA's special-purpose registries, and what clouds answer their own machines at.
_REFUSED = [
    (ip_network(network), reason)
    for network, reason in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared by a provider's customers",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud's own service",
        "169.254.0.0/16": "link-local",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "protocol assignments",
        "192.0.2.0/24": "documentation",
        "192.88.99.0/24": "6to4 relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "benchmarks",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
        "2001::/32": "Teredo",
        "2001::/23": "protocol assignments",
        "2001:db8::/32": "documentation",
        "2002::/16": "6to4",
        "3fff::/20": "documentation",
    }.items()
]
_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is routed; NAT64, unique local, site-local, ... are outside
_ISATAP = (0x00005EFE, 0x02005EFE)  # the upper half of the interface id; the lower half is an IPv4 address


def refused(address: IPv4Address | IPv6Address) -> str | None:
    """Why a machine may not be connected to; None where it is of the public internet.

    `is_global` does not say it: it lets NAT64, 6to4 and multicast pass, behind which private networks lie, and its
    answers change with the version of Python.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return refused(address.ipv4_mapped)
        if address.scope_id is not None:
            return "link-local"
        if address not in _UNICAST:
            return "not of the public internet"
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "ISATAP"
    return next((reason for network, reason in _REFUSED if address in network), None)


@dataclass(frozen=True)
class Url:
    """An address of the web in its one spelling: ASCII, lower-case host, without user, fragment and dot segments.

    Attributes:
        scheme: http or https.
        host: a name (IDNs as xn--...), an IPv4 address, or an IPv6 address without brackets.
        port: of the server.
        target: path and query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """Scheme, host, and the port where it is not the scheme's own."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """The host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return self.origin + self.target


def checked_url(url: str, *, ports: frozenset[int] = frozenset(PORTS.values())) -> Url:
    """Read an address; nothing is looked up, and what it leads to is checked where it is connected to.

    Args:
        url: as somebody wrote it: blanks around it, and within path and query blanks, other letters than ASCII's and
            lone percent signs are taken.
        ports: that may be asked.

    Raises:
        Failure: `scheme`: neither http nor https. `address`: a host that is a number in another spelling than a dotted
            quad, or has a zone. `url`: control characters, a user, a port, a host that is none.
    """
    url = url.strip()
    if len(url) > _LONGEST:
        raise Failure("url", f"{len(url)} characters, at most {_LONGEST}")
    if _CONTROL.search(url):
        raise Failure("url", "a control character")
    try:
        scheme, authority, path, query, _ = urlsplit(url)
    except ValueError as error:  # brackets and letters that Python wants no host to have
        raise Failure("url", str(error)) from error
    if scheme not in PORTS:
        raise Failure("scheme", f"{scheme or 'none'}, neither http nor https")
    if "@" in authority:
        raise Failure("url", "a user name before the host")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise Failure("url", f"no host and port: {authority}")
    port = int(parts["port"]) if parts["port"] else PORTS[scheme]
    if port not in ports:
        raise Failure("url", f"port {port}")
    host = _ipv6(parts["ipv6"]) if parts["ipv6"] is not None else _name(parts["name"])
    target = _encoded(_without_dots(path), _PATH) + (f"?{_encoded(query, _QUERY)}" if query else "")
    return Url(scheme, host, port, target)


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the host of a `Url` is; None for names."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _ipv6(host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError as error:
        raise Failure("url", str(error)) from error
    if address.scope_id is not None:
        raise Failure("address", f"{host} has a zone")
    return str(address)


def _name(host: str) -> str:
    """A name or a dotted quad, in lower-case ASCII."""
    if len(host) > _LONGEST_HOST:
        raise Failure("url", f"a host of {len(host)} characters")
    try:
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode("ascii")
        elif "xn--" in host.lower():
            idna.decode(host)
    except UnicodeError as error:
        raise Failure("url", f"no name of a host: {error}") from error
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise Failure("url", f"no name of a host: {host or 'none'}")
    # 127.1, 0x7f000001, 2130706433 and 0177.0.0.1 are this machine, to those who read them as C does.
    if _NUMBER.fullmatch(labels[-1]) and not isinstance(literal(host), IPv4Address):
        raise Failure("address", f"{host} is a number")
    return host


def _without_dots(path: str) -> str:
    """A path without its segments `.` and `..`, as browsers resolve them."""
    segments, kept = path.split("/")[1:] or [""], list[str]()
    for position, segment in enumerate(segments):
        plain = re.sub("%2e", ".", segment, flags=re.IGNORECASE)
        if plain == ".." and kept:
            kept.pop()
        if plain not in (".", ".."):
            kept.append(segment)
        elif position == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _encoded(text: str, safe: str) -> str:
    return quote(_STRAY_PERCENT.sub("%25", text), safe=safe)
