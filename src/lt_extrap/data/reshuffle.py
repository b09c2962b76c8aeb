"""The same long tail over other classes: whether a result hangs on which classes happen to be the tail."""

import numpy as np
from jaxtyping import Int64

from lt_extrap.data.lists import SampleIndex
from lt_extrap.keys import Stream, generator


def reshuffled(train: SampleIndex, extra: SampleIndex, number: int, classes: int) -> tuple[SampleIndex, SampleIndex]:
    """Exchange the training counts of the classes among them, and draw that many images of each.

    A class gets its images from its own, and from its further ones where it becomes larger; as many as there are,
    where those are not enough: so the head is lower than before.

    Args:
        train: the training list, labels 0..classes-1.
        extra: further images of the same classes.
        number: of the exchange, at least 1; all of it is a function of this.
        classes: their number.

    Returns:
        The new training list and the images that are left over, each in the order of train and then extra.
    """
    pool = SampleIndex.concatenate([train, extra])
    counts = np.bincount(train.labels, minlength=classes)[generator(Stream.RESHUFFLE, number).permutation(classes)]
    drawn = np.zeros(len(pool), bool)
    for label, count in enumerate(counts.tolist()):
        own: Int64[np.ndarray, " own"] = np.flatnonzero(pool.labels == label)
        drawn[generator(Stream.RESHUFFLE, number, label).permutation(own)[:count]] = True
    return pool.select(np.flatnonzero(drawn)), pool.select(np.flatnonzero(~drawn))
