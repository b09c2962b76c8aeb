"""Decide which images are kept, from what the stages before have found; nothing is read or computed again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lt_extrap.keys import Stream, hash64

# The order of the splits in which a copy is told: what is measured on first.
_COPIES = {"test": "copy_of_test", "val": "copy_of_val", "train": "copy_of_train"}


@dataclass
class Choice:
    """An image that a class may keep.

    Attributes:
        key: of the class.
        sha256: of the image.
        place: in the order of the source, 0 = its best.
        reason: why it is dropped; None as long as it is not.
        because: more of the reason.
        cosines: to the prototypes of the class's targets, by label.
    """

    key: str
    sha256: str
    place: int
    reason: str | None = None
    because: str | None = None
    cosines: dict[int, float] = field(default_factory=dict)

    def drop(self, reason: str, because: str | None = None) -> None:
        """Drop it, if it has not been dropped for something else."""
        if self.reason is None:
            self.reason, self.because = reason, because


def cap(choices: Sequence[Choice], most: int, seed: int) -> None:
    """Drop all but so many of the kept images of each class.

    Which ones is a function of (seed, image): images that are added later push out only as many as they are.
    """
    kept = defaultdict[str, list[Choice]](list)
    for choice in choices:
        if choice.reason is None:
            kept[choice.key].append(choice)
    for of_class in kept.values():
        numbers = np.array([int(choice.sha256[:15], 16) for choice in of_class], np.int64)
        draws = np.asarray(hash64(Stream.CURATE, seed, numbers))
        order = sorted(range(len(of_class)), key=lambda i: (int(draws[i]), of_class[i].sha256))
        for i in order[most:]:
            of_class[i].drop("more_than_asked")


def drop_copies(choices: Sequence[Choice], copies: Mapping[tuple[str, str], str]) -> None:
    """Drop what is a near-copy of an image of the target set.

    Args:
        choices: all images.
        copies: place of the image of the target set, by (image, split).
    """
    for choice in choices:
        for split, reason in _COPIES.items():
            if (of := copies.get((choice.sha256, split))) is not None:
                choice.drop(reason, of)


def drop_duplicates(choices: Sequence[Choice], pairs: Mapping[str, Sequence[str]]) -> None:
    """Of near-copies of one another keep the one whose class is nearest to a target, then the source's best.

    A copy of a copy is dropped only if it is a copy of one that is kept: there are no chains.
    """
    of_image = defaultdict[str, list[Choice]](list)
    for choice in choices:
        if choice.reason is None:
            of_image[choice.sha256].append(choice)
    alive = [choice for of in of_image.values() for choice in of]
    alive.sort(key=lambda c: (-max(c.cosines.values(), default=0.0), c.key, c.place, c.sha256))
    kept: dict[str, str] = {}
    for choice in alive:
        same = next((other for other in (choice.sha256, *pairs.get(choice.sha256, ())) if other in kept), None)
        if same is None:
            kept[choice.sha256] = choice.key
        else:
            choice.drop(
                "duplicate" if kept[same] == choice.key else "duplicate_of_another_class", f"{kept[same]}/{same}"
            )
