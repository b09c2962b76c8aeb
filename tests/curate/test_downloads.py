"""Candidates that have an address: downloaded once, until a class has enough, each with what became of it."""

import io
import os
import random
import signal
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from loopback import serving
from PIL import Image

from lt_extrap.config.curate import CurateConfig
from lt_extrap.config.curate_download import Download
from lt_extrap.curate import __main__ as command
from lt_extrap.curate import arrivals
from lt_extrap.curate.arrivals import Arrived, _Names
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.funnel import unread
from lt_extrap.curate.provenance import policies_of
from lt_extrap.curate.stages import images
from lt_extrap.curate.state import State
from lt_extrap.curate.web import downloads
from lt_extrap.curate.web.download import Downloader
from lt_extrap.curate.web.failure import Failure
from lt_extrap.curate.web.room import Room
from lt_extrap.data import side_by_side
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.signals import StopSignal

CONTACT = "somebody@example.org"
CLASSES, EACH = 6, 12


class Addresses:
    """A source that has addresses alone."""

    name, notes = "addresses", ()

    def offers(self, sought) -> bool:
        return True

    def classes(self):
        return ()

    def search(self, sought):
        return ()

    def read(self, place: str) -> bytes:
        raise AssertionError(f"{place} is read by nobody")


@pytest.fixture(autouse=True)
def _source_id(monkeypatch):
    monkeypatch.setattr(Curation, "source_id", "addresses-0")


@pytest.fixture
def server(tmp_path) -> Iterator:
    folder, draw = tmp_path / "pictures", np.random.default_rng(0)
    for number in range(CLASSES):
        (folder / str(number)).mkdir(parents=True)
        for image in range(EACH):
            kind, size = ("png", 40) if image % 2 else ("jpg", 90)
            pixels = draw.integers(0, 255, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / str(number) / f"{image:02}.{kind}")
    with serving(folder) as server:
        yield server


def files(server) -> list[str]:
    return sorted(str(file.relative_to(server.folder)) for file in server.folder.rglob("*.*"))


def opened(
    state: State, folder: Path, downloader=Downloader, *, contact=CONTACT, lost=0.5, retries=0, per_host=8, **options
) -> Curation:
    download = Download(
        contact=contact,
        rate=100000.0,
        per_host=per_host,
        concurrency=8,
        retries=retries,
        connect_seconds=20.0,
        lost=lost,
    )
    config = CurateConfig(
        **{"candidates_per_class": 100, "workers": 0, "longest_edge": 64, "download": download, **options}
    )
    made = Curation(config, folder, state, StopSignal(), downloader)
    vars(made)["source"] = Addresses()
    return made


def offer(state: State, places: list[tuple[str, str, int]]) -> None:
    """Candidates: class, place, position."""
    with state.transaction():
        state.set("source", "addresses-0")
        state.set("candidates_per_class", "100")
        for key in sorted({key for key, _, _ in places}):
            state.write("INSERT INTO sought VALUES (?, 'n', '[]', NULL, NULL, '', 'p', 1)", [(key,)])
        state.write(
            "INSERT INTO candidate (key, source, place, position, caption, url, form, ruled) "
            "VALUES (?, 'addresses-0', ?, ?, 'c', ?, 'c', 'r')",
            [(key, place, position, place) for key, place, position in places],
        )


def offer_all(state: State, server) -> None:
    """Every picture for its class, and the first of each for the next class too."""
    places = [(f"k{name[0]}", f"{server.address}/{name}", int(name[2:4])) for name in files(server)]
    first = [(f"k{(int(name[0]) + 1) % CLASSES}", f"{server.address}/{name}", 50) for name in files(server)[::EACH]]
    offer(state, places + first)


def became(state: State) -> list[tuple[str, str, str | None, str | None]]:
    query = "SELECT key, place, sha256, reason FROM candidate ORDER BY key, position, place"
    return [(key, Path(place).name, sha256, reason) for key, place, sha256, reason in state.rows(query)]


def asked(server) -> list[str]:
    names, server.asked[:] = sorted(server.asked), []
    return names


def test_each_address_is_asked_for_once_and_what_is_wrong_says_why(tmp_path, server, capsys):
    (server.folder / "0" / "02.jpg").write_text("<html>no picture")
    content = (server.folder / "0" / "04.jpg").read_bytes()
    (server.folder / "0" / "04.jpg").write_bytes(content[: len(content) // 2])
    server.status |= {"1/00.jpg": 404, "1/01.png": 503, "1/02.jpg": 403}
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        images.store(opened(state, tmp_path / "state", server.downloader))
        assert asked(server) == files(server)
        assert policies_of(state) == [{"opt_out": True, "robots": True}]  # which the card says
        wrong = {(key, name): reason.partition(":")[0] for key, name, _, reason in became(state) if reason}
        assert wrong.pop(("k0", "04.jpg"))
        assert wrong == {
            ("k0", "02.jpg"): "not_image",
            ("k1", "00.jpg"): "http_404",
            ("k2", "00.jpg"): "http_404",
            ("k1", "01.png"): "http_5xx",
            ("k1", "02.jpg"): "http_4xx",
        }
        for name, width, original, sha256 in state.rows(
            "SELECT i.name, i.width, c.original, c.sha256 FROM candidate c JOIN image i USING (sha256)"
        ):
            with Image.open(tmp_path / "state" / "images" / name) as image:
                assert max(image.size) == width <= 64
            assert (original == sha256) == name.endswith("png")  # the larger ones are JPEG
        images.store(opened(state, tmp_path / "state", contact=None))  # nothing is to be downloaded
        assert asked(server) == []


def test_the_same_picture_at_many_addresses_is_one_file(tmp_path, server):
    content = (server.folder / "0" / "00.jpg").read_bytes()
    for file in server.folder.rglob("*.*"):
        file.write_bytes(content)
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        images.store(opened(state, tmp_path / "state", server.downloader))
        assert len({sha256 for _, _, sha256, _ in became(state)}) == 1
    assert len(list((tmp_path / "state" / "images").rglob("*.*"))) == 1


@pytest.mark.parametrize(
    ("reason", "wanted", "again"),
    [
        ("dns: host.example: no answer", ["dns"], True),
        ("http_404: status 404 of dns.example", ["dns"], False),
        ("http_429: status 429 of host.example", ["dns", "http_429"], True),
        ("a file of another format, by its beginning", ["format"], True),
        ("dns: host.example: no answer", None, True),
    ],
)
def test_failures_are_tried_again_by_their_kind(reason, wanted, again):
    assert command._is_one_of(reason, wanted) == again


def test_the_status_counts_failures_by_their_kind(tmp_path):
    with State(tmp_path) as state:
        offer(state, [("k", f"http://host.example/{number}.jpg", number) for number in range(4)])
        with state.transaction():
            reasons = ["http_404: status 404 of a", "http_404: status 404 of b", "not_needed", "no image at all"]
            for number, reason in enumerate(reasons):
                state.write("UPDATE candidate SET reason = ? WHERE position = ?", [(reason, number)])
        assert unread(state) == [("http_404, such as status 404 of a", 2), ("no image at all", 1)]


def test_without_a_contact_nothing_is_downloaded(tmp_path, server):
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        with pytest.raises(ConfigError, match="LT_EXTRAP_CONTACT"):
            images.store(opened(state, tmp_path / "state", contact=None))


def test_without_leave_of_a_test_this_machine_is_asked_for_nothing(tmp_path, server):
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        images.store(opened(state, tmp_path / "state"))
        assert {reason.partition(":")[0] for _, _, _, reason in became(state)} <= {"url", "address"}
    assert asked(server) == []


def test_a_class_that_has_enough_leaves_the_rest(tmp_path, server):
    server.status |= {"0/01.png": 404, "0/03.png": 404}
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        images.store(opened(state, tmp_path / "state", server.downloader, enough=4))
        wanted = [name for name in files(server) if int(name[2:4]) < (6 if name[0] == "0" else 4)]
        assert asked(server) == wanted
        rest = {name for _, name, _, reason in became(state) if reason == "not_needed"}
        assert rest == {Path(name).name for name in files(server) if int(name[2:4]) >= 4}
        before = became(state)
        images.store(opened(state, tmp_path / "state", contact=None, enough=4))
        assert became(state) == before
        assert images.to_do(opened(state, tmp_path / "state")) == {}
        images.store(opened(state, tmp_path / "state", server.downloader, images_per_class=3))  # then 6 are enough
        assert len(asked(server)) == 2 * CLASSES


def test_names_that_cannot_be_looked_up_stop_it_and_are_no_reason(tmp_path):
    class Nowhere:
        async def resolve(self, host):
            raise OSError("no answer")

    downloader = partial(Downloader, resolver=Nowhere())
    with State(tmp_path / "state") as state:
        offer(state, [("k", f"http://host{number}.example/a.jpg", number) for number in range(25)])
        with pytest.raises(RunError, match="20 of the last 20 cannot|2[0-5] of the last 2[0-5] cannot"):
            images.store(opened(state, tmp_path / "state", downloader))
        assert {reason for _, _, _, reason in became(state)} == {None}
        images.store(opened(state, tmp_path / "state", downloader, lost=1.0))
        assert {reason.partition(":")[0] for _, _, _, reason in became(state)} == {"dns"}


class Sometimes:
    """Finds every host on this machine, as often as it may."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def resolve(self, host):
        self.left -= 1
        if self.left < 0:
            raise OSError("no answer")
        return [ip_address("127.0.0.1")]


def test_a_host_that_was_there_and_cannot_be_found_any_more_says_that_the_network_is_gone(tmp_path, server):
    server.headers["Connection"] = "close"  # so that each request looks the name up
    port = server.server_port
    downloader = partial(Downloader, resolver=Sometimes(6), loopback=frozenset({port}))
    with State(tmp_path / "state") as state:
        offer(state, [("k", f"http://host.example:{port}/{name}", at) for at, name in enumerate(files(server))])
        with pytest.raises(RunError, match=r"cannot, such as http://host\.example"):
            images.store(opened(state, tmp_path / "state", downloader, per_host=1))
        assert {reason for _, _, _, reason in became(state)} == {None}
        assert len(asked(server)) == 5  # and robots.txt
    downloader = partial(Downloader, resolver=Sometimes(0), loopback=frozenset({port}))
    with State(tmp_path / "other") as state:  # one that was never there is one of the hosts of the web
        offer(state, [("k", f"http://host.example:{port}/{name}", at) for at, name in enumerate(files(server))])
        images.store(opened(state, tmp_path / "other", downloader))
        assert {reason.partition(":")[0] for _, _, _, reason in became(state)} == {"dns"}


def test_what_a_host_postpones_stays_to_do(tmp_path, server, capsys):
    server.status |= dict.fromkeys(files(server), 429)
    server.headers["Retry-After"] = "86400"
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        curation = opened(state, tmp_path / "state", server.downloader, retries=1)
        images.store(curation)
        told = capsys.readouterr().out
        assert f"{len(files(server))} images were not downloaded, since their hosts ask for more patience" in told
        assert {(sha256, reason) for _, _, sha256, reason in became(state)} == {(None, None)}
        assert len(images.to_do(curation)) == len(files(server))
        assert len(asked(server)) <= 8  # those that were under way when it said so
        server.status.clear()
        images.store(opened(state, tmp_path / "state", server.downloader))
        assert asked(server) == files(server)
        assert {reason for _, _, _, reason in became(state)} == {None}


def test_decoders_are_forked_before_the_thread_of_downloads_begins(tmp_path, server, monkeypatch):
    """A process that is forked beside it could wait for ever for what that thread holds at this moment."""
    beside = list[set[str]]()

    class Watched(ProcessPoolExecutor):
        def _spawn_process(self) -> None:
            beside.append({thread.name for thread in threading.enumerate()})
            super()._spawn_process()

    monkeypatch.setattr(side_by_side, "ProcessPoolExecutor", Watched)
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        images.store(opened(state, tmp_path / "state", server.downloader, workers=2))
        assert {reason for _, _, _, reason in became(state)} == {None}
    assert beside
    assert all("downloads" not in names for names in beside)


def test_all_pictures_together_take_no_more_room_than_there_is(tmp_path, server, monkeypatch):
    rooms, most, size = list[Room](), list[int](), (server.folder / "0" / "00.jpg").stat().st_size

    class Watched(Room):
        async def take(self, wanted):
            rooms.append(self)
            await super().take(wanted)
            most.append(self.taken)

    monkeypatch.setattr(downloads, "Room", Watched)
    monkeypatch.setattr(downloads, "_MOST", 3 * size)
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        images.store(opened(state, tmp_path / "state", server.downloader, workers=1))
        assert {reason for _, _, _, reason in became(state)} == {None}
    assert size < max(most) <= 3 * size
    assert rooms[0].taken == 0


def test_what_a_loss_of_power_took_is_fetched_again(tmp_path, server, capsys):
    with State(tmp_path / "state") as state:
        offer_all(state, server)
        curation = opened(state, tmp_path / "state", server.downloader)
        images.store(curation)
        expected = became(state)
        asked(server)
        stored = sorted((tmp_path / "state" / "images").rglob("*.*"))
        stored[0].unlink()
        stored[1].write_bytes(b"")  # as a file system has it that knew its name, and not its content
        stored[2].with_name("half.123.tmp").write_bytes(b"half")
        images.store(opened(state, tmp_path / "state", server.downloader))
        assert asked(server) == []  # the machine is up since: then nothing was lost
        with state.transaction():
            state.set("boot", "another")
        images.store(opened(state, tmp_path / "state", server.downloader))
        assert "2 images had not got to the disk" in capsys.readouterr().out
        assert len(asked(server)) == 2
        assert became(state) == expected
        assert sorted((tmp_path / "state" / "images").rglob("*.*")) == stored
        assert all(file.stat().st_size for file in stored)


@pytest.mark.slow
def test_a_picture_that_takes_more_memory_than_a_decoder_may_have_is_not_decoded(tmp_path, server, capsys, monkeypatch):
    """The process has its limit, as little as it is here, and lives."""
    Image.fromarray(np.zeros((7000, 7000), np.uint8)).save(server.folder / "0" / "01.png")
    monkeypatch.setattr(arrivals, "_MEMORY", 120 << 20)
    with State(tmp_path / "state") as state:
        offer(state, [("k0", f"{server.address}/{name}", at) for at, name in enumerate(files(server)[:EACH])])
        images.store(opened(state, tmp_path / "state", server.downloader, workers=1))
        assert "1 images were not decoded, for want of memory" in capsys.readouterr().out
        assert [name for _, name, sha256, _ in became(state) if sha256 is None] == ["01.png"]
        monkeypatch.setattr(arrivals, "_MEMORY", 2 << 30)
        images.store(opened(state, tmp_path / "state", server.downloader, workers=1))
        assert None not in {sha256 for _, _, sha256, _ in became(state)}


prepare_arrived = images._prepare_arrived


def deadly(arrived: Arrived, **options):
    if arrived.place.endswith("01.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare_arrived(arrived, **options)


@pytest.mark.slow
def test_what_a_decoder_always_dies_of_is_done_without_and_can_be_tried_again(tmp_path, server, monkeypatch):
    monkeypatch.setattr(images, "_prepare_arrived", deadly)
    with State(tmp_path / "state") as state:
        offer(state, [("k0", f"{server.address}/{name}", at) for at, name in enumerate(files(server)[:3])])
        options = {"workers": 1, "errors": ["undecoded"], "do": "retry"}
        curation = opened(state, tmp_path / "state", server.downloader, **options)
        reasons = list[str | None]()
        for _ in range(3):
            images.store(curation)
            reasons += [reason for _, name, _, reason in became(state) if name == "01.png"]
        assert reasons[:2] == [None, None]
        assert reasons[2].startswith("undecoded: ")
        assert images.to_do(curation) == {}
        assert server.asked.count("0/01.png") == 3
        assert server.asked.count("0/00.jpg") == 1
        command._again(curation)
        images.store(curation)
        assert list(images.to_do(curation)) == [f"{server.address}/0/01.png"]
        monkeypatch.setattr(images, "_prepare_arrived", prepare_arrived)
        images.store(curation)
        assert None not in {sha256 for _, _, sha256, _ in became(state)}


def test_few_requests_at_a_time_are_no_reason_to_take_a_lost_network_for_lost_hosts(tmp_path):
    class Nowhere:
        async def resolve(self, host):
            raise OSError("no answer")

    with State(tmp_path / "state") as state:
        offer(state, [("k", f"http://host{number}.example/a.jpg", number) for number in range(25)])
        one = opened(state, tmp_path / "state", partial(Downloader, resolver=Nowhere()))
        one.config.download.concurrency = 1
        with pytest.raises(RunError, match="cannot, such as"):
            images.store(one)
        assert {reason for _, _, _, reason in became(state)} == {None}


def judged(*met: tuple[str, str]) -> list[str]:
    """The hosts that are given up, of those that were met: `kind` of a failure, or "", and host."""
    names, given_up = _Names(0.5), []
    for kind, host in met:
        if kind:
            names.failed(f"http://{host}/", Failure(kind, ""))
        else:
            names.reached(f"http://{host}/")
        given_up += [place for place, failure in names.judged(last=False) if failure.kind == "dns"]
    return given_up


@pytest.mark.parametrize("kind", ["not_image", "opt_out", "robots", "timeout", "http_404"])
def test_a_host_that_has_no_picture_for_us_was_looked_up_all_the_same(kind):
    met = [pair for number in range(30) for pair in ((kind, f"there{number}"), ("dns", f"gone{number}"))]
    assert judged(*met, *((kind, f"more{number}") for number in range(100))) == [
        f"http://gone{number}/" for number in range(30)
    ]
    with pytest.raises(RunError):
        judged(*(("dns", host) for _, host in met))


def test_hosts_that_were_lost_long_ago_are_no_evidence():
    lost = [("dns", f"gone{number}") for number in range(15)]
    assert len(judged(*lost, *[("", "large")] * 200, *(("", f"there{number}") for number in range(9)))) == 15


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: other threads wait
@pytest.mark.parametrize(
    ("workers", "most", "seconds"), [pytest.param(0, 40, 0.6, marks=pytest.mark.long), (2, 10, 2.0)]
)
def test_killed_at_random_moments_no_finished_request_is_repeated(tmp_path, server, workers, most, seconds):
    """50 kills: what is written down is not asked for again, and the end is that of one start."""
    server.status |= {"0/01.png": 404, "3/03.png": 503, "5/00.jpg": 404}
    options = {"enough": 9, "workers": workers}
    with State(tmp_path / "whole") as state:
        offer_all(state, server)
        images.store(opened(state, tmp_path / "whole", server.downloader, **options))
        expected, needed = became(state), asked(server)
    moments, kills, number = random.Random(workers), 0, 0
    while kills < most:
        folder, number = tmp_path / f"state{number}", number + 1
        with State(folder) as state:
            offer_all(state, server)
        done = False
        while not done:
            with State(folder) as state:
                settled = {name for name in needed if is_settled(state, f"{server.address}/{name}")}
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    # Which ends it as SIGKILL does.
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.01, seconds))
                    with State(folder) as state:
                        images.store(opened(state, folder, server.downloader, **options))
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            moments.random()
            _, status = os.waitpid(child, 0)
            done = os.WIFEXITED(status)
            kills += not done
            assert not done or os.WEXITSTATUS(status) == 0
            assert not settled & set(server.asked)
            assert set(asked(server)) <= set(needed)
            for file in (folder / "images").rglob("*.*"):
                if file.suffix != ".tmp":
                    Image.open(io.BytesIO(file.read_bytes())).load()
        with State(folder) as state:
            assert became(state) == expected


def is_settled(state: State, place: str) -> bool:
    query = "SELECT 1 FROM candidate WHERE place = ? AND (sha256 IS NOT NULL OR reason IS NOT NULL)"
    return state.one(query, place) is not None
