"""Neighbors by a language model, from questions to rows."""

import itertools
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from llm.llm_server import KEY, SECRET, SHAPES, Said, listed, serving
from nouns import small_wordnet, target

from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.curate.llm.calls import Calls
from lt_extrap.curate.llm.reply import Name, read
from lt_extrap.curate.name_rules import NameRules, Reason
from lt_extrap.curate.neighbors import choose
from lt_extrap.curate.proposers.llm import LLMProposer, sense
from lt_extrap.curate.proposers.within import Within
from lt_extrap.curate.sought import of_name
from lt_extrap.curate.state import State
from lt_extrap.curate.web.api import NoAnswer
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.signals import Stopped, StopSignal

TARGETS = [target(number, name) for number, name in enumerate(("tench", "goldfish", "pike", "eel", "ray"))]
FISH = ("dace", "carp", "roach", "bream", "rudd", "zander", "perch", "burbot", "trout", "salmon")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)


@pytest.fixture
def state(tmp_path):
    with State(tmp_path) as opened:
        yield opened


def options(api, **more):
    return LLMNeighbors(api=api, model="m", key=KEY, **more)


def chosen(config, state, targets=TARGETS, wanted=2, wordnet=None, stop=None, alone=True):
    """What a model named, and what of it is left."""
    wanted = np.full(len(targets), wanted)
    calls = Calls(config, state, stop or StopSignal(), alone=alone)
    proposer = LLMProposer(config, targets, wordnet, wanted, calls)
    return choose(targets, proposer, NameRules(targets, wordnet), wanted)


def named(choice, label=0):
    keys = {sought.key: sought.name for sought in choice.classes}
    return [keys[pair.key] for pair in choice.pairs if pair.target == label]


def says(names_of):
    """A model that lists names by the class and the round."""
    rounds: dict[str, int] = {}

    def answer(asked):
        rounds[asked.target] = rounds.get(asked.target, 0) + 1
        found = names_of(asked.target, rounds[asked.target])
        return found if isinstance(found, Said) else Said(SHAPES["openai"](found))

    return answer


def test_a_class_is_asked_for_again_only_where_too_few_are_left(state):
    def names(name, round):
        if name == "tench":
            return listed("Tenches", "goldfish", "dace") if round == 1 else listed("dace", "carp", "roach", "bream")
        return listed(*FISH)  # more than were asked for

    with serving(says(names)) as server:
        choice = chosen(options(server.api), state)
        assert named(choice) == ["dace", "carp"]
        assert named(choice, 1) == ["dace", "carp"]
        assert [(one.sought.name, one.drop.reason) for one in choice.dropped] == [
            ("Tenches", Reason.TARGET),
            ("goldfish", Reason.TARGET),
        ]
        assert len(server.asked) == len(TARGETS) + 1
        assert "None of these, which were named before: Tenches, goldfish, dace" in server.asked[-1].text
        assert chosen(options(server.api), state) == choice
        assert len(server.asked) == len(TARGETS) + 1  # a second time it costs nothing


def test_a_question_has_all_that_is_known(state, tmp_path):
    wordnet = small_wordnet(tmp_path / "wordnet")
    targets = [target(0, "boxer", "n02108089"), target(1, "crane", "n02012849"), target(2, "beagle", "n02088364")]
    targets[0] = replace(targets[0], gloss="a stocky dog", spellings=("boxer", "German boxer"))
    with serving(says(lambda *_: listed("toy poodle", "grey wolf"))) as server:
        chosen(options(server.api, avoid=1), state, targets, wordnet=wordnet)
    text = next(asked.text for asked in server.asked if asked.target == "boxer").rpartition("Query: ")[2]
    assert text.splitlines() == [
        "boxer",
        "Wanted: 4",
        "Also called: German boxer",
        "Meaning: a stocky dog",
        "Kind of: dog",
        "None of these, which the data set has: beagle",
        "Response:",
    ]


@pytest.mark.parametrize("said", ["I'm sorry, I can't help with that.", None])
def test_who_does_not_answer_is_asked_a_few_times_and_left(state, said):
    with serving(says(lambda name, _: said if name == "eel" else listed(*FISH))) as server:
        choice = chosen(options(server.api, rounds=3), state)
        assert named(choice, 3) == []
        assert all(len(named(choice, label)) == 2 for label in (0, 1, 2, 4))
        assert [asked.target for asked in server.asked].count("eel") == 3
        chosen(options(server.api, rounds=3), state)
    assert len(server.asked) == len(TARGETS) + 2


def test_an_answer_that_was_cut_before_its_first_name_is_asked_for_with_more_room(state):
    cut = SHAPES["openai"]("<think>Let me see: dace, carp", finish="length")
    with serving(says(lambda name, round: Said(cut) if round == 1 else listed(*FISH))) as server:
        assert named(chosen(options(server.api, max_tokens=100), state, TARGETS[:1])) == ["dace", "carp"]
    assert [asked.body["max_tokens"] for asked in server.asked] == [100, 400]


def test_what_is_chosen_does_not_depend_on_who_is_fast(tmp_path):
    def names(name, round):
        rotated = FISH[len(name) :] + FISH[: len(name)]
        return listed(name, *rotated[:2]) if round == 1 else listed(*rotated[2:])

    results = []
    for concurrency in (1, 4):
        together, asked = threading.Barrier(concurrency), itertools.count()

        def hold(together=together, asked=asked):
            if 1 <= next(asked) <= together.parties:  # the first question is asked alone
                together.wait(10)  # until as many are under way as may be

        answer = says(lambda name, round, hold=hold: Said(SHAPES["openai"](names(name, round)), hold=hold))
        with State(tmp_path / str(concurrency)) as state, serving(answer) as server:
            results.append(chosen(options(server.api, concurrency=concurrency), state, wanted=4))
    assert results[0] == results[1]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_stop_loses_no_answer(state, concurrency):
    broken = {"pike": Said({"error": {"code": "insufficient_quota"}}, 429)}
    with serving(says(lambda name, _: broken.get(name) or listed(*FISH))) as server:
        with pytest.raises(NoAnswer, match="insufficient_quota"):
            chosen(options(server.api, concurrency=concurrency), state)
        paid = {asked.target for asked in server.asked} - {"pike"}
        assert {row[0] for row in state.rows("SELECT target FROM llm_call")} == paid
        broken.clear()
        chosen(options(server.api, concurrency=concurrency), state)
    asked = [asked.target for asked in server.asked]
    assert sorted(asked) == sorted([*(one.name for one in TARGETS), "pike"])


def test_a_signal_is_answered_when_what_is_under_way_is_kept(state):
    stop = StopSignal()
    stop.patient = True

    def names(name, round):
        stop.received = 2
        return listed(*FISH)

    with serving(says(names)) as server, pytest.raises(Stopped):
        chosen(options(server.api, concurrency=1), state, stop=stop)
    assert state.one("SELECT count(*) FROM llm_call") == len(server.asked) == 1


@pytest.mark.parametrize(
    ("limit", "asked"),
    [
        ({"most_tokens": 600}, 5),
        ({"most_tokens": 599}, 4),
        ({"most_cost": 0.0007, "price_in": 1.0, "price_out": 2.0}, 5),
        ({"most_cost": 0.00041, "price_in": 1.0, "price_out": 2.0}, 2),
    ],
)
def test_a_budget_is_kept(state, limit, asked):
    with serving(says(lambda *_: listed(*FISH))) as server:
        config = options(server.api, max_tokens=20, concurrency=1, prompt="paper", **limit)
        if asked < len(TARGETS):
            with pytest.raises(NoAnswer, match=rf"(?s)proposer\.{next(iter(limit))}.*tokens in.*asks nothing twice"):
                chosen(config, state)
        else:
            chosen(config, state)
        assert len(server.asked) == asked
        chosen(replace(config, most_tokens=None, most_cost=None), state)
    assert len(server.asked) == len(TARGETS)


def test_many_at_a_time_keep_to_a_budget_too(state):
    with serving(says(lambda *_: listed(*FISH))) as server, pytest.raises(NoAnswer):
        chosen(options(server.api, max_tokens=20, concurrency=5, prompt="paper", most_tokens=400), state)
    tokens = state.one("SELECT sum(tokens_in + tokens_out) FROM llm_call") or 0
    assert tokens <= 400


def test_tokens_are_counted_where_the_server_does_not(state):
    bare = SHAPES["openai"](listed(*FISH))
    del bare["usage"]
    with serving(says(lambda *_: Said(bare))) as server:
        chosen(options(server.api), state, TARGETS[:1])
        calls = Calls(options(server.api, price_in=1000.0, price_out=0.0), state, StopSignal())
    (tokens_in, tokens_out), *_ = state.rows("SELECT tokens_in, tokens_out FROM llm_call")
    assert 100 < tokens_in < 1000
    assert 20 < tokens_out < 100
    assert (
        calls.spent() == f"1 questions, {tokens_in} tokens in, {tokens_out} out, {tokens_in / 1000:.2f} by these prices"
    )


def test_a_key_is_needed_where_something_is_to_be_asked(state, tmp_path, monkeypatch):
    with serving(says(lambda *_: listed(*FISH))) as server:
        chosen(options(server.api), state)
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    monkeypatch.delenv(KEY)
    chosen(options(server.api), state)
    with pytest.raises(ConfigError, match=KEY):
        chosen(options(server.api), state, wanted=3)


def test_the_format_of_a_server_is_remembered(state):
    def answer(asked):
        if asked.format != "text":
            return Said({"error": f"'response_format.type' {asked.format}"}, 400)
        return Said(SHAPES["lmstudio"](", ".join(FISH)))

    with serving(answer) as server:
        chosen(options(server.api, concurrency=1), state, TARGETS[:2])
        chosen(options(server.api, concurrency=1), state, TARGETS[:3])
    formats = [asked.format for asked in server.asked]
    assert formats == ["json_schema", "json_object", *["text"] * (len(formats) - 2)]


def test_a_shard_asks_nothing(state):
    with serving(says(lambda *_: listed(*FISH))) as server:
        with pytest.raises(RunError, match="without shard="):
            chosen(options(server.api), state, alone=False)
        assert server.asked == []
        choice = chosen(options(server.api), state)
        assert chosen(options(server.api), state, alone=False) == choice


def test_another_model_prompt_or_seed_is_another_question(state):
    with serving(says(lambda *_: listed(*FISH))) as server:
        config = options(server.api)
        for other in (config, replace(config, model="n"), replace(config, prompt="paper"), replace(config, seed=1)):
            chosen(other, state, TARGETS[:1])
            chosen(other, state, TARGETS[:1])
    assert len(server.asked) == 4
    assert [json.loads(row[0]).get("seed") for row in state.rows("SELECT question FROM llm_call ORDER BY id")][-1] == 1


def test_only_what_a_source_has_is_counted_within_it(state):
    class Ponds:
        name, notes = "ponds", ()

        def offers(self, sought):
            return sought.name in ("rudd", "trout")

        def classes(self):
            return ()

        def search(self, sought):
            return iter(())

        def read(self, place):
            return b""

    wanted = np.full(1, 2)
    with serving(says(lambda name, round: listed(*FISH[:5]) if round == 1 else listed(*FISH[5:]))) as server:
        calls = Calls(options(server.api), state, StopSignal())
        proposer = Within(LLMProposer(options(server.api), TARGETS[:1], None, wanted, calls), Ponds())
        assert named(choose(TARGETS[:1], proposer, NameRules(TARGETS[:1], None), wanted)) == ["rudd", "trout"]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("name", "note", "near", "wnid"),
    [
        ("beagle", None, None, "n02088364"),
        ("beagles", None, None, "n02088364"),
        ("beagle", "small", "n02012849", "n02088364"),
        ("crane", None, "n02000954", "n02012849"),
        ("crane", None, "n03664675", "n03126707"),
        ("crane", "bird", "n03664675", "n02012849"),
        ("crane", "lifting device", None, "n03126707"),
        ("crane", "lifts heavy objects", None, "n03126707"),
        ("crane", None, None, None),
        ("crane", "a dance", None, None),
        ("dace", None, "n02000954", None),
    ],
)
def test_the_sense_of_a_name_is_told_by_its_note_or_by_what_it_is_beside(tmp_path, name, note, near, wnid):
    assert sense(small_wordnet(tmp_path), Name(name, note), near) == wnid


def test_a_name_with_a_note_is_searched_for_with_it(state, tmp_path):
    with serving(says(lambda *_: listed("kite (bird of prey)", "kite (toy)", "Crane"))) as server:
        plain = chosen(options(server.api), state, TARGETS[:1], wanted=3)
        heron = [target(0, "stork", "n02000954")]
        known = chosen(options(server.api), state, heron, wanted=3, wordnet=small_wordnet(tmp_path / "wordnet"))
        assert [one.name for one in chosen(options(server.api), state, [target(0, "kite")]).classes] == [
            "Crane"
        ]  # whatever the notes say
    assert [(one.key, one.name, one.query) for one in plain.classes] == [
        ("name:kite (bird of prey)", "kite", "kite bird of prey"),
        ("name:kite (toy)", "kite", "kite toy"),
        ("name:crane", "Crane", "Crane"),
    ]
    assert [(one.key, one.query) for one in known.classes][-1] == ("n02012849", "Crane bird")


@pytest.mark.parametrize(
    "item",
    [
        *("tench, Tinca tinca", "tench: a fish", "tench - Tinca tinca", "tench / doctor fish", "tench; see carp"),
        *(
            "tench (fish",
            "(fish) tench",
            "(a) tench (fish) (b)",
            "tench\u2122",
            "tench \U0001f41f",
            "#tench",
        ),
    ],
)
def test_no_sign_beside_its_name_hides_a_target(item):
    name, _ = read(json.dumps([item, "dace"])).names
    assert NameRules([target(0, "tench")], None).drop(of_name(name.name, None, "llm")) == (Reason.TARGET, 0)
