"""A pool of images by class: class folders, tars, or a tar of class folders."""

import os
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from pathlib import Path

from lt_extrap.config.curate_source import FolderSource
from lt_extrap.curate.names import normal
from lt_extrap.curate.records import Candidate, Sought
from lt_extrap.curate.sources.below import read_below
from lt_extrap.curate.sources.tables import open_table
from lt_extrap.curate.sources.tar import open_tar
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.data.images import is_image, visible
from lt_extrap.errors import ConfigError, DataError

_OPEN = 64  # tars whose indexes are kept in memory
_HIDDEN = re.compile(r"(^|/)(\.|__MACOSX/)")
_BEGINS_WITH_WNID = re.compile(r"(n\d{8})(?:[-_. ]+(.*))?", re.DOTALL)


class Folders:
    """Images by the folders of their classes.

    A folder is of a class if its name is, or begins with, the WordNet id; where no folder is, and for folders without
    an id in their names, if its name is a spelling of the class (see `names.normal`). Names of classes are compared,
    and never opened: only what the pool was found to have is.

    Attributes:
        name: of the source.
        notes: none.

    Raises:
        DataError: there is no such pool, it has no classes, or it or its captions cannot be read.
    """

    name = "folders"
    notes: tuple[str, ...] = ()

    def __init__(self, config: FolderSource) -> None:
        self._config = config
        if config.root is None:
            raise ConfigError("a value for every key", "none for source.root", "give source.root=<the pool>")
        self._pool, beside = _pool(Path(config.root).expanduser())
        self._captions_file = None if config.captions is None else beside / Path(config.captions).expanduser()
        if self._captions_file is not None:
            _caption_columns(self._captions_file)
        self._by_wnid: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for folder in self._pool.folders:
            wnid, name = _parted(folder)
            if wnid:
                self._by_wnid[wnid].append(folder)
            if name:
                self._by_name[name].append(folder)

    def offers(self, sought: Sought) -> bool:
        """Whether there is a folder of a class."""
        return bool(self._folders(sought))

    def classes(self) -> Iterator[Sought]:
        """A class a folder, in the order of the folders; those of one WordNet id or one name are one."""
        seen = set()
        for folder in self._pool.folders:
            wnid, spelled = _parted(folder)
            key = wnid or f"name:{spelled}"
            if key not in seen and key != "name:":
                seen.add(key)
                name = _name(folder) or folder
                yield Sought(key=key, name=name, spellings=(name,), wnid=wnid, query=name)

    def search(self, sought: Sought) -> Iterator[Candidate]:
        """The images of a class, sorted by the bytes of their paths, folder by folder.

        Without a table of captions, what is said of an image is the name of its class.
        """
        for folder in self._folders(sought):
            named = sought.name if folder in self._by_wnid.get(sought.wnid or "", ()) else _name(folder)
            for path in self._pool.paths(folder):
                place = f"{folder}/{path}"
                yield Candidate(place, named if self._captions_file is None else self._captions.get(place))

    def read(self, place: str) -> bytes:
        """The bytes of an image.

        Raises:
            UnreadableImage: with the place and a reason.
        """
        folder, _, path = place.partition("/")
        if folder not in self._pool.folders:
            raise UnreadableImage(place, "no such class in the pool")
        try:
            return self._pool.read(folder, path)
        except UnreadableImage as error:
            raise UnreadableImage(place, error.reason) from None

    def __reduce__(self) -> tuple[object, ...]:
        return _opened_once, (self._config.root, self._config.captions)  # in another process once, by its place

    def _folders(self, sought: Sought) -> list[str]:
        if sought.wnid in self._by_wnid:
            return self._by_wnid[sought.wnid]
        found = {folder for name in sought.spellings for folder in self._by_name.get(normal(name), ())}
        if sought.wnid is not None:  # a folder of another id is of a homonym
            found = {folder for folder in found if _parted(folder)[0] is None}
        return sorted(found, key=os.fsencode)

    @cached_property
    def _captions(self) -> Mapping[str, str]:
        assert self._captions_file is not None
        columns = _caption_columns(self._captions_file)
        captions: dict[str, str] = {}
        for row in open_table(self._captions_file).read(columns):
            if row is not None:
                path, caption = (value.strip() for value in row)
                path = path.replace("\\", "/").removeprefix("./")
                captions[path] = f"{captions[path]} | {caption}" if path in captions else caption
        return captions


@cache
def _opened_once(root: str | None, captions: str | None) -> Folders:
    return Folders(FolderSource(root, captions))


class _Pool(ABC):
    """The classes of a pool by the names of their folders, sorted by their bytes."""

    folders: Mapping[str, object]

    @abstractmethod
    def paths(self, folder: str) -> Iterable[str]:
        """Images of a folder, from there, sorted by the bytes of their paths."""

    @abstractmethod
    def read(self, folder: str, path: str) -> bytes:
        """The bytes of an image. Raises UnreadableImage."""


class _Directory(_Pool):
    """A folder with a folder or a tar a class.

    Attributes:
        folders: the tar of a class; None for a folder.
    """

    folders: Mapping[str, str | None]

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        found: dict[str, str | None] = {}
        for entry in visible(os.fsencode(self._root)):
            file = os.fsdecode(entry.name)
            is_tar = file.lower().endswith(".tar") and entry.is_file(follow_symlinks=False)
            if (is_tar or entry.is_dir(follow_symlinks=False)) and _is_unicode(file):
                name = file[: -len(".tar")] if is_tar else file
                if name in found:
                    raise DataError(
                        f"a folder or a tar a class in {root}", f"both, or two tars, for {name}", "remove one of them"
                    )
                found[name] = file if is_tar else None
        self.folders = {name: found[name] for name in sorted(found, key=os.fsencode)}

    def paths(self, folder: str) -> Iterable[str]:
        if tar := self.folders[folder]:
            return _images(_tar(self._root / tar).paths())
        start = os.path.join(os.fsencode(self._root / folder), b"")  # noqa: PTH118 (bytes)
        return _images(os.fsdecode(path.removeprefix(start)) for path in sorted(_below(start)))

    def read(self, folder: str, path: str) -> bytes:
        if tar := self.folders[folder]:
            return _tar(self._root / tar).read(path)
        return read_below(self._root, f"{folder}/{path}")


class _Tar(_Pool):
    """A tar with a folder a class.

    Attributes:
        folders: the images of a class.
    """

    folders: Mapping[str, Sequence[str]]

    def __init__(self, file: Path, inside: str) -> None:
        self._file, self._inside = file, f"{inside}/" if inside else ""
        found: dict[str, list[str]] = defaultdict(list)
        for path in _images(_tar(file).paths()):
            folder, slash, name = path.removeprefix(self._inside).partition("/")
            if slash and path.startswith(self._inside):
                found[folder].append(name)
        self.folders = {name: found[name] for name in sorted(found, key=os.fsencode)}

    def paths(self, folder: str) -> Iterable[str]:
        return self.folders[folder]

    def read(self, folder: str, path: str) -> bytes:
        return _tar(self._file).read(f"{self._inside}{folder}/{path}")


_tar = lru_cache(_OPEN)(open_tar)


def _pool(root: Path) -> tuple[_Pool, Path]:
    """The pool at a place, and the folder where its captions may be."""
    try:
        file = next((place for place in (root, *root.parents) if place.is_file()), None)
        if file is None and not root.is_dir():
            raise DataError("the pool of images, a folder or a tar", f"nothing at {root}", "correct source.root")
        pool: _Pool
        if file is None:
            pool, beside = _Directory(root), root
        else:
            pool, beside = _Tar(file, root.relative_to(file).as_posix().removeprefix(".")), file.parent
    except OSError as error:
        raise DataError(
            f"a pool of images that can be read: {root}",
            f"{os.fsdecode(error.filename or root)}: {error.strerror}",
            "give yourself the right",
        ) from error
    if not pool.folders:
        raise DataError(
            f"class folders or tars in {root}",
            "none (links to folders are not followed)",
            "give the folder whose folders are the classes as source.root; in a tar: pool.tar/<folder>",
        )
    return pool, beside


def _below(folder: bytes) -> Iterator[bytes]:
    """Files in a folder and below. A link to a folder is not followed: it may lead anywhere."""
    try:
        for entry in visible(folder):
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            else:
                yield entry.path
    except OSError as error:
        raise DataError(
            "class folders that can be read", f"{os.fsdecode(folder)}: {error.strerror}", "give yourself the right"
        ) from error


def _images(paths: Iterable[str]) -> list[str]:
    """Those of some paths that are of images, and not hidden."""
    return [path for path in paths if _is_unicode(path) and is_image(path.encode()) and not _HIDDEN.search(path)]


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=100_000)
def _parted(folder: str) -> tuple[str | None, str]:
    """The WordNet id that a folder's name begins with, and the rest of the name in normal letters."""
    found = _BEGINS_WITH_WNID.fullmatch(folder)
    return (found[1], normal(found[2] or "")) if found else (None, normal(folder))


def _name(folder: str) -> str:
    """The name of a class as its folder has it."""
    found = _BEGINS_WITH_WNID.fullmatch(folder)
    return " ".join(((found[2] or "") if found else folder).replace("_", " ").split())


def _caption_columns(file: Path) -> tuple[str, str]:
    columns = open_table(file).columns
    if missing := {"path", "caption"} - set(columns):
        raise DataError(
            f"the columns path and caption in {file}", f"no {' and no '.join(sorted(missing))}", "name them so"
        )
    return "path", "caption"
