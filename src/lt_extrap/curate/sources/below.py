"""Files below a folder, and none outside of it."""

import os
from pathlib import Path

from lt_extrap.data.decode import UnreadableImage, read_bytes

MOST_BYTES = 100_000_000  # of a file: what is larger is no photograph


def read_below(root: Path, path: str) -> bytes:
    """The bytes of a file below a folder.

    Args:
        root: the folder, without links in its own path (`Path.resolve`).
        path: from there; it may come from anywhere.

    Raises:
        UnreadableImage: it is not there, is no file, is too large, or is outside of the folder.
    """
    place = os.path.join(root, path)  # noqa: PTH118 (of every image)
    try:
        real = os.path.realpath(place)
        if not real.startswith(os.path.join(root, "")):  # noqa: PTH118
            raise UnreadableImage(path, "outside of the folder of images")
        if (size := os.stat(real).st_size) > MOST_BYTES:  # noqa: PTH116
            raise UnreadableImage(path, f"{size:,} bytes, limit {MOST_BYTES:,}")
        return read_bytes(real)
    except UnreadableImage as error:
        raise UnreadableImage(path, error.reason) from None
    except (OSError, ValueError) as error:  # a NUL in a path, a name that is too long
        raise UnreadableImage(path, getattr(error, "strerror", None) or str(error)) from error
