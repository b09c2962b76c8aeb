"""Read the candidates whose captions name their class, and store what is an image."""

import hashlib
import io
import warnings
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple

from PIL import Image

from lt_extrap.bar import Bar
from lt_extrap.curate.curation import IMAGES, Curation
from lt_extrap.curate.forecast import Forecast
from lt_extrap.curate.near_copies import Look, look
from lt_extrap.curate.state import FORGOTTEN
from lt_extrap.data.decode import FORMATS, NoMemory, UnreadableImage, decode_rgb
from lt_extrap.data.shrink import shrunk
from lt_extrap.data.side_by_side import side_by_side
from lt_extrap.errors import RunError, some
from lt_extrap.files import write_whole

_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}


class Prepared(NamedTuple):
    """An image as it is stored.

    Attributes:
        content: of the file.
        sha256: of the content, hexadecimal.
        name: of the file below images/, by its hash.
        width, height: of the upright image, pixels.
        look: what is compared of it.
    """

    content: bytes
    sha256: str
    name: str
    width: int
    height: int
    look: Look


def store(curation: Curation) -> None:
    """The stage `images`. What was not decoded for want of memory stays to do.

    Raises:
        RunError: the candidates are of another source, or images were stored in another size.
    """
    state, edge = curation.state, str(curation.config.longest_edge)
    if state.setting("source") not in (None, curation.source_id):
        raise RunError(
            "the source that was asked for candidates", "another one, or with other options", "run do=candidates first"
        )
    stored_at = state.setting("longest_edge")
    if stored_at not in (None, edge) and state.one("SELECT 1 FROM image LIMIT 1"):
        raise RunError(
            f"images as they were stored, with longest_edge={stored_at}",
            f"longest_edge={edge}",
            "give that again, or another folder= to store them all anew",
        )
    with state.transaction():
        state.set("longest_edge", edge)
        state.write(
            "UPDATE candidate SET reason = ? WHERE sha256 IS NULL AND reason IS NULL AND ("
            "url IN (SELECT value FROM forgotten WHERE kind = 'url') OR "
            "creator IN (SELECT value FROM forgotten WHERE kind = 'creator'))",
            [(FORGOTTEN,)],
        )
        # The same place for another class, or one that was offered before: it is read once.
        state.write(
            "UPDATE candidate SET sha256 = (SELECT d.sha256 FROM candidate d WHERE d.place = candidate.place "
            "AND d.source = candidate.source AND d.sha256 IS NOT NULL LIMIT 1) "
            "WHERE source = ? AND form IS NOT NULL AND sha256 IS NULL AND reason IS NULL",
            [(curation.source_id,)],
        )
    forgotten = {value for (value,) in state.rows("SELECT value FROM forgotten WHERE kind = 'sha256'")}
    key_of = to_do(curation)
    places = list(key_of)
    forecast, classes = Forecast("images", len(set(key_of.values()))), set[str]()
    work = partial(prepare, read=curation.source.read, longest_edge=curation.config.longest_edge)
    done, undecoded = 0, list[str]()
    with closing(side_by_side(work, places, curation.workers, died=None)) as chunks, Bar("images read") as bar:
        for chunk in chunks:
            made, failed = list[tuple[str, Prepared]](), list[tuple[str, str]]()
            for place, found in chunk:
                if found is None:
                    undecoded.append(place)
                elif isinstance(found, str):
                    failed.append((found, place))
                elif found.sha256 in forgotten:
                    failed.append((FORGOTTEN, place))
                else:
                    made.append((place, found))
            for _, image in made:
                _write(curation, image)
            with state.transaction():
                state.write(
                    "INSERT OR IGNORE INTO image VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(*image[1:-1], *image.look) for _, image in made],
                )
                state.write(
                    "UPDATE candidate SET sha256 = ? WHERE place = ? AND source = ?",
                    [(image.sha256, place, curation.source_id) for place, image in made],
                )
                state.write(
                    "UPDATE candidate SET reason = ? WHERE place = ? AND source = ?",
                    [(*row, curation.source_id) for row in failed],
                )
            done += len(chunk)
            bar.show(done, len(places))
            classes.update(key_of[place] for place, _ in chunk)
            forecast.after(len(classes), done)
            curation.stop.answer()
    if undecoded:
        print(
            f"{len(undecoded):,} images were not decoded, for want of memory or since the decoder died: "
            f"{some(undecoded, 3)}; the same command tries again (workers=1 needs least), and does without what is "
            "removed from the source"
        )


def to_do(curation: Curation) -> dict[str, str]:
    """The places of the images that are to be read, in this order, and the first class of each."""
    return dict(
        curation.state.rows(
            "SELECT place, min(key) FROM offered WHERE form IS NOT NULL AND sha256 IS NULL AND reason IS NULL "
            "GROUP BY place ORDER BY min(key), min(position), place"
        )
    )


def prepare(place: str, *, read: Callable[[str], bytes], longest_edge: int | None) -> Prepared | str | None:
    """Read an image, make it smaller where it is large, and look at it.

    Returns:
        What is stored of it; a reason where it is none; None where there is no memory for it now.
    """
    try:
        content = read(place)
        if longest_edge is not None:
            content = shrunk(place, content, longest_edge)
        return described(place, content)
    except (NoMemory, MemoryError):
        return None
    except UnreadableImage as error:
        return error.reason.encode("utf-8", "backslashreplace").decode()


def described(place: str, content: bytes) -> Prepared:
    """What is kept of an image.

    Raises:
        UnreadableImage: it is none.
    """
    image = decode_rgb(place, data=content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in decode_rgb, which has taken this file
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            kind = str(opened.format)
    sha256 = hashlib.sha256(content).hexdigest()
    return Prepared(
        content=content,
        sha256=sha256,
        name=f"{sha256[:2]}/{sha256}.{_SUFFIXES.get(kind, kind.lower())}",
        width=image.width,
        height=image.height,
        look=look(image),
    )


def _write(curation: Curation, image: Prepared) -> None:
    """Its place is its content: a file that is there is the same."""
    file = curation.folder / IMAGES / image.name
    if not file.is_file():
        write_whole(file, lambda opened: opened.write(image.content))
