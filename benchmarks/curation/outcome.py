"""What a curation made of a pool, as it leaves it in its folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lt_extrap.data.stored.reader import read_images, read_set
from lt_extrap.errors import DataError

SET, EXTRA, DROPPED, STATUS = "set", "target_extra", "dropped.jsonl", "status.json"


class Dropped(NamedTuple):
    """Why an image was dropped: the stage that did it, and its reason."""

    stage: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of the images of a pool.

    Attributes:
        kept: (class id, sha256 of the file) of each image of the set.
        dropped: by place in the pool. What is neither kept nor here has not been looked at.
    """

    kept: frozenset[tuple[str, str]]
    dropped: dict[str, Dropped]


def read_outcome(curated: Path, pool: str, target_ids: tuple[str, ...]) -> Outcome:
    """Read what a curation has left.

    Args:
        curated: its folder.
        pool: `neighbors` or `target`.
        target_ids: of the target classes, by label.

    Raises:
        DataError: there is no set, or it has images without a hash.
    """
    kept = frozenset(_neighbors(curated / SET) if pool == "neighbors" else _target(curated / EXTRA, target_ids))
    dropped = {line["place"]: Dropped(line["stage"], line["reason"]) for line in _lines(curated / DROPPED)}
    return Outcome(kept, dropped)


def read_seconds(curated: Path) -> dict[str, float]:
    """Seconds that each stage took."""
    try:
        seconds: dict[str, float] = json.loads((curated / STATUS).read_text(encoding="utf-8"))["stages"]
    except (OSError, ValueError, KeyError) as error:
        raise _no_curation(curated, error) from error
    return seconds


def _neighbors(folder: Path) -> Iterator[tuple[str, str]]:
    ids = [record.wnid or record.name.replace(" ", "_") for record in read_set(folder).classes]
    for number, image in read_images(folder):
        if image.sha256 is None:
            raise DataError("a set whose images have hashes", f"none in line {number} of {folder}", "curate it again")
        yield ids[image.aux], image.sha256


def _target(folder: Path, ids: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return ((ids[line["label"]], line["sha256"]) for line in _lines(folder / "manifest.jsonl"))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
    except (OSError, ValueError) as error:
        raise _no_curation(file, error) from error


def _no_curation(place: Path, error: Exception) -> DataError:
    return DataError(f"what a curation leaves, at {place}", f"{type(error).__name__}: {error}", "curate the pool first")
