"""The client of APIs, against a server that is slow, large, rude or broken."""

import gzip
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from lt_extrap.curate.web import api as module
from lt_extrap.curate.web.agent import agent
from lt_extrap.curate.web.api import TRIES, Answer, Api, Limits, excerpt
from lt_extrap.errors import DataError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + b'{"a": 17}'


@contextmanager
def serving(*answers):
    """A server that sends these bytes, one answer a connection, the last one again and again; and what it was sent.

    An answer may be an iterator of bytes: each is sent as it comes.
    """
    asked, listener, ended = [], socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve():
        for number in range(10**6):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                if ended.is_set():
                    return
                asked.append(connection.recv(65536).decode())
                answer = answers[min(number, len(answers) - 1)]
                try:
                    for part in [answer] if isinstance(answer, bytes) else answer():
                        connection.sendall(part)
                except OSError:
                    continue  # it had enough

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        ended.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()
        listener.close()


def reply(status, body=b"", **headers):
    more = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    head = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(head).encode() + body


def client(url, pauses, **more):
    return Api("test", url, Limits(0.0), "lt-extrap/0", pause=pauses.append, **more)


def test_it_asks_and_says_who_asks():
    with serving(OK) as (url, asked):
        answer = client(f"{url}/v1", [], secret={"X-Key": "s3cret"}).get("/images", {"q": "a & b/ü", "n": 3})
    assert answer["a"].whole() == 17
    assert asked[0].startswith("GET /v1/images?q=a+%26+b%2F%C3%BC&n=3 HTTP/1.1\r\n")
    assert "X-Key: s3cret\r\n" in asked[0]
    assert "User-Agent: lt-extrap/0\r\n" in asked[0]
    assert agent("a@example.org").endswith(" (a@example.org)")
    assert "(" not in agent(None)


def test_what_passes_by_is_asked_again():
    pauses = []
    answers = [reply(503), reply(429, Retry_After="2"), reply(502, Retry_After="soon"), OK]
    with serving(*answers) as (url, asked):
        assert client(url, pauses).get("", {})["a"].whole() == 17
    assert len(asked) == 4
    assert pauses == [1.0, 2.0, 4.0]


def test_what_does_not_pass_ends_it():
    pauses = []
    with serving(reply(500, b"broken")) as (url, asked), pytest.raises(DataError, match=f"broken, {TRIES} times"):
        client(url, pauses).get("", {})
    assert len(asked) == TRIES
    assert pauses == [1.0, 2.0, 4.0]


def test_who_asks_for_a_day_is_not_waited_for():
    pauses = []
    with (
        serving(reply(429, b"enough", Retry_After="86400")) as (url, asked),
        pytest.raises(DataError, match="86,400 s"),
    ):
        client(url, pauses).get("", {})
    assert (len(asked), pauses) == (1, [])


def test_a_redirect_is_not_followed():
    with (
        serving(reply(302, Location="http://127.0.0.1:1/")) as (url, asked),
        pytest.raises(DataError, match="status 302"),
    ):
        client(url, [], secret={"X-Key": "s3cret"}).get("", {})
    assert len(asked) == 1


def drip(begin, pieces):
    def sent():
        yield begin
        for piece in pieces:
            time.sleep(0.02)
            yield piece

    return sent


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", [b"1"] * 1000),
        drip(b"HTTP/1.1 200 OK\r\nX-Long: ", [b"1"] * 1000),
        drip(b"", [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000),
    ],
    ids=["body", "header", "100"],
)
def test_drips_end_in_time(answer, monkeypatch):
    monkeypatch.setattr(module, "TRIES", 1)
    with serving(answer) as (url, _), pytest.raises(DataError, match="no whole answer"):
        client(url, [], seconds=0.2).get("", {})


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_too_large_is_left(packed, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1_000_000)
    body = gzip.compress(b" " * 10_000_000) if packed else b" " * 2_000_000
    headers = {"Content_Encoding": "gzip"} if packed else {}
    with serving(reply(200, body, **headers)) as (url, asked), pytest.raises(DataError, match="more than 1 MB"):
        client(url, []).get("", {})
    assert len(asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["short", "nothing", "no http", "no gzip", "no chunk"],
)
def test_what_is_no_answer_is_asked_again_and_told(answer):
    pauses = []
    with serving(answer) as (url, _), pytest.raises(DataError, match=f"{TRIES} times"):
        client(url, pauses).get("", {})
    assert len(pauses) == TRIES - 1


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DataError, match="ConnectError"):
        client(f"http://127.0.0.1:{port}", []).get("", {})


def test_an_answer_that_is_none_yet_is_asked_for_again():
    pauses = []
    with serving(reply(200, b'{"busy": "by \x1b[31m lag"}'.replace(b"\x1b", b"\\u001b")), OK) as (url, _):
        found = client(url, pauses, busy=lambda answer: (b := answer.get("busy")) and b.text()).get("", {})
    assert found["a"].whole() == 17
    assert pauses == [1.0]


def test_the_pace_is_kept_and_so_is_the_limit_of_a_day():
    pauses = []
    with serving(OK) as (url, asked):
        api = Api("test", url, Limits(1000.0, 2), "me", pause=pauses.append)
        api.get("", {})
        api.get("", {})
        with pytest.raises(DataError, match="tomorrow"):
            api.get("", {})
    assert len(asked) == 2
    (pause,) = pauses
    assert 900 < pause <= 1000


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with serving(OK) as (url, _):
        assert client(url, []).get("", {})["a"].whole() == 17


@pytest.mark.parametrize(
    "echo",
    [
        reply(403, b"<p>the token s3/cret \x1b[2J of Bearer s3/cret"),
        reply(200, b"<p>the token s3/cret \x1b[2J of Bearer s3/cret"),
        reply(403, b'{"detail": "no token s3\\/cret"}'),
        reply(200, b'{"a": "no token s3/cret"}'),
        reply(200, b'{"a": {"s3\\/cret": 1}}'),
        b"s3/cret is no token\r\n\r\n",
    ],
)
def test_a_key_that_is_sent_back_is_not_shown(echo):
    bearer = {"Authorization": "Bearer s3/cret"}
    with serving(echo) as (url, _), pytest.raises(DataError) as told:
        client(url, [], secret=bearer).get("", {})["a"].items()
    assert "cret" not in str(told.value)
    assert "\x1b" not in str(told.value)
    assert "***" in str(told.value)
    assert "cret" not in repr(client("http://127.0.0.1", [], secret=bearer))


def test_values_are_what_they_are_asked_to_be_or_an_error_of_where_they_are():
    answer = Answer("test", "", json.loads('{"a": [{"b": null, "c": true, "d": "//x.org/y", "e": "javascript:1"}]}'))
    hit = answer["a"].first()
    assert hit["b"].text_or_none() is None
    assert hit.get("b") is hit.get("z") is None
    assert hit["c"].truth()
    assert hit["d"].address() == "https://x.org/y"
    wrong = [
        (lambda: hit["b"].text(), r"a text at a\[0\]\.b"),
        (lambda: hit["c"].whole(), r"a whole number at a\[0\]\.c"),
        (lambda: hit["d"].truth(), r"true or false at a\[0\]\.d"),
        (lambda: hit["e"].address(), r"an http\(s\) address at a\[0\]\.e"),
        (lambda: hit["z"], r"the key z at a\[0\]"),
        (lambda: hit.items(), r"a list at a\[0\]"),
        (lambda: hit["d"]["x"], r"an object at a\[0\]\.d"),
        (lambda: Answer("test", "", []).first(), "a list with something in it at the top"),
    ]
    for ask, match in wrong:
        with pytest.raises(DataError, match=match):
            ask()


@pytest.mark.parametrize("bad", ["https://", "https://a b", "https://a/\ud800", "https://a/\n", "data:,", "https:///x"])
def test_what_is_no_address(bad):
    with pytest.raises(DataError):
        Answer("test", "x", bad).address()


def test_an_excerpt_is_one_short_line():
    assert excerpt("a\x00b\n\u202ec\x1b[1m") == "a b c [1m"
    assert len(excerpt("x" * 10_000)) < 250
