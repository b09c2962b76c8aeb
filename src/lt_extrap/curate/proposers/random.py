"""Classes at random, the paper's control RD: does it have to be neighbors?"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from lt_extrap.curate.names import normal
from lt_extrap.curate.records import Sought
from lt_extrap.curate.sought import of_synset
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.stored.schema import ClassRecord
from lt_extrap.keys import Stream, hash64

_WHOLE = "n00003553"  # living things, artifacts and natural objects: what a photograph can be of


class RandomProposer:
    """Classes in a random order that depends on seed and class alone: others may come to the pool or leave it.

    Args:
        pool: what is drawn from, in any order.
        seed: of the order.
    """

    name = "random"

    def __init__(self, pool: Iterable[Sought], seed: int) -> None:
        self._pool = {sought.key: sought for sought in pool}
        self._seed = seed

    def draw(self, count: int | None = None) -> Iterator[Sought]:
        """The first classes of the order; None = all."""
        order = sorted(self._pool, key=lambda key: (int(hash64(Stream.SUBSET, self._seed, _number(key))), key))
        return (self._pool[key] for key in order[:count])


def things(wordnet: WordNet) -> Iterator[Sought]:
    """The leaves of WordNet that a photograph can be of: kinds of whole things, none with kinds of its own."""
    for wnid in wordnet.descendants(_WHOLE):
        if not wordnet[wnid].is_instance and all(wordnet[below].is_instance for below in wordnet.hyponyms(wnid)):
            yield of_synset(wordnet, wnid, RandomProposer.name)


def less(pool: Iterable[Sought], without: Sequence[ClassRecord]) -> Iterator[Sought]:
    """What of a pool is no class of a set: of none of its ids, and of none of its names.

    By name too, since a set knows the synset of what a folder may name without it; of two classes that share a name
    one too many is left out, which costs a control nothing.
    """
    wnids = {made.wnid for made in without if made.wnid}
    names = {normal(name) for made in without for name in (made.name, *made.spellings)}
    for sought in pool:
        if sought.wnid not in wnids and names.isdisjoint(map(normal, (sought.name, *sought.spellings))):
            yield sought


def _number(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1
