"""Archives of images, unpacked once to the cache."""

import shutil
import tarfile
from pathlib import Path

from lt_extrap.data.stored.schema import why_unsafe
from lt_extrap.errors import DataError
from lt_extrap.files import write_whole_folder
from lt_extrap.paths import cache_dir


def unpack(archive: Path) -> Path:
    """Unpack a tar once to the cache; its name, size and time tell it from others. A tar's size is a round number.

    Raises:
        DataError: it is not there or not a tar, or there is no room.
    """
    if not archive.is_file():
        raise DataError(
            "the archive of the target's images",
            f"no file {archive}",
            "see docs/data.md for how to make it, or set target.archive=null if the images are already unpacked",
        )
    status = archive.stat()
    name = f"{archive.parent.name}-{archive.name}-{status.st_size}-{status.st_mtime_ns}"
    folder = cache_dir() / "archives" / name
    try:
        write_whole_folder(folder, lambda new: _extract(archive, new))
    except tarfile.TarError as error:
        raise DataError(f"a readable tar of images at {archive}", str(error), "make it again") from error
    except OSError as error:
        raise DataError(
            f"room to unpack {archive} in {folder.parent}", str(error), "free disk, or set LT_EXTRAP_CACHE"
        ) from error
    return folder


def _extract(archive: Path, folder: Path) -> None:
    """Its files, and nothing that leads out of the folder; by hand, since Python 3.11.2 has no filter for it."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                continue
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or why_unsafe(name) is not None:
                raise tarfile.ExtractError(f"{member.name!r:.200}: {why_unsafe(name) or 'a link or a device'}")
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as opened:
                shutil.copyfileobj(content, opened)
