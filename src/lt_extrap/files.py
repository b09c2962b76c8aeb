"""Files and folders that are there whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from lt_extrap.errors import BusyError, RunError


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


@contextmanager
def alone_in(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """Keep every other process out of a folder, which is made if it is not there.

    The lock ends with the process, however that ends.

    Args:
        folder: to be alone in.
        what: it is, for the message.
        remedy: where another process is in it.

    Raises:
        BusyError: another process is.
        RunError: it is no folder that can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        found = "another process that is in it right now"
        raise BusyError(f"{what} to itself: {folder}", found, remedy) from None
    except OSError as error:
        found = f"{type(error).__name__}: {error}"
        raise RunError(
            f"a folder that can be written: {folder}", found, "give another one, where you may write"
        ) from None
    with lock:
        yield


def link_or_copy(source: Path, place: Path) -> None:
    """Give a file that never changes a second name; a whole copy where the file system has none (exFAT).

    Raises:
        OSError: neither can be written.
    """
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS):
            raise
        with source.open("rb") as file:
            write_whole(place, lambda copy: shutil.copyfileobj(file, copy))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder beside a place, which gets its name when the block has ended well, and is removed otherwise.

    Raises:
        OSError: it cannot be made, or something is at that place by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    try:
        with whole_folder(folder) as new:
            write(new)
    except OSError:
        if not folder.is_dir():  # else another process was faster, and that is as good
            raise
