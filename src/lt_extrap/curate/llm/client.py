"""A language model behind HTTP: asked side by side, paced, and again where that may help.

Keys travel in a header, to the server and nowhere else, and stand in no message.
"""

import asyncio
import hashlib
import json
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.curate.llm.protocols import PROTOCOLS, Reply
from lt_extrap.curate.web.agent import agent
from lt_extrap.curate.web.api import MOST_WAIT, TRIES, Answer, NoAnswer
from lt_extrap.curate.web.exchange import Got, TooLarge, excerpt, exchange, hidden
from lt_extrap.curate.web.pace import retry_after
from lt_extrap.errors import ConfigError, DataError

_VERSION = {"anthropic-version": "2023-06-01"}  # of the messages; other servers leave the header alone
_MOST_BYTES = 4_000_000  # of an answer
_AGAIN = (408, 409, 425, 429)  # and from 500 on
_LACKS = (400, 404, 422, 500, 501)  # how servers say that they have no format: with its name
_FORMAT_WORDS = (
    "response_format",
    "json_schema",
    "json_object",
    "output_config",
    "structured output",
    "grammar",
    "'json'",
)
_PAID_OUT = ("insufficient_quota", "billing", "credit balance", "payment required")
_FILTERED = ("content_filter", "content_policy", "ResponsibleAIPolicy")
_FIRST_WAIT, _LONGEST_WAIT, _JITTER = 0.5, 8.0, 0.25


class LanguageModel:
    """One model of one server.

    Args:
        options: of the proposer.
        format: the format of its answers that is asked for first; null = the strictest.
        pause: waits some seconds; the time that it takes counts as gone by.

    Attributes:
        format: which of the protocol's formats is asked for: the strictest that the server has not refused.

    Raises:
        ConfigError: a key is needed and not there.
    """

    def __init__(
        self,
        options: LLMNeighbors,
        format: str | None = None,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options, self._pause = options, pause
        self._protocol = PROTOCOLS[options.protocol]
        self.format = format if format in self._protocol.formats else self._protocol.formats[0]
        self._url = options.api.rstrip("/") + self._protocol.path
        self._secret = self._protocol.headers(_key(options.key_variable)) if options.key_variable else {}
        self._interval = 60 / options.per_minute if options.per_minute else 0.0
        self._next = -math.inf
        self._answers = 0

    async def ask(self, body: Mapping[str, Any]) -> Reply:
        """Ask, and ask again where it may help.

        A question whose answers never end, while others were answered, is one that was cut: it is not to stop all.

        Args:
            body: a question in the form of the protocol, without a format.

        Raises:
            NoAnswer: there is none now; the same question may have one later.
            ConfigError: the server does not take this question.
        """
        number, before = 0, self._answers
        while True:
            asked = self.format
            await self._turn()
            waited, why, again, remedy = None, "", True, "wait a while; the same command goes on"
            late = False
            try:
                got = await self._send({**body, **self._protocol.format(asked)})
            except (TimeoutError, httpx.TimeoutException):
                why, late = f"no whole answer in {self._options.seconds:.0f} s", True
                remedy = "raise proposer.seconds, or end answers that do not: proposer.max_tokens=<number>"
            except TooLarge:
                raise self._error(f"more than {_MOST_BYTES / 1e6:.0f} MB", "look at proposer.api") from None
            except httpx.HTTPError as error:
                why = f"{type(error).__name__}: {self._shown(str(error)) or 'no more is known'}"
            else:
                status, answer = self._read(got)
                if status == 200 and answer is not None:
                    self._answers += 1
                    return self._reply(answer)
                said = got.content.decode(errors="replace")
                if status in _LACKS and (looser := self._looser(asked, said)):
                    self.format = looser
                    continue
                if status == 400 and any(word in said for word in _FILTERED):
                    return Reply("", "refused", None, None)
                why = f"status {status}: {self._shown(said) or 'nothing'}"
                waited, again = _wait(got.headers), _may_pass(status, got.headers)
                self._refuse(status, said, why)
            if waited is not None and waited > MOST_WAIT:
                raise self._error(f"{why}; it asks us to wait {waited:,.0f} s", "start the same command again then")
            number += 1
            if late and number == TRIES and self._answers > before:
                return Reply("", "cut", None, None)
            if not again or number == TRIES:
                raise self._error(why + (f", {TRIES} times" if again else ""), remedy)
            if waited is None:
                await self._pause(_back_off(body, number))
            else:  # all questions wait, or the others would be refused in turn
                self._next = max(self._next, asyncio.get_running_loop().time() + waited)

    async def _turn(self) -> None:
        """Wait until a question may be asked."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next)
        self._next = turn + self._interval
        if turn > now:
            await self._pause(turn - now)

    async def _send(self, body: Mapping[str, Any]) -> Got:
        headers = {"User-Agent": agent(None), "Accept-Encoding": "gzip"}
        if self._options.protocol == "messages":
            headers |= _VERSION
        request = httpx.Request("POST", self._url, headers=headers, json=body)
        return await exchange(request, self._secret, seconds=self._options.seconds, most_bytes=_MOST_BYTES)

    def _read(self, got: Got) -> tuple[int, Answer | None]:
        """The status of an answer, which may be in it, and what it says."""
        if got.status != 200:
            return got.status, None
        try:
            answer = Answer(self._options.api, "", json.loads(got.content))
        except (ValueError, RecursionError):
            shown = self._shown(got.content.decode(errors="replace"))
            raise self._error(
                f"no JSON: {shown or 'nothing'}", "look at proposer.api; it often ends with /v1"
            ) from None
        if isinstance(answer.value, dict) and (error := answer.value.get("error")):  # OpenRouter says 200 to its own
            code = error.get("code") if isinstance(error, dict) else None
            return (code if isinstance(code, int) and 400 <= code <= 599 else 500), None
        return 200, answer

    def _reply(self, answer: Answer) -> Reply:
        try:
            reply = self._protocol.read(answer)
        except DataError as error:
            raise self._error(
                f"not {error.wanted.partition(': ')[2]}, but {self._shown(error.found)}",
                "look at proposer.api and proposer.protocol",
            ) from None
        text = reply.text.encode("utf-8", "replace").decode()  # an escape of JSON may be half a character
        return reply._replace(text=hidden(text, self._secret))

    def _looser(self, asked: str, said: str) -> str | None:
        """The next format, where the server says that it does not have the one that was asked for."""
        formats = self._protocol.formats
        after = formats.index(asked) + 1
        if after == len(formats) or not any(word in said.lower() for word in _FORMAT_WORDS):
            return None
        return max(formats[after], self.format, key=formats.index)  # others may have been told more

    def _refuse(self, status: int, said: str, why: str) -> None:
        """Raise what no further try mends."""
        variable = self._options.key_variable
        if status in (401, 403):
            remedy = f"look at {variable}" if variable else "give the name of its environment variable: proposer.key="
            raise self._error(why, f"{remedy}; the same command goes on")
        if status == 402 or any(word in said.lower() for word in _PAID_OUT):
            raise self._error(why, "look at the account of this key; the same command goes on, and pays nothing twice")
        if 300 <= status < 400:
            raise self._error(why, "look at proposer.api: no redirect is followed, since it could have the key")
        if status in (400, 404, 405, 413, 415, 422):
            raise ConfigError(
                f"a question that {self._url} takes", why, "look at proposer.api, .protocol, .model and what it names"
            )

    def _error(self, found: str, remedy: str) -> NoAnswer:
        return NoAnswer(f"an answer of {self._options.model} at {self._url}", found, remedy)

    def _shown(self, text: str) -> str:
        return excerpt(hidden(text, self._secret))


def _key(variable: str) -> str:
    """What an environment variable has, where no configuration, file or message shows it."""
    value = os.environ.get(variable, "").strip()
    if not value or not value.isascii() or not value.isprintable():
        found = "signs that no key has" if value else "no such variable"
        raise ConfigError(
            f"a key in the environment variable {variable}", found, f"export {variable}=<it>, or see proposer.key"
        )
    return value


def _wait(headers: httpx.Headers) -> float | None:
    """The seconds that a server asks to wait; None where it does not say."""
    exact = retry_after(headers.get("retry-after-ms"), None)
    return exact / 1000 if exact is not None else retry_after(headers.get("retry-after"), headers.get("date"))


def _may_pass(status: int, headers: httpx.Headers) -> bool:
    """Whether another try may help; servers may say so themselves."""
    told = headers.get("x-should-retry", "").lower()
    return told == "true" or (told != "false" and (status in _AGAIN or status >= 500))


def _back_off(body: Mapping[str, Any], number: int) -> float:
    """Seconds before another try, a little less for some questions than for others."""
    digest = hashlib.sha256(f"{number} {json.dumps(body, sort_keys=True)}".encode()).digest()
    return float(min(_FIRST_WAIT * 2**number, _LONGEST_WAIT) * (1 - _JITTER * digest[0] / 255))
