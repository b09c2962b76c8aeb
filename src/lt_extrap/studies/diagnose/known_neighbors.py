"""The neighbors that a target set has, and how many are advised for which classes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from lt_extrap.config import AuxiliaryClasses, AuxiliaryFiles
from lt_extrap.curate.proposers.wordnet import WordNetProposer
from lt_extrap.curate.targets import described
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.auxiliary_set import AuxiliarySet, read_auxiliary_set
from lt_extrap.data.pairs import asked, nearest, neighbors_by_shot
from lt_extrap.data.target import ClassTable, TargetSet
from lt_extrap.model.shots import Shot
from lt_extrap.studies.diagnose.kinship import Kinship, kinship_of, read_table
from lt_extrap.studies.diagnose.statement import Statement, unknown
from lt_extrap.studies.diagnose.tail import span

PART = "Neighbors"
_LEVELS = 4  # hypernyms up, as curation climbs by itself
_SHOWN = 12


@dataclass(frozen=True)
class Neighbors:
    """The pairs of a target set with an auxiliary set, those that training would keep.

    Attributes:
        pairs: (target label, auxiliary id).
        similarity: of each pair, 0..1; NaN where it is not known.
        images: of each auxiliary class that an epoch shows at most.
        names: of the auxiliary classes.
        source: where the pairs and their similarity come from.
    """

    pairs: Int64[np.ndarray, "pairs 2"]
    similarity: Float64[np.ndarray, " pairs"]
    images: Int64[np.ndarray, " auxiliary"]
    names: tuple[str, ...]
    source: str

    def of(self, classes: int) -> Int64[np.ndarray, " target"]:
        """How many neighbors each target class has."""
        return np.bincount(self.pairs[:, 0], minlength=classes)


def find_neighbors(
    files: AuxiliaryFiles, target: TargetSet, kinship: Kinship | None, wordnet: WordNet | None
) -> Neighbors | None:
    """Read the neighbors of a target set; None where it has no auxiliary set, or one without pairs.

    A pair without a similarity has that of what both classes are kinds of, where the tables say it.

    Args:
        files: the set, and which of its pairs are kept.
        target: the target set.
        kinship: of its classes.
        wordnet: for the auxiliary classes, if it is used for the target classes.

    Raises:
        DataError: the set is not what it should be.
    """
    if files.train is None and files.folder is None:
        return None
    found = read_auxiliary_set(files, target, missing="keep")
    if found.pairs is None:
        return None
    node = files if isinstance(files, AuxiliaryClasses) else AuxiliaryClasses(**vars(files))
    kept = np.arange(len(found.pairs.pairs))
    if node.neighbors_per_class is not None:
        wanted = asked(target.classes, node.neighbors_per_class, node.sampling_ratio, node.scale)
        kept = np.flatnonzero(nearest(found.pairs, wanted))
    pairs, similarity, source = found.pairs.pairs[kept], found.pairs.similarity[kept], str(found.pairs.file)
    unranked = np.isnan(similarity)
    if unranked.any() and kinship is not None and (other := _kinship(files, found, target, wordnet)) is not None:
        similarity = similarity.copy()
        similarity[unranked] = [kinship.similarity(a, other, b) for a, b in pairs[unranked].tolist()]
        source += f"; similarity of Wu and Palmer by {kinship.source}"
    shown = np.minimum(np.bincount(found.index.labels, minlength=len(found.names)), files.samples_per_class)
    return Neighbors(pairs, similarity, shown, found.names, source)


def neighbors(
    target: TargetSet, known: Neighbors | None, k: int, ratio: list[float] | None, wordnet: WordNet | None
) -> Iterator[Statement]:
    """How many neighbors exist, how many are advised, who is short of them, and which are the nearest."""
    classes = target.classes
    advised, by_shot = asked(classes, k, ratio), neighbors_by_shot(classes, k, ratio)
    yield Statement(
        PART,
        "advised",
        "neighbors advised a class: "
        + ", ".join(f"{n} ({shot})" for shot, n in by_shot.items() if shot in classes.shots)
        + f"; {advised.sum():,} pairs in all",
        f"paper, Section 4.4, with neighbors_per_class={k} and sampling_ratio={ratio or 'by the sizes of the groups'}",
        {str(shot): n for shot, n in by_shot.items()} | {"pairs": int(advised.sum())},
    )
    if known is None:
        yield unknown(
            PART,
            "existing",
            "this target has no auxiliary set with pairs",
            "python -m lt_extrap.curate, then target.neighbors.folder=<its set>",
        )
        yield from _offered(classes, advised, wordnet)
        return
    have = known.of(len(classes))
    per_class = ", ".join(f"{n:.1f} ({shot})" for shot, n in _by_shot(classes, have).items())
    yield Statement(
        PART,
        "existing",
        f"{len(known.pairs):,} pairs with {len(np.unique(known.pairs[:, 1])):,} auxiliary classes are kept: a class "
        f"has {span(have)}, on average {per_class}",
        known.source,
        {"pairs": len(known.pairs), "fewest": int(have.min()), "most": int(have.max())},
    )
    yield _shortage(classes, have, advised, known.source)
    yield _similarities(classes, known)


def _shortage(classes: ClassTable, have: np.ndarray, advised: np.ndarray, source: str) -> Statement:
    missing = np.maximum(advised - have, 0)
    shots = np.array(classes.shots)
    short = {shot: int(((missing > 0) & (shots == shot)).sum()) for shot in Shot if shot in classes.shots}
    lacking = {shot: int(missing[shots == shot].sum()) for shot in short}
    order = [label for label in np.lexsort((classes.counts, -missing)).tolist() if missing[label] > 0]
    return Statement(
        PART,
        "shortage",
        f"{sum(short.values()):,} of {len(classes):,} classes have fewer than advised: "
        + ", ".join(f"{n:,} {shot} (short of {lacking[shot]:,})" for shot, n in short.items()),
        source,
        {f"short_{shot}": n for shot, n in short.items()} | {f"lacking_{shot}": n for shot, n in lacking.items()},
        [
            ["class", "shots", "neighbors", "advised"],
            *([classes.names[i], str(classes.counts[i]), str(have[i]), str(advised[i])] for i in order[:_SHOWN]),
        ]
        if order
        else [],
    )


def _similarities(classes: ClassTable, known: Neighbors) -> Statement:
    if np.isnan(known.similarity).all():
        return unknown(
            PART,
            "nearest",
            "how similar the neighbors are: the pairs do not say",
            "ranked pairs (`ranks` with a similarity), or class tables with hypernyms",
        )
    best = np.full(len(classes), np.nan)
    which = np.full(len(classes), -1)
    for (label, other), value in zip(known.pairs.tolist(), known.similarity.tolist(), strict=True):
        if value == value and not best[label] >= value:
            best[label], which[label] = value, other
    found = {shot: value for shot, value in _by_shot(classes, best).items() if value == value}
    rare = [label for label in np.argsort(classes.counts, kind="stable").tolist() if which[label] >= 0]
    return Statement(
        PART,
        "nearest",
        "similarity of a class and its nearest known neighbor, on average: "
        + ", ".join(f"{value:.2f} ({shot})" for shot, value in found.items()),
        known.source,
        {str(shot): value for shot, value in found.items()},
        [
            ["class", "shots", "nearest neighbor", "similarity"],
            *(
                [classes.names[i], str(classes.counts[i]), known.names[which[i]], f"{best[i]:.2f}"]
                for i in rare[:_SHOWN]
            ),
        ],
    )


def _offered(classes: ClassTable, advised: np.ndarray, wordnet: WordNet | None) -> Iterator[Statement]:
    """What WordNet would propose: co-hyponyms that are no target classes themselves."""
    if wordnet is None:
        yield unknown(
            PART, "offered", "which classes WordNet would offer", "apt install wordnet-base, or wordnet=<folder>"
        )
        return
    targets = described(classes, wordnet)
    own = {target.wnid for target in targets}
    proposer, rows = WordNetProposer(wordnet, _LEVELS), []
    counts = np.zeros(len(classes), np.int64)
    for target in targets:
        most = max(20, int(advised[target.label]))
        first = None
        for sought, similarity in proposer.propose(target):
            if sought.wnid not in own:
                counts[target.label] += 1
                first = first or (sought.name, similarity or 0.0)
                if counts[target.label] == most:
                    break
        if first is not None:
            rows.append((target.images, target.name, *first))
    enough = int((counts >= advised).sum())
    yield Statement(
        PART,
        "offered",
        f"WordNet offers {enough:,} of {len(classes):,} classes as many neighbors as advised, and "
        f"{int((counts == 0).sum()):,} of them none (names alone; whether there are images, curation finds)",
        f"co-hyponyms up to {_LEVELS} levels, without target classes; WordNet 3.0",
        {"enough": enough, "none": int((counts == 0).sum())},
        [
            ["class", "shots", "nearest class of WordNet", "similarity"],
            *([name, str(images), other, f"{value:.2f}"] for images, name, other, value in sorted(rows)[:_SHOWN]),
        ],
    )


def _kinship(files: AuxiliaryFiles, found: AuxiliarySet, target: TargetSet, wordnet: WordNet | None) -> Kinship | None:
    classes = ClassTable(found.ids, found.names, np.zeros(len(found.names), np.int64))
    return kinship_of(read_table(target.place.root, files.names, found.ids), classes, wordnet)


def _by_shot(classes: ClassTable, values: np.ndarray) -> Mapping[Shot, float]:
    """The mean of each group that has a known value."""
    shots = np.array(classes.shots)
    return {
        shot: float(np.nanmean(values[shots == shot]))
        for shot in Shot
        if shot in classes.shots and not np.isnan(values[shots == shot]).all()
    }
