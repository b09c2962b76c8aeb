"""Small copies of images, which the pages of the gallery show: a folder that needs nothing beside it."""

from collections.abc import Callable, Iterator
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


def thumbnail_of(name: str) -> str:
    """The thumbnail of a stored image, by the name of its file, in the gallery."""
    return str(Path(THUMBNAILS, name).with_suffix(".jpg"))


def thumbnail_of_reference(content: bytes) -> str:
    """The thumbnail of an image of the target set, by the hash of its pixels, in the gallery."""
    return f"{THUMBNAILS}/{content.hex()[:2]}/{content.hex()}.jpg"


def make_thumbnails(curation: Curation, gallery: Path, wanted: set[str], references: dict[str, str]) -> None:
    """Make those that are not there; what cannot be read is told, and has none.

    Args:
        curation: whose images.
        gallery: where to.
        wanted: names of stored images.
        references: places of images of the target set, by their thumbnails.
    """
    stored = ((thumbnail_of(name), name) for name in sorted(wanted))
    work: list[tuple[Callable[[str, Path], str | None], Iterator[tuple[str, str]]]] = [
        (partial(_make, read=partial(_read, curation.folder / IMAGES)), stored)
    ]
    if references:
        work.append((partial(_make, read=curation.target.place.images.read), iter(sorted(references.items()))))
    lost = list[str]()
    for make, named in work:
        to_do = [(place, file) for name, place in named if not (file := gallery / name).is_file()]
        for folder in {file.parent for _, file in to_do}:
            folder.mkdir(parents=True, exist_ok=True)
        done = 0
        with (
            closing(side_by_side(partial(_made, make=make), to_do, curation.workers, died="its decoder died")) as chunks,
            Bar("thumbnails") as bar,
        ):
            for chunk in chunks:
                lost += [f"{place}: {reason}" for (place, _), reason in chunk if reason is not None]
                done += len(chunk)
                bar.show(done, len(to_do))
                curation.stop.answer()
    if lost:
        print(f"{len(lost):,} images without a thumbnail: {some(lost, 3)}")


def _made(item: tuple[str, Path], make: Callable[[str, Path], str | None]) -> str | None:
    return make(*item)


def _read(root: Path, name: str) -> bytes:
    return (root / name).read_bytes()


def _make(place: str, file: Path, read: Callable[[str], bytes]) -> str | None:
    """Make one.

    Returns:
        Why there is none.
    """
    try:
        image = decode_rgb(place, data=read(place), draft=EDGE)
    except (OSError, MemoryError, UnreadableImage) as error:
        return str(error)
    image.thumbnail((EDGE, EDGE))
    new = file.with_suffix(".tmp")
    image.save(new, "JPEG", quality=_QUALITY)
    new.replace(file)
    return None
