"""Class folders, the last folder of an image's path, where they are ids of classes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from lt_extrap.data.lists import SampleIndex
from lt_extrap.errors import DataError, some


class Disagreement(NamedTuple):
    """Images that one class owns by their label, and another by their folder.

    Attributes:
        label, id: of the class by label.
        folder: the id of the other class.
        images: how many.
    """

    label: int
    id: str
    folder: str
    images: int


def folders_against_ids(index: SampleIndex, ids: Sequence[str]) -> list[Disagreement]:
    """Where class folders are ids of other classes than the labels say, by label; folders that are no id say nothing.

    Args:
        index: samples with labels 0..len(ids)-1.
        ids: of the classes, in the order of their labels.
    """
    known = set(ids)
    return [
        Disagreement(label, ids[label], folder, images)
        for (label, folder), images in sorted(_folders(index).items())
        if folder in known and folder != ids[label]
    ]


def check_folders(index: SampleIndex, ids: Sequence[str], file: Path) -> None:
    """Refuse a list whose class folders are ids of other classes than the labels say (see `folders_against_ids`)."""
    wrong = folders_against_ids(index, ids)
    if wrong:
        first = wrong[0]
        raise DataError(
            f"labels and class folders in {file} that are of the same class",
            f"label {first.label}, which is {first.id} by the class names, of {first.images} images in the folder "
            f"{first.folder}; {len(wrong) - 1} more such folders",
            "give lists and class names of one numbering (target.names_by=folder takes that of the training folders)",
        )


def rows_of_folders(index: SampleIndex, ids: Sequence[str], file: Path) -> Int64[np.ndarray, " target"]:
    """The position in `ids` of the class folder of each label.

    Args:
        index: samples with labels 0..len(ids)-1.
        ids: of the classes, in any order.
        file: the list, for the message.

    Raises:
        DataError: a label without images or with several folders, two labels with one folder, or a folder that is
            no id.
    """
    position = {id: row for row, id in enumerate(ids)}
    found = sorted(_folders(index))
    labels, folders = [label for label, _ in found], [folder for _, folder in found]
    if labels != list(range(len(ids))) or sorted(folders) != sorted(ids):
        of_label, of_folder = Counter(labels), Counter(folders)
        no = [f"no image of label {label}" for label in range(len(ids)) if label not in of_label]
        wrong = [
            f"label {label} in {folder!r}"
            for label, folder in found
            if folder not in position or of_label[label] > 1 or of_folder[folder] > 1
        ]
        raise DataError(
            f"a folder for each of {len(ids)} labels in {file}, the id of a class",
            some(wrong + no),
            "give the class names of this list, or set target.names_by=label if they are in the order of the labels",
        )
    return np.array([position[folder] for folder in folders], np.int64)


def _folders(index: SampleIndex) -> Counter[tuple[int, str]]:
    """Images of each label and class folder."""
    return Counter(
        (label, path.rpartition("/")[0].rpartition("/")[2])
        for label, path in zip(index.labels.tolist(), index.paths(), strict=True)
    )
