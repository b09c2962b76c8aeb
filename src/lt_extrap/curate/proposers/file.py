"""Neighbors by a file: lists that somebody made."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lt_extrap.curate.names import normal
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.curate.sought import of_name
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.stored.schema import is_wnid
from lt_extrap.errors import DataError, some

_COLUMNS = ("target", "name", "wnid", "similarity")


class Entry(NamedTuple):
    """A class that the file proposes.

    Attributes:
        name: of the class.
        wnid: its synset; None where the file has none.
        similarity: to the target; None where the file has none.
    """

    name: str
    wnid: str | None = None
    similarity: float | None = None


class FileProposer:
    """Classes that a file lists for each target, nearest first.

    A JSON file is {target: [name or {"name", "wnid", "similarity"}, ...], ...}; a CSV has the columns target and name
    and may have wnid and similarity, a line a class. A target is told by its id, or by its name where one class alone
    has it. A class without wnid has the synset that alone has its name, if there is one.

    Args:
        file: the file, *.json or *.csv.
        targets: the classes of the target set.
        wordnet: in which names are looked up; None = they are not.

    Raises:
        DataError: the file cannot be read, is not of this form, or tells a target that is none or several.
    """

    name = "file"

    def __init__(self, file: Path, targets: Sequence[TargetClass], wordnet: WordNet | None) -> None:
        self._wordnet = wordnet
        try:
            entries = _read_csv(file) if file.suffix.lower() == ".csv" else _read_json(file)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
            raise DataError(
                f"neighbors in {file}: JSON {{target: [name, ...]}}, or CSV with the columns {', '.join(_COLUMNS)}",
                f"{type(error).__name__}: {error!s:.300}",
                "write the file in one of these forms",
            ) from None
        self._entries = _by_label(file, entries, targets)

    def propose(self, target: TargetClass) -> Iterator[tuple[Sought, float | None]]:
        """The classes that the file lists for a target, in its order."""
        for entry in self._entries.get(target.label, ()):
            yield of_name(entry.name, self._wordnet, self.name, entry.wnid), entry.similarity


def _by_label(file: Path, entries: dict[str, list[Entry]], targets: Sequence[TargetClass]) -> dict[int, list[Entry]]:
    by_id = {target.id: target for target in targets}
    by_name: dict[str, list[TargetClass]] = defaultdict(list)
    for target in targets:
        by_name[normal(target.name)].append(target)
    found: dict[int, list[Entry]] = defaultdict(list)
    unclear = []
    for told, listed in entries.items():
        meant = [by_id[told]] if told in by_id else by_name[normal(told)]
        if len(meant) == 1:
            found[meant[0].label] += listed
        else:
            unclear.append(repr(told) + (" (" + " or ".join(target.id for target in meant) + ")" if meant else ""))
    if unclear:
        raise DataError(
            f"neighbors in {file} of target classes, by id or by a name that one class has",
            some(unclear),
            "give ids of the target set",
        )
    return found


def _read_json(file: Path) -> dict[str, list[Entry]]:
    content: Any = json.loads(file.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict) or not all(isinstance(listed, list) for listed in content.values()):
        raise ValueError("no {target: [...], ...}")
    return {
        target: [_entry(**one) if isinstance(one, dict) else _entry(one) for one in listed]
        for target, listed in content.items()
    }


def _read_csv(file: Path) -> dict[str, list[Entry]]:
    entries: dict[str, list[Entry]] = defaultdict(list)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        columns = set(reader.fieldnames or ())
        if not {"target", "name"} <= columns <= set(_COLUMNS):
            raise ValueError(f"the columns {', '.join(reader.fieldnames or ()) or 'of an empty file'}")
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num}: not {len(columns)} fields")
            number = row.get("similarity")
            entries[row["target"]].append(
                _entry(row["name"], row.get("wnid") or None, float(number) if number else None)
            )
    return entries


def _entry(name: object, wnid: object = None, similarity: object = None) -> Entry:
    if not isinstance(name, str) or not normal(name) or not name.isprintable():
        raise ValueError(f"{name!r:.80} where a name was wanted")
    if wnid is not None and not (isinstance(wnid, str) and is_wnid(wnid)):
        raise ValueError(f"wnid {wnid!r:.80} of {name!r:.80}: not n and 8 digits")
    if similarity is None:
        return Entry(name.strip(), wnid)
    if isinstance(similarity, bool) or not isinstance(similarity, int | float) or not math.isfinite(similarity):
        raise ValueError(f"similarity {similarity!r:.80} of {name!r:.80}: not a number")
    return Entry(name.strip(), wnid, float(similarity))
