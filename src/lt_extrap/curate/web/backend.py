"""Connections to the public internet alone: to the very addresses that were checked."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol, runtime_checkable

import httpcore

from lt_extrap.curate.web.addresses import literal, refused
from lt_extrap.curate.web.failure import Failure

Address = IPv4Address | IPv6Address

_TRIED = 4  # addresses of a host


@runtime_checkable
class Resolver(Protocol):
    """Looks names up."""

    async def resolve(self, host: str) -> Sequence[Address]:
        """All addresses of a host, in the order in which they are to be tried.

        Raises:
            OSError: there are none, or nobody answered.
        """
        ...


class SystemResolver:
    """Asks whom this machine asks.

    Args:
        threads: names looked up at a time. A look-up cannot be ended, so it occupies its thread until it gives up.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")

    async def resolve(self, host: str) -> Sequence[Address]:
        """All addresses of a host.

        Raises:
            OSError: there are none, or nobody answered.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host.encode("ascii"))
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Look nothing more up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: bytes) -> list[Address]:
    return [ip_address(place[0]) for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class PublicBackend(httpcore.AsyncNetworkBackend):
    """A network backend that looks a name up, refuses it if any address of it is refused, and connects to one.

    The name is not looked up again, so that no second answer can lead elsewhere. With TLS, the certificate has to be of
    the name all the same.

    Args:
        resolver: looks names up.
        loopback: ports of this machine that may be connected to.
    """

    def __init__(self, resolver: Resolver, *, loopback: frozenset[int]) -> None:
        self._resolver, self._loopback = resolver, loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect.

        Raises:
            Failure: `dns`, `address` or `connect`.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        addresses = await self._checked(host, port, timeout)
        errors = list[str]()
        for position, address in enumerate(addresses):
            share = None
            if timeout is not None:  # what is left of it, for each that is left
                share = max(0.0, start + timeout - loop.time()) / (len(addresses) - position)
            try:
                async with asyncio.timeout(share):
                    return _Stream(*await asyncio.open_connection(str(address), port))
            except TimeoutError:
                errors.append(f"{address} took longer than {share:.2g} s")
            except OSError as error:
                errors.append(f"{address} {error.strerror or error}")
        raise Failure("connect", f"{host}: {', '.join(errors)}")

    async def _checked(self, host: str, port: int, timeout: float | None) -> list[Address]:
        """The addresses of a host that are to be tried; not one of all that it has is refused."""
        address = literal(host)
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._resolver.resolve(host) if address is None else [address]
        except TimeoutError as error:
            raise Failure("dns", f"{host}: no answer within {timeout:g} s") from error
        except OSError as error:
            raise Failure("dns", f"{host}: {error.strerror or error}") from error
        if not addresses:
            raise Failure("dns", f"{host}: no addresses")
        for address in addresses:
            reason = refused(address)
            if reason is not None and not (address.is_loopback and port in self._loopback):
                raise Failure("address", f"{host} is {address}: {reason}")
        return list(addresses[:_TRIED])

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refused: a socket of this machine.

        Raises:
            Failure: `address`.
        """
        raise Failure("address", f"{path} is a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """As the pool asks for between attempts."""
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection by asyncio's own streams, which take half of the time of those that httpcore has."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        async with _within(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        async with _within(timeout, httpcore.WriteTimeout, httpcore.WriteError):
            self._writer.write(buffer)
            await self._writer.drain()

    async def aclose(self) -> None:
        transport = self._writer.transport
        transport.close()
        await asyncio.sleep(0)
        transport.abort()  # with TLS, it would wait for the other side to agree

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with _within(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except BaseException:
            self._writer.transport.abort()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        # A connection that nobody is asking has something when the other side has ended it, or gives an answer that
        # nobody asked for: 408, or another picture, which would be taken for the next.
        if info == "is_readable":
            return self._reader.at_eof() or bool(self._reader._buffer)  # type: ignore[attr-defined]  # not told else
        return self._writer.get_extra_info(info)


@asynccontextmanager
async def _within(seconds: float | None, late: type[Exception], broken: type[Exception]) -> AsyncIterator[None]:
    """Errors in the words of httpcore."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise late from error
    except OSError as error:  # one of TLS is one, too
        raise broken(getattr(error, "verify_message", None) or error.strerror or str(error)) from error
