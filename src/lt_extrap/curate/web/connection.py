"""Connections of HTTP/1.1, which are kept for the next request to their host.

h11 reads what comes. Not httpcore, whose connections are of this kind too: its layers, which are for other event loops
as well, took half of the time that a request takes.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections import OrderedDict
from contextlib import suppress

import h11

from lt_extrap.curate.web.addresses import Url
from lt_extrap.curate.web.network import PublicNetwork

_HEAD = 100 << 10  # bytes that the status and the headers of an answer may take
_PIECE = 256 << 10  # bytes that are read at once, at most
_INFORMED = 10  # answers of 1xx, at most, before the one that was asked for
_KEPT = 10.0  # seconds that a connection is kept for, without a request


class Outlived(Exception):
    """A connection that was kept had been ended by the other side: no byte of an answer came."""


class Connection:
    """A connection to a host, asked one thing after another.

    Args:
        url: of what it was made for.
        reader, writer: of its bytes.
        silence: seconds for which nothing may come, or be taken.
    """

    def __init__(self, url: Url, reader: StreamReader, writer: StreamWriter, *, silence: float) -> None:
        self.origin = url.scheme, url.host, url.port
        self._reader, self._writer, self._silence = reader, writer, silence
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
        self._until = 0.0  # when it is kept no longer, by the clock of the loop
        self._kept = False  # since an answer before
        self._heard = False  # something, since it was asked

    async def ask(self, target: str, headers: list[tuple[str, str]]) -> h11.Response:
        """Ask for something: what is said of it.

        Raises:
            Outlived: nothing is known of what was asked for; another connection can tell.
            h11.LocalProtocolError: it cannot be asked for.
            h11.RemoteProtocolError: the answer is not of HTTP.
            TimeoutError: silence.
            OSError: the connection was ended.
        """
        request = self._http.send(h11.Request(method="GET", target=target, headers=headers))
        self._http.send(h11.EndOfMessage())
        assert request is not None
        self._heard = False
        try:
            async with asyncio.timeout(self._silence):
                self._writer.write(request)
                await self._writer.drain()
        except TimeoutError:
            raise
        except OSError:
            pass  # who ends a connection too soon may have said why
        try:
            return await self._answer()
        except TimeoutError:
            raise  # who is silent may be busy, which a second request would not mend
        except (OSError, h11.RemoteProtocolError) as error:
            if self._kept and not self._heard:
                raise Outlived from error
            raise

    async def _answer(self) -> h11.Response:
        for _ in range(_INFORMED + 1):
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            assert isinstance(event, h11.InformationalResponse)  # it says that an answer will come
        raise h11.RemoteProtocolError(f"more than {_INFORMED} answers of 1xx before that which was asked for")

    async def piece(self) -> bytes | bytearray | None:
        """The next bytes of the answer; None at its end.

        Raises:
            h11.RemoteProtocolError, TimeoutError, OSError: as of `ask`.
        """
        event = await self._next()
        return event.data if isinstance(event, h11.Data) else None

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # mypy takes it to be the class all the same
            async with asyncio.timeout(self._silence):
                content = await self._reader.read(_PIECE)
            if not content and self._http.their_state is h11.SEND_RESPONSE:
                raise h11.RemoteProtocolError("the connection was ended without an answer")
            self._heard = True
            self._http.receive_data(content)

    def rest(self) -> bool:
        """After an answer: whether another may be asked for."""
        if not self._http.our_state is self._http.their_state is h11.DONE or self._http.trailing_data[0]:
            return False
        self._http.start_next_cycle()
        self._kept = True
        self._until = asyncio.get_running_loop().time() + _KEPT
        return True

    def is_fresh(self) -> bool:
        """Whether it can be asked still."""
        ended = self._reader.at_eof() or self._reader.exception() is not None or self._writer.is_closing()
        # An answer that nobody asked for: 408, or another picture, which would be taken for the next.
        unasked = self._reader._buffer  # type: ignore[attr-defined]  # not told else
        return not ended and not unasked and asyncio.get_running_loop().time() <= self._until

    async def close(self) -> None:
        """End it."""
        self._writer.close()
        # With TLS, it would wait for the other side to agree.
        asyncio.get_running_loop().call_soon(self._writer.transport.abort)
        with suppress(
            OSError
        ):  # how the other side had ended it, which asyncio would tell at some time if nobody asked
            await self._writer.wait_closed()


class Connections:
    """Connections, and who has none to ask.

    Whoever asks bounds how many are taken at a time.

    Args:
        network: where they lead.
        silence: as of `Connection`.
        hosts: as many keep connections that nobody uses.
    """

    def __init__(self, network: PublicNetwork, *, silence: float, hosts: int) -> None:
        self._network, self._silence, self._hosts = network, silence, hosts
        self._kept: OrderedDict[str, list[Connection]] = OrderedDict()  # of each host; last the one that was asked last

    async def take(self, url: Url, *, fresh: bool = False) -> Connection:
        """A connection that can be asked for an address, which nobody else has until it is given back.

        Args:
            url: the address.
            fresh: none that was kept.

        Raises:
            Failure: as of `PublicNetwork.connect`.
        """
        kept = self._kept.get(url.host, [])
        while kept and not fresh:
            connection = kept.pop()
            if connection.origin == (url.scheme, url.host, url.port) and connection.is_fresh():
                return connection
            await connection.close()
        return Connection(url, *await self._network.connect(url), silence=self._silence)

    async def give(self, connection: Connection) -> None:
        """Give a connection back."""
        if not connection.rest():
            await connection.close()
            return
        host = connection.origin[1]
        self._kept.setdefault(host, []).append(connection)
        self._kept.move_to_end(host)
        if len(self._kept) > self._hosts:
            _, kept = self._kept.popitem(last=False)
            await _close(kept)

    async def aclose(self) -> None:
        """Close all that nobody has."""
        while self._kept:
            _, kept = self._kept.popitem()
            await _close(kept)


async def _close(kept: list[Connection]) -> None:
    while kept:  # of which others may still take some
        await kept.pop().close()
