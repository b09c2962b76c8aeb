"""Images without labels: those of a folder or of a list, in an order that is theirs."""

import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lt_extrap.data.decode import FORMATS, UnreadableImage, decode_rgb
from lt_extrap.data.lists import joined
from lt_extrap.data.store import Folder, ImageStore, Packed, open_store
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError, DataError

_LEFT_BEHIND = frozenset({b"__MACOSX", b"Thumbs.db", b"desktop.ini"})


@dataclass(frozen=True, eq=False)
class ImagePaths:
    """Paths of images, in two arrays, so that forked workers share them for good (see SampleIndex).

    Attributes:
        images: what has them.
        offsets: path i is `text[offsets[i]:offsets[i + 1]]`.
        text: all paths, as the file system spells them, one after the other.
    """

    images: ImageStore
    offsets: Int64[np.ndarray, " boundaries"]
    text: UInt8[np.ndarray, " bytes"]

    @staticmethod
    def pack(images: ImageStore, paths: Sequence[bytes]) -> "ImagePaths":
        """Put paths together."""
        return ImagePaths(images, *joined(paths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> str:
        """A path as it was found or listed; bytes that are not UTF-8 as surrogates, as everywhere in Python."""
        return os.fsdecode(self.text[self.offsets[position] : self.offsets[position + 1]].tobytes())


def find_images(source: str | Path, root: str | Path | None = None) -> ImagePaths:
    """The images of a folder, of a packed folder, of a text list, or a single one.

    Of a folder: all files with the extension of an image in it and below, sorted by the bytes of their paths from
    that folder. Links are followed. Hidden files and folders (`.name`, `__MACOSX`) are left out.

    Of a packed folder: all, sorted in the same way.

    Of a list: its paths, a line each, in its order. If every line ends in a blank and an integer, it is a
    `path label` list (docs/data.md), and the labels are not read.

    Args:
        source: the folder, the list, or an image; of a packed folder also its URL.
        root: where the relative paths of a list start, a folder, a packed one or a URL; None = the folder of the list.

    Raises:
        ConfigError: a root for what is no list, or a URL of what is not packed or cannot be opened.
        DataError: there is no such folder or file, it cannot be read, or it has no images.
    """
    file = Path(source)
    is_list = file.is_file() and not is_image(os.fsencode(file.name))
    if root is not None and not is_list:
        raise ConfigError("root to be null where images is no list", repr(str(root)), "leave root alone")
    try:
        if is_list:
            images, paths = open_store(root if root is not None else file.parent), _listed(file)
        elif file.is_file():
            images, paths = Folder(file.parent), [os.fsencode(file.name)]
        else:
            images = open_store(source)
            paths = _all(images)
    except OSError as error:
        raise DataError(
            "a folder or a list of images that can be read",
            f"{os.fsdecode(error.filename or source)}: {error.strerror or error}",
            "correct images=<folder, list or image>",
        ) from error
    if not paths:
        raise DataError(
            f"images in {source}",
            "no line" if is_list else f"no file that ends in {', '.join(s.decode() for s in suffixes())}",
            "correct images=<folder, list or image>",
        )
    return ImagePaths.pack(images, paths)


class ImageBatch(NamedTuple):
    """A batch as the loader delivers it.

    Attributes:
        images: those that could be read, values 0..255.
        errors: for each image of the batch the reason why it could not be read, or None.
    """

    images: UInt8[Tensor, "readable 3 height width"]
    errors: list[str | None]


class ImageFiles(Dataset[Tensor | str]):
    """The images at some paths; in place of an unreadable one, the reason."""

    def __init__(self, paths: ImagePaths, transform: EvalTransform) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Tensor | str:
        try:
            path, images = self.paths[position], self.paths.images
            return self.transform(decode_rgb(images.where(path), data=images.read(path)))
        except UnreadableImage as error:
            return error.reason


def collate_images(items: Sequence[Tensor | str]) -> ImageBatch:
    """Stack what could be read, and keep the places of the rest."""
    read = [item for item in items if isinstance(item, Tensor)]
    images = torch.stack(read) if read else torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    return ImageBatch(images, [None if isinstance(item, Tensor) else item for item in items])


def _all(images: ImageStore) -> list[bytes]:
    """Paths of all images of a store, sorted by their bytes."""
    if isinstance(images, Packed):
        return images.index.paths()
    if not isinstance(images, Folder):
        raise ConfigError(
            "a folder, a packed folder or a list of images",
            f"{images}, which is not packed",
            f"give a list as images, and root={images}",
        )
    folder = os.path.join(os.fsencode(images.path), b"")  # noqa: PTH118 (bytes)
    return sorted(path.removeprefix(folder) for path in below(folder) if is_image(path))


def _listed(file: Path) -> list[bytes]:
    lines = [line.strip() for line in file.read_bytes().removeprefix(BOM_UTF8).splitlines()]
    fields = [line.rsplit(None, 1) for line in lines if line]
    labelled = all(len(field) == 2 and field[1].isdigit() for field in fields)
    return [field[0] for field in fields] if labelled else [line for line in lines if line]


def below(folder: bytes, above: frozenset[bytes] = frozenset()) -> Iterator[bytes]:
    """Files in a folder and below, hidden ones left out; a folder that a link leads back to is not entered again."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in visible(folder):
        if entry.is_dir():
            yield from below(entry.path, above | {real})
        else:
            yield entry.path


def visible(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
    """What is in a folder, but for hidden names (`.name`) and what file managers leave behind."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(b".") and entry.name not in _LEFT_BEHIND:
                yield entry


def is_image(path: bytes) -> bool:
    """Whether a path ends in the extension of an image, whatever its case."""
    return path.lower().endswith(suffixes())


@cache
def suffixes() -> tuple[bytes, ...]:
    """Extensions of the formats that `decode_rgb` takes, in lower case."""
    known: Iterable[tuple[str, str]] = Image.registered_extensions().items()
    return tuple(sorted(suffix.encode() for suffix, name in known if name in FORMATS))
