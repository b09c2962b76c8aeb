"""Downloads in a thread of their own, for programs that are not asynchronous."""

import asyncio
import queue
import threading
from concurrent.futures import Future
from types import TracebackType

from lt_extrap.curate.web.download import Downloader, Fetched
from lt_extrap.curate.web.failure import Failure
from lt_extrap.curate.web.room import Room

_MOST = 512 << 20  # bytes that are held of images


class Downloads:
    """A downloader at work: addresses go in one by one, and what became of them comes out as they end.

    All images together take a bounded room, from the first byte that is read until they are let go.

    Args:
        downloader: that nobody has entered.
    """

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader
        self._room = Room(_MOST)
        self._ended = queue.SimpleQueue[tuple[str, Fetched | Exception]]()
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="downloads", daemon=True)
        self.under_way = 0  #: addresses that were begun, and have not been taken

    def __enter__(self) -> "Downloads":
        self._thread.start()
        self._loop.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.result().call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def begin(self, *urls: str) -> None:
        """Begin to fetch images, each as soon as it is its host's turn."""
        if urls:
            self.under_way += len(urls)
            self._loop.result().call_soon_threadsafe(self._begin, urls)

    def take(self, seconds: float) -> list[tuple[str, Fetched | Failure]]:
        """What has ended since the last time.

        Args:
            seconds: to wait for the first, if there is none yet.
        """
        taken = list[tuple[str, Fetched | Failure]]()
        try:
            url, found = self._ended.get(timeout=seconds)
            while True:
                self.under_way -= 1
                if isinstance(found, Exception) and not isinstance(found, Failure):
                    raise found
                taken.append((url, found))
                url, found = self._ended.get_nowait()
        except queue.Empty:
            return taken

    def let_go(self, size: int) -> None:
        """Say that so many bytes of images that were taken are not held any more."""
        if size:
            self._loop.result().call_soon_threadsafe(self._room.give, size)

    async def _work(self) -> None:
        try:
            async with self._downloader:
                self._tasks = set[asyncio.Task[None]]()
                self._loop.set_result(asyncio.get_running_loop())
                await self._stopped.wait()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        except Exception as error:
            if self._loop.done():
                raise
            self._loop.set_exception(error)

    def _begin(self, urls: tuple[str, ...]) -> None:
        for url in urls:
            task = asyncio.create_task(self._fetch(url))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(self, url: str) -> None:
        try:
            self._ended.put((url, await self._downloader.fetch(url, self._room)))
        except Exception as error:  # of a kind that is no Failure: told where it is taken
            self._ended.put((url, error))
