"""What a host's robots.txt allows this program, by RFC 9309."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from protego import Protego

from lt_extrap.curate.web.addresses import Url
from lt_extrap.curate.web.failure import Failure
from lt_extrap.curate.web.opt_out import training

LONGEST = 500 * 1024  # bytes that are read of one; RFC 9309 wants no less

_KEPT = 32 * 2**20  # characters of all that are kept; one that is dropped is asked for again
_GROUP = re.compile(r"(\s*user[- ]?agent\s*[:\s]\s*)([^#]*)", re.IGNORECASE)
_USAGE = re.compile(r"\s*content-(?:usage|signal)\s*:\s*(/\S*)?([^#]*)", re.IGNORECASE)
_RULE = re.compile(r"\s*(?:d[a-z]+|allow)\s*[:\s]", re.IGNORECASE)  # and what Protego takes for one
_TOKEN = re.compile(r"[a-z_-]+")
_UNREACHED = ("dns", "address", "connect", "tls")


@dataclass(frozen=True)
class Rules:
    """What is allowed to one program.

    Attributes:
        delay: seconds between two requests that are asked for; None = nothing is said.
        size: characters that they were read from.
    """

    delay: float | None
    size: int
    _parsed: Protego
    _usage: Protego | None
    _agent: str

    @staticmethod
    def read(content: bytes, *, agent: str) -> "Rules":
        """Read a robots.txt; whatever is none allows everything.

        Groups of other robots are given one name, since Protego copies each rule to each robot that it is for: 500 KiB
        of text can be made into as many rules as memory holds.
        """
        lines = content[:LONGEST].decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
        lines = [_three_names(line, agent.lower()) for line in lines]
        usage = None
        if any(map(_USAGE.match, lines)):
            usage = Protego.parse("\n".join(map(_usage_alone, lines)))
        parsed, size = Protego.parse("\n".join(lines)), sum(map(len, lines))
        return Rules(parsed.crawl_delay(agent), size if usage is None else 2 * size, parsed, usage, agent)

    def allow(self, url: str) -> bool:
        """Whether an address may be asked."""
        return self._parsed.can_fetch(url, self._agent)

    def reserve(self, url: str) -> bool:
        """Whether what is at an address is not to be trained on: Content-Usage (IETF AIPREF), or Content-Signal."""
        return self._usage is not None and not self._usage.can_fetch(url, self._agent)


def _usage_alone(line: str) -> str:
    """A line of a robots.txt that forbids what is not to be trained on: which rule is for an address is said alike."""
    usage = _USAGE.match(line)
    if usage is None:
        return "Disallow:" if _RULE.match(line) else line  # which still ends a list of robots
    use, path = training(usage[2]), usage[1] or "/"
    if use is None:
        return "Disallow:"
    if not use.reserved:
        return f"Allow: {path}"
    return f"Disallow: {path}" if path.endswith("$") else f"Disallow: {path}*"  # before its contrary, which is shorter


def _three_names(line: str, agent: str) -> str:
    """A line in which robots have one of three names: `*`, this program's, or others."""
    group = _GROUP.match(line)
    if group is None:
        return line
    name = group[2].strip().lower()
    token = _TOKEN.match(name)
    return group[1] + (name if name == "*" else agent if token and token[0] == agent else "others")


class Robots:
    """Reads the robots.txt of each origin once.

    Args:
        agent: the name that this program has for robots.
        ask: the status and the first `LONGEST` bytes of an address, after redirects.
    """

    def __init__(self, agent: str, ask: Callable[[Url], Awaitable[tuple[int, bytes]]]) -> None:
        self._agent, self._ask = agent, ask
        self._rules: OrderedDict[str, Rules | Failure] = OrderedDict()
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by those who wait
        self._size = 0

    async def check(self, url: Url) -> Rules:
        """Look whether an address may be asked.

        Returns:
            The rules of its host.

        Raises:
            Failure: `robots`: it may not, or the host did not say (5xx, 429, no answer in time, or one that is
                compressed), for as long as this runs. `dns`, `address`, `connect`, `tls`, `postponed`: the host cannot
                be asked now.
        """
        origin = url.origin
        found = self._rules.get(origin)
        if found is None:
            lock = self._asking.setdefault(origin, asyncio.Lock())
            async with lock:
                found = self._rules.get(origin)
                if found is None:
                    found = await self._read(url)
                    self._keep(origin, found)
        self._rules.move_to_end(origin)
        if isinstance(found, Failure):
            raise Failure(found.kind, found.detail)
        if not found.allow(str(url)):
            raise Failure("robots", f"{url.host} forbids {url.path}")
        return found

    async def _read(self, url: Url) -> Rules | Failure:
        try:
            status, content = await self._ask(Url(url.scheme, url.host, url.port, "/robots.txt"))
        except Failure as failure:
            if failure.kind in (*_UNREACHED, "postponed"):
                raise
            return Failure("robots", f"{url.host} did not say: {failure}")
        if status >= 500 or status == 429:
            return Failure("robots", f"{url.host} did not say: status {status}")
        # Whatever else is no robots.txt: there is none, and all is allowed.
        return Rules.read(content if 200 <= status < 300 else b"", agent=self._agent)

    def _keep(self, origin: str, found: Rules | Failure) -> None:
        self._rules[origin] = found
        self._size += _size(found)
        while self._size > _KEPT and len(self._rules) > 1:
            _, dropped = self._rules.popitem(last=False)
            self._size -= _size(dropped)


def _size(found: Rules | Failure) -> int:
    return 200 + (found.size if isinstance(found, Rules) else 0)
