"""Connections that are kept, and how they end."""

import asyncio
import ssl

import pytest
from hostile import TICK, HostileServer, Names

from lt_extrap.curate.web.addresses import checked_url
from lt_extrap.curate.web.connection import Connection, Connections
from lt_extrap.curate.web.network import PublicNetwork


@pytest.fixture(scope="module")
def server():
    with HostileServer() as running:
        yield running


async def asked(connections: Connections, server: HostileServer, path: str) -> Connection:
    """A connection that was asked for something, and given back."""
    url = checked_url(server.url(path), ports=server.ports)
    connection = await connections.take(url)
    try:
        await connection.ask(url.target, [("Host", url.authority)])
        while await connection.piece() is not None:
            pass
    finally:
        await connections.give(connection)
    return connection


@pytest.fixture
def connections(server):
    network = PublicNetwork(Names(), ssl.create_default_context(), loopback=server.ports, seconds=5.0)
    return Connections(network, silence=5.0, hosts=4)


@pytest.mark.parametrize("path", ["image/jpeg", "broken/reset-when-idle.jpg", "broken/an-answer-too-much.jpg"])
def test_a_connection_is_kept_until_the_other_side_says_more_or_ends_it(server, connections, path):
    async def is_kept() -> bool:
        first = await asked(connections, server, path)
        while server.now["all"]:
            await asyncio.sleep(TICK)
        await asyncio.sleep(TICK)
        again = await asked(connections, server, "image/png")
        await connections.aclose()
        return again is first

    assert asyncio.run(is_kept()) == (path == "image/jpeg")
