"""Small copies of images, which the pages of the gallery show: a folder that needs nothing beside it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from lt_extrap.bar import Bar
from lt_extrap.curate.curation import IMAGES, Curation
from lt_extrap.data.decode import UnreadableImage, decode_rgb
from lt_extrap.data.side_by_side import side_by_side
from lt_extrap.errors import some

THUMBNAILS = "thumbnails"
EDGE = 192  # pixels: the longest edge
_QUALITY = 80  # of JPEG
_DIED: str | None = "its decoder died"


def thumbnail_of(name: str) -> str:
    """The thumbnail of a stored image, by the name of its file, in the gallery."""
    return f"{THUMBNAILS}/{name.rpartition('.')[0]}.jpg"


def thumbnail_of_reference(content: bytes) -> str:
    """The thumbnail of an image of the target set, by the hash of its pixels, in the gallery."""
    return f"{THUMBNAILS}/{content.hex()[:2]}/{content.hex()}.jpg"


def make_thumbnails(curation: Curation, gallery: Path, stored: set[str], references: dict[str, str]) -> None:
    """Make those that are not there; what cannot be read is told, and has none.

    Args:
        curation: whose images.
        gallery: where to.
        stored: names of stored images.
        references: places of images of the target set, by their thumbnails.
    """
    lost = list[str]()
    if to_do := _missing(gallery, ((thumbnail_of(name), name) for name in stored)):
        lost += _make_all(curation, to_do, partial(_read, curation.folder / IMAGES))
    if to_do := _missing(gallery, references.items()):
        lost += _make_all(curation, to_do, curation.target.place.images.read)
    if lost:
        print(f"{len(lost):,} images without a thumbnail: {some(lost, 3)}")


def _missing(gallery: Path, thumbnails: Iterable[tuple[str, str]]) -> list[tuple[str, Path]]:
    """The places of images whose thumbnails are not there, and those."""
    return sorted((place, file) for name, place in thumbnails if not (file := gallery / name).is_file())


def _make_all(curation: Curation, to_do: Sequence[tuple[str, Path]], read: Callable[[str], bytes]) -> list[str]:
    """Make thumbnails side by side.

    Returns:
        Why there are none of some.
    """
    lost, done, make = list[str](), 0, partial(_make, read=read)
    for folder in {file.parent for _, file in to_do}:
        folder.mkdir(parents=True, exist_ok=True)
    with (
        closing(side_by_side(make, to_do, curation.workers, died=_DIED)) as chunks,
        Bar("thumbnails") as bar,
    ):
        for chunk in chunks:
            lost += [f"{place}: {reason}" for (place, _), reason in chunk if reason is not None]
            done += len(chunk)
            bar.show(done, len(to_do))
            curation.stop.answer()
    return lost


def _read(root: Path, name: str) -> bytes:
    return (root / name).read_bytes()


def _make(work: tuple[str, Path], read: Callable[[str], bytes]) -> str | None:
    """Make one.

    Returns:
        Why there is none.
    """
    place, file = work
    try:
        image = decode_rgb(place, data=read(place), draft=EDGE)
    except (OSError, MemoryError, UnreadableImage) as error:
        return str(error)
    image.thumbnail((EDGE, EDGE))
    new = file.with_suffix(".tmp")
    image.save(new, "JPEG", quality=_QUALITY)
    new.replace(file)
    return None
