"""Look at the images of the target set, and compute the features of all images that have none yet."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from PIL import Image

from lt_extrap.bar import Bar
from lt_extrap.curate.curation import FEATURES, IMAGES, Curation
from lt_extrap.curate.features import Extractor, FeatureFile, load_extractor
from lt_extrap.curate.stages.images import Prepared, described
from lt_extrap.data.decode import UnreadableImage, decode_rgb
from lt_extrap.data.side_by_side import side_by_side
from lt_extrap.errors import RunError

_BATCH = 64
SPLITS = ("train", "val", "test")


def compute(curation: Curation) -> None:
    """The stage `features`."""
    _look_at_references(curation)
    extractor = load_extractor(curation.config.features)
    curation.state.set("model", extractor.key)
    _extract(curation, extractor)


def owner(split: str, place: str) -> str:
    """The owner of a feature of the target set; that of a stored image is its hash."""
    return f"{split}:{place}"


def _look_at_references(curation: Curation) -> None:
    """Keep what tells copies of the target's images, of all that are not known yet."""
    state, target = curation.state, curation.target
    for split in SPLITS:
        index = getattr(target, split)
        if index is None:
            continue
        known = {place for (place,) in state.rows("SELECT place FROM reference WHERE split = ?", split)}
        label_of = dict(zip(index.paths(), index.labels.tolist(), strict=True))
        new = sorted(label_of.keys() - known)
        work, died = partial(_reference, read=target.place.images.read), Reference(None, None, "its decoder died")
        done = 0
        with closing(side_by_side(work, new, curation.workers, died=died)) as chunks, Bar(f"{split} images") as bar:
            for chunk in chunks:
                with state.transaction():
                    state.write(
                        "INSERT INTO reference VALUES (?, ?, ?, ?, ?, ?)",
                        [(place, split, label_of[place], *found) for place, found in chunk],
                    )
                done += len(chunk)
                bar.show(done, len(new))
                curation.stop.answer()


def _extract(curation: Curation, extractor: Extractor) -> None:
    state, key = curation.state, extractor.key
    rows = state.one("SELECT count(*) FROM feature WHERE model = ?", key)
    missing = "NOT EXISTS (SELECT 1 FROM feature WHERE model = ? AND owner = {})"
    references = [
        (owner(split, place), partial(curation.target.place.images.read, place))
        for split, place in state.rows(
            "SELECT split, place FROM reference WHERE reason IS NULL AND "
            + missing.format("split || ':' || place")
            + " ORDER BY split, place",
            key,
        )
    ]
    stored = [
        (sha256, (curation.folder / IMAGES / name).read_bytes)
        for sha256, name in state.rows(
            "SELECT sha256, name FROM image WHERE " + missing.format("sha256") + " ORDER BY sha256", key
        )
    ]
    to_do = [*references, *stored]
    with FeatureFile(curation.folder / FEATURES / f"{key}.f16", extractor.dim, rows) as file, Bar("features") as bar:
        for start in range(0, len(to_do), _BATCH):
            block = to_do[start : start + _BATCH]
            features = extractor.of(_decoded(block))
            first = file.append(features)
            with state.transaction():
                state.write(
                    "INSERT INTO feature VALUES (?, ?, ?)",
                    [(key, name, first + place) for place, (name, _) in enumerate(block)],
                )
            bar.show(start + len(block), len(to_do))
            curation.stop.answer()


class Reference(NamedTuple):
    """What is kept of an image of the target set, or why it cannot be read."""

    pixels: bytes | None
    thumbnail: bytes | None
    reason: str | None


def _reference(place: str, *, read: Callable[[str], bytes]) -> Reference:
    try:
        found: Prepared = described(place, read(place))
    except UnreadableImage as error:
        return Reference(None, None, error.reason)
    return Reference(found.pixels, found.thumbnail, None)


def _decoded(block: Sequence[tuple[str, Callable[[], bytes]]]) -> Iterator[Image.Image]:
    for name, read in block:
        try:
            yield decode_rgb(name, data=read())
        except (OSError, UnreadableImage) as error:
            raise RunError(
                f"an image that could be read before: {name}",
                str(error),
                "mend or copy it again (do=verify looks at all)",
            ) from error
