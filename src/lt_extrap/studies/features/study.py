"""The study: what two runs of one target make of its head and tail, in numbers and in points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from lt_extrap import runs
from lt_extrap.errors import RunError
from lt_extrap.model.backbones import RANDOM_START
from lt_extrap.studies.features.measures import Measures, measure, unit
from lt_extrap.studies.features.opened import Images, OpenedRun
from lt_extrap.studies.features.pair import Pair, ends, most_confused, named, read_confusions
from lt_extrap.studies.features.plane import Plane, lay_out
from lt_extrap.studies.features.tails import Colored, color_tails, tail_images


@dataclass(frozen=True)
class Panel:
    """Points of one network and one list.

    Attributes:
        title: which.
        plane: where they are.
        group: of each point a position in `groups`: head, tail, then auxiliary classes.
        groups: what they are called.
    """

    title: str
    plane: Plane
    group: Int64[np.ndarray, " points"]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """Numbers of one network, one list and some classes.

    Attributes:
        features: `start`, `baseline` or `ours`.
        images: `training`, or the name of the list of unseen images.
        classes: how many, and which.
        count: images.
        measures: the numbers.
    """

    features: str
    images: str
    classes: str
    count: int
    measures: Measures


@dataclass(frozen=True)
class Study:
    """What came out.

    Attributes:
        pair: looked at.
        about: the pair and its confusions, in words.
        panels: the four of Fig. 2.
        rows: numbers of the pair, then of all classes of the tail's group.
        colored: of Fig. 6; None where it was not asked for.
        notices: what a reader has to know.
    """

    pair: Pair
    about: str
    panels: list[Panel]
    rows: list[Row]
    colored: Colored | None
    notices: list[str] = field(default_factory=list)


def study(
    baseline: OpenedRun,
    ours: OpenedRun,
    *,
    pair: Sequence[str] | None = None,
    method: str = "umap",
    neighbors: int = 15,
    auxiliary: int = 2,
    tokens: int = 8,
    seed: int = 0,
) -> Study:
    """Look at the features of two runs.

    Each panel is a plane of its own: networks have different features, and UMAP keeps neighborhoods, not distances. All
    have the same settings, and the third and the fourth the same `neighbors`, so that what can be compared is which
    classes mix; how far they are apart is in the numbers, which are those of the whole features.

    Args:
        baseline: also gives the start and the confusions.
        ours: of the same target.
        pair: ids or names of two classes; None: the head and the tail class that the baseline confuses most.
        method: `umap` or `pca`.
        neighbors: UMAP's n_neighbors.
        auxiliary: most neighbor classes of each of both that the fourth panel shows.
        tokens: tail images of which the tokens are looked at; 0: none.
        seed: of UMAP.

    Raises:
        LtExtrapError: the runs are of two targets, there is no such pair, or an image cannot be read.
    """
    _check_same(baseline, ours)
    classes, unseen = baseline.target.classes, baseline.unseen_name
    confused = read_confusions(baseline.run.folder / runs.CONFUSIONS)
    found = named(pair, confused, classes) if pair else most_confused(confused, classes)
    both = [found.head, found.tail]
    tail_group = ends(classes.shots)[1]
    tails = np.flatnonzero([shot is tail_group for shot in classes.shots])
    start, wanted = baseline.start(), np.union1d(both, tails)
    lists = {"training": baseline.train().of(wanted), unseen: baseline.unseen().of(wanted)}
    networks: dict[str, Callable[[Images], Float32[np.ndarray, "images dim"]]] = {
        "start": lambda images: baseline.features(images, start),
        "baseline": baseline.features,
        "ours": ours.features,
    }
    features = {(name, split): of(images) for name, of in networks.items() for split, images in lists.items()}
    rows = []
    for of, words in ((np.array(both), "the pair"), (tails, f"all {len(tails)} of the {tail_group} group")):
        for (name, split), values in features.items():
            labels = lists[split].index.labels
            chosen = np.isin(labels, of)
            rows.append(Row(name, split, words, int(chosen.sum()), measure(values[chosen], labels[chosen])))

    shots = classes.shots
    groups = tuple(f"{classes.names[c]} ({shots[c]}, {classes.counts[c]} training images)" for c in both)

    def panel(title: str, name: str, split: str, *, beside: Sequence[int] = ()) -> Panel:
        labels = lists[split].index.labels
        chosen: Bool[np.ndarray, " images"] = np.isin(labels, both)
        points, group = [features[name, split][chosen]], [(labels[chosen] == found.tail).astype(np.int64)]
        for number, column in enumerate(beside):
            points.append(ours.features(ours.auxiliary(column, _shown_an_epoch(ours))))
            group.append(np.full(len(points[-1]), 2 + number))
        x: Float64[np.ndarray, "points dim"] = unit(np.concatenate(points))
        most = int(chosen.sum()) - 1
        plane = lay_out(x, method=method, neighbors=neighbors, most=most, seed=seed)
        others = tuple(f"{ours.name(column)} (auxiliary, training images)" for column in beside)
        return Panel(title, plane, np.concatenate(group), groups + others)

    kind = "random weights" if start.start == RANDOM_START else "pretrained"
    beside = _neighbors(ours, both, auxiliary)
    panels = [
        panel(f"(a) raw, {kind}: training images", "start", "training"),
        panel("(b) baseline: training images", "baseline", "training"),
        panel(f"(c) baseline: {unseen} images", "baseline", unseen),
        panel(f"(d) ours: {unseen} images" + (" and auxiliary" if beside else ""), "ours", unseen, beside=beside),
    ]
    notices = [f"{panel.title}: {panel.plane.notice}" for panel in panels if panel.plane.notice]
    notices.insert(0, f"(a) is {_where(start.start, baseline)}")
    if not beside:
        notices.append("(d) ours: no auxiliary class is a neighbor of either")
    colored = color_tails(baseline, ours, tail_images(baseline.unseen(), tails, tokens)) if tokens else None
    if colored is not None:
        notices.extend(colored.notices)
    return Study(found, _about(found, baseline), panels, rows, colored, notices)


def _neighbors(ours: OpenedRun, both: Sequence[int], most: int) -> list[int]:
    """Columns of the first auxiliary neighbors of both, by their order in the run, each once."""
    rows = (ours.training.relation.row(label)[:most].tolist() for label in both)
    return list(dict.fromkeys(column for row in rows for column in row))


def _shown_an_epoch(ours: OpenedRun) -> int:
    return int(ours.training.counts[len(ours.target.classes) :].max(initial=1))


def _about(pair: Pair, baseline: OpenedRun) -> str:
    classes = baseline.target.classes
    head, tail = classes.names[pair.head], classes.names[pair.tail]
    tested = np.bincount(baseline.target.test.labels, minlength=len(classes))
    return (
        f"The baseline takes {pair.tail_as_head} of {tested[pair.tail]} test images of {tail} for {head}, "
        f"and {pair.head_as_tail} of {tested[pair.head]} of {head} for {tail}"
    )


def _where(start: str, baseline: OpenedRun) -> str:
    if start == RANDOM_START:
        return f"the network before its first step, with the random weights of seed {baseline.run.config.seed}"
    return f"the network before its first step, with {start}"


def _check_same(baseline: OpenedRun, ours: OpenedRun) -> None:
    """Refuse runs of two targets: their numbers would be of other images.

    Raises:
        RunError: they are.
    """
    one, other = baseline.target, ours.target
    for what, a, b in (
        ("classes", one.classes.ids, other.classes.ids),
        ("training images", list(one.train.paths()), list(other.train.paths())),
        (f"{baseline.unseen_name} images", *(list(run.unseen().index.paths()) for run in (baseline, ours))),
    ):
        if a != b:
            raise RunError(
                f"two runs of one target, baseline={baseline.run.folder}",
                f"other {what} in ours={ours.run.folder}",
                "give runs that were trained with the same target",
            )


def save_rows(rows: Sequence[Row], file: Path) -> None:
    """Write the numbers as CSV, in full precision; empty: not defined."""
    header = ["features", "images", "classes", "count", *Measures._fields]
    runs.write_table(
        file,
        header,
        [
            [row.features, row.images, row.classes, row.count]
            + ["" if value != value else f"{value:.6f}" for value in row.measures]
            for row in rows
        ],
    )
