"""Fetch images from addresses of which nothing is known."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lt_extrap.config.curate_download import Download
from lt_extrap.curate.web.backend import Resolver


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
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise NotImplementedError

    async def fetch(self, url: str) -> Fetched:
        """Fetch an image. To be cancelled at any time.

        Raises:
            Failure: with its kind and what was met.
        """
        raise NotImplementedError
