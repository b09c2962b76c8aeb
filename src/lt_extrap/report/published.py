"""The paper's numbers beside ours: Tables 2 to 6 where the data set is the paper's, Table 1 beside any."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lt_extrap import paper
from lt_extrap.data.place import class_entries
from lt_extrap.errors import LtExtrapError
from lt_extrap.paper import Accuracies, PaperRows
from lt_extrap.report.outcomes import Outcomes
from lt_extrap.report.paper_rows import CELLS, Start, by_cell, cell_of, is_plain, start_of, target_of
from lt_extrap.report.sections import ACCURACIES, PARTS, estimates
from lt_extrap.report.sheet import Column, Estimate, Sheet, change, number, points
from lt_extrap.runs import load
from lt_extrap.table import MEASURES, Group, Row, mean_and_deviation

DEPTH = 9  # of the hypernyms that are the superclasses: "placental" in WordNet, whose root has depth 1


def beside_ours(group: Group, key: str, weights: str) -> list[Sheet]:
    """The tables of the paper that are of the data set and the start of a group, with our rows beside them by name.

    None where no row is one of the paper's: `NEEDED` says what makes it one.
    """
    members: dict[tuple[str, Start], list[Row]] = {}
    for row in group.rows:
        if cell_of(row) in CELLS.values() and (target := target_of(row)) and (start := start_of(row)):
            members.setdefault((target, start), []).append(row)
    sheets: list[Sheet] = []
    taken: Counter[str] = Counter()
    for (target, start), rows in sorted(members.items(), key=lambda item: item[0]):
        cells = by_cell(rows)
        taken[start.name] += 1
        again = f"-{count}" if (count := taken[start.name]) > 1 else ""
        for published in paper.results(target, start.name):
            ours = {name: cells[CELLS[name]] for name in published.rows if name in CELLS and CELLS[name] in cells}
            place = f"{key}-paper-table-{published.table}-{start.name}{again}"
            notes = _whose(ours, f"{target}_{start.name}", start)
            sheets.append(_rows(published, ours, place, weights, notes))
            if "Baseline" in published.rows:
                sheets.append(_gains(published, ours, f"{place}-differences", weights, notes))
    return sheets


def _whose(ours: dict[str, Row], experiment: str, start: Start) -> list[str]:
    """What of our rows is not the paper's."""
    notes = []
    if ours:
        notes.append(f"Ours start from {start.weights}.")
    if ours and start.name == "scratch":
        notes.append(
            "The paper says random initialization; its code starts from a masked autoencoder pretrained on the images "
            "of the set alone (Places-LT: on ImageNet-1k)."
        )
    if others := list(dict.fromkeys(row.name for row in ours.values() if not is_plain(row, experiment))):
        notes.append(f"Not experiment={experiment} as it stands: {'; '.join(others)}.")
    return notes


def _rows(published: PaperRows, ours: dict[str, Row], key: str, weights: str, whose: list[str]) -> Sheet:
    notes = list(whose)
    if "+ RD" in published.rows or published.table == 6:
        notes.append(
            "The rows of random and neighbor categories (RD, SD) and Neighbor Silencing have a retrained classifier, "
            "also beside them; + Ours and + Direct Classifier have the direct one."
        )
    nothing = [None] * (2 + len(MEASURES))
    rows = [
        [name, *accuracies, *([row.label, len(row.results), *estimates(row, weights)] if row else nothing)]
        for name, accuracies in published.rows.items()
        for row in (ours.get(name),)
    ]
    return Sheet(key, _title(published), _columns(points), rows, notes)


def _gains(published: PaperRows, ours: dict[str, Row], key: str, weights: str, whose: list[str]) -> Sheet:
    baseline, rows = ours.get("Baseline"), []
    for name, accuracies in published.rows.items():
        if name == "Baseline":
            continue
        row = ours.get(name)
        own: list[Any] = [row and row.label, *[None] * (1 + len(MEASURES))]
        if row and baseline:
            differences = (row.differences(baseline, weights, measure) for measure in MEASURES.values())
            own[1:] = [len(row.shared(baseline)), *(Estimate(*mean_and_deviation(values)) for values in differences)]
        rows.append([name, *accuracies.minus(published.rows["Baseline"]), *own])
    notes = list(whose)
    notes += [f"Ours are minus {baseline.label}, by seed." if baseline else "We have no row beside Baseline."]
    notes += ["The paper's are recomputed from its rows."]
    notes += [
        f"It prints {told:+.1f} for {measure}, where its rows give {gain:+.1f}."
        for measure, (told, gain) in published.misprints().items()
    ]
    title = f"{_title(published)}: differences from Baseline"
    return Sheet(key, title, _columns(change), rows, notes)


def _title(published: PaperRows) -> str:
    return f"The paper's Table {published.table}, {published.target}, {published.start}"


def _columns(show: Callable[[Any], str]) -> list[Column]:
    return [
        Column("row"),
        *(Column(f"paper, {name}", show) for name in Accuracies._fields),
        Column("our row"),
        Column("our runs", number(0)),
        *(Column(f"ours, {name}", show, PARTS) for name in MEASURES),
    ]


def granularity(groups: Sequence[Group], outcomes: dict[Path, Outcomes | None], weights: str) -> Sheet | None:
    """Shots beside granularity, as the paper's Table 1: of the baseline of each group, and of the paper."""
    rows: list[list[Any]] = []
    for group in groups:
        baseline = group.baseline
        found = [outcomes.get(folder) for folder in baseline.folders.values()] if baseline else []
        if baseline is None or not found or (classes := found[0]) is None:
            continue
        counts, above = classes.train_images, superclasses(next(iter(baseline.folders.values())))
        shots = estimates(baseline, weights)[1:]
        images = f"{int(counts.sum()):,}"
        name = group.name or baseline.settings.get("target.folder") or "runs"
        rows.append([name, len(counts), images, above, int(counts.max()), int(counts.min()), *shots])
    if not rows:
        return None
    for one in paper.data_sets():
        shots = [Estimate(value, float("nan")) for value in (one.many, one.medium, one.few)]
        name = f"paper: {one.target}"
        rows.append([name, one.classes, one.train_images, one.granularity, one.largest, one.smallest, *shots])
    return Sheet(
        "granularity",
        "Shots and granularity (as the paper's Table 1)",
        [
            Column("data set"),
            Column("classes", number(0)),
            Column("training images", str),
            Column("superclasses"),
            Column("most images", number(0)),
            Column("fewest", number(0)),
            *ACCURACIES[1:],
        ],
        rows,
        [
            "Ours: the baseline of each experiment; the paper's: averages of earlier methods.",
            f"Superclasses: distinct hypernyms at depth {DEPTH} (or the last one of a class that has fewer), or "
            "supercategories, where the table of classes is at hand and has them. The paper says coarse or fine, in "
            "its text over 100 for ImageNet-LT and 14 for iNaturalist 2018; it does not say how it counts.",
        ],
    )


def superclasses(run: Path) -> int | None:
    """How many the target classes of a run are of; None where their table has none, or is not on this machine."""
    try:
        return count_superclasses(class_entries(load(run).target()))
    except (LtExtrapError, OSError, ValueError, LookupError, TypeError):  # no run of today, no table, or another one
        return None


def count_superclasses(entries: object) -> int | None:
    """Distinct superclasses of the entries of a table of classes; None where not every entry has one."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    above = {_superclass(entry) for entry in entries}
    return None if None in above else len(above)


def _superclass(entry: dict[str, Any]) -> str | None:
    if hypernyms := entry.get("hypernyms"):
        found = hypernyms[:DEPTH][-1]
        return str(found.get("wnid") or found["name"])
    return entry.get("supercategory")
