"""How often the 95 % intervals of a report hold the true difference, on simulated runs of which it is known.

    python -m benchmarks.coverage [experiments of each row = 200]

Prints the table of docs/reports.md. A width of 1 is that of an interval which knows how far experiments spread.
"""

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lt_extrap.uncertainty import TestImages, intervals

DIFFERENCE = 0.03
RESAMPLES = 500


class Setting(NamedTuple):
    """Classes of each group, test images of a class, seeds, and the standard deviation of their differences."""

    groups: tuple[int, ...]
    per_class: int
    seeds: int
    between: float

    def images(self) -> TestImages:
        """The test images of it."""
        return TestImages(
            np.full(sum(self.groups), self.per_class), np.repeat(np.arange(len(self.groups)), self.groups)
        )


SETTINGS = (
    *(Setting((20, 22, 18), 50, seeds, between) for between in (0.0, 0.02, 0.05) for seeds in (2, 3, 5, 10)),
    Setting((20, 22, 18), 50, 1, 0.0),
    *(Setting((10, 10, 10), 3, seeds, 0.02) for seeds in (3, 10)),
    *(Setting((8, 10, 6), 20, seeds, 0.02) for seeds in (3, 10)),
)


def simulated(
    rng: np.random.Generator,
    images: TestImages,
    seeds: int,
    difference: float,
    *,
    classes: float = 0.05,
    hard: float = 0.1,
    between: float = 0.02,
) -> Float[np.ndarray, "seeds images"]:
    """Right minus right of two rows: a true difference, and effects of class, image and seed of these deviations."""
    total = int(images.sizes.sum())

    def effect(deviation: float, count: int | tuple[int, int]) -> np.ndarray:
        return np.asarray(deviation * math.sqrt(3) * rng.uniform(-1, 1, count))

    base = 0.3 + 0.4 * rng.random(total)
    shift = difference + effect(classes, len(images.sizes))[images.classes] + effect(hard, total)
    shift = shift + effect(between, (seeds, 1))
    one, other = (rng.random((seeds, total)) < base + sign * shift / 2 for sign in (1, -1))
    return one.astype(float) - other


def measured(setting: Setting, experiments: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of the overall accuracy and each group: how often intervals hold the difference (0..1), and how wide they are."""
    images, rng = setting.images(), np.random.default_rng(seed)
    ends, means = [], []
    for experiment in range(experiments):
        differences = simulated(rng, images, setting.seeds, DIFFERENCE, between=setting.between)
        ends.append(intervals([differences], images, resamples=RESAMPLES, seed=experiment)[0])
        of_class = images.class_means(differences).mean(axis=0)
        means.append([of_class.mean(), *(of_class[of].mean() for of in images.members())])
    low, high = np.moveaxis(np.array(ends), -1, 0)
    held = (low <= DIFFERENCE) & (high >= DIFFERENCE)
    return held.mean(axis=0), (high - low).mean(axis=0) / (2 * 1.96 * np.std(means, axis=0))


def table(experiments: int) -> Iterator[str]:
    """The lines of it, each as soon as it is known."""
    yield "| classes | images of each | seeds | they differ by | held: overall | groups | width |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for setting in SETTINGS:
        held, width = measured(setting, experiments)
        yield (
            f"| {' + '.join(map(str, setting.groups))} | {setting.per_class} | {setting.seeds} | "
            f"{100 * setting.between:.0f} points | {held[0]:.0%} | {', '.join(f'{one:.0%}' for one in held[1:])} | "
            f"{width[0]:.1f} |"
        )


if __name__ == "__main__":
    for line in table(int(sys.argv[1]) if sys.argv[1:] else 200):
        print(line, flush=True)
