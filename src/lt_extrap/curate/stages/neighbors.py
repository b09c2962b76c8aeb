"""Choose the classes whose images are looked for: neighbors of the targets, or the targets themselves."""

import json

from lt_extrap.config.curate_proposer import RandomClasses
from lt_extrap.curate.curation import TARGET, Curation
from lt_extrap.curate.neighbors import Choice, choose, choose_random, wanted_counts
from lt_extrap.curate.proposers import make_proposer, make_random
from lt_extrap.curate.records import Sought
from lt_extrap.curate.verdicts import of_classes


def propose(curation: Curation) -> None:
    """The stage `neighbors`. What an earlier choice found is kept, and not used."""
    config, state = curation.config, curation.state
    choice = _choice(curation) if config.what != "target" else Choice((), (), ())
    own = _own(curation) if config.what != "neighbors" else []
    with state.transaction():
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
    config, targets = curation.config, curation.targets()
    rules, options, verdicts = curation.rules(targets), config.proposer, of_classes(curation.state)
    wanted = wanted_counts(targets, config.neighbors_per_class, config.sampling_ratio, config.scale)
    if isinstance(options, RandomClasses):
        count = int(wanted.sum()) if options.classes is None else options.classes
        return choose_random(make_random(options, curation.wordnet, curation.source), rules, count, verdicts)
    proposer = make_proposer(options, targets, curation.wordnet, curation.source)
    return choose(targets, proposer, rules, wanted, verdicts)


def _own(curation: Curation) -> list[Sought]:
    """The target classes of which further images are wanted."""
    return [
        Sought(
            f"{TARGET}{target.label}", target.name, target.spellings, target.wnid, target.gloss, target.name, "target"
        )
        for target in curation.targets()
        if str(target.shot) in curation.config.extra_shots
    ]
