"""What a check found, as a page of text: the gravest first."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lt_extrap.data.inventory import Inventory
from lt_extrap.findings import Case, Findings, Sample, Severity
from lt_extrap.findings.finding import counted
from lt_extrap.model.shots import Shot, shot_of

LINES = 60
_CASES = ((3, 2, 1), (2, 1, 0), (1, 1, 0), (1, 0, 0), (0, 0, 0))  # cases shown of an error, a warning, a note
_SHOWN = 3  # classes at either end of the table
_WIDTH = 200  # letters of a line that tells a case


def page(inventory: Inventory, findings: Findings, absent: int, folder: Path) -> str:
    """The page, without a line end behind it.

    Args:
        inventory: what was checked.
        findings: what was found.
        absent: files that are not there.
        folder: where check.json and exclude.txt are.
    """
    numbers = [counted(len(findings.of(severity)), severity) for severity in Severity]
    head = [
        f"{', '.join(numbers)}" + ("" if findings.findings else ": nothing speaks against this data"),
        "",
        *_summary(inventory, absent),
    ]
    tail = ["", *_classes(inventory), "", *_files(inventory, findings, folder)]
    for limits in _CASES:
        body = [
            line for severity, most in zip(Severity, limits, strict=True) for line in _section(findings, severity, most)
        ]
        if len(head) + len(body) + len(tail) <= LINES:
            break
    return "\n".join([*head, *body, *tail])


def class_rows(inventory: Inventory) -> list[tuple[int, str, str, int, int, int, Shot]]:
    """For each target class its label, id, name, rows of the training, validation and test list, and group."""
    images = {split: [0] * len(inventory.names) for split in ("val", "test")}
    for split, counts in images.items():
        for label in inventory.rows.labels[inventory.named(split)].tolist():
            if label < len(counts):
                counts[label] += 1
    train = inventory.counts.tolist()
    columns = (inventory.ids, inventory.names, train, images["val"], images["test"], shot_of(train))
    return [(label, *row) for label, row in enumerate(zip(*columns, strict=True))]


def _summary(inventory: Inventory, absent: int) -> Iterator[str]:
    shots = shot_of(inventory.counts)
    sizes = ", ".join(f"{split} {int(inventory.named(split).sum()):,}" for split in inventory.splits)
    auxiliary = (
        f", {counted(len(inventory.auxiliary), 'auxiliary class', 'auxiliary classes')}" if inventory.auxiliary else ""
    )
    yield f"classes  {len(inventory.names):,}{auxiliary}"
    yield f"images   {sizes}" + (f"; {inventory.left_out:,} left out by target.exclude" if inventory.left_out else "")
    groups = ", ".join(f"{shots.count(shot):,} {shot}" for shot in Shot if shot is not Shot.ZERO or shot in shots)
    trained = inventory.counts[inventory.counts > 0]
    if len(trained):
        largest, smallest = int(trained.max()), int(trained.min())
        groups += f"; {largest:,} down to {smallest:,} images, imbalance factor {largest / smallest:,.4g}"
    yield f"shots    {groups}"
    yield f"files    {len(inventory.paths) - absent:,} of {len(inventory.paths):,} are below {inventory.place.images}"
    for note in inventory.place.notes:
        yield f"         {note}"


def _section(findings: Findings, severity: Severity, most: int) -> Iterator[str]:
    found = findings.of(severity)
    if found:
        yield ""
        yield f"{severity}s".upper()
    for finding in found:
        yield f"- {finding.summary}"
        for case in finding.cases[:most]:
            yield f"    {_told(case)}"
        if most and len(finding.cases) > most:
            yield f"    and {len(finding.cases) - most:,} more"
        if finding.remedy:
            yield f"  > {finding.remedy}"


def _told(case: Case) -> str:
    """A case in a line; of many copies the first."""
    samples = " = ".join(_sample(sample) for sample in case.samples[:3])
    more = f" and {len(case.samples) - 3:,} more" if len(case.samples) > 3 else ""
    detail = case.detail if len(case.samples) != 1 or not case.detail else f": {case.detail}"
    text = (
        f"{samples}{more}{detail}" if len(case.samples) <= 1 or not case.detail else f"{case.detail}; {samples}{more}"
    )
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def _sample(sample: Sample) -> str:
    return f"{sample.split} {sample.path} [{sample.name}]"


def _classes(inventory: Inventory) -> Iterator[str]:
    rows = sorted(class_rows(inventory), key=lambda row: -row[3])
    shown = rows if len(rows) <= 2 * _SHOWN else [*rows[:_SHOWN], *rows[-_SHOWN:]]
    cells = [("label", "id", "train", "val", "test", "shot", "name")]
    cells += [
        (str(label), id_, f"{train:,}", f"{val:,}", f"{test:,}", shot, name)
        for label, id_, name, train, val, test, shot in shown
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for number, row in enumerate(cells):
        if number == _SHOWN + 1 and len(shown) < len(rows):
            yield "..."
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _files(inventory: Inventory, findings: Findings, folder: Path) -> Iterator[str]:
    yield f"every case, and all classes: {folder / 'check.json'}"
    if findings.exclude:
        file = (folder / "exclude.txt").resolve()
        images = counted(len(findings.exclude), "image")
        yield f"to train without {images} (unreadable, copies of val and test images, of two labels):"
        yield f"  {override('target.exclude', file)}"
        if emptied := _emptied(inventory, frozenset(findings.exclude)):
            yield f"  which leaves {counted(emptied, 'class', 'classes')} without training images: see to these first"


def _emptied(inventory: Inventory, exclude: frozenset[str]) -> int:
    """Classes that have training images, and none beside those to be excluded."""
    rows, labels = np.flatnonzero(inventory.named("train")).tolist(), inventory.rows.labels
    kept = {int(labels[row]) for row in rows if inventory.rows.path(row) not in exclude}
    return len({int(labels[row]) for row in rows} - kept)


def override(key: str, value: str | Path) -> str:
    """`key=value`, quoted for Hydra and the shell where that is needed."""
    if all((letter.isascii() and letter.isalnum()) or letter in "/._:-" for letter in str(value)):
        return f"{key}={value}"
    quoted = str(value).replace('"', '\\"')
    return shlex.quote(f'{key}="{quoted}"')
