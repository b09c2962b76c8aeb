"""How language models are asked over HTTP, and their answers read: chat completions, and Anthropic's messages."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.curate.web.api import Answer

SCHEMA = {
    "type": "object",
    "properties": {"neighbors": {"type": "array", "items": {"type": "string"}}},
    "required": ["neighbors"],
    "additionalProperties": False,
}  # without minItems and the like, which not every strict subset has
_TOKENS = 1024  # of an answer, where the protocol wants a limit
_MOST_TOKENS = 10**9  # that are believed


class Reply(NamedTuple):
    """What a language model said.

    Attributes:
        text: empty where it said nothing.
        stop: why it ended: `end`, `cut` (a limit of tokens) or `refused` (by the model, or a filter of its server).
        tokens_in, tokens_out: as the server counts them; None where it does not.
    """

    text: str
    stop: str
    tokens_in: int | None
    tokens_out: int | None


@runtime_checkable
class LLMProtocol(Protocol):
    """A form of questions and answers.

    Attributes:
        path: below the address of the server.
        formats: that an answer can be asked to have, the strictest first.
        tokens: of an answer, at most, where the user gives no number; None = it need not be said.
    """

    @property
    def path(self) -> str: ...
    @property
    def formats(self) -> tuple[str, ...]: ...
    @property
    def tokens(self) -> int | None: ...

    def headers(self, key: str) -> dict[str, str]:
        """What shows who asks."""
        ...

    def body(self, options: LLMNeighbors, text: str, tokens: int | None, seed: int | None) -> dict[str, Any]:
        """A question."""
        ...

    def format(self, name: str) -> dict[str, Any]:
        """What asks for one of the formats, as a part of a question."""
        ...

    def read(self, answer: Answer) -> Reply:
        """An answer.

        Raises:
            DataError: it is none of this protocol.
        """
        ...


class Chat:
    """Chat completions, as OpenAI began and vLLM, Ollama, llama.cpp, LM Studio and most others have them."""

    path, formats, tokens = "/chat/completions", ("json_schema", "json_object", "text"), None

    def headers(self, key: str) -> dict[str, str]:
        """A bearer's token."""
        return {"Authorization": f"Bearer {key}"}

    def body(self, options: LLMNeighbors, text: str, tokens: int | None, seed: int | None) -> dict[str, Any]:
        """A question of one message: some models' templates have no system message."""
        body: dict[str, Any] = {"model": options.model, "messages": [{"role": "user", "content": text}]}
        further = {"temperature": options.temperature, "seed": seed, options.max_tokens_field: tokens}
        return body | {name: value for name, value in further.items() if value is not None}

    def format(self, name: str) -> dict[str, Any]:
        """The key `response_format`."""
        schema = {"name": "neighbors", "strict": True, "schema": SCHEMA}
        formats: dict[str, dict[str, Any]] = {
            "json_schema": {"response_format": {"type": "json_schema", "json_schema": schema}},
            "json_object": {"response_format": {"type": "json_object"}},
            "text": {},
        }
        return formats[name]

    def read(self, answer: Answer) -> Reply:
        """The first choice; one that has none was filtered."""
        choices = answer["choices"].items()
        usage = answer.get("usage")
        tokens = (_tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens"))
        if not choices:
            return Reply("", "refused", *tokens)
        message, reason = choices[0]["message"], choices[0].get("finish_reason")
        said, refusal = message.get("content"), message.get("refusal")
        stop = _stop(reason, cut=("length",), refused=("content_filter", "safety", "SAFETY"))
        return Reply("" if said is None else _text(said), "refused" if refusal is not None else stop, *tokens)


class Messages:
    """Anthropic's messages."""

    path, formats, tokens = "/messages", ("json_schema", "text"), _TOKENS

    def headers(self, key: str) -> dict[str, str]:
        """A header of its own."""
        return {"x-api-key": key}

    def body(self, options: LLMNeighbors, text: str, tokens: int | None, seed: int | None) -> dict[str, Any]:
        """A question of one message."""
        body: dict[str, Any] = {"model": options.model, "messages": [{"role": "user", "content": text}]}
        further = {"temperature": options.temperature, "max_tokens": tokens}
        return body | {name: value for name, value in further.items() if value is not None}

    def format(self, name: str) -> dict[str, Any]:
        """The key `output_config`."""
        return {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}} if name == "json_schema" else {}

    def read(self, answer: Answer) -> Reply:
        """All blocks of text, without those of thoughts."""
        usage = answer.get("usage")
        read = [_tokens(usage, f"{kind}input_tokens") for kind in ("", "cache_creation_", "cache_read_")]
        tokens_in = None if read[0] is None else sum(filter(None, read))
        stop = _stop(
            answer.get("stop_reason"), cut=("max_tokens", "model_context_window_exceeded"), refused=("refusal",)
        )
        return Reply(_text(answer["content"]), stop, tokens_in, _tokens(usage, "output_tokens"))


PROTOCOLS: Mapping[str, LLMProtocol] = {"chat": Chat(), "messages": Messages()}


def _stop(reason: Answer | None, *, cut: tuple[str, ...], refused: tuple[str, ...]) -> str:
    said = None if reason is None else reason.value
    return "cut" if said in cut else "refused" if said in refused else "end"


def _text(content: Answer) -> str:
    """A text, or the texts among blocks of several kinds."""
    if isinstance(content.value, str):
        return content.value
    blocks = [block for block in content.items() if block["type"].text() == "text"]
    return "\n".join(block["text"].text() for block in blocks)


def _tokens(usage: Answer | None, key: str) -> int | None:
    """What a server counted; None where that is no whole number: the answer was paid for, and stays."""
    found = usage.value.get(key) if usage is not None and isinstance(usage.value, dict) else None
    return min(max(0, found), _MOST_TOKENS) if isinstance(found, int) and not isinstance(found, bool) else None
