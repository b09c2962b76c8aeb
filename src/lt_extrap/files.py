"""Files and folders that are there whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside its place, flush it to the disk, and rename it; its folder is made if it is not there.

    Args:
        path: the file; what it held stays until the new content is on the disk.
        write: writes the content.

    Raises:
        OSError: it cannot be written, as when the disk is full.
    """
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None  # torch.save puts an error of its own over that of a full disk
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or a loss of power may undo the renaming, and keep that of a later file
    finally:
        os.close(folder)


def write_whole_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Fill a folder beside its place, and rename it; the folder above it is made if it is not there.

    Two processes may write at once: one wins, and what the other made is dropped.

    Args:
        folder: left as it is if it is there.
        write: fills the folder that it is given.

    Raises:
        OSError: it cannot be written, as when the disk is full.
    """
    if folder.is_dir():
        return
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, and that is as good
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
