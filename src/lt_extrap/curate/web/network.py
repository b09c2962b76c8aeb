"""Connections to the public internet alone: to the very addresses that were checked."""

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol, runtime_checkable

from lt_extrap.curate.web.addresses import Url, literal, refused
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


class PublicNetwork:
    """Looks a name up, refuses it if any address of it is refused, and connects to one.

    The name is not looked up again, so that no second answer can lead elsewhere. With TLS, the certificate has to be of
    the name all the same.

    Args:
        resolver: looks names up.
        tls: whom to trust.
        loopback: ports of this machine that may be connected to.
        seconds: that connecting may take, and again the handshake of TLS.
    """

    def __init__(self, resolver: Resolver, tls: ssl.SSLContext, *, loopback: frozenset[int], seconds: float) -> None:
        self._resolver, self._tls, self._loopback, self._seconds = resolver, tls, loopback, seconds
        tls.set_alpn_protocols(["http/1.1"])

    async def connect(self, url: Url) -> tuple[StreamReader, StreamWriter]:
        """Connect to the host of an address.

        Raises:
            Failure: `dns`, `address`, `connect` or `tls`.
        """
        reader, writer = await self._connected(url.host, url.port)
        if url.scheme == "https":
            await self._secured(writer, url.host)
        return reader, writer

    async def _connected(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        addresses = await self._checked(host, port)
        errors = list[str]()
        for position, address in enumerate(addresses):
            share = max(0.0, end - loop.time()) / (len(addresses) - position)  # of what is left, for each that is left
            try:
                async with asyncio.timeout(share):
                    return await asyncio.open_connection(str(address), port)
            except TimeoutError:
                errors.append(f"{address} took longer than {share:.2g} s")
            except OSError as error:
                errors.append(f"{address} {error.strerror or error}")
        raise Failure("connect", f"{host}: {', '.join(errors)}")

    async def _checked(self, host: str, port: int) -> list[Address]:
        """The addresses of a host that are to be tried; not one of all that it has is refused."""
        address = literal(host)
        try:
            async with asyncio.timeout(self._seconds):
                addresses = await self._resolver.resolve(host) if address is None else [address]
        except TimeoutError as error:
            raise Failure("dns", f"{host}: no answer within {self._seconds:g} s") from error
        except OSError as error:
            raise Failure("dns", f"{host}: {error.strerror or error}") from error
        if not addresses:
            raise Failure("dns", f"{host}: no addresses")
        for address in addresses:
            reason = refused(address)
            if reason is not None and not (address.is_loopback and port in self._loopback):
                raise Failure("address", f"{host} is {address}: {reason}")
        return list(addresses[:_TRIED])

    async def _secured(self, writer: StreamWriter, host: str) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await writer.start_tls(self._tls, server_hostname=host)
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, TimeoutError):
                raise Failure("tls", f"{host}: the handshake took too long") from error
            if isinstance(error, OSError):
                said = getattr(error, "verify_message", None) or error.strerror or str(error)
                raise Failure("tls", f"{host}: {said or 'the connection was ended'}") from error
            raise
