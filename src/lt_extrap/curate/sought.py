"""Classes to look for: from synsets, and from names."""

from lt_extrap.curate.names import normal
from lt_extrap.curate.records import Sought
from lt_extrap.curate.wordnet import WordNet


def of_synset(wordnet: WordNet, wnid: str, proposer: str) -> Sought:
    """The class of a synset, named by its first lemma."""
    synset = wordnet[wnid]
    return Sought(
        key=wnid,
        name=synset.lemmas[0],
        spellings=synset.lemmas,
        wnid=wnid,
        gloss=synset.gloss,
        query=query(wordnet, wnid),
        proposer=proposer,
    )


def of_name(name: str, wordnet: WordNet | None, proposer: str, wnid: str | None = None) -> Sought:
    """The class of a name that somebody gave.

    Args:
        name: as it was given; it stays the class's name.
        wordnet: what it is looked up in: a name that one synset alone has is that synset.
        proposer: who gave it.
        wnid: the synset, where it was given too.
    """
    if wnid is None and wordnet is not None:
        senses = wordnet.wnids_of(name)
        wnid = senses[0] if len(senses) == 1 else None
    if wnid is None or wordnet is None or wnid not in wordnet:
        return Sought(wnid or f"name:{normal(name)}", name, (name,), wnid, query=name, proposer=proposer)
    synset = wordnet[wnid]
    return Sought(
        key=wnid,
        name=name,
        spellings=tuple(dict.fromkeys((name, *synset.lemmas))),
        wnid=wnid,
        gloss=synset.gloss,
        query=query(wordnet, wnid, name),
        proposer=proposer,
    )


def query(wordnet: WordNet, wnid: str, name: str | None = None) -> str:
    """What a search engine is asked for: the name of a synset, and if others share the name, a word that they lack.

    That word ends the name of the nearest hypernym for which no other sense of the name has a hypernym that ends so:
    "crane device", "crane bird".

    Args:
        wordnet: all synsets.
        wnid: the synset.
        name: one of its names; null = its first lemma.
    """
    name = name or wordnet[wnid].lemmas[0]
    others = {
        _last_word(wordnet, above)
        for other in wordnet.wnids_of(name)
        if other != wnid
        for above in wordnet.ancestors(other)
    }
    if not others:
        return name
    words = [word for above in wordnet.ancestors(wnid) if (word := _last_word(wordnet, above)) not in normal(name)]
    words = [word for word in words if word not in others] or words
    return f"{name} {words[0]}" if words else name


def _last_word(wordnet: WordNet, wnid: str) -> str:
    return normal(wordnet[wnid].lemmas[0]).rpartition(" ")[2]
