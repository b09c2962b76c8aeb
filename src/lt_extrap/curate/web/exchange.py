"""One request and its whole answer, bounded in time and size."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import httpx

_EXCERPT = 200  # letters of an answer in a message
_SECRET = 8  # letters and digits, at least: what has fewer (EMPTY, ollama) is a word of answers, and no secret
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Got(NamedTuple):
    """What came back."""

    status: int
    headers: httpx.Headers
    content: bytes


class TooLarge(Exception):
    """An answer that is larger than any answer should be."""


async def exchange(request: httpx.Request, secret: Mapping[str, str], *, seconds: float, most_bytes: int) -> Got:
    """Send a request, without a proxy and to no other address than its own, and read its answer.

    Args:
        request: with its other headers; JSON is accepted.
        secret: headers with keys. Some servers send back what they were sent: what comes back is without them.
        seconds: from its first look-up to its last byte.
        most_bytes: of the answer, unpacked.

    Raises:
        TimeoutError, httpx.HTTPError: there was none.
        TooLarge: it has more bytes.
    """
    request.headers.update({"Accept": "application/json", **secret})
    async with (
        asyncio.timeout(seconds),  # httpx's own timeouts are of each read: a drip outlives them
        httpx.AsyncClient(verify=_certificates(), timeout=seconds, follow_redirects=False, trust_env=False) as client,
    ):
        request.extensions["timeout"] = httpx.Timeout(seconds).as_dict()
        response = await client.send(request, stream=True)
        try:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > most_bytes:
                    raise TooLarge
            return Got(response.status_code, response.headers, _without(bytes(content), secret))
        finally:
            await response.aclose()


def hidden(text: str, secret: Mapping[str, str]) -> str:
    """A text without what these headers say."""
    return _without(text.encode(errors="replace"), secret).decode()


def _without(content: bytes, secret: Mapping[str, str]) -> bytes:
    for value in secret.values():
        for part in filter(_is_secret, (value, value.rpartition(" ")[2])):
            for spelled in (part, part.replace("/", "\\/")):  # as JSON may have it
                content = content.replace(spelled.encode(), b"***")
    return content


def _is_secret(part: str) -> bool:
    return len(part) >= _SECRET or not part.isalnum()


def excerpt(text: str) -> str:
    """The beginning of a text, in a line that a terminal can be shown."""
    line = " ".join(_UNSEEN.sub(" ", text).split())
    return line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]} ..."


@cache
def _certificates() -> ssl.SSLContext:
    """Whom we believe, read once."""
    return httpx.create_ssl_context(trust_env=False)
