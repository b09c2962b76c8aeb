"""Neighbors by a language model."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.curate.llm.calls import Calls, Question
from lt_extrap.curate.llm.prompt import read_prompt
from lt_extrap.curate.llm.protocols import PROTOCOLS, Reply
from lt_extrap.curate.llm.reply import Name, Names, read
from lt_extrap.curate.names import forms, normal
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.curate.sought import of_name
from lt_extrap.curate.sources.said import line
from lt_extrap.curate.wordnet import Synset, WordNet

_MORE = 4  # times the tokens, after an answer that was cut before its first name
_SYNONYMS = 4  # of a class, in a question


class LLMProposer:
    """What a language model names for each target, in its order.

    A target is asked for once, and again, without the names that were given, only where these were taken and are too
    few; at most `rounds` times. Answers come from `calls` alone: what is not known there ends the proposals of a target
    until `ask` was called, which asks for all targets side by side. So the order of answers changes nothing.

    Args:
        options: of the proposer.
        targets: all classes of the target set.
        wordnet: in which names are looked up; None = they are not.
        wanted: neighbors of each target, by label.
        calls: questions that were answered, and who asks more.

    Raises:
        ConfigError: a prompt that is none.
    """

    name = "llm"

    def __init__(
        self,
        options: LLMNeighbors,
        targets: Sequence[TargetClass],
        wordnet: WordNet | None,
        wanted: Int64[np.ndarray, " target"],
        calls: Calls,
    ) -> None:
        self._options, self._wordnet, self._wanted, self._calls = options, wordnet, wanted, calls
        self._targets = sorted(targets, key=lambda target: target.label)
        self._prompt = read_prompt(options.prompt)
        self._open: list[Question] = []

    def propose(self, target: TargetClass) -> Iterator[tuple[Sought, float | None]]:
        """Classes that the model names for a target, as far as it was asked; no similarity is known."""
        named: dict[str, Name] = {}
        cut = 0
        for round in range(1, self._options.rounds + 1):
            question = self._question(target, round, tuple(named.values()), cut)
            if (reply := self._calls.known(question)) is None:
                self._open.append(question)
                return
            found = names_of(reply)
            cut += not found.names and not found.whole
            for name in found.names:
                if name.key not in named:
                    named[name.key] = name
                    yield self._sought(name, target), None

    def ask(self) -> bool:
        """Ask what the last proposals ended for.

        Raises:
            NoAnswer: the server does not answer, or a limit is reached.
            ConfigError: the server does not take such questions.
        """
        questions, self._open = self._open, []
        if questions:
            self._calls.ask(questions)
        return bool(questions)

    def _question(self, target: TargetClass, round: int, named: Sequence[Name], cut: int) -> Question:
        options, synset = self._options, self._synset(target)
        above = self._wordnet[synset.hypernyms[0]] if self._wordnet and synset and synset.hypernyms else None
        own = [line(spelling) for spelling in target.spellings if normal(spelling) != normal(target.name)]
        values = {
            "k": str(math.ceil(options.surplus * int(self._wanted[target.label]))),
            "name": line(target.name.replace("_", " ")),
            "synonyms": ", ".join(own[:_SYNONYMS]),
            "gloss": line(target.gloss or ""),
            "parent": above.lemmas[0] if above else "",
            "avoid": ", ".join(self._near(target)),
            "named": ", ".join(name.name for name in named),
        }
        tokens = options.max_tokens or PROTOCOLS[options.protocol].tokens
        return Question(
            target.id,
            round,
            self._prompt.fill(values),
            None if tokens is None else tokens * _MORE**cut,
            None if options.seed is None else options.seed + round - 1,
        )

    def _synset(self, target: TargetClass) -> Synset | None:
        wordnet = self._wordnet
        return wordnet[target.wnid] if wordnet and target.wnid and target.wnid in wordnet else None

    def _near(self, target: TargetClass) -> list[str]:
        """Names of other targets that the model might think of, the nearest first.

        All of them where they are few; else those of the nearest hypernyms, or without WordNet those that share a word.
        """
        others = {other.label: other for other in self._targets if other.label != target.label}
        labels = [label for key in self._kinds(target) for label in self._of_kind[key] if label in others]
        if len(others) <= self._options.avoid:
            labels += others
        near = list(dict.fromkeys(labels))[: self._options.avoid]
        return [line(others[label].name.partition(",")[0].replace("_", " ")) for label in near]

    @cached_property
    def _of_kind(self) -> dict[str, list[int]]:
        """The targets of each hypernym, and of each word of a name."""
        found: dict[str, list[int]] = defaultdict(list)
        for target in self._targets:
            for key in self._kinds(target):
                found[key].append(target.label)
        return found

    def _kinds(self, target: TargetClass) -> list[str]:
        """What a target has in common with others: hypernyms, the nearest first, else words of its name."""
        if self._wordnet is not None and target.wnid is not None and target.wnid in self._wordnet:
            return list(self._wordnet.ancestors(target.wnid))
        return [f"word:{word}" for word in reversed(normal(target.name).split())]

    def _sought(self, name: Name, target: TargetClass) -> Sought:
        """The class of a name: of several senses, the one that its note tells, else the one most like the target."""
        wordnet = self._wordnet
        wnid = sense(wordnet, name, target.wnid) if wordnet is not None else None
        if wnid is not None or name.note is None:
            return of_name(name.name, wordnet, self.name, wnid)
        return Sought(
            f"name:{name.key}",
            name.name,
            (name.name,),
            gloss=name.note,
            query=f"{name.name} {name.note}",
            proposer=self.name,
        )


def names_of(reply: Reply) -> Names:
    """The names in an answer."""
    return Names((), True) if reply.stop == "refused" else read(reply.text, cut=reply.stop == "cut")


def sense(wordnet: WordNet, name: Name, near: str | None) -> str | None:
    """The synset that a name stands for.

    Args:
        wordnet: all synsets.
        name: with its note: what one sense alone is a kind of, or what its gloss alone says.
        near: a synset that it was named beside: the sense that is more like it than all others.

    Returns:
        None where WordNet does not have the name, or where nothing tells which sense it is.
    """
    senses = wordnet.wnids_of(name.name) or tuple(
        dict.fromkeys(wnid for form in sorted(forms(name.name)) for wnid in wordnet.wnids_of(form))
    )  # crows
    if name.note is not None and len(senses) > 1:
        note = normal(name.note)
        told = [wnid for wnid in senses if note in _kinds(wordnet, wnid)]
        told = told or [wnid for wnid in senses if set(note.split()) <= set(normal(wordnet[wnid].gloss).split())]
        senses = tuple(told) or senses
    if len(senses) <= 1:
        return senses[0] if senses else None
    if near is None or near not in wordnet:
        return None
    order = sorted(senses, key=lambda s: -wordnet.similarity(near, s))
    first, second = (wordnet.similarity(near, s) for s in order[:2])
    return order[0] if first > second else None


def _kinds(wordnet: WordNet, wnid: str) -> set[str]:
    """The names of a synset and of all that it is a kind of."""
    return {normal(lemma) for at in (wnid, *wordnet.ancestors(wnid)) for lemma in wordnet[at].lemmas}
