"""Look at the images of the target set, and compute the features of all images that have none yet."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float16, Int64
from PIL import Image

from lt_extrap.bar import Bar
from lt_extrap.curate.curation import FEATURES, IMAGES, Curation
from lt_extrap.curate.features import Extractor, FeatureFile
from lt_extrap.curate.near_copies import look
from lt_extrap.data.decode import EncodedImage, NoMemory, UnreadableImage, decode_rgb
from lt_extrap.data.side_by_side import side_by_side
from lt_extrap.errors import RunError, some

SPLITS = ("train", "val", "test")


def compute(curation: Curation) -> None:
    """The stage `features`."""
    extractor = curation.extractor
    _look_at_references(curation)
    with curation.state.transaction():
        curation.state.set("model", extractor.key)
        curation.state.set("dim", str(extractor.dim))
        curation.state.set("features", _options(curation))
        curation.state.set("features_by", json.dumps({"features": extractor.key}))
        curation.state.set("features_note", extractor.note)
    _extract(curation, extractor)


def owner(split: str, place: str) -> str:
    """The owner of a feature of the target set; that of a stored image is its hash."""
    return f"{split}:{place}"


def open_features(curation: Curation) -> Float16[np.ndarray, "rows dim"]:
    """The features of the model that the stage was run with.

    Raises:
        RunError: it has not been run, or with another model than this command names.
    """
    key, dim = curation.state.setting("model"), curation.state.setting("dim")
    if key is None or dim is None:
        raise RunError("features of the images", "none yet", "run do=features first, or do=run for all stages")
    if curation.state.setting("features") != _options(curation):
        raise RunError("the features= of this command", f"those of {key}", "give the same, or run do=features first")
    return _file(curation, key, int(dim)).rows()


def _options(curation: Curation) -> str:
    config = curation.config.features
    options = {key: value for key, value in asdict(config).items() if key != "batch"}
    return json.dumps([type(config).__name__, options], sort_keys=True)


def feature_rows(curation: Curation, owners: Sequence[str]) -> Int64[np.ndarray, " owners"]:
    """Their rows in the file of features.

    Raises:
        RunError: images came since the stage was run.
    """
    rows = dict(curation.state.rows("SELECT owner, row FROM feature WHERE model = ?", curation.state.setting("model")))
    found = [rows.get(name, -1) for name in owners]
    if missing := found.count(-1):
        raise RunError(f"features of {len(found):,} images", f"none of {missing:,}", "run do=features first, or do=run")
    return np.array(found, np.int64)


def _look_at_references(curation: Curation) -> None:
    """Keep what tells copies of the target's images, of all that are not known yet.

    Raises:
        RunError: some were not decoded for want of memory: without them copies would be missed.
    """
    state, target, undecoded = curation.state, curation.target, list[str]()
    for split in SPLITS:
        index = getattr(target, split)
        if index is None:
            continue
        known = {place for (place,) in state.rows("SELECT place FROM reference WHERE split = ?", split)}
        label_of = dict(zip(index.paths(), index.labels.tolist(), strict=True))
        new = sorted(label_of.keys() - known)
        work, done = partial(_reference, read=target.place.images.read), 0
        with closing(side_by_side(work, new, curation.workers, died=None)) as chunks, Bar(f"{split} images") as bar:
            for chunk in chunks:
                with state.transaction():
                    state.write(
                        "INSERT INTO reference VALUES (?, ?, ?, ?, ?, ?, ?)",
                        [(place, split, label_of[place], *found) for place, found in chunk if found is not None],
                    )
                undecoded += [place for place, found in chunk if found is None]
                done += len(chunk)
                bar.show(done, len(new))
                curation.stop.answer()
    if undecoded:
        raise RunError(
            "all images of the target set, or copies of them are missed",
            f"{len(undecoded):,} were not decoded, for want of memory or since the decoder died: {some(undecoded, 3)}",
            "run the same command again, with more memory or workers=1; mend an image that it happens to again",
        )


def _extract(curation: Curation, extractor: Extractor) -> None:
    state, key = curation.state, extractor.key
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
    (curation.folder / FEATURES).mkdir(exist_ok=True)
    file, batch, done = _file(curation, key, extractor.dim), curation.config.features.batch, 0
    with Bar("features") as bar:
        for features in extractor.of(_decoded(to_do), batch):
            first = file.append(features)
            block = to_do[done : done + len(features)]
            with state.transaction():
                state.write(
                    "INSERT INTO feature VALUES (?, ?, ?)",
                    [(key, name, first + place) for place, (name, _) in enumerate(block)],
                )
            done += len(block)
            bar.show(done, len(to_do))
            curation.stop.answer()


def _file(curation: Curation, key: str, dim: int) -> FeatureFile:
    """The features of a model; what a killed start wrote beyond those that the state knows is cut off."""
    committed = curation.state.one("SELECT coalesce(max(row) + 1, 0) FROM feature WHERE model = ?", key)
    return FeatureFile(curation.folder / FEATURES / f"{key}.f16", dim, committed)


class Reference(NamedTuple):
    """What is kept of an image of the target set, or why it cannot be read."""

    content: bytes | None
    thumbnail: bytes | None
    deviation: float | None
    reason: str | None


def _reference(place: str, *, read: Callable[[str], bytes]) -> Reference | None:
    """None where there is no memory for it now."""
    try:
        return Reference(*look(EncodedImage(place, read(place))), None)
    except (NoMemory, MemoryError):
        return None
    except UnreadableImage as error:
        return Reference(None, None, None, error.reason)


def _decoded(images: Sequence[tuple[str, Callable[[], bytes]]]) -> Iterator[Image.Image]:
    for name, read in images:
        try:
            yield decode_rgb(name, data=read())
        except (NoMemory, MemoryError) as error:
            raise RunError("memory for an image", f"none to decode {name}", "free some, and run it again") from error
        except (OSError, UnreadableImage) as error:
            raise RunError(
                f"an image that could be read before: {name}",
                str(error),
                "mend or copy it again (do=verify looks at all)",
            ) from error
