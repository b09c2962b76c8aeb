"""Work on images in processes, some of which images may bring down."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from mmap import mmap
from multiprocessing import get_context, parent_process
from typing import TypeVar

_CHUNK = 16  # items that a process takes at once

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(
    work: Callable[[T], R], items: Sequence[T], workers: int, *, died: R
) -> Generator[list[tuple[T, R]], None, None]:
    """Do some work on each item, in processes.

    Args:
        work: is sent to the processes, as are the items.
        items: in chunks, which come back in the order in which they are done.
        workers: processes; 0 = this one.
        died: what comes of an item of which a process died, as where a decoder ate the memory.
    """
    chunks = iter([items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)])
    if workers == 0:
        for chunk in chunks:
            yield _done(work, chunk)
        return
    while suspects := (yield from _together(work, chunks, workers)):
        for item in suspects:
            if (yield from _together(work, iter([[item]]), 1)):
                yield [(item, died)]


def _together(
    work: Callable[[T], R], chunks: Iterator[Sequence[T]], workers: int
) -> Generator[list[tuple[T, R]], None, list[T]]:
    """Work on chunks side by side.

    Returns:
        If a process died, the items that it may have died of; chunks that nobody had begun are left.
    """
    running: dict[Future[list[tuple[T, R]]], Sequence[T]] = {}
    begun: list[Sequence[T]] = []
    stopped = mmap(-1, 1)  # shared with the processes, without a lock that one may die with
    pool = ProcessPoolExecutor(workers, mp_context=get_context("fork"), initializer=_begin, initargs=(stopped,))
    try:
        while True:
            while len(running) < 2 * workers and (chunk := next(chunks, None)) is not None:
                begun.append(chunk)
                running[pool.submit(_done_until_stopped, work, chunk)] = chunk
            if not running:
                return []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                found = future.result()
                begun.remove(running.pop(future))
                yield found
    except BrokenProcessPool:
        return [item for chunk in begun for item in chunk]
    finally:
        stopped[0] = 1  # nobody takes what is in work any more
        pool.shutdown(cancel_futures=True)


def _done(work: Callable[[T], R], items: Sequence[T]) -> list[tuple[T, R]]:
    return [(item, work(item)) for item in items]


_stopped = mmap(-1, 1)  # in a process: that of its parent


def _done_until_stopped(work: Callable[[T], R], items: Sequence[T]) -> list[tuple[T, R]]:
    """In a process: killing it instead could cut what it sends, and its parent would wait for the rest for ever."""
    return [(item, work(item)) for item in items if not _stopped[0]]


def _begin(stopped: mmap) -> None:
    """In a process: leave signals of the terminal to the parent, and end when that has ended in whatever way."""
    global _stopped
    _stopped = stopped
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
