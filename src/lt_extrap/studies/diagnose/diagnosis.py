"""What is said of a target set."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from lt_extrap.config import Target
from lt_extrap.config.curate_filter import Features
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.target import TargetSet, load_target
from lt_extrap.studies.diagnose.granularity import granularity
from lt_extrap.studies.diagnose.kinship import kinship_of, read_table
from lt_extrap.studies.diagnose.known_neighbors import Neighbors, find_neighbors, neighbors
from lt_extrap.studies.diagnose.likeness import likeness, mistakes
from lt_extrap.studies.diagnose.score import FORMULA, predicted_gains
from lt_extrap.studies.diagnose.statement import Statement, unknown
from lt_extrap.studies.diagnose.tail import tail, test_images
from lt_extrap.studies.diagnose.validation import gain_statements, in_short
from lt_extrap.studies.diagnose.verdict import Verdict, holds, verdict_lines

PART = "Predicted gains"
_SHOWN = 12


@dataclass(frozen=True)
class Options:
    """What a diagnosis looks at beside lists and names.

    Attributes:
        features: what turns images into features; None = no image is read.
        images_per_class: of which features are taken, at most.
        baseline: a finished run on the target set; None = there is none.
        neighbors_per_class, sampling_ratio: as in training, for the numbers that are advised.
        wordnet: None = names are not looked up.
        verdict: on the score.
    """

    features: Features | None
    images_per_class: int
    baseline: Path | None
    neighbors_per_class: int
    sampling_ratio: list[float] | None
    wordnet: WordNet | None
    verdict: Verdict | None


def diagnose(
    node: Target, options: Options
) -> tuple[TargetSet, list[Statement], Float64[np.ndarray, " target"] | None]:
    """Say what is known of a target set before anything is trained on it.

    Returns:
        The target set, the statements, and what each class is predicted to gain; None where no neighbors are known.

    Raises:
        LtExtrapError: the lists or what the options name is not what it should be.
    """
    target = load_target(replace(node, allow_empty=True), missing="keep")
    table = read_table(target.place.lists, node.names, target.classes.ids)
    kinship = kinship_of(table, target.classes, options.wordnet)
    known = find_neighbors(node.neighbors, target, kinship, options.wordnet)
    score = predicted_gains(target.trained_on, known) if known is not None else None
    tests = [*test_images(target)]
    statements = [
        *(in_short(tests, options.verdict) if options.verdict is not None else ()),
        *tail(target),
        *tests,
        *granularity(target.classes, kinship),
        *likeness(target, options.features, options.images_per_class),
        *mistakes(target, options.baseline),
        *neighbors(target, known, options.neighbors_per_class, options.sampling_ratio, options.wordnet),
        *_predicted(target, node.folder, known, score, options.verdict),
        *(gain_statements(options.verdict) if options.verdict is not None else _unmeasured()),
    ]
    return target, statements, score


def _predicted(
    target: TargetSet,
    folder: str,
    known: Neighbors | None,
    score: Float64[np.ndarray, " target"] | None,
    verdict: Verdict | None,
) -> Iterator[Statement]:
    """The scores: the highest first if they were found to hold, else by label, and called untested."""
    if known is None or score is None:
        yield unknown(
            PART, "score", "no class has a known neighbor, of which a gain could be predicted", "curate first"
        )
        return
    sound = verdict is not None and holds(verdict)
    told = "; ".join(verdict_lines(verdict))
    compared = [kind["kind"] for kind in verdict["kinds"] if "correlation" in kind] if verdict is not None else []
    if compared and not any(kind.startswith(f"{folder}, ") for kind in compared):
        told += "; never tried on this set"
    has = np.isfinite(score)
    order = (np.argsort(-np.where(has, score, -np.inf), kind="stable") if sound else np.arange(len(score))).tolist()
    have = known.of(len(score))
    names, counts = target.classes.names, target.trained_on
    says = (
        f"score = {FORMULA}: {np.nanmin(score):.2f} to {np.nanmax(score):.2f}, the most first"
        if sound
        else f"**an untested heuristic**, not ranked by: score = {FORMULA}, {np.nanmin(score):.2f} to "
        f"{np.nanmax(score):.2f}"
    )
    similarities = "" if np.isfinite(known.similarity).any() else "; no similarity is known, all count as 1"
    yield Statement(
        PART,
        "score",
        f"{says}. {told[:1].upper()}{told[1:]}",
        f"n images that a class trains on, at most m images of a neighbor an epoch, similarities s of {known.source}"
        f"{similarities}",
        {"lowest": float(np.nanmin(score)), "highest": float(np.nanmax(score)), "holds": int(sound)},
        [
            ["class", "images", "neighbors", "score"],
            *([names[i], str(counts[i]), str(have[i]), f"{score[i]:.2f}" if has[i] else "-"] for i in order[:_SHOWN]),
        ],
    )


def _unmeasured() -> Iterator[Statement]:
    yield unknown(
        "Neighbors or further target images",
        "gains",
        "what either gains",
        "do=validate, which trains and compares both",
    )
