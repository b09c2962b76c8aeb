"""Files that are the same, byte for byte."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

_TAIL = 4096  # bytes at the end of a file, where photographs differ: few files need to be read whole


def find_copies(files: Sequence[str | Path], sizes: Sequence[int]) -> list[list[int]]:
    """The sets of files that are equal; a file that is empty or cannot be read is equal to none.

    Args:
        files: where they are.
        sizes: of each, bytes; only files of one size are read.

    Returns:
        Positions of the files of each set, two or more.
    """
    sets: Iterable[Sequence[int]] = [range(len(files))]
    marks: tuple[Callable[[int], Hashable], ...] = (
        lambda position: sizes[position] or None,
        lambda position: _digest(files[position], most=_TAIL),
        lambda position: _digest(files[position]),
    )
    for mark in marks:
        sets = [same for candidates in sets for same in _alike(candidates, mark)]
    return [list(same) for same in sets]


def _alike(candidates: Sequence[int], mark: Callable[[int], Hashable]) -> list[list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for position in candidates:
        found[mark(position)].append(position)
    return [same for key, same in found.items() if key is not None and len(same) > 1]


def _digest(file: str | Path, most: int | None = None) -> bytes | None:
    """The hash of a file or of its end; None if it cannot be read, which whoever decodes it will tell."""
    try:
        with open(file, "rb") as content:  # noqa: PTH123 (a Path each would take longer than the reading)
            if most is None:
                return hashlib.file_digest(content, "sha256").digest()
            content.seek(max(0, content.seek(0, 2) - most))
            return hashlib.sha256(content.read()).digest()
    except OSError:
        return None
