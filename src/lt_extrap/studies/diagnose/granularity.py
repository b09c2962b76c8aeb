"""How alike the target classes are by what they are kinds of."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from lt_extrap.data.target import ClassTable
from lt_extrap.studies.diagnose.kinship import Kinship
from lt_extrap.studies.diagnose.statement import Statement, unknown

PART = "Granularity"
_SHOWN = 8


def granularity(classes: ClassTable, kinship: Kinship | None) -> Iterator[Statement]:
    """Superclasses, siblings, and the nearest class by kinship."""
    if kinship is None:
        yield unknown(
            PART,
            "kinship",
            "no superclass of any class is known",
            "a class table (target.names) with hypernyms or a taxonomy, or WordNet (apt install wordnet-base) for "
            "names and ids that it has",
        )
        return
    parents = [kinship.parents(label) for label in range(len(classes))]
    members = Counter(parent for of in parents for parent in of)
    siblings = sum(any(members[parent] > 1 for parent in of) for of in parents)
    lacking = len(classes) - kinship.known
    yield Statement(
        PART,
        "superclasses",
        f"{len(members):,} superclasses (what a class is directly a kind of) of {kinship.known:,} classes; "
        f"{siblings:,} classes have a sibling, another class of theirs"
        + (f"; of {lacking:,} classes nothing is known" if lacking else ""),
        kinship.source,
        {"superclasses": len(members), "classes_known": kinship.known, "with_sibling": siblings},
    )
    nearest = [(label, found) for label, found in enumerate(kinship.nearest()) if found is not None]
    if not nearest:
        return
    alike = np.array([found.similarity for _, found in nearest])
    closest = sorted(nearest, key=lambda pair: -pair[1].similarity)
    pairs = list(dict.fromkeys((min(label, f.other), max(label, f.other), f.similarity) for label, f in closest))
    yield Statement(
        PART,
        "nearest_kin",
        f"the nearest other class has a similarity of {alike.mean():.2f} on average (Wu and Palmer, 1 = the same), "
        f"{alike.min():.2f} to {alike.max():.2f}: the higher, the finer",
        kinship.source,
        {"mean": float(alike.mean()), "lowest": float(alike.min()), "highest": float(alike.max())},
        [
            ["class", "nearest class by name", "similarity"],
            *([classes.names[a], classes.names[b], f"{value:.2f}"] for a, b, value in pairs[:_SHOWN]),
        ],
    )
