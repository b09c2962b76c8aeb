"""All sources on the web, against answers in the shape of their APIs and against what servers do instead."""

import contextlib
import copy
import itertools
import pickle

import pytest
from api_server import KEYS, SECRET, SHAPES, Reply, pictures, serving

from lt_extrap.curate.caption_rule import CaptionRule
from lt_extrap.curate.records import Candidate, Refused, Sought, Source
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.errors import ConfigError, DataError

TENCH = Sought("n01440764", "tench", ("tench", "Tinca tinca"), query="tench")


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    for key in KEYS:
        monkeypatch.setenv(key, SECRET)


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


@pytest.fixture
def pauses():
    return []


def searched(shape, pauses, answer=None, sought=TENCH, **config):
    """What a source finds on a server that answers so; and what that was asked."""
    with serving(answer or shape) as server:
        return [*shape.open(server.url, pauses.append, **config).search(sought)], server.asked


def test_it_offers_all_there_is_in_order_and_each_once(shape, pauses):
    api = shape({"tench": (had := pictures("tench", min(2 * shape.per_page + 7, 207)))})
    if shape.source.name == "brave":
        had = had[:200]
    found, asked = searched(api, pauses)
    assert [one.place for one in found] == [api.address(picture) for picture in had]
    assert len(asked) == {"commons": 3, "openverse": 3, "brave": 1, "inaturalist": 3}[shape.source.name]
    rule = CaptionRule(["tench"])
    for one in found:
        assert isinstance(one, Candidate)
        assert rule.match(TENCH.spellings, one.caption)
        assert one.url == one.place
        assert one.page.startswith("https://")
        if shape.licences:
            assert "J. Doe" in one.creator
            assert "<" not in one.creator
            assert one.licence.startswith("CC BY-SA")
    for request in asked:
        assert request.headers["User-Agent"].startswith("lt-extrap/")
        assert "curator@example.org" in request.headers["User-Agent"]
        assert SECRET not in str(request.params)


def test_a_source_is_one_that_takes_no_look_and_survives_pickling(shape, pauses):
    source = shape().open("http://127.0.0.1:9", pauses.append)
    assert isinstance(source, Source)
    assert source.offers(TENCH)
    assert [*source.classes()] == []
    again = pickle.loads(pickle.dumps(source))
    with pytest.raises(UnreadableImage, match="needs the network"):
        again.read("https://example.org/1.jpg")
    assert SECRET.encode() not in pickle.dumps(source)
    assert all(shape.source.name in note for note in source.notes)


def test_safe_search_is_on_and_its_verdict_is_a_reason(shape, pauses):
    safe = {"openverse": ("mature", "false"), "brave": ("safesearch", "strict")}
    found, asked = searched(shape({"tench": pictures("tench", 3, unsafe=True)}), pauses)
    if (pair := safe.get(shape.source.name)) is not None:
        assert asked[0].params[pair[0]] == pair[1]
    if shape.unsafe is not None:
        assert [one.reason for one in found] == [shape.unsafe] * 3


def test_licences_are_asked_for_and_looked_at(shape, pauses):
    mixed = [*pictures("tench", 3), *pictures("tench", 2, 3, licence="by-nc"), *pictures("tench", 1, 5, licence="cc0")]
    api = shape({"tench": mixed})
    if not shape.licences:
        with pytest.raises(ConfigError, match=r"source\.licences"):
            api.open("http://127.0.0.1:9", pauses.append, licences=["by"])
        return
    found, _ = searched(api, pauses, licences=["cc0", "by-sa"])
    refused = [one for one in found if isinstance(one, Refused)]
    assert [one.place for one in refused] == [api.address(picture) for picture in mixed[3:5]]
    assert {one.reason for one in refused} == {"licence: by-nc"}
    assert len(found) == 6
    every, _ = searched(api, pauses)
    assert all(isinstance(one, Candidate) for one in every)


def test_a_class_without_images_is_believed_of_a_source_that_has_others(shape, pauses):
    found, asked = searched(shape({"tench": []}), pauses)
    assert found == []
    assert len(asked) >= 2


def test_a_source_without_any_images_is_an_error(shape, pauses):
    with pytest.raises(DataError) as told:
        searched(shape({"tench": [], shape.control: []}), pauses)
    assert shape.source.name in told.value.wanted
    assert shape.control in told.value.wanted


def nodes(value, path=()):
    """The path of each value within another."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from nodes(part, (*path, key))


def without(value, key):
    """A copy in which no object has a key."""
    if isinstance(value, dict):
        return {name: without(part, key) for name, part in value.items() if name != key}
    return [without(part, key) for part in value] if isinstance(value, list) else value


def test_a_key_that_is_gone_is_named(shape, pauses):
    api = shape({"tench": pictures("tench", 3)})
    for key in shape.needed:
        with pytest.raises(DataError) as told:
            searched(api, pauses, lambda request, key=key: Reply(without(api.answer(request), key)))
        assert told.value.wanted.startswith(f"{shape.source.name}: ")
        assert f"the key {key}" in told.value.wanted or key == "pages"


def test_one_image_that_is_not_as_the_others_is_counted(shape, pauses):
    api = shape({"tench": pictures("tench", 3)})
    last = shape.needed[-1]

    def answer(request):
        whole = api.answer(request)
        if not request.path.endswith("/taxa"):
            hits = whole["results"] if "results" in whole else whole["query"]["pages"]
            hits[1] = without(hits[1], last)
        return Reply(whole)

    found, _ = searched(api, pauses, answer)
    assert [type(one) for one in found] == [Candidate, Refused, Candidate]
    assert found[1] == Refused("", "not as the API has it")


@pytest.mark.slow
@pytest.mark.parametrize("other", [None, 5, "\ud800", {}])
def test_whatever_comes_instead_of_a_value_is_an_error_of_ours_or_no_harm(shape, pauses, other):
    api = shape({"tench": pictures("tench", 2)})
    _, asked = searched(api, pauses)
    for step, request in enumerate(asked):
        for path in nodes(api.answer(request)):
            count = itertools.count()

            def changed(request, step=step, path=path, count=count):
                whole = copy.deepcopy(api.answer(request))
                if next(count) != step:
                    return Reply(whole)
                if not path:
                    return Reply(other)
                inner = whole
                for key in path[:-1]:
                    inner = inner[key]
                inner[path[-1]] = other
                return Reply(whole)

            found = []
            with contextlib.suppress(DataError):
                found, _ = searched(api, pauses, changed)
            for one in found:
                str(one).encode()
                assert one.place.startswith("https://") or isinstance(one, Refused)


def test_an_error_with_status_200_is_an_error(shape, pauses):
    with pytest.raises(DataError) as told:
        searched(shape(), pauses, lambda request: Reply(shape.error))
    assert shape.source.name in told.value.wanted


@pytest.mark.parametrize("body", [b"<html><title>Are you human?</title>", b"", b"[", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_is_shown(shape, pauses, body):
    with pytest.raises(DataError, match="no JSON"):
        searched(shape(), pauses, lambda request: Reply(body))


def test_pages_that_repeat_end(shape, pauses):
    api = shape({"tench": pictures("tench", shape.per_page + 1)})
    first = {}
    found, _ = searched(api, pauses, lambda request: first.setdefault(request.path, api(request)))
    assert [one.place for one in found] == [api.address(picture) for picture in api.has["tench"][: shape.per_page]]


def test_pages_without_end_are_left_after_as_many_as_are_wanted(shape, pauses):
    pages = 1 if shape.source.name == "brave" else 2
    api = shape({"tench": pictures("tench", 5 * shape.per_page)})
    found, asked = searched(api, pauses, pages=pages)
    assert len(found) == pages * shape.per_page
    assert len(asked) <= pages + 1


def test_pages_are_asked_for_when_they_are_wanted(shape, pauses):
    api = shape({"tench": pictures("tench", 3 * shape.per_page)})
    with serving(api) as server:
        found = api.open(server.url, pauses.append).search(TENCH)
        assert len([*itertools.islice(found, 5)]) == 5
        assert len(server.asked) == (2 if shape.source.name == "inaturalist" else 1)
        found.close()


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_ends_it_and_shows_no_key(shape, pauses, status):
    def answer(request):
        return Reply(f"no {request.headers} {request.headers.get('Authorization')}".encode(), status)

    with pytest.raises(DataError) as told:
        searched(shape(), pauses, answer)
    assert f"status {status}" in told.value.found
    assert SECRET not in str(told.value)
    assert SECRET not in repr(shape().open("http://127.0.0.1:9", pauses.append).api)


def test_a_server_is_obeyed(shape, pauses):
    api = shape({"tench": pictures("tench", 3)})
    turn = itertools.count()

    def answer(request):
        return Reply(b"slow down", 429, {"Retry-After": "7"}) if next(turn) == 0 else api(request)

    found, _ = searched(api, pauses, answer)
    assert len(found) == 3
    assert 7.0 in pauses


def test_what_cannot_be_asked_without_is_said(monkeypatch, pauses):
    for key in KEYS:
        monkeypatch.delenv(key)
    with pytest.raises(ConfigError, match="BRAVE_API_KEY"):
        searched(SHAPES["brave"](), pauses)
    monkeypatch.setenv("BRAVE_API_KEY", "two\nlines")
    with pytest.raises(ConfigError, match="signs that no key has"):
        searched(SHAPES["brave"](), pauses)
    with pytest.raises(ConfigError, match=r"source\.page_size"):
        searched(SHAPES["openverse"](), pauses, page_size=100)
    commons = SHAPES["commons"]
    with pytest.raises(ConfigError, match=r"download\.contact"):
        [*commons.source(commons.config(), None).search(TENCH)]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"api": "http://example.org/api"}, "api"),
        ({"api": "ftp://example.org"}, "api"),
        ({"api": "https://user:pass@example.org"}, "api"),
        ({"api": "https://example.org/?key=1"}, "api"),
        ({"api": "http://127.0.0.1.example.org"}, "api"),
        ({"pages": 0}, "pages"),
        ({"licences": []}, "licences"),
        ({"licences": ["CC-BY"]}, "licences"),
        ({"width": 512}, "width"),
    ],
)
def test_ranges(change, key):
    with pytest.raises(ConfigError, match=rf"source\.{key}"):
        SHAPES["commons"].config(**change)


class TestCommons:
    def test_it_waits_while_the_servers_lag(self, pauses):
        api = SHAPES["commons"]({"tench": pictures("tench", 1)})
        lag = {"error": {"code": "maxlag", "info": "Waiting for a database server: 6 seconds lagged"}}
        turn = itertools.count()
        found, asked = searched(
            api, pauses, lambda request: Reply(lag, 200, {"Retry-After": "5"}) if next(turn) < 2 else api(request)
        )
        assert len(found) == 1
        assert pauses.count(5.0) == 2
        assert asked[0].params["maxlag"] == "5"

    def test_what_comes_in_a_second_answer_is_waited_for(self, pauses):
        api = SHAPES["commons"]({"tench": pictures("tench", 4)})

        def answer(request):
            whole = api.answer(request)
            pages = whole["query"]["pages"]
            if "iicontinue" not in request.params:
                del whole["batchcomplete"]
                whole["continue"] = {"iicontinue": "x", "gsroffset": 0, "continue": "||"}
                whole["query"]["pages"] = [without(page, "imageinfo") if page["index"] > 2 else page for page in pages]
            return Reply(whole)

        found, _ = searched(api, pauses, answer)
        assert [one.place for one in found] == [api.address(picture) for picture in api.has["tench"]]

    def test_the_address_is_what_the_api_returns_and_drawings_without_one_are_none(self, pauses):
        api = SHAPES["commons"]({"tench": pictures("tench", 1)})
        found, _ = searched(api, pauses, lambda request: Reply(without(api.answer(request), "thumburl")))
        assert found == [Refused("https://upload.wikimedia.org/0.tif", "no thumbnail")]

    def test_what_is_said(self, pauses):
        (found,), _ = searched(SHAPES["commons"]({"tench": pictures("tench", 1)}), pauses)
        assert found.caption == "Tench no 0 | tench 0 | A tench & more | Fish of Europe"
        assert found.creator == "J. Doe"
        assert found.licence == "CC BY-SA 4.0"
        assert found.licence_url == "https://creativecommons.org/licenses/by-sa/4.0"

    def test_a_name_is_a_phrase_and_the_word_that_tells_it_apart_is_not_part_of_it(self, pauses):
        crane = Sought("n1", "crane", ("crane",), query="crane bird")
        _, asked = searched(SHAPES["commons"]({"crane": pictures("crane", 1)}), pauses, sought=crane)
        assert asked[0].params["gsrsearch"] == 'filetype:bitmap "crane" bird'
        odd = Sought("n2", 'the "x" ' + "y" * 400, ("x",), query="z")
        _, asked = searched(SHAPES["commons"](), pauses, sought=odd)
        assert len(asked[0].params["gsrsearch"]) < 300
        assert asked[0].params["gsrsearch"].count('"') == 2


class TestBrave:
    def test_an_answer_to_another_question_offers_nothing(self, pauses):
        api = SHAPES["brave"]({"tench": pictures("tench", 2)})

        def answer(request):
            return Reply(api.answer(request) | {"query": {"original": "tench", "altered": "trench"}})

        found, asked = searched(api, pauses, answer)
        assert [one.reason for one in found] == ["another question was answered"] * 2
        assert asked[0].params["spellcheck"] == "0"
        assert asked[0].headers["X-Subscription-Token"] == SECRET


class TestINaturalist:
    def test_a_name_that_no_species_has_is_not_taken_for_a_like_one(self, pauses):
        found, asked = searched(SHAPES["inaturalist"]({"tench": [], "Tinca tinca": []}), pauses)
        assert found == []
        assert [request.params["q"] for request in asked if "q" in request.params] == [
            "tench",
            "Tinca tinca",
            "Anas platyrhynchos",
        ]

    def test_photographs_without_a_licence_are_never_taken(self, pauses):
        api = SHAPES["inaturalist"]({"tench": pictures("tench", 1)})

        def answer(request):
            whole = api.answer(request)
            if "taxon_id" in request.params:
                for photo in whole["results"][0]["photos"]:
                    photo["license_code"] = None
            return Reply(whole)

        found, _ = searched(api, pauses, answer)
        assert [one.reason for one in found] == ["licence: none"]
