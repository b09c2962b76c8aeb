"""How long the tail is, and how small a difference the test images can show."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from lt_extrap.data.target import ClassTable, TargetSet
from lt_extrap.model.shots import Shot
from lt_extrap.studies.diagnose.statement import Statement, unknown

PART = "The long tail"
TEST_PART = "What the test images can show"
GROUPS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)
_DEVIATIONS = 1.959964 + 0.841621  # two-sided 5 %, power 80 %


def tail(target: TargetSet) -> Iterator[Statement]:
    """Classes and images by group, the imbalance, and how the images are spread over the classes."""
    classes, source = target.classes, f"the training list {target.files['train']}"
    counts, shots = classes.counts, np.array(classes.shots)
    total = int(counts.sum())
    of = {shot: (int((shots == shot).sum()), int(counts[shots == shot].sum())) for shot in GROUPS}
    yield Statement(
        PART,
        "shots",
        f"{len(classes):,} classes with {total:,} training images: "
        + ", ".join(f"{n:,} {shot} with {images:,} ({images / total:.1%})" for shot, (n, images) in of.items()),
        source,
        {f"{shot}_classes": n for shot, (n, _) in of.items()} | {f"{shot}_images": n for shot, (_, n) in of.items()},
    )
    seen = counts[counts > 0]
    yield Statement(
        PART,
        "imbalance",
        f"imbalance factor {seen.max() / seen.min():,.4g}: {seen.max():,} images of the largest class, "
        f"{seen.min():,} of the smallest",
        source,
        {"imbalance": float(seen.max() / seen.min()), "largest": int(seen.max()), "smallest": int(seen.min())},
    )
    top = max(1, round(len(seen) / 10))
    share, inequality = float(np.sort(seen)[-top:].sum() / total), gini(seen)
    yield Statement(
        PART,
        "spread",
        f"Gini coefficient {inequality:.2f} (0 = all classes alike); the largest {top:,} of {len(seen):,} classes have "
        f"{share:.0%} of the images",
        source,
        {"gini": inequality, "top_classes": top, "top_share": share},
    )
    if empty := _named(classes, np.flatnonzero(counts == 0)):
        yield Statement(
            PART,
            "empty",
            f"{len(empty):,} classes have no training image, and are in no number above but that of classes "
            f"({_some(empty)}): training refuses them unless target.allow_empty=true",
            source,
            {"empty": len(empty)},
        )
    if not of[Shot.FEW][0] and not of[Shot.MEDIUM][0]:
        yield Statement(
            PART,
            "no_tail",
            f"every class has more than 100 images: 0 of {len(classes):,} are in the tail that the method is for",
            source,
            {"tail_classes": 0},
        )


def test_images(target: TargetSet) -> Iterator[Statement]:
    """Test images a class, and the difference of an accuracy that they can show."""
    source = f"the test list {target.files['test']}"
    classes = target.classes
    images = np.bincount(target.test.labels, minlength=len(classes))
    tested = images[images > 0]
    untested = _named(classes, np.flatnonzero(images == 0))
    yield Statement(
        TEST_PART,
        "test_images",
        f"{span(tested)} test images a class, median {np.median(tested):g}"
        + (f"; {len(untested):,} classes have none and are in no accuracy ({_some(untested)})" if untested else ""),
        source,
        {
            "smallest": int(tested.min()),
            "median": float(np.median(tested)),
            "largest": int(tested.max()),
            "untested": len(untested),
        },
    )
    shots = np.array(classes.shots)
    median = float(np.median(tested))
    found = {"class": detectable(np.array([median]))} | {
        str(shot): detectable(images[(shots == shot) & (images > 0)].astype(np.float64))
        for shot in GROUPS
        if ((shots == shot) & (images > 0)).any()
    }
    found["overall"] = detectable(tested.astype(np.float64))
    yield Statement(
        TEST_PART,
        "detectable",
        f"a gain of one class is told from chance from {_points(found['class'])} points on (two runs, accuracy near "
        "50 %, 5 % two-sided, power 80 %), of a group's mean from "
        + ", ".join(f"{_points(points)} ({name})" for name, points in found.items() if name != "class")
        + "; less where two runs err on the same images, more by what seeds differ",
        f"{source}; two independent binomial proportions",
        {f"points_{name}": points for name, points in found.items()},
    )
    if target.val is None:
        yield unknown(
            TEST_PART, "validation", "there is no validation list", "set target.val; else the last weights count"
        )
    else:
        held = np.bincount(target.val.labels, minlength=len(classes))
        yield Statement(
            TEST_PART,
            "validation",
            f"{span(held)} validation images a class: weights can be selected",
            f"the validation list {target.files['val']}",
            {"smallest": int(held.min()), "largest": int(held.max())},
        )


def gini(counts: Int64[np.ndarray, " classes"]) -> float:
    """The Gini coefficient, 0..1: half the mean difference of two classes, as a part of the mean."""
    ascending = np.sort(counts)
    places = np.arange(1, len(counts) + 1)
    return float((2 * places - len(counts) - 1) @ ascending / (len(counts) * ascending.sum()))


def detectable(images: Float64[np.ndarray, " classes"], accuracy: float = 0.5) -> float:
    """The difference of two mean accuracies that a test finds with power 80 % at 5 %, two-sided, in points.

    Args:
        images: test images of each class that the mean is over, at least 1.
        accuracy: near which it is, 0..1.
    """
    variance = 2 * accuracy * (1 - accuracy) * float((1 / images).sum()) / len(images) ** 2
    return 100 * _DEVIATIONS * math.sqrt(variance)


def span(numbers: Int64[np.ndarray, " classes"]) -> str:
    """The smallest and the largest of some numbers, or the one that all are."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _points(points: float) -> str:
    return f"{points:.1f}" if points < 100 else "more than 100, which is never"


def _named(classes: ClassTable, labels: Int64[np.ndarray, " chosen"]) -> list[str]:
    return [classes.names[label] for label in labels]


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
