"""Neighbors by a taxonomy of species: of the same genus, then family, then order."""

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lt_extrap.curate.names import normal
from lt_extrap.curate.proposers.order import own_order
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.errors import DataError

_RANKS = ("genus", "family", "order")
_STEPS = {"genus": 6, "family": 5, "order": 4}  # from the root: kingdom 1, phylum 2, class 3; a species is 7 down


class TaxonomyProposer:
    """Species of iNaturalist's categories.json, the nearest relatives first.

    Relatives of one rank come in an order of the target's own, so that targets of one family do not all get the same
    few. The similarity is that of Wu and Palmer on the seven ranks: 6/7 in a genus, 5/7 in a family, 4/7 in an order.

    Args:
        file: the species that may be proposed: a JSON list of {"name", "genus", "family", "order", ...}, where
            "common_name" is another spelling.
        target_file: the species of the target set, in the same form; None = those are in the first file. One that is
            in neither has the relatives of its genus, the first word of its name.

    Raises:
        DataError: a file cannot be read or is not of this form.
    """

    name = "taxonomy"

    def __init__(self, file: Path, target_file: Path | None = None) -> None:
        species = _read(file)
        every = [*species, *(_read(target_file) if target_file else ())]
        self._lineage = {normal(one[key]): one for key in ("common_name", "name") for one in every}
        self._of_genus = {normal(one["genus"]): one for one in every}
        self._members: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(dict)
        for one in species:
            for rank in _RANKS:
                self._members[rank, one[rank]][normal(one["name"])] = one

    def propose(self, target: TargetClass) -> Iterator[tuple[Sought, float | None]]:
        """Species of the target's genus, then of its family, then of its order; none of one that is no species."""
        names = [normal(spelling) for spelling in target.spellings]
        own = next((self._lineage[name] for name in names if name in self._lineage), None) or next(
            (self._of_genus[genus] for name in names if (genus := name.partition(" ")[0]) in self._of_genus), None
        )
        if own is None:
            return
        seen = set(names)
        for rank in _RANKS:
            members = self._members.get((rank, own[rank]), {})
            relatives = {name: one for name, one in members.items() if name not in seen}
            seen |= relatives.keys()
            for name in sorted(relatives, key=partial(own_order, target)):
                yield _sought(relatives[name], self.name), _STEPS[rank] / 7


def _sought(one: dict[str, str], proposer: str) -> Sought:
    spellings = tuple(dict.fromkeys(filter(None, (one["name"], one["common_name"]))))
    gloss = f"{one['genus']}, {one['family']}, {one['order']}"
    return Sought(f"name:{normal(one['name'])}", one["name"], spellings, None, gloss, one["name"], proposer)


def _read(file: Path) -> list[dict[str, str]]:
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8-sig"))
        if not isinstance(content, list) or not content:
            raise ValueError(f"{type(content).__name__} where a list of species was wanted")
        species = [
            {key: entry[key] for key in ("name", *_RANKS)} | {"common_name": entry.get("common_name") or ""}
            for entry in content
        ]
        for one in species:
            if not all(isinstance(value, str) for value in one.values()) or not all(one[k] for k in ("name", *_RANKS)):
                raise ValueError(f"{one!r:.200}: not all of it is text")
        return species
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"species in {file}: a JSON list of {{name, {', '.join(_RANKS)}, ...}}",
            f"{type(error).__name__}: {error!s:.300}",
            "give iNaturalist's categories.json of a larger year than the target's, or one of that form",
        ) from None
