"""What is found about images, kept in SQLite, so that a check that was ended goes on where it was.

Files are looked at by worker processes. A worker that dies, of a hostile file or a lack of memory, costs nothing but
the image that it died of, which is named.
"""

import hashlib
import io
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lt_extrap.data.decode import FORMATS, UnreadableImage, decode_rgb, orientation_of
from lt_extrap.data.duplicates import SIDE
from lt_extrap.data.side_by_side import side_by_side
from lt_extrap.data.store import ImageStore, Stamp
from lt_extrap.errors import DataError

FORMAT = 1  # of the store: raise it when facts are found in another way
DIED = "the process that decoded it died (a crash of the decoder, or no memory left)"
_GRAY = 8  # largest difference between the channels of a gray picture: JPEG rounds


class Picture(NamedTuple):
    """An image that can be read.

    Attributes:
        format, mode: Pillow's names, such as JPEG and RGB.
        bits: of a channel, as stored.
        width, height: pixels, as stored.
        orientation: EXIF orientation, 1 = upright.
        alpha: whether pixels may be transparent.
        animated: whether further frames follow the first.
        gray: whether it shows no colour.
        deviation: standard deviation of its gray values, 0..127.5.
        thumbnail: gray, 32 x 32 bytes.
    """

    format: str
    mode: str
    bits: int
    width: int
    height: int
    orientation: int
    alpha: bool
    animated: bool
    gray: bool
    deviation: float
    thumbnail: bytes


class Facts(NamedTuple):
    """What was found about a file.

    Attributes:
        sha256: of its bytes; None where these could not be read, or nobody survived it.
        reason: why it is no image; None if it is one.
        picture: the image; None if it is none.
    """

    sha256: bytes | None
    reason: str | None
    picture: Picture | None


_COLUMNS = ("path", "size", "mtime_ns", "sha256", "reason", *Picture._fields)


class FactStore:
    """Facts by place and stamp of an image: of a file its size and time, of a packed one its size and checksum.

    Everything that was put in survives a kill.

    Raises:
        DataError: the file cannot be written, or is no such store.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS images ({', '.join(_COLUMNS)}, PRIMARY KEY (path))")

    def __enter__(self) -> "FactStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def knows(self, path: str, stamp: Stamp) -> bool:
        """Whether this very file has been looked at. What could not be read is looked at again."""
        wanted = "SELECT 1 FROM images WHERE path = ? AND size = ? AND mtime_ns = ? AND sha256 IS NOT NULL"
        return self._first(wanted, path, *stamp) is not None

    def put(self, found: Sequence[tuple[str, Stamp, Facts]]) -> None:
        """Keep some facts, all or none.

        Raises:
            DataError: they cannot be written, as when the disk is full.
        """
        rows = [
            (path, *stamp, *facts[:2], *(facts.picture or [None] * len(Picture._fields)))
            for path, stamp, facts in found
        ]
        with self._told(), self._connection:
            self._connection.executemany(f"REPLACE INTO images VALUES ({', '.join('?' * len(_COLUMNS))})", rows)

    def get(self, path: str) -> Facts:
        """What was found about a file. Raises KeyError if nobody has looked at it."""
        row = self._first("SELECT * FROM images WHERE path = ?", path)
        if row is None:
            raise KeyError(path)
        _, _, _, sha256, reason, *picture = row
        return Facts(sha256, reason, None if reason is not None else Picture(*picture))

    def _first(self, wanted: str, *values: str | int) -> Any:
        with self._told():
            return self._connection.execute(wanted, values).fetchone()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise DataError(
                f"a store of what was found about images in {self._path}",
                str(error),
                "free disk, remove the file, or set LT_EXTRAP_CACHE to a folder on a local disk where you may write",
            ) from error


def survey(
    files: Sequence[str],
    images: ImageStore,
    store: FactStore,
    *,
    workers: int,
    report: Callable[[int, int], object],
) -> list[int]:
    """Look at every file that is new or has changed, and keep what is found.

    Args:
        files: where the images are.
        images: what has them.
        store: is given the facts, chunk by chunk.
        workers: processes; 0 = this one.
        report: is told how many files of how many are done, again and again.

    Returns:
        Positions of the files that are not there.
    """
    missing, new = [], dict[str, Stamp]()
    for position, file in enumerate(files):
        stamp = images.stamp(file)
        if stamp is None:
            missing.append(position)
        elif not store.knows(file, stamp):
            new[file] = stamp
    done = len(files) - len(missing) - len(new)
    died = Facts(None, DIED, None)
    with closing(side_by_side(partial(look, images=images), list(new), workers, died=died)) as found:
        for chunk in found:
            store.put([(file, new[file], facts) for file, facts in chunk])
            done += len(chunk)
            report(done, len(files) - len(missing))
    return missing


def look(path: str, images: ImageStore) -> Facts:
    """Read an image once, hash it and decode it."""
    try:
        data = images.read(path)
    except UnreadableImage as error:
        return Facts(None, error.reason, None)
    except MemoryError as error:
        return Facts(None, type(error).__name__, None)
    digest = hashlib.sha256(data).digest()
    try:
        picture = decode_rgb(path, data=data, draft=2 * SIDE)
        return Facts(digest, None, _picture(data, picture))
    except UnreadableImage as error:
        return Facts(digest, error.reason.encode("utf-8", "backslashreplace").decode(), None)


def _picture(data: bytes, decoded: Image.Image) -> Picture:
    small = decoded.reduce(max(1, min(decoded.size) // (2 * SIDE)))
    pixels = np.asarray(small).astype(np.int16)
    gray = small.convert("L")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in decode_rgb, which has taken this file
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return Picture(
                format="JPEG" if image.format == "MPO" else str(image.format),
                mode=image.mode,
                bits=16 if image.mode[0] in "IF" or (image.format == "PNG" and data[24] == 16) else 8,
                width=image.width,
                height=image.height,
                orientation=orientation_of(image),
                alpha=image.has_transparency_data,
                animated=_animated(image),
                gray=bool(np.ptp(pixels, axis=2).max() <= _GRAY),
                deviation=float(np.asarray(gray).std()),
                thumbnail=gray.resize((SIDE, SIDE), Image.Resampling.BILINEAR).tobytes(),
            )


def _animated(image: Image.Image) -> bool:
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # the first frame is whole, the second may be anything
        return True
