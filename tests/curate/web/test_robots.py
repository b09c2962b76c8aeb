import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.curate.web import robots
from lt_extrap.curate.web.addresses import Url, checked_url
from lt_extrap.curate.web.failure import Failure
from lt_extrap.curate.web.robots import Robots, Rules

PHOTO = "http://photos.example/images/a.jpg"


def allows(text: str, url: str = PHOTO) -> bool:
    return Rules.read(text.encode(), agent="lt-extrap").allow(url)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("User-agent: *\nDisallow:", True),
        ("User-agent: *\nDisallow: /", False),
        ("User-agent: *\nDisallow: /*.jpg$", False),
        ("User-agent: *\nDisallow: /*.png$", True),
        ("user-agent: LT-EXTRAP # us\ndisallow: /images", False),
        ("User-agent: lt-extrap-next\nDisallow: /", True),
        ("User-agent: lt\nDisallow: /", True),
        ("User-agent: other\nUser-agent: lt-extrap/2.0\nDisallow: /", False),
        ("User-agent: other\nDisallow: /\n\nUser-agent: lt-extrap\nDisallow: /private", True),
        ("Disallow: /", True),
    ],
)
def test_rules(text, allowed):
    assert allows(text) is allowed


def test_a_delay_is_told():
    assert Rules.read(b"User-agent: *\nCrawl-delay: 7", agent="lt-extrap").delay == 7
    assert Rules.read(b"User-agent: other\nCrawl-delay: 7", agent="lt-extrap").delay is None


@pytest.mark.parametrize(
    ("text", "reserved"),
    [
        ("User-agent: *\nContent-Usage: train-ai=n", True),
        ("User-agent: *\nAllow: /\ncontent-usage :train-ai=n, search=y # since 2026", True),
        ("User-agent: *\nContent-Usage: / train-ai=n", True),
        ("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /images/ train-ai=y", False),
        ("User-agent: *\nContent-Usage: train-ai=y\nContent-Usage: /images/ train-ai=n", True),
        ("User-agent: *\nContent-Usage: /other/ train-ai=n", False),
        ("User-agent: *\nContent-Usage: /*.jpg$ train-ai=n", True),
        ("User-agent: *\nContent-Usage: /*.png$ train-ai=n", False),
        ("User-agent: *\nContent-Usage: train-ai=y\nContent-Usage: train-ai=n", True),
        ("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: train-ai=y", True),
        ("User-agent: *\nContent-Usage: search=n", False),
        ("User-agent: *\nContent-Usage:", False),
        ("User-agent: *\nContent-Signal: search=yes,ai-train=no,use=reference\nAllow: /", True),
        ("User-agent: *\nContent-signal: search=no, ai-train=yes", False),
        ("User-agent: other\nContent-Usage: train-ai=n", False),
        ("User-agent: other\nDisallow: /\nUser-agent: *\nContent-Usage: train-ai=n", True),
        ("User-agent: lt-extrap\nDisallow: /x\n\nUser-agent: *\nContent-Usage: train-ai=n", False),
        ("User-agent: *\nContent-Usage: train-ai=n\nUser-agent: lt-extrap\nContent-Usage: train-ai=y", False),
        ("User-agent: *\nContent-Usage: train-ai=n\nUser-agent: lt-extrap\nDisallow:", False),
        ("Content-Usage: train-ai=n", False),  # of no group
    ],
)
def test_what_is_not_to_be_trained_on(text, reserved):
    rules = Rules.read(text.encode(), agent="lt-extrap")
    assert rules.reserve(PHOTO) is reserved
    assert rules.allow(PHOTO)


@settings(max_examples=30)
@given(st.binary(max_size=300) | st.binary(max_size=99).map(b"User-agent: *\nContent-Usage: /".__add__))
def test_any_bytes_can_be_read(content):
    rules = Rules.read(content, agent="lt-extrap")
    assert {rules.allow(PHOTO), rules.reserve(PHOTO)} <= {True, False}


def test_no_text_becomes_more_rules_than_it_has_lines():
    names = "".join(f"User-agent: lt-extrap{number}\n" for number in range(3000))
    rules = Rules.read((names + "Disallow: /\n" * 9000).encode(), agent="lt-extrap")
    assert len(rules._parsed._user_agents) == 1


class Web:
    """Answers from a table, and counts how often it is asked."""

    def __init__(self, answers) -> None:
        self.answers, self.asked = answers, []

    async def ask(self, url: Url) -> tuple[int, bytes]:
        self.asked.append(str(url))
        await asyncio.sleep(0)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Failure):
            raise answer
        return answer


def checks(web: Web, *urls: str) -> list:
    async def all_of_them():
        rules = Robots("lt-extrap", web.ask)
        return await asyncio.gather(*(rules.check(checked_url(url)) for url in urls), return_exceptions=True)

    return asyncio.run(all_of_them())


def test_an_origin_is_asked_once_however_many_wait():
    web = Web([(200, b"User-agent: *\nDisallow: /x")])
    found = checks(web, PHOTO, PHOTO, "http://photos.example/x", "https://photos.example/y")
    assert web.asked == ["http://photos.example/robots.txt", "https://photos.example/robots.txt"]
    assert [rules.delay for rules in found[:2]] == [None, None]
    assert found[2].kind == "robots"


def test_a_host_that_cannot_be_reached_is_asked_again_and_is_not_said_to_forbid():
    web = Web([Failure("dns", "no answer"), (404, b"")])
    first, second = checks(web, PHOTO, PHOTO)
    assert first.kind == "dns"
    assert second.delay is None


@pytest.mark.parametrize("answer", [(500, b""), (503, b""), (429, b""), Failure("timeout", "30 s")])
def test_a_host_that_does_not_say_forbids_for_now(answer):
    web = Web([answer])
    for failure in checks(web, PHOTO, PHOTO):
        assert failure.kind == "robots"
    assert len(web.asked) == 1


def test_the_rules_of_many_hosts_are_let_go(monkeypatch):
    monkeypatch.setattr(robots, "_KEPT", 1000)
    web = Web([(200, b"#" * 300)])
    urls = [f"http://h{number % 5}.example/" for number in range(6)]

    async def one_by_one():
        rules = Robots("lt-extrap", web.ask)
        for url in urls:
            await rules.check(checked_url(url))
        return rules

    assert asyncio.run(one_by_one())._size <= 1000
    assert len(web.asked) == 6  # h0 was let go
