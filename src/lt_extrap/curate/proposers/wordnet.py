"""Neighbors by WordNet: what is a kind of the same thing."""

from collections.abc import Collection, Iterable, Iterator

from lt_extrap.curate.proposers.order import own_order
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.curate.sought import of_synset
from lt_extrap.curate.wordnet import WordNet


class WordNetProposer:
    """Co-hyponyms: what is below a target's hypernyms, then below theirs, level by level.

    Within a level the most similar come first (Wu and Palmer). What is as similar comes in an order of the target's
    own, so that targets of one family do not all get the same few. Individuals are never proposed.

    Args:
        wordnet: all synsets.
        levels: how far to climb; farther up are stranger classes.
        leaves: whether only leaves are proposed, of which none is a kind of another.
        among: wnids that alone are proposed and counted, such as those of a source; None = all synsets.
    """

    name = "wordnet"

    def __init__(
        self, wordnet: WordNet, levels: int, *, leaves: bool = True, among: Collection[str] | None = None
    ) -> None:
        self._wordnet, self._levels = wordnet, levels
        self._pool = {
            wnid for wnid in (wordnet if among is None else among) if wnid in wordnet and not wordnet[wnid].is_instance
        }
        if leaves:
            self._pool -= _above(wordnet, self._pool)
        self._below: dict[str, tuple[str, ...]] = {}

    def propose(self, target: TargetClass) -> Iterator[tuple[Sought, float | None]]:
        """Classes near a target, nearest first, with their similarity of Wu and Palmer; none of one without synset."""
        if target.wnid is None or target.wnid not in self._wordnet:
            return
        above = self._wordnet.ancestors(target.wnid)
        seen = {target.wnid}
        for level in range(1, min(self._levels, max(above.values(), default=0)) + 1):
            found = {wnid for at, steps in above.items() if steps == level for wnid in self._pool_below(at)} - seen
            seen |= found
            similarity = {wnid: self._wordnet.similarity(target.wnid, wnid) for wnid in found}
            for wnid in sorted(found, key=lambda wnid: (-similarity[wnid], own_order(target, wnid))):
                yield of_synset(self._wordnet, wnid, self.name), similarity[wnid]

    def _pool_below(self, hypernym: str) -> tuple[str, ...]:
        """What may be proposed of all that is below a synset."""
        if hypernym not in self._below:
            self._below[hypernym] = tuple(w for w in self._wordnet.descendants(hypernym) if w in self._pool)
        return self._below[hypernym]


def _above(wordnet: WordNet, wnids: Iterable[str]) -> set[str]:
    """All that any of these synsets is a kind of."""
    found: set[str] = set()
    for at in (queue := list(wnids)):
        new = [hypernym for hypernym in wordnet[at].hypernyms if hypernym not in found]
        found.update(new)
        queue.extend(new)
    return found
