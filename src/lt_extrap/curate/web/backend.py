"""Connections to the public internet alone: to the very addresses that were checked."""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from lt_extrap.curate.web.addresses import literal, refused
from lt_extrap.curate.web.failure import Failure

Address = IPv4Address | IPv6Address


class Resolver(Protocol):
    """Looks names up."""

    async def resolve(self, host: str) -> Sequence[Address]:
        """All addresses of a host, in the order in which they are to be tried.

        Raises:
            OSError: there are none, or nobody answered.
        """
        ...
