"""How near classes are by what they are kinds of: hypernyms or a taxonomy in the class table, or WordNet."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lt_extrap.curate.targets import described
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError

_TAXONOMY = ("kingdom", "phylum", "class", "order", "family", "genus")  # of iNaturalist's categories.json


class Nearest(NamedTuple):
    """The class that is most like another one.

    Attributes:
        other: its position.
        similarity: of Wu and Palmer (1994), 0..1.
    """

    other: int
    similarity: float


@dataclass(frozen=True)
class Kinship:
    """What classes are kinds of.

    Attributes:
        source: where that is written.
        above: of each class what it is a kind of, with the number of steps, and itself with 0; None = unknown.
        depth: of all these, 1 for a root.
    """

    source: str
    above: tuple[Mapping[str, int] | None, ...]
    depth: Mapping[str, int]

    @property
    def known(self) -> int:
        """Classes of which it is known."""
        return sum(steps is not None for steps in self.above)

    def parents(self, label: int) -> frozenset[str]:
        """What a class is directly a kind of; empty where that is unknown."""
        return frozenset(name for name, steps in (self.above[label] or {}).items() if steps == 1)

    def similarity(self, label: int, of: "Kinship", other: int) -> float:
        """The similarity of Wu and Palmer of a class and one of another table; NaN where one of them is unknown."""
        one, two = self.above[label], of.above[other]
        if one is None or two is None:
            return float("nan")
        common = (_wu_palmer(self.depth[name], one[name] + two[name]) for name in one.keys() & two.keys())
        return max(common, default=0.0)

    def nearest(self) -> list[Nearest | None]:
        """For each class the most similar other one; None where it is unknown, or nothing is in common with any.

        Through what two classes have in common the nearest is the one with the fewest steps to it: the two nearest of
        each such thing are enough, and no pair of classes is looked at.
        """
        below: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for label, above in enumerate(self.above):
            for name, steps in (above or {}).items():
                below[name] = sorted([*below[name], (steps, label)])[:2]
        found: list[Nearest | None] = []
        for label, above in enumerate(self.above):
            best = None
            for name, steps in (above or {}).items():
                for other_steps, other in below[name]:
                    similarity = _wu_palmer(self.depth[name], steps + other_steps)
                    if other != label and (best is None or similarity > best.similarity):
                        best = Nearest(other, similarity)
            found.append(best)
        return found


def kinship_of(
    table: Sequence[Mapping[str, Any] | None], classes: ClassTable, wordnet: WordNet | None
) -> Kinship | None:
    """What classes are kinds of, from the first of these that knows: their table, WordNet; None where none does.

    Args:
        table: the entry of each class in its JSON file, with `hypernyms`, root first, or with the ranks of a taxonomy;
            None = it has none.
        classes: their ids and names, for WordNet.
        wordnet: None = there is none on this machine.
    """
    paths = [_path(entry, id_) for entry, id_ in zip(table, classes.ids, strict=True)]
    if any(path is not None for path in paths):
        kinds = "hypernyms" if any(entry and "hypernyms" in entry for entry in table) else "the taxonomy"
        return Kinship(
            f"{kinds} in the class table",
            tuple(None if path is None else {name: up for up, name in enumerate(reversed(path))} for path in paths),
            {name: depth for path in paths if path is not None for depth, name in enumerate(path, start=1)},
        )
    if wordnet is None:
        return None
    wnids = [target.wnid if target.wnid in wordnet else None for target in described(classes, wordnet)]
    above = tuple(None if wnid is None else {wnid: 0, **wordnet.ancestors(wnid)} for wnid in wnids)
    found = {name for steps in above for name in steps or ()}
    return Kinship("WordNet 3.0", above, {name: wordnet.depth(name) for name in found}) if found else None


def read_table(root: Path, names: str | None, ids: Sequence[str]) -> list[Mapping[str, Any] | None]:
    """The entries of classes in the JSON file of their names, by their ids; None where it has no more than names.

    Args:
        root: where the file is.
        names: `file.json:key` or `file.json`, as `read_names` takes it, which has read it before.
        ids: of the classes.

    Raises:
        DataError: it cannot be read any more.
    """
    file, _, key = (names or "").partition(":")
    if not file.endswith(".json"):
        return [None] * len(ids)
    try:
        content = json.loads((root / file).read_text(encoding="utf-8-sig"))
        entries = content[key] if key else content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the class table {names} in {root}", f"{type(error).__name__}: {error}", "restore it"
        ) from error
    by_id = {
        str(next(id_ for id_ in (entry.get("id"), entry.get("wnid"), number) if id_ is not None)): entry
        for number, entry in enumerate(entries)
        if isinstance(entry, dict)
    }
    return [by_id.get(id_) for id_ in ids]


def _path(entry: Mapping[str, Any] | None, id_: str) -> list[str] | None:
    """From the root to a class itself; None where its entry does not say."""
    if entry is None:
        return None
    above = list(_hypernyms(entry)) or [
        f"{rank} {entry[rank]}" for rank in _TAXONOMY if isinstance(entry.get(rank), str)
    ]
    # A table may have a class that another one is a kind of: by its WordNet id both are known to be one.
    return [*above, entry.get("wnid") or f"class {id_} {entry['name']}"] if above else None


def _hypernyms(entry: Mapping[str, Any]) -> Iterator[str]:
    for above in entry.get("hypernyms") or ():
        name = above if isinstance(above, str) else above.get("wnid") or above.get("name")
        if name:
            yield str(name)


def _wu_palmer(depth: int, steps: int) -> float:
    return 2 * depth / (steps + 2 * depth)
