"""What a run made of each test image, as its per_class.csv has it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int8, Int64

from lt_extrap.errors import RunError
from lt_extrap.runs import PER_CLASS, read_table


@dataclass(frozen=True)
class Outcomes:
    """The target classes of a run, in the order of their labels.

    Attributes:
        ids, names, shots: of each class.
        train_images, test_images: how many each has.
        accuracy: 0..1; NaN for a class without test images.
        right: 1 for each test image that is recognised, else 0, in the order of classes and lists; None in files of
            older versions.
        to_auxiliary, to_neighbors: test images of each class whose highest logit over all columns is that of an
            auxiliary class, of one of its neighbors; None in files of older versions.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    shots: tuple[str, ...]
    train_images: Int64[np.ndarray, " classes"]
    test_images: Int64[np.ndarray, " classes"]
    accuracy: Float64[np.ndarray, " classes"]
    right: Int8[np.ndarray, " images"] | None
    to_auxiliary: Int64[np.ndarray, " classes"] | None
    to_neighbors: Int64[np.ndarray, " classes"] | None

    def of_same_images(self, other: "Outcomes") -> bool:
        """Whether another run was tested on as many images of the same classes, by what the file tells."""
        return (
            self.ids == other.ids
            and self.shots == other.shots
            and bool(np.array_equal(self.test_images, other.test_images))
        )

    def minus(self, other: "Outcomes") -> Float64[np.ndarray, " images"] | None:
        """Points of each test image over another run on the same images: 100, 0 or -100; None where one has none."""
        if self.right is None or other.right is None:
            return None
        points: Float64[np.ndarray, " images"] = 100.0 * (self.right.astype(np.float64) - other.right)
        return points


def read_outcomes(run: Path) -> Outcomes | None:
    """Read per_class.csv of a run; None where there is none.

    Raises:
        RunError: it is not what a run writes.
    """
    file = run / PER_CLASS
    if not file.is_file():
        return None
    rows = read_table(file)
    try:

        def counts(column: str) -> Int64[np.ndarray, " classes"]:
            return np.array([int(row[column]) for row in rows], dtype=np.int64)

        whole = bool(rows) and {"right", "to_auxiliary", "to_neighbors"} <= rows[0].keys()
        tested, right = counts("test_images"), None
        if whole:
            if any(len(row["right"]) != images for row, images in zip(rows, tested.tolist(), strict=True)):
                raise ValueError("a digit for each test image in the column right")
            digits = np.frombuffer("".join(row["right"] for row in rows).encode(), dtype=np.int8) - ord("0")
            if not np.isin(digits, (0, 1)).all():
                raise ValueError("0 or 1 in the column right")
            right = digits
        return Outcomes(
            ids=tuple(row.get("id") or row["class"] for row in rows),
            names=tuple(row["name"] for row in rows),
            shots=tuple(row["shot"] for row in rows),
            train_images=counts("train_images"),
            test_images=tested,
            accuracy=np.array([float(row["accuracy"] or "nan") for row in rows]),
            right=right,
            to_auxiliary=counts("to_auxiliary") if whole else None,
            to_neighbors=counts("to_neighbors") if whole else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(
            f"the classes of a run in {file}", f"{type(error).__name__}: {error}", "copy the whole run folder again"
        ) from None
