"""When each host may be asked."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime

from lt_extrap.curate.web.failure import Failure

_MISSES = 5  # in a row, after which a host is left alone for a while
_RECOVERY = 0.98  # of the interval that a host was given for its refusals is left with each answer: half after 34
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]+)?")


def retry_after(value: str | None, date: str | None) -> float | None:
    """The seconds that a host asks to wait.

    Args:
        value: of Retry-After: seconds, or a date.
        date: of Date, the host's clock; without it, this machine's counts.

    Returns:
        At least 0; None where nothing, or nothing legible, was said.
    """
    value = (value or "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    until = _timestamp(value)
    if until is None:
        return math.inf if value.isdecimal() and value.isascii() else None
    now = _timestamp(date or "")
    return max(0.0, until - (time.time() if now is None else now))


def _timestamp(date: str) -> float | None:
    try:
        found = parsedate_to_datetime(date)
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


class _Host:
    """A host as it has been met.

    Attributes:
        slots: for the requests to it at a time.
        interval: seconds from the start of one request to that of the next.
        least: of the interval: what we, or the host's robots.txt, ask for.
        next: when the next one may start, by the clock of the loop.
        closed: until when none may; `why` they fail until then.
        misses: requests in a row that it did not answer.
    """

    def __init__(self, at_a_time: int, interval: float) -> None:
        self.slots = asyncio.Semaphore(at_a_time)
        self.interval = self.least = interval
        self.next = self.closed = -math.inf
        self.why: Failure | None = None
        self.misses = 0


class Pace:
    """Gives each request its turn.

    Args:
        concurrency: requests at a time.
        per_host: requests at a time to one host.
        rate: requests a second to one host.
        rates: the same of hosts by name.
        longest_wait: seconds that a turn is waited for because a host asks for it; also how long a host that does not
            answer is left alone.
    """

    def __init__(
        self, *, concurrency: int, per_host: int, rate: float, rates: Mapping[str, float], longest_wait: float
    ) -> None:
        self._all = asyncio.Semaphore(concurrency)
        self._per_host, self._rate, self._rates, self._longest_wait = per_host, rate, rates, longest_wait
        self._hosts: dict[str, _Host] = {}

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(self._per_host, 1 / self._rates.get(name, self._rate))
        return host

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for the turn of a request to a host, which it has for as long as this is entered.

        Raises:
            Failure: `postponed`: the host asked for more time than is waited; or as its last requests failed, where
                it did not answer several in a row.
        """
        host, loop = self._host(name), asyncio.get_running_loop()
        _refuse_closed(host, loop.time())
        async with host.slots:
            while (wait := host.next - loop.time()) > 0:
                _refuse_closed(host, loop.time())
                await asyncio.sleep(wait)
            _refuse_closed(host, loop.time())
            host.next = loop.time() + host.interval
            async with self._all:
                yield

    def slow_down(self, name: str, interval: float) -> None:
        """Ask a host no more often than once in so many seconds; at most once in the longest wait."""
        host = self._host(name)
        host.least = max(host.least, min(interval, self._longest_wait))
        host.interval = max(host.interval, host.least)

    def postpone(self, name: str, wait: float | None, said: str) -> None:
        """Ask a host nothing for some time, and from then on half as often as before, until it has answered often.

        Args:
            name: of the host.
            wait: seconds; None = it did not say how many. Its requests fail until then, if that is too long to wait.
            said: what it answered.
        """
        host, now = self._host(name), asyncio.get_running_loop().time()
        host.interval = max(host.interval, min(2 * host.interval, self._longest_wait))
        wait = host.interval if wait is None else wait
        if wait > self._longest_wait:
            _close(host, now + wait, Failure("postponed", f"{name} said {said} and asks for {wait:.0f} s"))
        else:
            host.next = max(host.next, now + wait)

    def answered(self, name: str) -> None:
        """Note that a host is there, and bears what it is asked."""
        host = self._host(name)
        host.misses = 0
        host.interval = max(host.least, _RECOVERY * host.interval)

    def missed(self, name: str, failure: Failure) -> None:
        """Note that a host did not answer; after several in a row it is left alone for a while."""
        host = self._host(name)
        host.misses += 1
        if host.misses >= _MISSES:
            why = Failure(failure.kind, f"{failure.detail}; {host.misses} in a row, so it is left alone for a while")
            _close(host, asyncio.get_running_loop().time() + self._longest_wait, why)


def _close(host: _Host, until: float, why: Failure) -> None:
    if until > host.closed:
        host.closed, host.why = until, why


def _refuse_closed(host: _Host, now: float) -> None:
    if now < host.closed and host.why is not None:
        raise Failure(host.why.kind, host.why.detail)
