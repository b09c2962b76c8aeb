"""Class names that are easily taken for one another."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

_SHORT = 5  # letters below which one letter makes another word: cat, bat


def plain(name: str) -> str:
    """A name as it is compared: without case, underscores and double blanks."""
    return " ".join(name.replace("_", " ").casefold().split())


def same(names: Sequence[str]) -> list[list[int]]:
    """Positions of names that are the same, but for what `plain` leaves out."""
    return [positions for positions in _grouped(map(plain, names)).values() if len(positions) > 1]


def alike(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of names that differ in hyphens and blanks, in being a plural, or in one letter."""
    spelled = [plain(name) for name in names]
    bare = ["".join(filter(str.isalnum, name)) for name in spelled]
    by_bare, by_spelling = _grouped(bare), _grouped(spelled)
    by_gap: dict[Hashable, list[int]] = defaultdict(list)
    pairs = {(i, j) for i, name in enumerate(bare) for form in _forms(name) for j in by_bare.get(form, ())}
    for i, name in enumerate(spelled):
        if len(name) >= _SHORT:
            for at in range(len(name)):
                shorter = name[:at] + name[at + 1 :]
                by_gap[at, shorter].append(i)
                pairs |= {(i, j) for j in by_spelling.get(shorter, ())}
    pairs |= {(i, j) for positions in by_gap.values() for i in positions for j in positions}
    return sorted({(min(pair), max(pair)) for pair in pairs if spelled[pair[0]] != spelled[pair[1]]})


def contained(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (inner, outer) of names of which one is, word for word, a part of the other: lion, sea lion."""
    words = [tuple(plain(name).replace("-", " ").split()) for name in names]
    whole = _grouped(words)
    return sorted(
        {(i, outer) for outer, name in enumerate(words) for part in _parts(name) for i in whole.get(part, ())}
    )


def _forms(bare: str) -> Iterator[str]:
    """A name and its plurals."""
    yield from (bare, f"{bare}s", f"{bare}es")
    if bare.endswith("y"):
        yield bare[:-1] + "ies"


def _parts(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(len(words)):
        for stop in range(start + 1, len(words) + 1):
            if stop - start < len(words):
                yield words[start:stop]


def _grouped(keys: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    groups = defaultdict(list)
    for position, key in enumerate(keys):
        groups[key].append(position)
    return groups
