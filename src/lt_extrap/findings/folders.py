"""Labels and class names against the folders of the images."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from lt_extrap.data.inventory import Inventory
from lt_extrap.data.spelling import plain
from lt_extrap.findings.finding import Case, Finding, Severity, counted, sample

_ORDERLY = 0.8  # share of images whose folder tells the label, and whose label tells the folder
_DEPTH = 4  # folders above an image that may be that of its class


@dataclass(frozen=True)
class ClassFolders:
    """The folders that tell the classes of a target.

    Attributes:
        rows: rows of the inventory that are of the target.
        folder: for each of these rows, the name of its folder.
        label_of: the label of most images of a folder.
        folder_of: the folder of most images of a label.
    """

    rows: Int64[np.ndarray, " rows"]
    folder: list[str]
    label_of: dict[str, int]
    folder_of: dict[int, str]


def class_folders(inventory: Inventory) -> ClassFolders | None:
    """Find the level of folders that tells the classes; None if there is none, as with all images in one folder."""
    parents = {
        split: [inventory.rows.path(row).split("/")[:-1] for row in np.flatnonzero(inventory.named(split))]
        for split in inventory.splits
        if split != "auxiliary"
    }
    best, best_order = None, _ORDERLY
    for depth in range(1, _DEPTH + 1):
        at = {split: [parts[-depth] if len(parts) >= depth else "" for parts in of] for split, of in parents.items()}
        told = [split for split, names in at.items() if len(set(names)) > 1]  # a list in one folder says nothing
        rows = np.flatnonzero(inventory.named(*told))
        labels = inventory.rows.labels[rows].tolist()
        folder = [name for split in told for name in at[split]]
        pairs = Counter(zip(folder, labels, strict=True))
        by_folder, by_label = defaultdict[str, Counter[int]](Counter), defaultdict[int, Counter[str]](Counter)
        for (name, label), count in pairs.items():
            by_folder[name][label] += count
            by_label[label][name] += count
        if len(by_folder) < 2:
            continue
        label_of = {name: counts.most_common(1)[0][0] for name, counts in by_folder.items()}
        folder_of = {label: counts.most_common(1)[0][0] for label, counts in by_label.items()}
        order = min(
            sum(counts[label_of[name]] for name, counts in by_folder.items()),
            sum(counts[folder_of[label]] for label, counts in by_label.items()),
        ) / len(rows)
        if order >= best_order and (best is None or order > best_order):
            best, best_order = ClassFolders(rows, folder, label_of, folder_of), order
    return best


def find_disorder(inventory: Inventory, folders: ClassFolders | None) -> Iterator[Finding]:
    """Labels that disagree with folders, and class ids or names that are out of step with them."""
    if folders is None:
        return
    yield from _labels(inventory, folders)
    yield from _ids(inventory, folders)


def _labels(inventory: Inventory, folders: ClassFolders) -> Iterator[Finding]:
    labels = inventory.rows.labels[folders.rows].tolist()
    pairs: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, folder, label in zip(folders.rows.tolist(), folders.folder, labels, strict=True):
        pairs[folder, label].append(row)
    strange = {
        "folder_labels": {pair: rows for pair, rows in pairs.items() if folders.label_of[pair[0]] != pair[1]},
        "label_folders": {pair: rows for pair, rows in pairs.items() if folders.folder_of[pair[1]] != pair[0]},
    }
    for kind, odd in strange.items():
        if not odd:
            continue
        cases = tuple(
            Case(
                tuple(sample(inventory, row) for row in rows),
                f"folder {folder}: {len(rows):,} labelled {inventory.class_name(label)}; most are "
                + (
                    inventory.class_name(folders.label_of[folder])
                    if kind == "folder_labels"
                    else f"in {folders.folder_of[label]}"
                ),
            )
            for (folder, label), rows in odd.items()
        )
        owners = len({pair[kind == "label_folders"] for pair in odd})
        noun, what = (
            (("folder has", "folders have"), "images of several labels")
            if kind == "folder_labels"
            else (("class has", "classes have"), "images in several folders")
        )
        remedy = "check these labels; it may be meant, where classes were merged or split"
        yield Finding(Severity.WARNING, kind, f"{counted(owners, *noun)} {what}", remedy, cases)


def _ids(inventory: Inventory, folders: ClassFolders) -> Iterator[Finding]:
    """Class ids against folders, where folders are named after ids; else names, where they are named after these."""
    numbers = tuple(map(str, range(len(inventory.names))))
    for kind, severity, known in (
        ("ids", Severity.ERROR if inventory.ids != numbers else Severity.WARNING, inventory.ids),
        ("names", Severity.ERROR, tuple(map(plain, inventory.names))),
    ):
        spelled = {folder: folder if kind == "ids" else plain(folder) for folder in folders.label_of}
        if sum(folder in set(known) for folder in spelled.values()) < len(spelled) / 2:
            continue
        wrong = {
            label: folder
            for label, folder in sorted(folders.folder_of.items())
            if label < len(known) and spelled[folder] != known[label]
        }
        if wrong:
            counts = Counter(inventory.rows.labels[folders.rows].tolist())
            cases = tuple(
                Case(
                    (),
                    f"label {label}, id {inventory.ids[label]}, name {inventory.names[label]}: "
                    f"{counted(counts[label], 'image')} in the folder {folder}",
                )
                for label, folder in wrong.items()
            )
            yield Finding(
                severity,
                f"folder_{kind}",
                f"{counted(len(wrong), 'class lies', 'classes lie')} in the folder of another: its {kind[:-1]} is not "
                "that of its images",
                "put the class names in the order of the labels"
                if severity is Severity.ERROR
                else "the labels may be those of folders sorted as text (0, 1, 10, 2): check them",
                cases,
            )
        return
