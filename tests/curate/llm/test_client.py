"""Language models over HTTP, against servers that answer as the real ones do, errors included."""

import asyncio
import json
import logging
import time
from dataclasses import replace

import pytest
from llm_server import ERRORS, KEY, SECRET, SHAPES, Said, listed, serving

from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.curate.llm.client import LanguageModel
from lt_extrap.curate.llm.protocols import PROTOCOLS
from lt_extrap.curate.proposers.llm import names_of
from lt_extrap.curate.web.api import TRIES, NoAnswer
from lt_extrap.errors import ConfigError, LtExtrapError

UNKNOWN_FORMAT = {  # what servers say to a format that they do not have, and with which status
    "openai": (400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
    "vllm": (400, "1 validation error: ('body', 'response_format', 'type') Input should be 'text' or 'json_object'"),
    "ollama": (500, "invalid grammar: failed to parse"),
    "llamacpp": (500, 'response_format type must be one of "text" and "json_object", but got: json_schema'),
    "lmstudio": (400, "'response_format.type' must be 'json_schema' or 'text'"),
    "anthropic": (400, "output_config.format: structured outputs are not supported by this model"),
}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)


def options(api, shape="openai", **more):
    protocol = "messages" if shape == "anthropic" else "chat"
    return LLMNeighbors(api=api, model="m", key=KEY, protocol=protocol, **more)


def ask(config, *, pauses=None, format=None, times=1, text="Query: tench"):
    """The last of some answers, and the model."""

    async def pause(seconds):
        if pauses is not None:
            pauses.append(seconds)

    async def all_of_them():
        model = LanguageModel(config, format, pause=pause)
        protocol = PROTOCOLS[config.protocol]
        body = protocol.body(config, text, config.max_tokens or protocol.tokens, config.seed)
        for _ in range(times):
            reply = await model.ask(body)
        return reply, model

    return asyncio.run(all_of_them())


def says(*answers):
    """Answers in their order, the last one again and again."""
    left = list(answers)

    def answer(asked):
        said = left.pop(0) if len(left) > 1 else left[0]
        return said if isinstance(said, Said) else Said(said)

    return answer


@pytest.mark.parametrize("shape", SHAPES)
def test_each_server_is_asked_in_its_way_and_understood(shape):
    with serving(says(SHAPES[shape](listed("dace", "carp")))) as server:
        reply, _ = ask(options(server.api, shape))
    assert [name.name for name in names_of(reply).names] == ["dace", "carp"]
    assert (reply.stop, reply.tokens_in, reply.tokens_out) == ("end", 100, 20)
    (asked,) = server.asked
    if shape == "anthropic":
        assert asked.path == "/v1/messages"
        assert asked.headers["x-api-key"] == SECRET
        assert asked.headers["anthropic-version"] == "2023-06-01"
        assert "authorization" not in asked.headers
        assert asked.body["max_tokens"] > 0
        schema = asked.body.pop("output_config")["format"]["schema"]
        assert set(asked.body) == {"model", "messages", "max_tokens"}
    else:
        assert asked.path == "/v1/chat/completions"
        assert asked.headers["authorization"] == f"Bearer {SECRET}"
        schema = asked.body.pop("response_format")["json_schema"]["schema"]
        assert set(asked.body) == {"model", "messages"}  # no limit, temperature or seed that somebody may refuse
    assert asked.headers["user-agent"].startswith("lt-extrap/")
    assert schema["properties"]["neighbors"]["type"] == "array"


@pytest.mark.parametrize("shape", SHAPES)
def test_formats_that_a_server_does_not_have_are_asked_for_once(shape):
    status, said = UNKNOWN_FORMAT[shape]
    taken = ("text",) if shape == "lmstudio" else ("json_object", "text")
    first = "json_object" if shape == "lmstudio" else None

    def answer(asked):
        return Said(SHAPES[shape](listed("dace"))) if asked.format in taken else Said(ERRORS[shape](said), status)

    with serving(answer) as server:
        reply, model = ask(options(server.api, shape), times=3, format=first)
    assert names_of(reply).names
    asked = [question.format for question in server.asked]
    formats = PROTOCOLS[options(server.api, shape).protocol].formats
    start = formats.index(first) if first else 0
    steps = list(formats[start : formats.index(model.format) + 1])
    assert asked == [*steps, model.format, model.format]
    assert model.format in taken


@pytest.mark.parametrize("shape", SHAPES)
def test_formats_end_with_plain_text(shape):
    said = Said(ERRORS[shape]("no response_format, json_schema, output_config here"), 400)
    wanted = r"(?s)status 400: .*no response_format.*, \.model"
    with serving(says(said)) as server, pytest.raises(ConfigError, match=wanted):
        ask(options(server.api, shape))
    assert [asked.format for asked in server.asked] == list(PROTOCOLS[options(server.api, shape).protocol].formats)


@pytest.mark.parametrize("shape", SHAPES)
def test_refusals_and_empty_answers_are_no_names(shape):
    cases = [
        ({"text": "", "finish": "stop"}, "end"),
        ({"text": None, "finish": "stop"}, "end"),
        ({"text": None, "finish": "length"}, "cut"),
        ({"text": None, "finish": "content_filter"}, "refused"),
        ({"text": None, "refusal": "I'm sorry, I can't help with that."}, None),
    ]
    with serving(says(*(SHAPES[shape](**said) for said, _ in cases))) as server:
        for _, stop in cases:
            reply, _ = ask(options(server.api, shape))
            assert not names_of(reply).names
            assert stop in (None, reply.stop)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_that_was_cut_has_its_whole_names(shape):
    with serving(says(SHAPES[shape]('{"neighbors": ["dace", "carp", "ro', finish="length"))) as server:
        reply, _ = ask(options(server.api, shape))
    assert reply.stop == "cut"
    assert [name.name for name in names_of(reply).names] == ["dace", "carp"]


def test_other_shapes_of_contents():
    parts = SHAPES["openai"](None)
    parts["choices"][0]["message"]["content"] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "dog"}]},
        {"type": "text", "text": "dace, carp, roach"},
    ]
    half = SHAPES["openai"]("dace, \ud83d, carp")
    none = SHAPES["openai"](None) | {"choices": [], "usage": None}
    huge = SHAPES["openai"]("dace") | {"usage": {"prompt_tokens": 10**30, "completion_tokens": -1}}
    odd = [
        SHAPES["openai"]("dace") | {"usage": usage} for usage in ([], {"prompt_tokens": "9", "completion_tokens": 2.5})
    ]
    with serving(says(parts, half, none, huge, *odd)) as server:
        assert ask(options(server.api))[0].text == "dace, carp, roach"
        assert ask(options(server.api))[0].text == "dace, ?, carp"
        assert ask(options(server.api))[0] == ("", "refused", None, None)
        assert ask(options(server.api))[0][2:] == (10**9, 0)
        for _ in odd:  # what was paid for is kept
            assert ask(options(server.api))[0] == ("dace", "end", None, None)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after-ms": "1500", "Retry-After": "7"}, 1.5),
        ({"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}, None),
    ],
)
def test_a_server_that_is_busy_is_asked_again_when_it_says(headers, wait):
    busy, pauses = ERRORS["openai"]("Rate limit reached, try again in 20s"), []
    with serving(says(Said(busy, 429, headers), SHAPES["openai"]("dace"))) as server:
        ask(options(server.api), pauses=pauses)
    assert pauses == ([] if wait is None else [pytest.approx(wait, abs=0.2)])
    assert len(server.asked) == 2


def test_a_server_that_does_not_say_is_asked_again_after_more_and_more_seconds():
    pauses = []
    with serving(says(Said(b"", 503), Said(b"", 529), Said(b"", 409), SHAPES["openai"]("dace"))) as server:
        ask(options(server.api), pauses=pauses)
    assert 0.75 <= pauses[0] <= 1 < 1.5 <= pauses[1] <= 2 < 3 <= pauses[2] <= 4
    assert len(server.asked) == TRIES


@pytest.mark.parametrize(
    ("said", "tries", "found", "kind"),
    [
        (Said(b"[1, 2]"), 1, "not an object at the top", NoAnswer),
        (Said(b"", 503), TRIES, "status 503: nothing, 4 times", NoAnswer),
        (Said(b"", 503, {"x-should-retry": "false"}), 1, "status 503", NoAnswer),
        (Said(b"x", 429, {"Retry-After": "99999"}), 1, "asks us to wait 99,999 s", NoAnswer),
        (Said({"error": {"code": "insufficient_quota"}}, 429, {"Retry-After": "1"}), 1, "insufficient_quota", NoAnswer),
        (Said(ERRORS["anthropic"]("Your credit balance is too low"), 400), 1, "credit balance", NoAnswer),
        (Said(ERRORS["openai"](f"Incorrect API key provided: {SECRET}"), 401), 1, r"provided: \*\*\*", NoAnswer),
        (Said(ERRORS["ollama"]("model 'm' not found"), 404), 1, "model 'm' not found", ConfigError),
        (Said(b"", 307, {"Location": "https://example.org/"}), 1, "status 307", NoAnswer),
        (Said(b"<html>A captive portal</html>"), 1, "no JSON: <html>A captive", NoAnswer),
        (Said({"models": []}), 1, "not the key choices at the top", NoAnswer),
        (Said({"choices": [{"index": 0}]}), 1, r"not the key message at choices\[0\]", NoAnswer),
        (Said({"error": {"message": "upstream", "code": 502}}), TRIES, "status 502: .*upstream", NoAnswer),
        (Said({"error": {"message": "no such model", "code": 404}}), 1, "status 404: .*no such", ConfigError),
    ],
)
def test_what_does_not_pass_by_is_told(said, tries, found, kind):
    with serving(says(said)) as server, pytest.raises(LtExtrapError, match=f"(?s){found}") as told:
        ask(options(server.api))
    assert type(told.value) is kind
    assert len(server.asked) == tries
    assert SECRET not in str(told.value)


def test_a_filter_of_the_server_refuses_one_class_and_not_the_command():
    said = {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}, "status": 400}}
    with serving(says(Said(said, 400))) as server:
        assert ask(options(server.api))[0].stop == "refused"


def test_nobody_there_and_nobody_who_answers():
    with serving(says({})) as server:
        pass
    with pytest.raises(NoAnswer, match="ConnectError.*4 times"):
        ask(options(server.api))
    slow = Said({}, hold=lambda: time.sleep(0.2))
    with (
        serving(says(slow)) as server,
        pytest.raises(NoAnswer, match="(?s)no whole answer in 0 s, 4 times.*max_tokens"),
    ):
        ask(options(server.api, seconds=0.05))


def test_a_question_that_is_answered_without_end_does_not_stop_the_others():
    def answer(asked):
        endless = "endless" in json.dumps(asked.body)
        return Said(SHAPES["openai"]("dace"), hold=lambda: time.sleep(0.5 if endless else 0.0))

    async def both(config):
        async def pause(seconds):
            await asyncio.sleep(0.05)

        model, protocol = LanguageModel(config, None, pause=pause), PROTOCOLS[config.protocol]
        bodies = [protocol.body(config, text, config.max_tokens, config.seed) for text in ("endless", "tench")]
        return await asyncio.gather(*map(model.ask, bodies))

    with serving(answer) as server:
        endless, other = asyncio.run(both(options(server.api, seconds=0.2)))
    assert (endless.text, endless.stop) == ("", "cut")
    assert [name.name for name in names_of(other).names] == ["dace"]


def test_questions_keep_to_a_pace():
    pauses = []
    with serving(says(SHAPES["openai"]("dace"))) as server:
        ask(options(server.api, per_minute=30.0), pauses=pauses, times=3)
    assert pauses == [pytest.approx(2, abs=0.3), pytest.approx(4, abs=0.3)]


def test_what_is_set_is_sent():
    more = {"temperature": 0.5, "seed": 3, "max_tokens": 99, "max_tokens_field": "max_completion_tokens"}
    with serving(says(SHAPES["openai"]("dace"))) as server:
        ask(options(server.api, **more))
    assert {name: server.asked[0].body[name] for name in ("temperature", "seed", "max_completion_tokens")} == {
        "temperature": 0.5,
        "seed": 3,
        "max_completion_tokens": 99,
    }
    assert "max_tokens" not in server.asked[0].body


def test_the_key_is_in_the_header_alone(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    echo = SHAPES["openai"](f"dace, Bearer {SECRET}, carp")
    with serving(says(Said(b"", 503), echo)) as server:
        config = options(server.api)
        reply, model = ask(config)
    assert SECRET not in reply.text
    assert SECRET not in caplog.text
    assert SECRET not in json.dumps(server.asked[0].body)
    assert SECRET not in f"{config!r} {model!r}"
    monkeypatch.delenv(KEY)
    with pytest.raises(ConfigError, match=f"environment variable {KEY}"):
        LanguageModel(config)
    monkeypatch.setenv(KEY, "two\nlines")
    with pytest.raises(ConfigError, match="signs that no key has"):
        LanguageModel(config)


@pytest.mark.parametrize("key", ["ce", "token", "content", "dace"])
@pytest.mark.parametrize("shape", ["vllm", "anthropic"])
def test_a_key_that_is_a_word_takes_nothing_out_of_answers(key, shape, monkeypatch):
    monkeypatch.setenv(KEY, key)
    with serving(says(SHAPES[shape](listed("dace")))) as server:
        reply, _ = ask(options(server.api, shape))
    assert reply == (listed("dace"), "end", 100, 20)


def test_without_a_key_none_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "of-somebody-else")
    with serving(says(SHAPES["vllm"]("dace"))) as server:
        ask(replace(options(server.api), key=None))
    assert "authorization" not in server.asked[0].headers
