"""Images that are there more than once: where that spoils a measurement, and where it does no more than waste."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt64

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
    with the same bytes under two labels, as nobody knows which label is right (of a target and an auxiliary class, the
    auxiliary images). Copies of copies, such as the frames of a film, are named together and yet not excluded: the
    first frame is no copy of the last.
    """
    found = Copies([], set())
    content = pictures.content[inventory.path_of]
    _judge(inventory, "identical", _groups(content), found)
    measured = np.zeros(len(files), bool)  # whether a content is validated or tested on
    measured[content[inventory.evaluated]] = True
    for kind, hashes in (("near", pictures.hashes), ("mirror", mirrored(pictures.hashes))):
        joined, copied = _joined(pictures, hashes, measured[pictures.hashed], files, store, mirror=kind == "mirror")
        leader = np.arange(len(files))
        leader[pictures.hashed] = pictures.hashed[joined]
        groups = _groups(leader[content])
        _judge(inventory, kind, [rows for rows in groups if len(np.unique(content[rows])) > 1], found)
        if kind == "near":
            spoiled = np.isin(content, pictures.hashed[copied]) & ~inventory.evaluated
            found.exclude.update(inventory.path_of[spoiled].tolist())
    return found


def _judge(inventory: Inventory, kind: str, groups: Sequence[_Group], found: Copies) -> None:
    cases: dict[str, list[Case]] = {name: [] for name in _CASES}
    for rows in groups:
        names = _names(inventory, rows)
        case = Case(tuple(sample(inventory, row) for row in rows.tolist()), "")
        for name in names:
            cases[name].append(case)
        if kind == "identical":
            found.exclude.update(inventory.path_of[_unwanted(inventory, rows, names)].tolist())
    for name, (what, severities, remedy) in _CASES.items():
        if cases[name]:
            severity = severities[[*_HOW].index(kind)]
            summary = f"{counted(len(cases[name]), 'picture is', 'pictures are')} {what} ({_HOW[kind]})"
            found.findings.append(Finding(severity, f"{kind}_{name}", summary, remedy, tuple(cases[name])))


def _unwanted(inventory: Inventory, rows: _Group, names: set[str]) -> _Group:
    """Which of the rows of one file had better not be trained on."""
    trained: _Group = rows[~inventory.evaluated[rows]]
    if {"test_trained", "val_trained"} & names:
        return trained
    if "labels" not in names:
        return np.empty(0, np.int64)
    auxiliary = inventory.named("auxiliary")[trained]
    if len(np.unique(inventory.classes[trained[~auxiliary]])) == 1:
        trained = trained[auxiliary]
    return trained


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
    pictures: Pictures,
    hashes: UInt64[np.ndarray, " hashed"],
    measured: Bool[np.ndarray, " hashed"],
    files: Sequence[str],
    store: FactStore,
    *,
    mirror: bool,
) -> tuple[Int64[np.ndarray, " hashed"], Bool[np.ndarray, " hashed"]]:
    """Which pictures are copies.

    Returns:
        For each hashed picture the first of those that it is a copy of, directly or by others; and whether it is
        measured on, or directly a copy of one that is.
    """

    @lru_cache(maxsize=100_000)
    def thumbnail(position: int) -> bytes:
        picture = store.get(files[pictures.hashed[position]]).picture
        assert picture is not None
        return picture.thumbnail

    def thumbnails(positions: Int64[np.ndarray, " pairs"]) -> np.ndarray:
        data = b"".join(thumbnail(position) for position in positions.tolist())
        return np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE)

    leader, copied = np.arange(len(pictures.hashed)), measured.copy()
    for block in near_pairs(pictures.hashes, hashes):
        for start in range(0, len(block), _VERIFIED):
            pairs = block[start : start + _VERIFIED]
            pairs = pairs[(leader[pairs[:, 0]] != leader[pairs[:, 1]]) | _spoils(pairs, measured, copied)]
            if not len(pairs):  # what is joined already tells nothing new
                continue
            others = thumbnails(pairs[:, 1])
            agrees = agreement(thumbnails(pairs[:, 0]), others[:, :, ::-1] if mirror else others) >= AGREEMENT
            copied[pairs[agrees & _spoils(pairs, measured, copied)]] = True
            for one, other in np.sort(leader[pairs[agrees]], axis=1):
                leader[leader == leader[other]] = leader[one]
    return leader, copied


def _spoils(
    pairs: Int64[np.ndarray, "pairs 2"], measured: Bool[np.ndarray, " hashed"], copied: Bool[np.ndarray, " hashed"]
) -> Bool[np.ndarray, " pairs"]:
    """Pairs of one that is measured on and one that is not yet known to be a copy of such."""
    one, other = pairs.T
    return np.asarray((measured[one] & ~copied[other]) | (measured[other] & ~copied[one]))
