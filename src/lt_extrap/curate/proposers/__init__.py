"""Who names neighbors: WordNet, a taxonomy, a file, a language model, or chance."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from lt_extrap.config.curate_proposer import (
    FileNeighbors,
    LLMNeighbors,
    Proposing,
    RandomClasses,
    TaxonomyNeighbors,
    WordNetNeighbors,
)
from lt_extrap.curate.llm.calls import Calls
from lt_extrap.curate.proposers.file import FileProposer
from lt_extrap.curate.proposers.llm import LLMProposer
from lt_extrap.curate.proposers.random import RandomProposer, less, things
from lt_extrap.curate.proposers.taxonomy import TaxonomyProposer
from lt_extrap.curate.proposers.within import Within
from lt_extrap.curate.proposers.wordnet import WordNetProposer
from lt_extrap.curate.records import Proposer, Sought, Source, TargetClass
from lt_extrap.curate.sought import of_synset
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.stored.reader import read_set
from lt_extrap.errors import ConfigError


def make_proposer(
    options: Proposing, targets: Sequence[TargetClass], wordnet: WordNet | None, source: Source
) -> Proposer:
    """Who names neighbors, by the node `proposer` (see `make_llm` and `make_random` for the others).

    Args:
        options: the node.
        targets: the classes of the target set.
        wordnet: None where the user did without.
        source: to which proposals are restricted with `within`.

    Raises:
        ConfigError: WordNet is needed and not used.
        DataError: a file is missing or malformed.
    """
    proposer: Proposer
    match options:
        case WordNetNeighbors():
            among = _synsets(source.classes(), _needed(wordnet)) if options.within else None
            proposer = WordNetProposer(_needed(wordnet), options.levels, leaves=options.leaves, among=among or None)
        case TaxonomyNeighbors():
            target_file = options.target_file
            proposer = TaxonomyProposer(_path(options.file), _path(target_file) if target_file else None)
        case FileNeighbors():
            proposer = FileProposer(_path(options.file), targets, wordnet)
        case _:
            raise TypeError(f"{type(options).__name__} names no neighbors")
    return Within(proposer, source) if options.within else proposer


def make_llm(
    options: LLMNeighbors,
    targets: Sequence[TargetClass],
    wordnet: WordNet | None,
    source: Source,
    wanted: Int64[np.ndarray, " target"],
    calls: Calls,
) -> Proposer:
    """A language model that names neighbors.

    Args:
        options: the node.
        targets: the classes of the target set.
        wordnet: None where the user did without.
        source: to which proposals are restricted with `within`.
        wanted: neighbors of each target, by label.
        calls: what it was asked, and who asks it more.

    Raises:
        ConfigError: a prompt that is none.
    """
    proposer = LLMProposer(options, targets, wordnet, wanted, calls)
    return Within(proposer, source) if options.within else proposer


def make_random(options: RandomClasses, wordnet: WordNet | None, source: Source) -> RandomProposer:
    """Who names classes at random: of the source's with `within`, else of the things that WordNet knows.

    Raises:
        ConfigError: WordNet is needed and not used, or the source is not divided into classes.
        DataError: the set whose classes are left out is none.
    """
    without = read_set(_path(options.without)).classes if options.without is not None else ()
    if not options.within:
        return RandomProposer(less(things(_needed(wordnet)), without), options.seed)
    pool = list(_named(source.classes(), wordnet))
    if not pool:
        raise ConfigError(
            "a source that is divided into classes, with proposer.within=true",
            f"{source.name}, which is not",
            "set proposer.within=false to draw from WordNet, or choose a source of class folders",
        )
    return RandomProposer(less(pool, without), options.seed)


def _named(classes: Iterable[Sought], wordnet: WordNet | None) -> Iterator[Sought]:
    """Classes of a source, with all that WordNet knows of them."""
    for sought in classes:
        if wordnet is not None and sought.wnid is not None and sought.wnid in wordnet:
            yield of_synset(wordnet, sought.wnid, RandomProposer.name)
        else:
            yield replace(sought, proposer=RandomProposer.name)


def _synsets(classes: Iterable[Sought], wordnet: WordNet) -> set[str]:
    """The synsets that classes of a source may be: that of its id, else all that have its name."""
    return {wnid for sought in classes for wnid in ((sought.wnid,) if sought.wnid else wordnet.wnids_of(sought.name))}


def _needed(wordnet: WordNet | None) -> WordNet:
    if wordnet is None:
        raise ConfigError("WordNet, for this proposer", "names.use_wordnet=false", "set names.use_wordnet=true")
    return wordnet


def _path(file: str) -> Path:
    return Path(file).expanduser()
