"""Images that are there more than once: where that spoils a measurement, and where it does no more than waste."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from lt_extrap.data.duplicates import AGREEMENT, SIDE, agreement, mirrored, near_pairs
from lt_extrap.data.facts import FactStore
from lt_extrap.data.inventory import Inventory
from lt_extrap.findings.finding import Case, Finding, Severity, counted, sample
from lt_extrap.findings.pictures import Pictures

_VERIFIED = 1024  # pairs whose thumbnails are compared together

_Group = Int64[np.ndarray, "_"]  # rows of copies of one picture; groups differ in size

_ERROR, _WARNING, _NOTE = Severity
_HOW = {"identical": "the same file", "near": "the same picture, in other bytes", "mirror": "mirror images"}


class _Case(NamedTuple):
    """A kind of copies: what is said of a picture, how much it matters if identical, near or a mirror, what to do."""

    what: str
    severities: tuple[Severity, Severity, Severity]
    remedy: str


_CASES = {
    "test_trained": _Case(
        "both trained and tested on", (_ERROR, _WARNING, _WARNING), "leave the training copies out (target.exclude)"
    ),
    "test_val": _Case("in the test and in the validation list", (_ERROR, _WARNING, _NOTE), "take one of them out"),
    "labels": _Case(
        "under two labels", (_ERROR, _WARNING, _NOTE), "correct a label, or leave them out of training (target.exclude)"
    ),
    "val_trained": _Case(
        "both trained and validated on", (_WARNING, _WARNING, _NOTE), "leave the training copies out (target.exclude)"
    ),
    "within": _Case("there again, under the same label", (_WARNING, _NOTE, _NOTE), "it counts as often as it is there"),
}


class Copies(NamedTuple):
    """What there is more than once.

    Attributes:
        findings: what was found.
        exclude: positions of paths of the training images among them that had better not be trained on.
    """

    findings: list[Finding]
    exclude: set[int]


def find_copies(inventory: Inventory, pictures: Pictures, files: Sequence[str], store: FactStore) -> Copies:
    """Look for identical files, for the same picture in other bytes, and for mirror images.

    To be excluded are all that are trained on of: copies of validation and test images, identical or near; and files
    with the same bytes under two labels, as nobody knows which label is right.
    """
    found = Copies([], set())
    same = pictures.content
    _judge(inventory, "identical", _groups(same[inventory.path_of]), found)
    for kind, hashes in (("near", pictures.hashes), ("mirror", mirrored(pictures.hashes))):
        leader = np.arange(len(files))
        leader[pictures.hashed] = pictures.hashed[_joined(pictures, hashes, files, store, mirror=kind == "mirror")]
        groups = _groups(leader[same][inventory.path_of])
        content = same[inventory.path_of]
        _judge(inventory, kind, [rows for rows in groups if len(np.unique(content[rows])) > 1], found)
    return found


def _judge(inventory: Inventory, kind: str, groups: Sequence[_Group], found: Copies) -> None:
    cases: dict[str, list[Case]] = {name: [] for name in _CASES}
    evaluated = inventory.evaluated
    for rows in groups:
        names = _names(inventory, rows)
        case = Case(tuple(sample(inventory, row) for row in rows.tolist()), "")
        for name in names:
            cases[name].append(case)
        if kind != "mirror" and (
            {"test_trained", "val_trained"} & names or (kind == "identical" and "labels" in names)
        ):
            found.exclude.update(inventory.path_of[rows[~evaluated[rows]]].tolist())
    for name, (what, severities, remedy) in _CASES.items():
        if cases[name]:
            severity = severities[[*_HOW].index(kind)]
            summary = f"{counted(len(cases[name]), 'picture is', 'pictures are')} {what} ({_HOW[kind]})"
            found.findings.append(Finding(severity, f"{kind}_{name}", summary, remedy, tuple(cases[name])))


def _names(inventory: Inventory, rows: _Group) -> set[str]:
    """Which cases the copies of one picture are."""
    splits = {inventory.splits[number] for number in inventory.split[rows]}
    trained, val, test = bool(splits - {"val", "test"}), "val" in splits, "test" in splits
    names = {
        "test_trained": test and trained,
        "test_val": test and val,
        "labels": len(np.unique(inventory.classes[rows])) > 1,
        "val_trained": val and trained,
    }
    found = {name for name, holds in names.items() if holds}
    several = len(splits) > 1 or len(np.unique(inventory.path_of[rows])) > 1
    return found or ({"within"} if several else set())


def _groups(keys: Int64[np.ndarray, " rows"]) -> list[_Group]:
    """The rows that share a key, where there are several; by their first row."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    return sorted((group for group in np.split(order, edges) if len(group) > 1), key=lambda group: int(group[0]))


def _joined(
    pictures: Pictures, hashes: UInt64[np.ndarray, " hashed"], files: Sequence[str], store: FactStore, *, mirror: bool
) -> Int64[np.ndarray, " hashed"]:
    """For each hashed picture the first of those that it is a copy of, directly or by others."""

    @lru_cache(maxsize=100_000)
    def thumbnail(position: int) -> bytes:
        picture = store.get(files[pictures.hashed[position]]).picture
        assert picture is not None
        return picture.thumbnail

    def thumbnails(positions: Int64[np.ndarray, " pairs"]) -> np.ndarray:
        data = b"".join(thumbnail(position) for position in positions.tolist())
        return np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE)

    leader = np.arange(len(pictures.hashed))
    for block in near_pairs(pictures.hashes, hashes):
        while len(block := block[leader[block[:, 0]] != leader[block[:, 1]]]):
            pairs, block = block[:_VERIFIED], block[_VERIFIED:]
            others = thumbnails(pairs[:, 1])
            agrees = agreement(thumbnails(pairs[:, 0]), others[:, :, ::-1] if mirror else others) >= AGREEMENT
            for one, other in np.sort(leader[pairs[agrees]], axis=1):
                leader[leader == leader[other]] = leader[one]
    return leader
