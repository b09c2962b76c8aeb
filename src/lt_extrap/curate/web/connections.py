"""Connections that are kept, host by host."""

from collections import OrderedDict
from collections.abc import Callable

import httpcore


class Connections:
    """Pools of connections, one a host: for each request, one of httpcore's looks at all of its connections.

    Args:
        new_pool: makes one.
        hosts: as many keep connections that nobody uses.
    """

    def __init__(self, new_pool: Callable[[], httpcore.AsyncConnectionPool], *, hosts: int) -> None:
        self._new_pool, self._hosts = new_pool, hosts
        self._pools: OrderedDict[bytes, httpcore.AsyncConnectionPool] = OrderedDict()

    async def ask(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request."""
        host = request.url.host
        pool = self._pools.get(host) or self._new_pool()
        self._pools[host] = pool
        self._pools.move_to_end(host)
        if len(self._pools) > self._hosts:
            await self._close_one()
        return await pool.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.aclose()

    async def _close_one(self) -> None:
        """Close the connections of the host that was asked longest ago, of those that nobody is asking."""
        newest = next(reversed(self._pools))
        for host, pool in self._pools.items():
            if host != newest and all(connection.is_idle() for connection in pool.connections):
                del self._pools[host]
                await pool.aclose()
                return
