"""What is wrong with lists: that they cannot be read, labels, classes without images, files that are not there."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from lt_extrap.data.inventory import Inventory
from lt_extrap.data.layout import why_missing
from lt_extrap.findings.finding import Case, Finding, Severity, counted, of_rows


def find_list_faults(inventory: Inventory, missing: Sequence[int], *, allow_empty: bool) -> Iterator[Finding]:
    """Everything that training would refuse, list by list, and rows that stand in a list twice.

    Args:
        inventory: the rows.
        missing: positions of the paths that are not there.
        allow_empty: whether classes may have no training images.
    """
    for what, error in inventory.refused:
        summary = f"the file of {what} cannot be read" if "names" in what else f"the {what} list cannot be read"
        yield Finding(Severity.ERROR, "list", summary, error.remedy, (Case((), error.found),))
    yield from _labels(inventory)
    yield from _empty(inventory, allow_empty)
    yield from _missing(inventory, missing)
    yield from _repeated(inventory)


def _labels(inventory: Inventory) -> Iterator[Finding]:
    labels, auxiliary = inventory.rows.labels, inventory.named("auxiliary")
    for kind, rows, classes in (("target", ~auxiliary, inventory.names), ("auxiliary", auxiliary, inventory.auxiliary)):
        wrong = np.flatnonzero(rows & (labels >= len(classes)))
        if len(wrong):
            yield Finding(
                Severity.ERROR,
                "labels",
                f"{counted(len(wrong), 'image has a label', 'images have labels')} outside of 0..{len(classes) - 1}, "
                f"the {kind} classes",
                "labels start at 0; check that list and class names belong together",
                of_rows(inventory, wrong.tolist()),
            )


def _empty(inventory: Inventory, allow_empty: bool) -> Iterator[Finding]:
    if "train" not in inventory.splits:
        return
    classes = len(inventory.names)
    counts = {name: _count(inventory, name) for name in ("train", "val", "test")}
    empty = np.flatnonzero(counts["train"] == 0)
    if len(empty):
        tested = counts["val"] + counts["test"]
        cases = [
            Case((), inventory.class_name(label) + f", {counted(int(tested[label]), 'image')} to measure it on")
            for label in sorted(empty.tolist(), key=lambda label: -tested[label])
        ]
        left_out = int((inventory.counts[empty] > 0).sum())
        yield Finding(
            Severity.NOTE if allow_empty else Severity.ERROR,
            "empty",
            f"{len(empty):,} of {counted(classes, 'class', 'classes')} without training images"
            + (f", {left_out:,} because of target.exclude" if left_out else ""),
            "mend the list, or set target.allow_empty=true to leave them out of the prior and report them as zero",
            tuple(cases),
        )
    if "test" in inventory.splits and len(untested := np.flatnonzero(counts["test"] == 0)):
        yield Finding(
            Severity.WARNING,
            "untested",
            f"{len(untested):,} of {counted(classes, 'class', 'classes')} without test images",
            "no accuracy can tell how well these are recognised",
            tuple(Case((), inventory.class_name(label)) for label in untested.tolist()),
        )


def _count(inventory: Inventory, split: str) -> Int64[np.ndarray, " target"]:
    labels = inventory.rows.labels[inventory.named(split)]
    return np.bincount(labels[labels < len(inventory.names)], minlength=len(inventory.names)).astype(np.int64)


def _missing(inventory: Inventory, missing: Sequence[int]) -> Iterator[Finding]:
    absent = np.isin(inventory.path_of, missing)
    for split in inventory.splits:
        rows = np.flatnonzero(absent & inventory.named(split))
        if len(rows):
            yield Finding(
                Severity.ERROR,
                "missing",
                f"{len(rows):,} of {counted(int(inventory.named(split).sum()), 'image')} of the {split} list are not "
                f"below {inventory.place.images}",
                why_missing(inventory.rows.select(rows), inventory.place.images, inventory.package)
                + "; correct target.images, or the list",
                of_rows(inventory, rows.tolist()),
            )


def _repeated(inventory: Inventory) -> Iterator[Finding]:
    keys = np.stack([inventory.path_of, inventory.split.astype(np.int64), inventory.classes])
    _, first = np.unique(keys, axis=1, return_index=True)
    again = np.ones(len(inventory.rows), bool)
    again[first] = False
    for split in inventory.splits:
        rows = np.flatnonzero(again & inventory.named(split))
        if len(rows):
            yield Finding(
                Severity.WARNING,
                "repeated",
                f"{counted(len(rows), 'row')} of the {split} list repeat an image with its label",
                "every row counts, for shots and for accuracy; remove them unless that is meant",
                of_rows(inventory, rows.tolist()),
            )
