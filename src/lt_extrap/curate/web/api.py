"""Questions to the APIs of sources, one at a time: paced, bounded in time and size, and read with suspicion.

Keys travel in headers, are sent nowhere but to the API (no redirect is followed), and stand in no message.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from lt_extrap.curate.web.exchange import Got, TooLarge, excerpt, exchange, hidden
from lt_extrap.curate.web.pace import retry_after
from lt_extrap.errors import DataError, some

MOST_BYTES = 32_000_000  # of an answer, unpacked
MOST_SECONDS = 30.0  # of a request, from its first look-up to its last byte
MOST_WAIT = 120.0  # what a server may ask for and is given; who asks for more ends the command, which goes on later
TRIES = 4
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_ADDRESS = re.compile(r"https?://[^\s/]\S*", re.IGNORECASE)


class NoAnswer(DataError):
    """An API that gave no answer: the same command goes on when it does."""


@dataclass(frozen=True)
class Answer:
    """A value of an answer, and where it was found. To ask it for what it is not raises `DataError`.

    Attributes:
        source: of the answer.
        where: in the answer, such as `results[3].url`.
        value: as JSON has it.
    """

    source: str
    where: str
    value: Any

    def __getitem__(self, key: str) -> "Answer":
        """The value of a key that has to be there."""
        found = self._object()
        if key not in found:
            raise self.changed(f"the key {key}", f"the keys {some(sorted(found)) or '(none)'}")
        return Answer(self.source, f"{self.where}.{key}".removeprefix("."), found[key])

    def get(self, key: str) -> "Answer | None":
        """The value of a key; None where it is null or not there."""
        return None if self._object().get(key) is None else self[key]

    def items(self) -> list["Answer"]:
        """The values of a list."""
        if not isinstance(self.value, list):
            raise self.changed("a list")
        return [Answer(self.source, f"{self.where}[{number}]", value) for number, value in enumerate(self.value)]

    def first(self) -> "Answer":
        """The first value of a list that has to have one."""
        if not (found := self.items()):
            raise self.changed("a list with something in it")
        return found[0]

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self.changed("a text")
        return self.value

    def text_or_none(self) -> str | None:
        """A text, or null."""
        return None if self.value is None else self.text()

    def whole(self) -> int:
        """A whole number."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.changed("a whole number")
        return self.value

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.changed("true or false")
        return self.value

    def address(self) -> str:
        """An address on the web."""
        text = self.text()
        text = f"https:{text}" if text.startswith("//") else text
        if not text.isprintable() or _ADDRESS.fullmatch(text) is None:  # half a character is not printable
            raise self.changed("an http(s) address")
        return text

    def changed(self, wanted: str, found: str | None = None) -> DataError:
        """The error of an answer that is not what it should be."""
        return DataError(
            f"{self.source}: {wanted} at {self.where or 'the top of the answer'}",
            found or excerpt(json.dumps(self.value, ensure_ascii=False)),
            "look whether source.api is right; if it is, the API has changed, and this version cannot read it",
        )

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.changed("an object")
        return self.value


class Limits(NamedTuple):
    """What an API allows.

    Attributes:
        seconds: from one request to the next, at least.
        day: requests that one command may make, the API's limit a day; None where it tells itself.
    """

    seconds: float
    day: int | None = None


@dataclass
class Api:
    """An API of a source.

    Attributes:
        source: for messages.
        base: its address; paths of questions are appended.
        limits: what it allows.
        agent: what we call ourselves.
        secret: headers with keys.
        refused: what to do where it refuses us.
        busy: why an answer is none yet, and the question is worth asking again; None where it is one.
        seconds: of a request, in all.
        pause: waits some seconds; the time that it takes counts as gone by.
    """

    source: str
    base: str
    limits: Limits
    agent: str
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    refused: str = "look at source.api; the same command goes on"
    busy: Callable[[Answer], str | None] = lambda answer: None
    seconds: float = MOST_SECONDS
    pause: Callable[[float], None] = time.sleep
    _last: float = field(default=float("-inf"), init=False, repr=False)
    _asked: int = field(default=0, init=False, repr=False)

    def get(self, path: str, params: Mapping[str, str | int]) -> Answer:
        """Ask, and ask again where it may help.

        Args:
            path: below the base, such as `/images`; empty for the base itself.
            params: of the question.

        Raises:
            NoAnswer: there is none, or none that is JSON; with the source and what came instead.
        """
        why = ""
        for number in range(TRIES):
            waited: float | None = None
            self._keep_to_limits()
            try:
                got = asyncio.run(self._ask(f"{self.base}{path}", params))
            except (TimeoutError, httpx.TimeoutException):
                why = f"no whole answer in {self.seconds:.0f} s"
            except TooLarge:
                raise self._error(f"more than {MOST_BYTES / 1e6:.0f} MB", "look at source.api") from None
            except httpx.HTTPError as error:
                why = f"{type(error).__name__}: {excerpt(hidden(str(error), self.secret)) or 'no more is known'}"
            else:
                waited = retry_after(got.headers.get("retry-after"), got.headers.get("date"))
                if got.status == 200:
                    answer = self._read(got.content)
                    if (reason := self.busy(answer)) is None:
                        return answer
                    why = excerpt(reason)
                else:
                    why = f"status {got.status}: {excerpt(got.content.decode(errors='replace')) or 'nothing'}"
                    if got.status not in _AGAIN:
                        raise self._error(why, self.refused)
            if waited is not None and waited > MOST_WAIT:
                raise self._error(f"{why}; it asks us to wait {waited:,.0f} s", "start the same command again then")
            if number < TRIES - 1:
                self.pause(2.0**number if waited is None else waited)
        raise self._error(f"{why}, {TRIES} times", "wait a while; the same command goes on")

    def _keep_to_limits(self) -> None:
        if self.limits.day is not None and self._asked >= self.limits.day:
            raise self._error(
                f"{self._asked:,} requests of this command, its limit a day", "start the same command again tomorrow"
            )
        early = self._last + self.limits.seconds - time.monotonic()
        if early > 0:
            self.pause(early)
        self._last, self._asked = time.monotonic(), self._asked + 1

    async def _ask(self, url: str, params: Mapping[str, str | int]) -> Got:
        headers = {"User-Agent": self.agent, "Accept-Encoding": "gzip"}
        request = httpx.Request("GET", url, headers=headers, params=dict(params))
        return await exchange(request, self.secret, seconds=self.seconds, most_bytes=MOST_BYTES)

    def _read(self, content: bytes) -> Answer:
        try:
            return Answer(self.source, "", json.loads(content))
        except (ValueError, RecursionError):  # a page for people, such as that of a login or of a captcha
            shown = excerpt(content.decode(errors="replace"))
            raise self._error(
                f"no JSON: {shown or 'nothing'}", "look at source.api, and whether a proxy answers"
            ) from None

    def _error(self, found: str, remedy: str) -> NoAnswer:
        return NoAnswer(f"{self.source}: an answer of {self.base}", found, remedy)
