"""Images as they arrive from the web: downloaded in a thread, worked on in processes."""

import gc
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from lt_extrap.curate.backlog import Backlog
from lt_extrap.curate.web.downloads import Downloads
from lt_extrap.curate.web.failure import Failure
from lt_extrap.data.side_by_side import CHUNK, as_they_come
from lt_extrap.errors import RunError

_WINDOW = 4  # times the requests at a time: so many places are under way, most of which wait for their host's turn
_MEMORY = 2 << 30  # bytes that the decoding of an image may take
_PATIENCE = 0.05  # seconds between two looks at what has ended
_FEWEST, _MOST = 20, 100  # hosts by which the network is judged
_NOT_ASKED = ("url", "scheme", "address")  # failures that say nothing of the network

R = TypeVar("R")


class Arrived(NamedTuple):
    """A file as it was downloaded.

    Attributes:
        place: where from.
        content: of the file.
    """

    place: str
    content: bytes


def arrivals(
    first: str,
    backlog: Backlog,
    downloads: Downloads,
    work: Callable[[Arrived], R],
    *,
    then: Callable[[list[R]], list[R]] | None = None,
    workers: int,
    concurrency: int,
    lost: float,
) -> Generator[list[tuple[str, R | Failure | None]], None, None]:
    """What became of each place of a backlog, in the order in which it is known; now and then an empty list.

    Whoever takes it settles it with the backlog before the next.

    Args:
        first: place that the backlog gave out.
        backlog: what is to be downloaded.
        downloads: that nobody has entered.
        work: on each file, in a process.
        then: as of `side_by_side`.
        workers: processes; 0 = this one.
        concurrency: requests at a time.
        lost: the share of hosts whose names cannot be looked up from which on it is given up.

    Raises:
        RunError: so many names cannot be looked up that it is not the hosts' fault.
    """
    failed = list[tuple[str, R | Failure | None]]()
    window = max(_WINDOW * concurrency, _MOST)
    gc.freeze()  # what was imported: the collector would look at all of it again and again, here and in the processes
    with (
        closing(_downloaded(first, backlog, downloads, failed, window, _Names(lost))) as chunks,
        closing(as_they_come(work, chunks, workers, died=None, then=then, memory=_MEMORY)) as done,
    ):
        for chunk in done:
            downloads.let_go(sum(len(arrived.content) for arrived, _ in chunk))
            yield [*((arrived.place, found) for arrived, found in chunk), *failed]
            failed.clear()


def _downloaded(
    first: str,
    backlog: Backlog,
    downloads: Downloads,
    failed: list[tuple[str, R | Failure | None]],
    window: int,
    names: "_Names",
) -> Generator[Sequence[Arrived], None, None]:
    """Chunks of what has been downloaded; what has failed goes to a list."""
    with downloads:
        downloads.begin(first)
        while True:
            new = list[str]()
            while backlog.under_way < window and (place := backlog.next()) is not None:
                new.append(place)
            downloads.begin(*new)
            if not backlog.under_way:
                return
            arrived = list[Arrived]()
            for place, found in downloads.take(_PATIENCE):
                if isinstance(found, Failure):
                    names.failed(place, found)
                else:
                    names.reached(place)
                    arrived.append(Arrived(place, found.content))
            failed += names.judged(last=backlog.under_way == names.held)
            for start in range(0, max(1, len(arrived)), CHUNK):
                yield arrived[start : start + CHUNK]


class _Names:
    """Holds back the names that cannot be looked up until it is clear that it is not the network.

    Args:
        lost: the share of the last hosts from which on it is.
    """

    def __init__(self, lost: float) -> None:
        self._lost = lost
        self._count = 0
        self._found = set[str]()  # hosts
        self._last: OrderedDict[tuple[str, int], tuple[int, bool]] = OrderedDict()  # hosts: when, whether not found
        self._held = deque[tuple[int, str, Failure]]()
        self._free = list[tuple[str, Failure]]()

    @property
    def held(self) -> int:
        """How many failures are held back."""
        return len(self._held)

    def reached(self, place: str) -> None:
        """Note that the name of a host was found."""
        host = urlsplit(place).netloc
        self._found.add(host)
        self._note((host, 0), lost=False)

    def failed(self, place: str, failure: Failure) -> None:
        """Take a failure."""
        if failure.kind != "dns":
            self._free.append((place, failure))
            if failure.kind not in _NOT_ASKED:
                self.reached(place)
            return
        host = urlsplit(place).netloc
        # A host that is not there is one; one that was there before says more each time.
        self._note((host, self._count if host in self._found else 0), lost=True)
        self._held.append((self._count, place, failure))

    def judged(self, *, last: bool) -> Iterator[tuple[str, Failure]]:
        """The failures that are those of their hosts.

        Args:
            last: there is nothing else to judge by.

        Raises:
            RunError: it is the network.
        """
        lost = sum(lost for _, lost in self._last.values())
        if self._held and len(self._last) >= _FEWEST and lost > self._lost * len(self._last):
            raise RunError(
                "hosts whose names can be looked up",
                f"{lost} of the last {len(self._last)} cannot, such as {self._held[-1][1]}",
                "look after the network or its resolver (a local one bears more, as does a smaller "
                "download.concurrency); the same command goes on. Where so many hosts are gone: download.lost=1",
            )
        while self._held and (last or self._held[0][0] + _MOST <= self._count):
            self._free.append(self._held.popleft()[1:])
        free, self._free = self._free, []
        return iter(free)

    def _note(self, host: tuple[str, int], *, lost: bool) -> None:
        self._count += 1
        self._last[host] = self._count, lost
        self._last.move_to_end(host)
        while next(iter(self._last.values()))[0] + _MOST <= self._count:  # what is held no more does not count either
            self._last.popitem(last=False)
