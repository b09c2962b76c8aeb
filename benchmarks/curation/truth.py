"""What is known of every image of a pool."""

import dataclasses
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import IO

from lt_extrap.errors import DataError
from lt_extrap.files import write_whole
from lt_extrap.model.shots import Shot

IMAGES, CAPTIONS, TRUTH = "images", "captions.jsonl", "truth.jsonl"

WHATS = {
    "clean": "a photograph of the class, and a caption that names it",
    "odd format": "likewise, in a file that is easily read wrong",
    "nameless caption": "a photograph of the class, and a caption that names nothing",
    "other name": "a photograph of the class, and a caption that names another one",
    "longer name": "a photograph of the class, and a caption whose longer name has its name in it",
    "label noise": "a photograph of another class, and a caption that names this one",
    "leak": "a copy of an image of the target set, and a caption that names the class",
    "duplicate": "a copy of an image of the class",
    "duplicate across": "a copy of an image of another class",
    "placeholder": "what a server shows in place of images",
    "junk": "no photograph",
    "suspect": "a photograph of a target, in a class that goes by another name",
}


@dataclasses.dataclass(frozen=True)
class Planted:
    """An image of a pool: a line of truth.jsonl.

    Attributes:
        place: below images/: the id of the class that it is offered for, and a name that says nothing.
        what: of WHATS.
        kind: which of that, such as the kind of copy; None where there is one only.
        keep: whether a curation should keep it; of an image and its duplicates, one.
        shows: the id of the class in the picture; None where there is none.
        of: the photograph that it was made of, by its path in the data set.
        split: of the target set that has this photograph, train, val or test.
        twin: the place of the image that it is a duplicate of.
        shot: the group of the target that is nearest to the class that it is offered for, or is this class.
        caption: what the pool says of it.
        sha256: of the file, in hexadecimal.
    """

    place: str
    what: str
    kind: str | None
    keep: bool
    shows: str | None
    of: str
    split: str | None
    twin: str | None
    shot: Shot | None
    caption: str
    sha256: str = ""

    @property
    def folder(self) -> str:
        """The id of the class that it is offered for."""
        return self.place.split("/")[0]


def write_truth(folder: Path, planted: Iterable[Planted]) -> None:
    """Write the truth of a pool, and the captions that a source reads."""
    rows = [dataclasses.asdict(row) for row in planted]
    captions = [{"path": row["place"], "caption": row["caption"]} for row in rows]
    for name, lines in ((TRUTH, rows), (CAPTIONS, captions)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_whole(folder / name, partial(_write, text))


def read_truth(folder: Path) -> list[Planted]:
    """Read the truth of a pool.

    Raises:
        DataError: it has not been planted.
    """
    try:
        with (folder / TRUTH).open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    except OSError as error:
        raise DataError(f"a planted pool at {folder}", str(error), "plant it first") from error
    return [Planted(**{**row, "shot": row["shot"] and Shot(row["shot"])}) for row in rows]


def _write(text: str, file: IO[bytes]) -> None:
    file.write(text.encode())
