"""Why a proposed class is no neighbor, by its name: it may be a target class, hold one, or be held by one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lt_extrap.curate.names import forms, normal
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.curate.wordnet import PERSON, WordNet
from lt_extrap.errors import DataError

_LONG = 6  # letters from which on one letter is a slip of the pen
_AGES = frozenset(("baby", "calf", "chick", "cub", "fawn", "foal", "kitten", "lamb", "pup", "puppy", "piglet"))


class Reason(StrEnum):
    """Why a proposed class is dropped, in the order in which the rules are asked."""

    FORBIDDEN = "forbidden"  # its name is on the user's list
    TARGET = "target"  # it is a target: the same synset, or its name is one of a target's names
    SHARED_NAME = "shared_name"  # another of its names is one of a target's
    HYPERNYM = "hypernym"  # a target is a kind of it: its images show targets
    HYPONYM = "hyponym"  # it is a kind of a target: its images are target images
    MISSPELLED = "misspelled"  # a letter away from a target's name
    PERSON = "person"  # a kind of person
    NEAR_SYNONYM = "near_synonym"  # a text encoder finds it as good as a target's name: a person decides
    REVIEWED = "reviewed"  # a person dropped it


class Drop(NamedTuple):
    """Why a proposed class is dropped.

    Attributes:
        reason: which rule.
        target: label of the class that it clashes with, the first by label; None where it clashes with none.
    """

    reason: Reason
    target: int | None


class NameRules:
    """Which proposed classes are no neighbors.

    A class is dropped, by the first of these rules that holds,
    - forbidden: its name is on the user's list;
    - target: it has a target's synset, or its name is one of the names of a target;
    - shared_name: another of its names is one of the names of a target;
    - hypernym: a target's synset is a kind of its own. Where WordNet does not know both: a target's first name ends
      with its name, word for word ("wolfhound" of Irish wolfhound);
    - hyponym: its synset is a kind of a target's. Where WordNet does not know both: its name ends with a target's
      first ("miniature toy poodle" of toy poodle), also with the word for a young animal after it ("toy poodle
      puppy"). A name that merely holds a target's is kept: a bus stop is no bus;
    - misspelled: its name is one letter away from a target's, both of 6 letters or more. Asked only of names that
      WordNet does not have: what it has is a word of its own ("butter" beside batter);
    - person: all its synsets are persons;
    - near_synonym: its name means nearly what one of a target's names does, where something is given that can tell.
    Names are compared in all forms of `names.forms`: case, plural, hyphens, blanks, accents, grey and gray. A name
    whose synset was not given stands for each of its senses: "boxer" is dropped beside the target dog.

    Args:
        targets: all classes of the target set.
        wordnet: None = names alone are compared.
        keep_hyponyms: leave that rule out: more classes, whose images are images of targets.
        keep_persons: leave that rule out.
        forbidden: names that nothing may have.
        near_synonyms: finds the target whose name means nearly the same; None = that rule is left out.
    """

    def __init__(
        self,
        targets: Sequence[TargetClass],
        wordnet: WordNet | None,
        *,
        keep_hyponyms: bool = False,
        keep_persons: bool = False,
        forbidden: Iterable[str] = (),
        near_synonyms: Callable[[str], int | None] | None = None,
    ) -> None:
        self._wordnet = wordnet
        self._keep_hyponyms, self._keep_persons = keep_hyponyms, keep_persons
        self._near_synonyms = near_synonyms
        self._forbidden = frozenset(form for name in forbidden for form in forms(name))
        self._synsets: dict[str, int] = {}
        self._above: dict[str, int] = {}
        targets = sorted(targets, key=lambda target: target.label)
        for target in targets:
            if target.wnid is None:
                continue
            self._synsets.setdefault(target.wnid, target.label)
            if wordnet is not None and target.wnid in wordnet:
                for above in wordnet.ancestors(target.wnid):
                    self._above.setdefault(above, target.label)
        self._all = _Names(targets)
        self._unknown = _Names([target for target in targets if wordnet is None or target.wnid not in wordnet])

    def drop(self, sought: Sought) -> Drop | None:
        """Why a class is no neighbor; None if it may be one."""
        if not self._forbidden.isdisjoint(forms(sought.name)):
            return Drop(Reason.FORBIDDEN, None)
        senses = self._senses(sought)
        for reason, target in self._clashes(sought, senses):
            if target is not None:
                return Drop(reason, target)
        if senses and not self._keep_persons and all(PERSON in self._kinds(sense) for sense in senses):
            return Drop(Reason.PERSON, None)
        if self._near_synonyms is not None and (near := self._near_synonyms(sought.name)) is not None:
            return Drop(Reason.NEAR_SYNONYM, near)
        return None

    def _clashes(self, sought: Sought, senses: tuple[str, ...]) -> Iterator[tuple[Reason, int | None]]:
        """Each rule that compares with targets, and the target that it finds."""
        names = self._unknown if senses else self._all
        yield Reason.TARGET, _first(self._synsets, senses if sought.wnid else ())
        yield Reason.TARGET, self._all.called(sought.name)
        yield Reason.SHARED_NAME, next((t for s in sought.spellings if (t := self._all.called(s)) is not None), None)
        yield Reason.HYPERNYM, _first(self._above, senses)
        yield Reason.HYPERNYM, names.ending_with(sought.name)
        if not self._keep_hyponyms:
            yield Reason.HYPONYM, _first(self._synsets, (kind for sense in senses for kind in self._kinds(sense)))
            yield Reason.HYPONYM, names.at_the_end_of(sought.name)
        if not senses:
            yield Reason.MISSPELLED, self._all.one_letter_from(sought.name)

    def _senses(self, sought: Sought) -> tuple[str, ...]:
        """The synset of a class, or all that its name may stand for."""
        if sought.wnid is not None:
            return (sought.wnid,)
        return self._wordnet.wnids_of(sought.name) if self._wordnet is not None else ()

    def _kinds(self, wnid: str) -> set[str]:
        """A synset and all that it is a kind of."""
        return {wnid, *(self._wordnet.ancestors(wnid) if self._wordnet is not None and wnid in self._wordnet else ())}


class _Names:
    """The names of targets, which come by label: of each form, the first target that has it.

    Only the first name of each, its own, is compared with parts of other names: of Polygonia comma, WordNet has the
    synonym "comma", and Hesperia comma is another butterfly.
    """

    def __init__(self, targets: Iterable[TargetClass]) -> None:
        self._whole: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        for target in targets:
            for spelling in target.spellings:
                for form in forms(spelling):
                    self._whole.setdefault(form, target.label)
            for form in forms(target.spellings[0]):
                self._first.setdefault(form, target.label)
            for end in _ends(normal(target.spellings[0])):
                for form in forms(end):
                    self._ends.setdefault(form, target.label)

    def called(self, name: str) -> int | None:
        """The target that has this name."""
        return _first(self._whole, forms(name))

    def ending_with(self, name: str) -> int | None:
        """A target whose name ends with this one, after other words."""
        return _first(self._ends, forms(name))

    def at_the_end_of(self, name: str) -> int | None:
        """A target whose name ends this one, after other words, or before that of a young animal."""
        words = normal(name)
        grown, _, age = words.rpartition(" ")
        ends = [*_ends(words), *((grown, *_ends(grown)) if not _AGES.isdisjoint(forms(age)) else ())]
        return _first(self._first, (form for end in ends for form in forms(end)))

    def one_letter_from(self, name: str) -> int | None:
        """A target whose name is one letter longer, shorter or other, both of 6 letters or more."""
        words = normal(name)
        if len(words) < _LONG:
            return None
        shorter = (words[:at] + words[at + 1 :] for at in range(len(words)))
        near = [
            _first(self._whole, (word for word in shorter if len(word) >= _LONG)),
            _first(self._gaps, (words, *_gaps(words))),
        ]
        return min((target for target in near if target is not None), default=None)

    @cached_property
    def _gaps(self) -> dict[str, int]:
        """Long names with one letter hidden or left out."""
        return {
            gap: target
            for form, target in reversed(self._whole.items())
            if len(form) >= _LONG
            for gap in (*_gaps(form), *(form[:at] + form[at + 1 :] for at in range(len(form))))
        }


def _ends(words: str) -> Iterator[str]:
    """What a name of several words ends with: "toy poodle" and "poodle" of "miniature toy poodle"."""
    while words := words.partition(" ")[2]:
        yield words


def _gaps(word: str) -> Iterator[str]:
    """A word with each of its letters hidden in turn."""
    return (f"{word[:at]}\0{word[at + 1 :]}" for at in range(len(word)))


def _first(targets: Mapping[str, int], keys: Iterable[str]) -> int | None:
    """The smallest label that any of these keys has."""
    return min((targets[key] for key in keys if key in targets), default=None)


def read_forbidden(file: Path) -> list[str]:
    """The names of a file that no auxiliary class may have, one a line.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return [name for line in file.read_text(encoding="utf-8-sig").splitlines() if (name := line.strip())]
    except (OSError, ValueError) as error:
        raise DataError(
            "a file of forbidden names, one a line", f"{file}: {error}", "correct names.forbidden"
        ) from None
