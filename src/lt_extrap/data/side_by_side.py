"""Work on images in processes, some of which images may bring down."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from mmap import mmap
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeVar

CHUNK = 16  # items that a process takes at once

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(
    work: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    *,
    died: R,
    then: Callable[[list[R]], list[R]] | None = None,
) -> Generator[list[tuple[T, R]], None, None]:
    """Do some work on each item, in processes.

    Args:
        work: is sent to the processes, as are the items.
        items: in chunks, which come back in the order in which they are done.
        workers: processes; 0 = this one.
        died: what comes of an item of which a process died, as where a decoder ate the memory.
        then: what is done in the process with what came of a chunk, such as to write it to the disk at once.
    """
    chunks = iter([items[start : start + CHUNK] for start in range(0, len(items), CHUNK)])
    yield from as_they_come(work, chunks, workers, died=died, then=then)


def as_they_come(
    work: Callable[[T], R],
    chunks: Iterator[Sequence[T]],
    workers: int,
    *,
    died: R,
    then: Callable[[list[R]], list[R]] | None = None,
    memory: int | None = None,
) -> Generator[list[tuple[T, R]], None, None]:
    """Do some work on items that come little by little, in processes, which are there before the first is asked for.

    Args:
        work: as of `side_by_side`.
        chunks: of items; an empty one where none has come by now, for which an empty list comes back now and then.
        workers: as of `side_by_side`.
        died: as of `side_by_side`.
        then: as of `side_by_side`.
        memory: bytes that a process may take beyond what it begins with, on Linux; null = all that there is.
    """
    of_chunk = partial(_done, work, then)
    if workers == 0:
        for chunk in chunks:
            yield list(zip(chunk, of_chunk(chunk), strict=True))
        return
    while suspects := (yield from _together(of_chunk, chunks, workers, memory)):
        for item in suspects:
            if (yield from _together(of_chunk, iter([[item]]), 1, memory)):
                yield [(item, died)]


def _together(
    work: Callable[[Sequence[T]], list[R]], chunks: Iterator[Sequence[T]], workers: int, memory: int | None
) -> Generator[list[tuple[T, R]], None, list[T]]:
    """Work on chunks side by side.

    Returns:
        If a process died, the items that it may have died of; chunks that nobody had begun are left.
    """
    running: dict[Future[list[R]], Sequence[T]] = {}
    begun: list[Sequence[T]] = []
    stopped = mmap(-1, 1)  # shared with the processes, without a lock that one may die with
    begin = (stopped, memory)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("fork"), initializer=_begin, initargs=begin)
    chunk: Sequence[T] | None = ()
    try:
        pool.submit(_nothing)  # forks all processes, before whoever makes chunks begins a thread
        while True:
            while len(running) < 2 * workers and (chunk := next(chunks, None)):
                begun.append(chunk)
                running[pool.submit(work, chunk)] = chunk
            if not running:
                if chunk is None:
                    return []
                yield []
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                found = future.result()
                done = running.pop(future)
                begun.remove(done)
                yield list(zip(done, found, strict=True))
    except BrokenProcessPool:
        return [item for chunk in begun for item in chunk]
    finally:
        stopped[0] = 1  # nobody takes what is in work any more
        pool.shutdown(cancel_futures=True)


def _nothing() -> None:
    """In a process."""


_stopped = mmap(-1, 1)  # in a process: that of its parent


def _done(work: Callable[[T], R], then: Callable[[list[R]], list[R]] | None, items: Sequence[T]) -> list[R]:
    """In a process: killing it instead could cut what it sends, and its parent would wait for the rest for ever."""
    found = [work(item) for item in items if not _stopped[0]]
    return found if then is None or _stopped[0] else then(found)


def _begin(stopped: mmap, memory: int | None) -> None:
    """In a process: leave signals of the terminal to the parent, and end when that has ended in whatever way."""
    global _stopped
    _stopped = stopped
    if memory is not None and sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()


def end_with_parent() -> None:
    """End this worker when the process that started it has ended, in whatever way.

    Else it would wait for ever for somebody to take what it has read.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
