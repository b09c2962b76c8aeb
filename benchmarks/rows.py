"""A row of the table: what ours takes beside a peer, measured in turns.

Everything is so that less is better, in the unit that the name says; the ratio is ours / peer, and the goal is the most
that it may be.
"""

import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Row = dict[str, Any]  # name, ours, peer, ratio, goal and holds (None: no goal); or name and skipped, the reason
PAIRS = 5
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's numbers of what mallopt sets


def interleaved(ours: Callable[[], float], peer: Callable[[], float], pairs: int = PAIRS) -> list[tuple[float, float]]:
    """What both measure, one after the other, again and again; a first pair warms up and is left out."""
    return [(ours(), peer()) for _ in range(pairs + 1)][1:]


def row(name: str, taken: Sequence[tuple[float, float]], goal: float | None, tolerance: float = 0.0) -> Row:
    """The medians of (ours, peer) pairs, and the median of their ratios, since the halves of a pair ran together.

    Without a goal it is told, and nothing is asked of it.
    """
    ours, peer = (statistics.median(column) for column in zip(*taken, strict=True))
    ratio = statistics.median(a / b for a, b in taken)
    holds = None if goal is None else ratio <= goal + tolerance
    return {"name": name, "ours": ours, "peer": peer, "ratio": ratio, "goal": goal, "holds": holds}


def skipped(name: str, reason: str) -> Row:
    """A row that this machine cannot have."""
    return {"name": name, "skipped": reason}


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time that this process takes for it."""
    began = time.process_time()
    work()
    return time.process_time() - began


def keep_freed_memory() -> None:
    """For the rest of this process, let glibc keep what is freed.

    It returns buffers to the system and faults them in again at its own moods, which costs more than what is measured.
    """
    for parameter in (M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(parameter, 2**29)


def show(rows: Iterable[Row]) -> None:
    """Print rows as JSON, for a part that is run alone."""
    json.dump(list(rows), sys.stdout, indent=2)
    print()
