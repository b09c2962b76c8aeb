"""Questions and answers as the state keeps them: what was paid for is not asked again; what may be paid is limited."""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from lt_extrap.bar import Bar
from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.curate.llm.client import LanguageModel
from lt_extrap.curate.llm.protocols import PROTOCOLS, Reply
from lt_extrap.curate.state import State
from lt_extrap.curate.web.api import NoAnswer
from lt_extrap.errors import RunError
from lt_extrap.signals import StopSignal

CALL = (  # the columns of a call
    *("key", "target", "round", "api", "model", "format"),
    *("question", "reply", "stop", "tokens_in", "tokens_out"),
)
KEEP_CALL = f"INSERT OR IGNORE INTO llm_call ({', '.join(CALL)}) VALUES ({', '.join('?' * len(CALL))})"
_LETTERS = 3  # a token, where a server does not count them
_TOKENS = 1000  # of an answer that nobody limits, before any is known
_MOMENT = 0.2  # seconds, after which a wait looks whether it is to end


class Question(NamedTuple):
    """What is asked.

    Attributes:
        target: the id of a class.
        round: 1 = for the first time.
        text: all of it.
        tokens: most of the answer; None = the server's own limit.
        seed: None = the server's own.
    """

    target: str
    round: int
    text: str
    tokens: int | None
    seed: int | None


class Calls:
    """All that a language model was asked in a curation.

    Args:
        options: of the proposer.
        state: of the curation.
        stop: answered between questions; what is under way is waited for and kept.
        alone: whether it may ask: a shard has the answers of its curation, or each would have others.
    """

    def __init__(self, options: LLMNeighbors, state: State, stop: StopSignal, *, alone: bool = True) -> None:
        self._options, self._state, self._stop, self._alone = options, state, stop, alone
        self._failed: list[Exception] = []
        self._under_way = 0

    @cached_property
    def _model(self) -> LanguageModel:
        """Who is asked, if it comes to that: no key is needed for what is known."""
        query = "SELECT format FROM llm_call WHERE api = ? AND model = ? ORDER BY id DESC LIMIT 1"
        format = self._state.one(query, self._options.api, self._options.model)
        return LanguageModel(self._options, format, pause=self._wait)

    def known(self, question: Question) -> Reply | None:
        """The answer to a question that was asked before; None where it was not."""
        query = "SELECT reply, stop, tokens_in, tokens_out FROM llm_call WHERE key = ?"
        row = next(self._state.rows(query, self._key(question)), None)
        return None if row is None else Reply(*row)

    def ask(self, questions: Sequence[Question]) -> None:
        """Ask all of these, several at a time, and keep each answer when it comes.

        Raises:
            NoAnswer: the server does not answer, or a limit is reached; with all answers kept that there were.
            ConfigError: the server does not take such questions.
            RunError: a shard would ask.
        """
        if not self._alone:
            raise RunError(
                "the answers of the language model, which all shards share",
                f"none to {len(questions)} questions, of {questions[0].target} first",
                "do=targets, then do=neighbors, both without shard=: then the shards",
            )
        self._failed.clear()
        self._under_way = 0
        workers = min(self._options.concurrency, len(questions))
        print(f"{self._options.model} at {self._options.api}: {len(questions)} questions", flush=True)
        with Bar("questions") as bar:
            asyncio.run(self._all(deque(questions), workers, bar))
        if self._failed:
            raise self._failed[0]
        self._stop.answer()

    def spent(self) -> str:
        """What all questions of this curation took, for people."""
        count = self._state.one("SELECT count(*) FROM llm_call")
        tokens_in, tokens_out = self._tokens()
        cost = self._cost(tokens_in, tokens_out)
        return f"{count:,} questions, {tokens_in:,} tokens in, {tokens_out:,} out" + (
            f", {cost:.2f} by these prices" if cost is not None else ""
        )

    async def _all(self, questions: deque[Question], workers: int, bar: Bar) -> None:
        total = len(questions)

        def show() -> None:
            bar.show(total - len(questions) - self._under_way, total)

        if (
            self._state.one("SELECT count(*) FROM llm_call") == 0
        ):  # nor is it known what one takes, and which formats there are
            await self._work(deque([questions.popleft()]), show)
        await asyncio.gather(*(self._work(questions, show) for _ in range(workers)))

    async def _work(self, questions: deque[Question], show: Callable[[], None]) -> None:
        while questions and not self._ended:
            question = questions.popleft()
            self._under_way += 1
            try:
                self._afford(question)
                self._keep(question, await self._model.ask(self._body(question)))
            except _Ended:
                return
            except Exception as error:  # raised when all that is under way is kept
                self._failed.append(error)
            finally:
                self._under_way -= 1
            show()

    @property
    def _ended(self) -> bool:
        return bool(self._failed or self._stop.received)

    async def _wait(self, seconds: float) -> None:
        """Wait, until nothing more is to be asked."""
        while seconds > 0:
            if self._ended:
                raise _Ended
            await asyncio.sleep(min(seconds, _MOMENT))
            seconds -= _MOMENT

    def _keep(self, question: Question, reply: Reply) -> None:
        tokens_in = -(-len(question.text) // _LETTERS) if reply.tokens_in is None else reply.tokens_in
        tokens_out = -(-len(reply.text) // _LETTERS) if reply.tokens_out is None else reply.tokens_out
        with self._state.transaction():
            self._state.write(
                KEEP_CALL,
                [
                    (
                        self._key(question),
                        question.target,
                        question.round,
                        self._options.api,
                        self._options.model,
                        self._model.format,
                        json.dumps(self._body(question), ensure_ascii=False),
                        reply.text,
                        reply.stop,
                        tokens_in,
                        tokens_out,
                    )
                ],
            )

    def _body(self, question: Question) -> dict[str, Any]:
        return PROTOCOLS[self._options.protocol].body(self._options, question.text, question.tokens, question.seed)

    def _key(self, question: Question) -> str:
        told = [self._options.protocol, self._options.api, question.target, question.round, self._body(question)]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _tokens(self) -> tuple[int, int]:
        query = "SELECT coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0) FROM llm_call"
        tokens_in, tokens_out = next(self._state.rows(query))
        return tokens_in, tokens_out

    def _cost(self, tokens_in: int, tokens_out: int) -> float | None:
        prices = self._options.price_in, self._options.price_out
        if prices[0] is None or prices[1] is None:
            return None
        return (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6

    def _afford(self, question: Question) -> None:
        """Refuse a question that may be too much, together with those that are under way."""
        options = self._options
        if options.most_tokens is None and options.most_cost is None:
            return
        more = self._under_way  # this one among them; each may take what the longest has taken
        longest_in, longest_out = next(self._state.rows("SELECT max(tokens_in), max(tokens_out) FROM llm_call"))
        tokens_in, tokens_out = self._tokens()
        tokens_in += more * max(longest_in or 0, len(question.text) // _LETTERS)
        tokens_out += more * (question.tokens or max(longest_out or 0, 0 if longest_out else _TOKENS))
        if options.most_tokens is not None and tokens_in + tokens_out > options.most_tokens:
            raise self._too_much("most_tokens", f"{options.most_tokens:,}")
        cost = self._cost(tokens_in, tokens_out)
        if options.most_cost is not None and cost is not None and cost > options.most_cost:
            raise self._too_much("most_cost", f"{options.most_cost:g}")

    def _too_much(self, key: str, limit: str) -> NoAnswer:
        return NoAnswer(
            f"a question within proposer.{key}={limit}",
            f"{self.spent()}, and one more may pass it",
            f"raise proposer.{key}: the same command goes on, and asks nothing twice",
        )


class _Ended(Exception):
    """A question is not asked any more."""
