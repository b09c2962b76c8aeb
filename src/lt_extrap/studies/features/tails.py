"""Tail images, and what the tokens of two runs say of them (paper, Fig. 6)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from lt_extrap.studies.features.components import Components, colored
from lt_extrap.studies.features.opened import Images, OpenedRun

_COARSE = 7  # places a side below which no object has a shape


@dataclass(frozen=True)
class Colored:
    """Tail images and the components of their tokens.

    Attributes:
        names: of their classes.
        split: the list that they are of.
        shown: as the baseline's network sees them.
        baseline, ours: components of what their networks say of it; see `patch_tokens`.
    """

    names: tuple[str, ...]
    split: str
    shown: UInt8[np.ndarray, "images size size 3"]
    baseline: Components
    ours: Components

    @property
    def notices(self) -> list[str]:
        """What a reader has to know."""
        found = []
        for name, parts in (("baseline", self.baseline), ("ours", self.ours)):
            rows, columns = parts.foreground.shape[1:]
            about = f"tokens, {name}: threshold {parts.threshold:.2f} standard deviations of the first component"
            found.append(f"{about}; the three colors have {parts.explained:.0%} of the foreground's variance")
            if min(rows, columns) < _COARSE:
                found.append(f"tokens, {name}: {rows} x {columns} places an image are too coarse to show an object")
            if parts.whole:
                which = ", ".join(f"{i + 1} ({self.names[i]})" for i in parts.whole)
                found.append(f"tokens, {name}: below the threshold whole, so that nothing is removed: images {which}")
        return found


def tail_images(images: Images, tails: Int64[np.ndarray, " tails"], count: int) -> Images:
    """So many images of tail classes: the first of classes that are evenly spread, then the second of each, ...

    Args:
        images: of any classes.
        tails: labels.
        count: at least 1.
    """
    rows = np.flatnonzero(np.isin(images.index.labels, tails))
    labels = images.index.labels[rows]
    order = np.argsort(labels, kind="stable")
    place = np.empty(len(rows), np.int64)  # of each among those of its class
    place[order] = np.arange(len(rows)) - np.searchsorted(labels[order], labels[order])
    rows = rows[np.lexsort((labels, place))]
    first = int((place == 0).sum())
    if count < first:
        return images.select(rows[np.linspace(0, first - 1, count).round().astype(np.int64)])
    return images.select(rows[:count])


def color_tails(baseline: OpenedRun, ours: OpenedRun, images: Images) -> Colored | None:
    """Color the tokens of images by both networks, each by components of its own; None: there is no image.

    Raises:
        ConfigError: a network says nothing of places.
        DataError: an image cannot be read.
    """
    if len(images) == 0:
        return None
    shown, of_baseline = baseline.tokens(images)
    _, of_ours = ours.tokens(images)
    names = tuple(baseline.name(int(label)) for label in images.index.labels)
    return Colored(names, baseline.unseen_name, shown, colored(of_baseline), colored(of_ours))
