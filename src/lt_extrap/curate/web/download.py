"""Fetch images from addresses of which nothing is known."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urljoin

import h11
import httpx

from lt_extrap.config.curate_download import Download
from lt_extrap.curate.web.addresses import Url, checked_url
from lt_extrap.curate.web.agent import AGENT, agent
from lt_extrap.curate.web.connection import Connection, Connections, Outlived
from lt_extrap.curate.web.failure import Failure
from lt_extrap.curate.web.network import PublicNetwork, Resolver, SystemResolver
from lt_extrap.curate.web.opt_out import opt_outs
from lt_extrap.curate.web.pace import Pace, retry_after
from lt_extrap.curate.web.robots import LONGEST, Robots
from lt_extrap.curate.web.room import Room
from lt_extrap.curate.web.sniff import ENOUGH, image_kind, other_kind
from lt_extrap.errors import ConfigError

_AGAIN = frozenset({"connect", "protocol", "truncated", "http_429", "http_5xx"})
_MISSES = frozenset({"dns", "connect", "tls", "timeout"})
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECES, _CRUMB = 1000, 64  # so many pieces of a body, of fewer bytes each, are work for us alone: 1 MB takes a minute
_ROBOTS_REDIRECTS = 5  # RFC 9309
_RECORDED = ("content-type", "last-modified", "etag")
# Not the formats that a host would have to make of the picture it has.
_ACCEPT = "image/jpeg,image/png,image/webp;q=0.9,image/gif;q=0.8,*/*;q=0.1"
_PLACEHOLDER = re.compile(r"unavailable|placeholder|no[-_]?(image|photo)|(image|photo)?not[-_]?found", re.IGNORECASE)


@dataclass(frozen=True)
class Fetched:
    """An image as its host sent it; only its first bytes have been looked at.

    Attributes:
        content: the file.
        url: where it was at the end, after redirects.
        kind: what its first bytes are of: jpeg, png, webp, gif, avif or bmp.
        headers: what is worth recording: content-type, last-modified and etag, where they were sent.
        opt_out: what was said against its use, word by word, where `download.opt_out` is false; else empty.
    """

    content: bytes
    url: str
    kind: str
    headers: Mapping[str, str]
    opt_out: tuple[str, ...]


class _Answer(NamedTuple):
    """What a host answers; its body has not been read."""

    status: int
    headers: httpx.Headers
    body: Connection


class Downloader:
    """Fetches images; many at a time, each host at its own pace. An asynchronous context manager.

    Args:
        config: how.
        resolver: looks names up; None = as this machine does.
        loopback: ports of this machine that may be connected to: for tests, since no configuration reaches it.
        tls: whom to trust; None = the authorities of certifi.

    Raises:
        ConfigError: nobody's contact is known.
    """

    def __init__(
        self,
        config: Download,
        *,
        resolver: Resolver | None = None,
        loopback: frozenset[int] = frozenset(),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if config.contact is None:
            raise ConfigError(
                "your mail address, or a web page that names it, which every host is told",
                "none",
                "set download.contact=<it>, or LT_EXTRAP_CONTACT",
            )
        self._config = config
        self._ports = frozenset(config.ports) | loopback
        self._resolver = SystemResolver(min(config.concurrency, 64)) if resolver is None else resolver
        network = PublicNetwork(
            self._resolver,
            httpx.create_ssl_context(trust_env=False) if tls is None else tls,
            loopback=loopback,
            seconds=config.connect_seconds,
        )
        self._connections = Connections(network, silence=2 * config.connect_seconds, hosts=config.concurrency)
        self._headers = [
            ("User-Agent", agent(config.contact)),
            ("Accept", _ACCEPT),
            ("Accept-Encoding", "identity"),
        ]
        self._pace = Pace(
            concurrency=config.concurrency,
            per_host=config.per_host,
            rate=config.rate,
            rates=config.rates,
            longest_wait=config.longest_wait,
        )
        self._robots = Robots(AGENT, self._robots_txt)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(self._resolver, SystemResolver):
            self._resolver.close()
        await self._connections.aclose()

    async def fetch(self, url: str, room: Room | None = None) -> Fetched:
        """Fetch an image. It may be cancelled at any time.

        Args:
            url: its address.
            room: that its content takes, and keeps if it is returned; null = as much as there is.

        Raises:
            Failure: with its kind and what was met.
        """
        start, time = checked_url(url, ports=self._ports), _Time(self._config.seconds)
        for attempts_left in range(self._config.retries, -1, -1):
            try:
                return await self._attempt(start, time, room)
            except Failure as failure:
                if failure.kind not in _AGAIN or not attempts_left:
                    raise
        raise AssertionError("unreachable")

    async def _attempt(self, start: Url, time: "_Time", room: Room | None) -> Fetched:
        url, seen, said = start, {start}, list[str]()
        for _ in range(self._config.redirects + 1):
            if self._config.robots:
                rules = await self._robots.check(url)
                if rules.delay is not None:
                    self._pace.slow_down(url.host, rules.delay)
                if rules.reserve(str(url)):
                    said.append("robots.txt: not for training")
                    self._refuse_reserved(url, said)
            async with self._answer(url, time) as answer:
                said += opt_outs(answer.headers.multi_items(), agent=AGENT)
                self._refuse_reserved(url, said)
                if answer.status not in _REDIRECTS:
                    if url != start and (_PLACEHOLDER.search(url.path) or url.target == "/"):
                        raise Failure("placeholder", f"redirected to {url}")
                    content, kind = await self._image(answer, url, time, room)
                    headers = {name: answer.headers[name][:200] for name in _RECORDED if name in answer.headers}
                    return Fetched(content, str(url), kind, headers, tuple(dict.fromkeys(said)))
                url = self._redirected(url, answer)
            if url in seen:
                raise Failure("redirects", f"in a circle, by {url}")
            seen.add(url)
        raise Failure("redirects", f"more than {self._config.redirects}, the last to {url}")

    def _refuse_reserved(self, url: Url, said: Sequence[str]) -> None:
        if said and self._config.opt_out:
            raise Failure("opt_out", f"{url.host} says {', '.join(said)}")

    async def _robots_txt(self, url: Url) -> tuple[int, bytes]:
        start, time = url, _Time(self._config.seconds)
        for _ in range(_ROBOTS_REDIRECTS + 1):
            try:
                async with self._answer(url, time) as answer:
                    if answer.status not in _REDIRECTS:
                        _refuse_coded(answer)
                        return answer.status, await _beginning(answer, LONGEST)
                    url = self._redirected(url, answer)
            except Failure as failure:
                if url == start:
                    raise
                raise Failure("redirects", f"{url}: {failure}") from failure
        raise Failure("redirects", f"more than {_ROBOTS_REDIRECTS}, the last to {url}")

    @asynccontextmanager
    async def _answer(self, url: Url, time: "_Time") -> AsyncIterator[_Answer]:
        """The answer of a host, when it is its turn; its body has not been read. Notes whether the host is there."""
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(self._turn(url, time, fresh=False))
            except Outlived:  # it says nothing of the host, or of this address
                answer = await stack.enter_async_context(self._turn(url, time, fresh=True))
            yield answer

    @asynccontextmanager
    async def _turn(self, url: Url, time: "_Time", *, fresh: bool) -> AsyncIterator[_Answer]:
        async with self._pace.turn(url.host):
            answered = False
            try:
                async with time.running():
                    connection = await self._connections.take(url, fresh=fresh)
                    try:
                        answer = await self._asked(connection, url)
                        answered = True
                        self._heard(url, answer)
                        yield answer
                    finally:
                        await self._connections.give(connection)
            except Failure as failure:
                if not answered and failure.kind in _MISSES:
                    self._pace.missed(url.host, failure)
                raise

    async def _asked(self, connection: Connection, url: Url) -> _Answer:
        try:
            answer = await connection.ask(url.target, [("Host", url.authority), *self._headers])
            return _Answer(answer.status_code, httpx.Headers(list(answer.headers)), connection)
        except h11.LocalProtocolError as error:
            raise Failure("url", str(error)) from error
        except h11.RemoteProtocolError as error:
            raise Failure("protocol", f"{url.host}: {error}") from error
        except TimeoutError as error:
            raise Failure("timeout", f"{url.host}: silence") from error
        except OSError as error:
            said = error.strerror or str(error) or "the connection was ended"
            raise Failure("connect", f"{url.host}: {said}, without an answer") from error

    def _heard(self, url: Url, answer: _Answer) -> None:
        status = answer.status
        if status in (429, 503):
            wait = retry_after(answer.headers.get("retry-after"), answer.headers.get("date"))
            self._pace.postpone(url.host, wait, str(status))
            self._pace.missed(url.host, _refusal(status, url))
        else:
            self._pace.answered(url.host)

    def _redirected(self, url: Url, answer: _Answer) -> Url:
        """Where an answer sends."""
        places = set(answer.headers.get_list("location"))
        if len(places) != 1:
            raise Failure("redirects", f"{answer.status} of {url.host} to {len(places)} places")
        try:
            place = urljoin(str(url), places.pop().strip())
        except ValueError as error:
            raise Failure("url", str(error)) from error
        to = checked_url(place, ports=self._ports)
        if url.scheme == "https" and to.scheme == "http":
            raise Failure("scheme", f"{url.host} redirects from https to http")
        return to

    async def _image(self, answer: _Answer, url: Url, time: "_Time", room: Room | None) -> tuple[bytes, str]:
        """The body of an answer that is an image, and its kind."""
        if answer.status != 200:
            raise _refusal(answer.status, url)
        most = int(self._config.megabytes * 1e6)
        declared = answer.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise Failure("large", f"{int(declared) / 1e6:.4g} MB")
        if room is None:
            return await self._body(answer, url)
        # All that it may take, before the first of it: who waited in its midst would be waited for by others.
        size = int(declared) if declared.isdecimal() and "transfer-encoding" not in answer.headers else most
        async with time.stopped():
            await room.take(size)
        kept = 0
        try:
            content, kind = await self._body(answer, url)
            kept = len(content)
        finally:
            room.give(size - kept)
        return content, kind

    async def _body(self, answer: _Answer, url: Url) -> tuple[bytes, str]:
        most = int(self._config.megabytes * 1e6)
        loop, content, pieces, kind = asyncio.get_running_loop(), bytearray(), 0, None
        start = loop.time()
        with _while_reading():
            while (chunk := await answer.body.piece()) is not None:
                content += chunk
                pieces += 1
                _refuse_crumbs(pieces, len(content))
                if len(content) > most:
                    raise Failure("large", f"more than {self._config.megabytes:g} MB")
                if kind is None and len(content) >= ENOUGH:
                    kind = _image_kind(content, url)
                passed = loop.time() - start
                if passed > self._config.connect_seconds and len(content) < passed * self._config.slowest * 1024:
                    raise Failure("slow", f"{len(content)} bytes in {passed:.3g} s")
        return bytes(content), kind or _image_kind(content, url)


class _Time:
    """The seconds that a download may take. They run while its host is asked, not while it waits for turn or room."""

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left = seconds
        self._limit: asyncio.Timeout | None = None  # while they run

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            async with asyncio.timeout(self._left) as self._limit:
                yield
        except TimeoutError as error:
            raise Failure("timeout", f"more than {self._seconds:g} s") from error
        finally:
            self._left -= loop.time() - start

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """While they run: they do not."""
        assert self._limit is not None
        loop, until = asyncio.get_running_loop(), self._limit.when()
        assert until is not None
        start = loop.time()
        self._limit.reschedule(None)
        try:
            yield
        finally:
            waited = loop.time() - start
            self._limit.reschedule(until + waited)
            self._left += waited


@contextmanager
def _while_reading() -> Iterator[None]:
    """What ends the body of an answer too soon."""
    try:
        yield
    except TimeoutError as error:
        raise Failure("timeout", "silence in the middle of the body") from error
    except (OSError, h11.RemoteProtocolError) as error:
        raise Failure("truncated", str(error) or "the connection was ended") from error


def _refuse_coded(answer: _Answer) -> None:
    """Compressed, though it was asked for as it is: as text it would have no rules, and so allow everything."""
    said = answer.headers.get("content-encoding", "")
    if answer.status < 300 and {coding.strip().lower() for coding in said.split(",")} - {"", "identity"}:
        raise Failure("protocol", f"the content coding {said!r}, which was not asked for")


async def _beginning(answer: _Answer, size: int) -> bytes:
    content, pieces = bytearray(), 0
    with _while_reading():
        while (chunk := await answer.body.piece()) is not None:
            content += chunk
            pieces += 1
            _refuse_crumbs(pieces, len(content))
            if len(content) >= size:
                break
    return bytes(content)


def _refuse_crumbs(pieces: int, size: int) -> None:
    """Chunks of a byte or two would keep this machine from all other hosts."""
    if pieces > _PIECES and size < _CRUMB * pieces:
        raise Failure("slow", f"{size} bytes in {pieces} pieces")


def _image_kind(content: bytes | bytearray, url: Url) -> str:
    start = bytes(content[:ENOUGH])
    kind = image_kind(start)
    if kind is None:
        raise Failure("not_image", f"{other_kind(start)}, from {url.host}")
    return kind


def _refusal(status: int, url: Url) -> Failure:
    if status in (404, 410):
        kind = "http_404"
    elif status == 429:
        kind = "http_429"
    elif 200 <= status < 600:
        kind = {2: "http_2xx", 3: "redirects", 4: "http_4xx", 5: "http_5xx"}[status // 100]
    else:
        kind = "protocol"
    return Failure(kind, f"status {status} of {url.host}")
