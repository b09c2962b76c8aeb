"""Choose the classes whose images are looked for: neighbors of the targets, or the targets themselves."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from jaxtyping import Int64

from lt_extrap.config.curate_proposer import LLMNeighbors, RandomClasses
from lt_extrap.curate.curation import TARGET, Curation
from lt_extrap.curate.llm.calls import Calls
from lt_extrap.curate.neighbors import Choice, choose, choose_random, wanted_counts
from lt_extrap.curate.proposers import make_llm, make_proposer, make_random
from lt_extrap.curate.provenance import option_name
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.curate.verdicts import of_classes
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
    with state.transaction():
        state.set("proposed_by", json.dumps(told if config.what != "target" else {}))
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
        return choose_random(make_random(options, curation.wordnet, curation.source), rules, count, verdicts)
    if isinstance(options, LLMNeighbors):
        calls = Calls(options, state, curation.stop, alone=config.shard is None)
        proposer = make_llm(options, targets, curation.wordnet, curation.source, wanted, calls)
        choice = choose(targets, proposer, rules, wanted, verdicts)
        _tell(targets, choice, wanted)
        print(f"the language model in all: {calls.spent()}")
        return choice
    return choose(targets, make_proposer(options, targets, curation.wordnet, curation.source), rules, wanted, verdicts)


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
