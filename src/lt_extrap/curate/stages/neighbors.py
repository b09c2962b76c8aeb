"""Choose the classes whose images are looked for: neighbors of the targets, or the targets themselves."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lt_extrap.config.curate_proposer import LLMNeighbors, RandomClasses
from lt_extrap.curate.curation import SET, TARGET, Curation
from lt_extrap.curate.llm.calls import Calls
from lt_extrap.curate.neighbors import Choice, choose, choose_random, wanted_counts
from lt_extrap.curate.proposers import make_llm, make_proposer, make_random
from lt_extrap.curate.provenance import option_name
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.curate.verdicts import of_classes
from lt_extrap.data.stored.reader import read_header
from lt_extrap.errors import some


def propose(curation: Curation) -> None:
    """The stage `neighbors`. What an earlier choice found is kept, and not used."""
    config, state = curation.config, curation.state
    choice = _choice(curation) if config.what != "target" else Choice((), (), ())
    own = _own(curation) if config.what != "neighbors" else []
    told = {
        "proposer": option_name("proposer", config.proposer),
        **{f"proposer.{key}": value for key, value in asdict(config.proposer).items()},
        **{f"names.{key}": value for key, value in asdict(config.names).items()},
        **{key: getattr(config, key) for key in ("neighbors_per_class", "sampling_ratio", "scale")},
    }
    at_random = config.what != "target" and isinstance(config.proposer, RandomClasses)
    with state.transaction():
        state.set("proposed_by", json.dumps(told if config.what != "target" else {}))
        state.set(
            "proposed_note", f"Classes were drawn at random of what {_drawn(config.proposer)}" if at_random else ""
        )
        state.write("UPDATE sought SET used = 0")
        state.write(
            "REPLACE INTO sought VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
            [
                (
                    found.key,
                    found.name,
                    json.dumps(found.spellings, ensure_ascii=False),
                    found.wnid,
                    found.gloss,
                    found.query,
                    found.proposer,
                )
                for found in (*choice.classes, *own)
            ],
        )
        state.write("DELETE FROM pair")
        state.write(
            "INSERT INTO pair VALUES (?, ?, ?, ?)",
            [(pair.target, pair.key, pair.rank, pair.similarity) for pair in choice.pairs],
        )
        state.write("DELETE FROM refused")
        state.write(
            "INSERT OR IGNORE INTO refused VALUES (?, ?, ?, ?, ?)",
            [
                (
                    -1 if dropped.target is None else dropped.target,
                    dropped.sought.key,
                    dropped.sought.name,
                    str(dropped.drop.reason),
                    dropped.drop.target,
                )
                for dropped in choice.dropped
            ],
        )


def _choice(curation: Curation) -> Choice:
    config, state, targets = curation.config, curation.state, curation.targets()
    rules, options, verdicts = curation.rules(targets), config.proposer, of_classes(state)
    wanted = wanted_counts(targets, config.neighbors_per_class, config.sampling_ratio, config.scale)
    if isinstance(options, RandomClasses):
        count = int(wanted.sum()) if options.classes is None else options.classes
        choice = choose_random(make_random(options, curation.wordnet, curation.source), rules, count, verdicts)
        if len(choice.classes) < count:
            print(f"fewer classes than wanted: {len(choice.classes):,} of {count:,}, all that {_drawn(options)}")
        return choice
    if isinstance(options, LLMNeighbors):
        calls = Calls(options, state, curation.stop, alone=config.shard is None)
        proposer = make_llm(options, targets, curation.wordnet, curation.source, wanted, calls)
        choice = choose(targets, proposer, rules, wanted, verdicts)
        _tell(targets, choice, wanted)
        print(f"the language model in all: {calls.spent()}")
        return choice
    return choose(targets, make_proposer(options, targets, curation.wordnet, curation.source), rules, wanted, verdicts)


def _drawn(options: RandomClasses) -> str:
    """What was drawn from, and what of it was left out: this and no more is known of classes at random."""
    pool = "the pool" if options.within else "WordNet"
    if options.without is None:
        return f"{pool} has, less targets"
    folder = Path(options.without).expanduser().resolve()
    name = folder.parent.name if folder.name == SET else folder.name  # that of the curation, which tells more
    return f"{pool} has, less targets and less the {read_header(folder).classes:,} classes of {name}"


def _tell(targets: Sequence[TargetClass], choice: Choice, wanted: Int64[np.ndarray, " target"]) -> None:
    """Say for which targets nothing was named, and for which too little is left."""
    found = Counter(pair.target for pair in choice.pairs)
    named = found.keys() | {dropped.target for dropped in choice.dropped}
    nothing = [target.name for target in targets if wanted[target.label] and target.label not in named]
    few = [target.name for target in targets if target.label in named and found[target.label] < wanted[target.label]]
    if nothing:
        print(f"unanswered: {len(nothing)} target classes, of which nothing was named: {some(nothing, 10)}")
    if few:
        print(f"fewer neighbors than wanted: {len(few)} target classes: {some(few, 10)}")


def _own(curation: Curation) -> list[Sought]:
    """The target classes of which further images are wanted."""
    return [
        Sought(
            f"{TARGET}{target.label}", target.name, target.spellings, target.wnid, target.gloss, target.name, "target"
        )
        for target in curation.targets()
        if str(target.shot) in curation.config.extra_shots
    ]
