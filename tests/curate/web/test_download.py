"""What becomes of each thing that a host can do."""

import asyncio
import csv
import socket
import ssl
import tracemalloc
from dataclasses import replace
from urllib.parse import quote

import pytest
from hostile import ADDRESSES, BEHAVIOURS, HASTY, HOME, IMAGES, ROBOTS, SAID, TICK, TRAPS, HostileServer, Names, picture
from hostile import certificates as make_certificates

from lt_extrap.config.curate_download import Download
from lt_extrap.curate.stages.images import described
from lt_extrap.curate.web.download import Downloader, Fetched
from lt_extrap.curate.web.failure import Failure
from lt_extrap.curate.web.room import Room
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.errors import ConfigError

PATIENT = Download(
    contact="curator@photos.example",
    concurrency=64,
    per_host=64,
    rate=1000.0,
    seconds=60.0,
    connect_seconds=20.0,
    megabytes=1.0,
    longest_wait=5.0,
)
HURRIED = replace(PATIENT, seconds=3.0, connect_seconds=1.0, retries=0)


@pytest.fixture(scope="module")
def certificates():
    return make_certificates()


@pytest.fixture(scope="module")
def trusted(certificates) -> ssl.SSLContext:
    return certificates[0]


@pytest.fixture(scope="module")
def server(certificates):
    with HostileServer(tls=certificates[1]) as running:
        yield running


@pytest.fixture
def fetch(server, trusted):
    """Fetch addresses side by side; what became of each."""

    def run(*urls: str, config: Download = PATIENT, resolver=None, loopback=None) -> list[Fetched | Failure]:
        return asyncio.run(outcomes(server, trusted, urls, config, resolver, loopback))

    return run


async def outcomes(server, trusted, urls, config, resolver=None, loopback=None) -> list[Fetched | Failure]:
    async with Downloader(
        config,
        resolver=resolver or Names(),
        loopback=server.ports if loopback is None else loopback,
        tls=trusted,
    ) as downloader:
        room = Room(1 << 30)
        found = await asyncio.gather(*(downloader.fetch(url, room) for url in urls), return_exceptions=True)
        assert room.taken == sum(len(outcome.content) for outcome in found if isinstance(outcome, Fetched))
        return found


def ending(outcome: Fetched | Failure) -> str | None:
    if isinstance(outcome, Fetched):
        return None
    if isinstance(outcome, Failure):
        return outcome.kind
    raise outcome


@pytest.fixture(scope="module")
def became(server, trusted) -> dict[str, Fetched | Failure]:
    """What became of every behaviour, each at a host of its own; many at once."""

    def url(number: int, name: str) -> str:
        return server.url("image/jpeg", host=name) if name in ROBOTS else server.url(name, host=f"h{number}.example")

    found = dict[str, Fetched | Failure]()
    names = [(number, name) for number, name in enumerate((*BEHAVIOURS, *ROBOTS))]
    for config in (PATIENT, HURRIED):  # one after the other: no deadline passes because others are busy
        part = [pair for pair in names if (pair[1] in HASTY) == (config is HURRIED)]
        ends = asyncio.run(outcomes(server, trusted, [url(*pair) for pair in part], config))
        found |= {name: outcome for (_, name), outcome in zip(part, ends, strict=True)}
    return found


@pytest.mark.parametrize("path", BEHAVIOURS)
def test_each_behaviour_ends_as_it_has_to(became, path):
    assert ending(became[path]) == BEHAVIOURS[path], became[path]


@pytest.mark.parametrize("host", ROBOTS)
def test_each_robots_txt_is_obeyed(became, host):
    assert ending(became[host]) == ROBOTS[host][1], became[host]


def test_there_are_enough_behaviours():
    assert len(BEHAVIOURS) + len(ROBOTS) > 130
    assert {kind for kind in BEHAVIOURS.values() if kind} >= {"timeout", "slow", "large", "truncated", "opt_out"}


def test_images_come_as_they_are_whatever_their_header_says(became):
    for kind, content in IMAGES.items():
        fetched = became[f"image/{kind}"]
        assert (fetched.kind, fetched.content) == (kind, content)
        assert fetched.headers == {"content-type": "text/html"}
        assert described(fetched.url, fetched.content, fetched.content).width == 96


def test_what_only_begins_as_an_image_is_refused_by_the_decoder(became):
    for path in (*(f"trap/{name}" for name in TRAPS), "broken/shorter-than-it-is.jpg"):
        with pytest.raises(UnreadableImage):
            described(path, became[path].content, became[path].content)


def test_what_is_endless_is_left_soon(became, server):
    """Up to what was asked for, and what the sockets between had taken."""
    assert server.sent["/large/by-its-own-word.jpg"] < 500_000
    for path in ("large/endless-chunks", "large/without-a-length", "broken/huge-header", "broken/informed-at-once"):
        assert server.sent[f"/{path}.jpg"] < 16_000_000, path
    # One robots.txt has no end; the requests for all others are some kilobytes.
    assert server.sent["/robots.txt"] < 16_000_000


def test_a_reason_says_what_was_met(became):
    assert str(became["to/page.jpg"]) == "not_image: HTML, from " + became["to/page.jpg"].detail.rpartition(" ")[2]
    assert "more than 10 answers of 1xx" in became["broken/informed-for-ever.jpg"].detail
    assert "content coding 'gzip'" in became["robots-gzip.example"].detail
    assert "gzip" in became["large/gzip-bomb.jpg"].detail
    assert "410" in became["status/410.jpg"].detail
    assert "x-robots-tag: noai" in became["says/two.jpg"].detail
    assert "86400 s" in became["wait/a-day.jpg"].detail
    for outcome in became.values():
        if isinstance(outcome, Failure):
            assert str(outcome).isprintable()
            assert len(str(outcome)) < 300


def test_another_attempt_is_made_where_it_can_help(became, server):
    attempts = {
        "status/500.jpg": 3,
        "status/404.jpg": 1,
        "wait/429.jpg": 3,
        "wait/a-day.jpg": 1,
        "broken/no-http.jpg": 3,
    }
    assert {path: server.count(f"/{path}") for path in attempts} == attempts


@pytest.mark.parametrize("how", ["reset", "no-answer"])
def test_a_kept_connection_that_has_ended_costs_no_attempt(server, trusted, how):
    async def one_after_the_other(*paths: str) -> list[str | None]:
        async with Downloader(once, resolver=Names(), loopback=server.ports, tls=trusted) as downloader:
            urls = [server.url(path, host=f"kept-{how}.example") for path in paths]
            return [ending((await asyncio.gather(downloader.fetch(url), return_exceptions=True))[0]) for url in urls]

    once, path = replace(PATIENT, robots=False, retries=0), f"broken/{how}-once.jpg"
    assert asyncio.run(one_after_the_other("image/jpeg", path)) == [None, None]
    server.asked.clear()
    assert asyncio.run(one_after_the_other(path)) == [BEHAVIOURS[f"broken/{how}.jpg"]]  # it was not kept
    never = f"broken/{how}.jpg"
    assert asyncio.run(one_after_the_other("image/jpeg", never)) == [None, BEHAVIOURS[never]]
    assert server.count(f"/{never}", f"kept-{how}.example") == 2


def test_opt_outs_that_are_not_obeyed_are_recorded(fetch, server):
    said = {value: ends for value, ends in SAID.items() if ":" not in value}
    urls = [server.url(f"says/{quote(value, safe='')}.jpg") for value in said]
    for outcome, (value, ends) in zip(fetch(*urls, config=replace(PATIENT, opt_out=False)), said.items(), strict=True):
        assert bool(outcome.opt_out) == (ends is not None), value
    assert fetch(urls[0], config=replace(PATIENT, opt_out=False))[0].opt_out == ("x-robots-tag: noai",)
    before, url = server.count("/image/jpeg", "reserves.example"), server.url("image/jpeg", host="reserves.example")
    assert fetch(url)[0].kind == "opt_out"
    assert server.count("/image/jpeg", "reserves.example") == before  # it is not asked for
    assert fetch(url, config=replace(PATIENT, opt_out=False))[0].opt_out == ("robots.txt: not for training",)


def test_robots_txt_that_is_not_obeyed_is_not_read(fetch, server):
    before = server.count("/robots.txt", "forbids.example")
    url = server.url("image/jpeg", host="forbids.example")
    assert ending(fetch(url, config=replace(PATIENT, robots=False))[0]) is None
    assert server.count("/robots.txt", "forbids.example") == before


def test_robots_txt_of_where_a_redirect_leads_is_obeyed_too(fetch, server):
    place = server.url("image/jpeg", host="forbids.example")
    url = server.url(f"leads/{quote(place, safe='')}", host="way.example")
    assert ending(fetch(url)[0]) == "robots"


def test_robots_txt_is_read_once_an_origin(fetch, server):
    fetch(*(server.url(f"numbered/{number}.jpg", host="once.example") for number in range(20)))
    assert server.count("/robots.txt", "once.example") == 1


@pytest.mark.parametrize(
    "host", ["private.example", "metadata.example", "mixed.example", "mapped.example", "nat64.example"]
)
def test_a_host_with_one_bad_address_is_not_connected_to(fetch, server, host):
    (outcome,) = fetch(server.url("image/jpeg", host=host))
    assert ending(outcome) == "address"
    assert not server.count("/image/jpeg", host)


@pytest.mark.parametrize(
    "place",
    [
        "http://10.0.0.1/", "http://192.168.0.1/", "http://172.16.0.1/", "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://100.100.100.200/",
        "http://168.63.129.16/", "http://127.0.0.1/", "http://127.0.0.1:443/", "http://127.1/", "http://0x7f000001/",
        "http://2130706433/", "http://0177.0.0.1/", "http://0/", "http://[::1]/", "http://[::ffff:7f00:1]/",
        "http://[::ffff:127.0.0.1]/", "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
        "http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/", "http://[fe80::1]/", "http://0.0.0.0/", "http://255.255.255.255/",
        "http://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_no_redirect_leads_into_a_private_network(fetch, server, place):
    (outcome,) = fetch(server.url(f"leads/{quote(place, safe='')}", host="way.example"))
    assert ending(outcome) in ("address", "url"), outcome


def test_loopback_is_refused_unless_the_constructor_allows_it(fetch, server):
    assert ending(fetch(f"http://{HOME}/", f"http://{HOME}:443/")[0]) == "address"
    ports = sorted({*PATIENT.ports, server.port})
    (outcome,) = fetch("http://photos.example/", config=replace(PATIENT, ports=[80]), loopback=frozenset())
    assert ending(outcome) == "address", ports


def test_a_name_is_looked_up_once_a_connection_and_may_not_lead_elsewhere(fetch, server):
    names = Names()
    path = "broken/no-answer.jpg"  # after which there is no connection
    one = replace(PATIENT, robots=False, retries=1)
    (outcome,) = fetch(server.url(path, host="rebinding.example"), config=one, resolver=names)
    assert ending(outcome) == "address"
    assert names.asked == ["rebinding.example"] * len(ADDRESSES["rebinding.example"])
    assert server.count(f"/{path}", "rebinding.example") == 1


def test_names_that_nobody_knows(fetch, server):
    unknown, empty, never = fetch(
        server.url("a.jpg", host="unknown.example"),
        server.url("a.jpg", host="empty.example"),
        server.url("a.jpg", host="never.example"),
        config=replace(HURRIED, connect_seconds=0.2),
    )
    assert [ending(outcome) for outcome in (unknown, empty, never)] == ["dns"] * 3
    assert str(unknown) == "dns: unknown.example: Name or service not known"


def test_a_port_at_which_nobody_listens(fetch, server):
    with socket.socket() as bound:
        bound.bind((str(HOME), 0))
        port = bound.getsockname()[1]
        (outcome,) = fetch(f"http://photos.example:{port}/a.jpg", loopback=frozenset([port]))
    assert ending(outcome) == "connect"


def test_certificates(fetch, server):
    urls = {name: f"https://photos.example:{port}/image/jpeg" for name, port in server.tls_ports.items()}
    urls["plain"] = f"https://photos.example:{server.port}/image/jpeg"
    found = dict(zip(urls, fetch(*urls.values(), config=replace(HURRIED, connect_seconds=2.0)), strict=True))
    assert {name: ending(outcome) for name, outcome in found.items()} == {
        "": None,
        "expired": "tls",
        "of-another": "tls",
        "of-a-stranger": "tls",
        "plain": "tls",
    }
    assert "expired" in found["expired"].detail


def test_tls_that_breaks_after_the_handshake_is_a_failure_of_that_image(fetch, server):
    secure = f"https://photos.example:{server.tls_ports['']}/broken"
    found = fetch(f"{secure}/garbled.jpg", f"{secure}/garbled-in-the-middle.jpg", config=replace(PATIENT, retries=0))
    assert {ending(outcome) for outcome in found} <= {"connect", "truncated"}  # as much as had come is lost with it


@pytest.mark.parametrize("how", ["an-answer-too-much", "two-answers-to-one-request"])  # later, and at once
def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(server, trusted, how):
    async def one_after_the_other() -> Fetched:
        async with Downloader(PATIENT, resolver=Names(), loopback=server.ports, tls=trusted) as downloader:
            await downloader.fetch(server.url(f"broken/{how}.jpg", host="talks.example"))
            while server.now["talks.example"]:  # it has not said all
                await asyncio.sleep(TICK)
            await asyncio.sleep(TICK)
            return await downloader.fetch(server.url("image/png", host="talks.example"))

    assert asyncio.run(one_after_the_other()).kind == "png"


def test_nobody_is_led_from_https_to_http(fetch, server):
    down = f"https://photos.example:{server.tls_ports['']}/leads/{quote(server.url('image/jpeg'), safe='')}"
    secure = f"https://photos.example:{server.tls_ports['']}/image/jpeg"
    up = server.url(f"leads/{quote(secure, safe='')}")
    assert [ending(outcome) for outcome in fetch(down, up)] == ["scheme", None]


def test_hosts_are_told_who_asks_and_nothing_more(fetch, server):
    server.headers.clear()
    for _ in range(2):
        fetch(server.url("says/cookie.jpg"), server.url("image/jpeg"))
    for headers in server.headers:
        assert headers["user-agent"].startswith("lt-extrap/")
        assert "(curator@photos.example)" in headers["user-agent"]
        assert headers["accept-encoding"] == "identity"
        assert set(headers) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}


def test_international_names_are_asked_for_in_ascii(fetch, server):
    (outcome,) = fetch(f"http://Bücher.example:{server.port}/image/jpeg")
    assert outcome.url == f"http://xn--bcher-kva.example:{server.port}/image/jpeg"
    assert server.count("/image/jpeg", "xn--bcher-kva.example") == 1


def test_nobody_is_asked_without_a_contact():
    with pytest.raises(ConfigError, match="LT_EXTRAP_CONTACT"):
        Downloader(Download())


def test_no_more_requests_at_a_time_than_are_allowed(fetch, server):
    hosts = [f"busy{number}.example" for number in range(4)]
    urls = [server.url(f"held/{number}.jpg", host=host) for host in hosts for number in range(4)]
    for per_host, concurrency in ((2, 64), (64, 3)):
        server.most.clear()
        found = fetch(*urls, config=replace(PATIENT, robots=False, per_host=per_host, concurrency=concurrency))
        assert {ending(outcome) for outcome in found} == {None}
        assert max(server.most[host] for host in hosts) <= per_host
        assert server.most["all"] <= concurrency
    assert server.most["all"] == 3


def test_each_host_has_its_own_pace(server, trusted):
    async def paced() -> tuple[float, list[str]]:
        loop, ended = asyncio.get_running_loop(), list[str]()
        config = replace(PATIENT, robots=False, rates={"steady.example": 10.0})
        async with Downloader(config, resolver=Names(), loopback=server.ports, tls=trusted) as downloader:

            async def one(number: int, host: str) -> None:
                await downloader.fetch(server.url(f"numbered/{number}.jpg", host=host))
                ended.append(host)

            start = loop.time()
            await asyncio.gather(*(one(n, host) for host in ("steady.example", "swift.example") for n in range(4)))
            return loop.time() - start, ended

    seconds, ended = asyncio.run(paced())
    assert seconds > 0.299  # three intervals
    assert ended[-1] == "steady.example"


def test_a_host_that_asks_for_a_day_is_left_alone_and_others_go_on(fetch, server):
    urls = [server.url("wait/a-day.jpg", host="tired.example")]
    urls += [server.url(f"numbered/{number}.jpg", host="tired.example") for number in range(20)]
    urls += [server.url(f"numbered/{number}.jpg", host="fresh.example") for number in range(20)]
    found = fetch(*urls, config=replace(PATIENT, robots=False, per_host=1))
    assert [ending(outcome) for outcome in found] == ["postponed"] * 21 + [None] * 20
    assert sum(host == "tired.example" for host, _, _ in server.asked) == 1


def test_a_host_that_never_answers_is_not_asked_for_each_of_its_images(fetch, server):
    with socket.socket() as bound:
        bound.bind((str(HOME), 0))
        port = bound.getsockname()[1]
        names = Names()
        urls = [f"http://dead.example:{port}/{number}.jpg" for number in range(200)]
        config = replace(PATIENT, robots=False, per_host=1, retries=0)
        found = fetch(*urls, config=config, resolver=names, loopback=frozenset([port]))
    assert {ending(outcome) for outcome in found} == {"connect"}
    assert len(names.asked) == 5
    assert "5 in a row" in found[-1].detail


def test_a_download_can_be_cancelled_at_any_time(server, trusted):
    async def cancelled() -> Fetched:
        async with Downloader(PATIENT, resolver=Names(), loopback=server.ports, tls=trusted) as downloader:
            paths = ["slow/drip-of-headers.jpg", "slow/silence-in-the-middle.jpg", "slow/silence.jpg"] * 8
            tasks = [asyncio.create_task(downloader.fetch(server.url(path, host="left.example"))) for path in paths]
            for share in range(4):
                await asyncio.sleep(0.05)
                for task in tasks[share::4]:
                    task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(outcome) for outcome in done} == {asyncio.CancelledError}
            return await downloader.fetch(server.url("image/jpeg", host="left.example"))

    assert asyncio.run(cancelled()).content == picture()


@pytest.mark.slow
def test_thousands_of_images_take_the_memory_of_a_few(server, trusted):
    async def peak(count: int) -> int:
        config = replace(PATIENT, concurrency=32, per_host=32, rate=100_000.0)
        async with Downloader(config, resolver=Names(), loopback=server.ports, tls=trusted) as downloader:
            numbers = iter(range(count))

            async def work() -> None:
                for number in numbers:
                    await downloader.fetch(server.url(f"numbered/{number}.jpg", host=f"h{number % 50}.example"))

            tracemalloc.start()
            await asyncio.gather(*(work() for _ in range(32)))
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

    asyncio.run(peak(100))
    few, many = asyncio.run(peak(200)), asyncio.run(peak(1000))
    assert many < few + 2_000_000  # the log of the server itself grows


@pytest.mark.slow
def test_no_task_is_left_after_any_behaviour(server, trusted):
    async def left() -> int:
        await outcomes(server, trusted, urls, HURRIED)
        return len(asyncio.all_tasks())

    urls = [server.url(path, host=f"r{number}.example") for number, path in enumerate(BEHAVIOURS)]
    assert asyncio.run(left()) == 1  # this one


@pytest.mark.slow
def test_photos_with_captions(real_data, trusted, tmp_path):
    with HostileServer(photos=real_data / "photos") as running:
        running.write_captions(tmp_path / "captions.csv")
        with (tmp_path / "captions.csv").open(newline="") as opened:
            urls = [row["url"] for row in csv.DictReader(opened)]
        found = asyncio.run(outcomes(running, trusted, urls, PATIENT))
    assert len(found) == 140
    for fetched in found:
        assert described(fetched.url, fetched.content, fetched.content).width > 0


def test_waiting_for_room_counts_for_none_of_the_times(server, trusted):
    async def waited():
        room = Room(10)
        await room.take(10)
        config = replace(PATIENT, seconds=0.6, connect_seconds=0.3, retries=0, robots=False)
        async with Downloader(config, resolver=Names(), loopback=server.ports, tls=trusted) as downloader:
            task = asyncio.create_task(downloader.fetch(server.url("image/jpeg", host="room.example"), room))
            await asyncio.sleep(1.0)
            assert not task.done()
            room.give(10)
            return await task

    assert asyncio.run(waited()).content == IMAGES["jpeg"]
