"""Which images train, which select and which test, where their owner has not said so."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

LEAST = 5  # images of a class that is evaluated; of fewer none can be spared


def ties(*marks: Sequence[Hashable | None]) -> list[int]:
    """What belongs together: items that share a mark do, and so do those that share one with a common third.

    Args:
        marks: of each item, of one kind such as a group; None = it shares this one with nobody.

    Returns:
        For each item the first of those that it belongs to.
    """
    above = list(range(len(marks[0])))

    def first(item: int) -> int:
        while above[item] != item:
            above[item] = above[above[item]]
            item = above[item]
        return item

    for of_kind in marks:
        met: dict[Hashable, int] = {}
        for item, mark in enumerate(of_kind):
            if mark is not None:
                low, high = sorted((first(met.setdefault(mark, item)), first(item)))
                above[high] = low
    return [first(item) for item in range(len(above))]


def assign(labels: Sequence[Hashable], units: Sequence[str], *, fractions: Mapping[str, float], seed: int) -> list[str]:
    """Give each image to a split.

    A class of n >= 5 images wants round(fraction * n) of them, and at least one, in each split; a smaller one none.
    Units come in an order drawn from the seed and their names alone, so that further images move few others. A unit
    goes to the first split that it brings nearer to what its classes want, if it leaves each of them a training
    image; else it is trained on.

    Args:
        labels: class of each image.
        units: name of each image's unit; the images of a unit stay together.
        fractions: of the images that each split shall have, 0..1, in the order in which the splits choose.
        seed: of the order.

    Returns:
        The split of each image: a key of `fractions`, or `train`.
    """
    sizes = Counter(labels)
    wanted = {
        split: {label: max(1, round(fraction * n)) if n >= LEAST else 0 for label, n in sizes.items()}
        for split, fraction in fractions.items()
    }
    trained = sizes.copy()
    members: dict[str, list[int]] = defaultdict(list)
    for image, unit in enumerate(units):
        members[unit].append(image)
    result = ["train"] * len(labels)
    for unit in sorted(members, key=lambda unit: hashlib.sha256(f"{seed} {unit}".encode()).digest()):
        brought = Counter(labels[image] for image in members[unit])
        if any(trained[label] <= n for label, n in brought.items()):
            continue
        for split, missing in wanted.items():
            if sum(abs(missing[label] - n) - abs(missing[label]) for label, n in brought.items()) < 0:
                for label, n in brought.items():
                    missing[label] -= n
                    trained[label] -= n
                for image in members[unit]:
                    result[image] = split
                break
    return result
