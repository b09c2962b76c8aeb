"""Which classes become neighbors of which targets, and why others do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from lt_extrap.curate.name_rules import Drop, NameRules, Reason
from lt_extrap.curate.proposers.random import RandomProposer
from lt_extrap.curate.records import Asking, Proposer, Sought, TargetClass
from lt_extrap.curate.verdicts import Verdict
from lt_extrap.data.pairs import asked
from lt_extrap.data.target import ClassTable


@dataclass(frozen=True)
class Neighbor:
    """An auxiliary class beside a target.

    Attributes:
        target: its label.
        key: of the auxiliary class.
        rank: 1 = the target's nearest, of those that were kept.
        similarity: as the proposer has it; None where it is not known.
    """

    target: int
    key: str
    rank: int
    similarity: float | None


@dataclass(frozen=True)
class Dropped:
    """A class that was proposed and is no neighbor.

    Attributes:
        sought: the class.
        target: label of the target that it was proposed for; None where it was drawn at random.
        drop: why, and which target it clashes with.
    """

    sought: Sought
    target: int | None
    drop: Drop


@dataclass(frozen=True)
class Choice:
    """Auxiliary classes and whose neighbors they are.

    Attributes:
        classes: each once, in the order in which they were chosen.
        pairs: by target and rank; a class may be in several.
        dropped: what was proposed before enough was chosen, in the same order.
    """

    classes: tuple[Sought, ...]
    pairs: tuple[Neighbor, ...]
    dropped: tuple[Dropped, ...]


def choose(
    targets: Sequence[TargetClass],
    proposer: Proposer,
    rules: NameRules,
    wanted: Int64[np.ndarray, " target"],
    verdicts: Mapping[str, Verdict] | None = None,
) -> Choice:
    """The nearest classes of each target that the rules leave, as many as are wanted or as there are.

    Args:
        targets: in any order; the result is the same.
        proposer: what is near them.
        rules: what is no neighbor of any of them.
        wanted: neighbors of each target, by label (see `wanted_counts`).
        verdicts: of a person on classes, by key.
    """
    classes: dict[str, Sought] = {}
    pairs: list[Neighbor] = []
    dropped: list[Dropped] = []
    drops: dict[str, Drop | None] = {}
    for target in sorted(targets, key=lambda target: target.label):
        seen: set[str] = set()
        rank = 0
        proposals = iter(proposer.propose(target))
        while rank < wanted[target.label] and (proposal := next(proposals, None)) is not None:
            sought, similarity = proposal
            if sought.key in seen:
                continue
            seen.add(sought.key)
            if sought.key not in drops:
                drops[sought.key] = _drop(sought, rules, verdicts or {})
            if (drop := drops[sought.key]) is not None:
                dropped.append(Dropped(sought, target.label, drop))
                continue
            rank += 1
            classes.setdefault(sought.key, sought)
            pairs.append(Neighbor(target.label, sought.key, rank, similarity))
    if isinstance(proposer, Asking) and proposer.ask():
        return choose(targets, proposer, rules, wanted, verdicts)  # by what is known now
    return Choice(tuple(classes.values()), tuple(pairs), tuple(dropped))


def choose_random(
    proposer: RandomProposer, rules: NameRules, count: int, verdicts: Mapping[str, Verdict] | None = None
) -> Choice:
    """The first classes of a random order that the rules leave: the paper's control RD, without pairs."""
    classes: list[Sought] = []
    dropped: list[Dropped] = []
    for sought in proposer.draw():
        if len(classes) == count:
            break
        if (drop := _drop(sought, rules, verdicts or {})) is not None:
            dropped.append(Dropped(sought, None, drop))
        else:
            classes.append(sought)
    return Choice(tuple(classes), (), tuple(dropped))


def _drop(sought: Sought, rules: NameRules, verdicts: Mapping[str, Verdict]) -> Drop | None:
    """Why a class is no neighbor: as a person says, who can let in what is only near in meaning, and nothing else."""
    verdict = verdicts.get(sought.key)
    if verdict is Verdict.DROP:
        return Drop(Reason.REVIEWED, None)
    drop = rules.drop(sought)
    if verdict is Verdict.KEEP and drop is not None and drop.reason is Reason.NEAR_SYNONYM:
        return None
    return drop


def wanted_counts(
    targets: Sequence[TargetClass], k: int, sampling_ratio: list[float] | None = None, scale: str = "base"
) -> Int64[np.ndarray, " target"]:
    """How many neighbors training keeps of each target at these values (see `lt_extrap.data.pairs.asked`), by label."""
    ordered = sorted(targets, key=lambda target: target.label)
    table = ClassTable(
        ids=tuple(target.id for target in ordered),
        names=tuple(target.name for target in ordered),
        counts=np.array([target.images for target in ordered], np.int64),
    )
    return asked(table, k, sampling_ratio, scale)
