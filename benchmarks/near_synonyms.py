"""What a text encoder finds of near-synonyms, and what it takes for some, on ImageNet's 1,000 names.

    python -m benchmarks.near_synonyms <name or folder of a model of transformers>

Two questions, each for the cosines from which on two names would mean the same. Of WordNet's other names of a class,
those that share no form and no ending with its first: how many does that first name find? Of up to three siblings of
each class that are no classes of ImageNet: how many are taken for one of the 1,000? The classes are known by their
first names alone, as where there is no WordNet.
"""

import random
import sys
from collections.abc import Sequence

import torch
from timm.data import ImageNetInfo

from lt_extrap.curate.names import forms, normal
from lt_extrap.curate.near_synonyms import TextEncoder
from lt_extrap.curate.wordnet import Synset, WordNet, find_wordnet, read_wordnet

COSINES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SIBLINGS = 3


def run(model: str) -> list[str]:
    """The lines of a table."""
    wordnet, encoder = read_wordnet(find_wordnet(None)), TextEncoder(model)
    wnids = ImageNetInfo("imagenet-1k").label_names()
    first = [wordnet[wnid].lemmas[0] for wnid in wnids]
    synonyms = [
        (name, other) for wnid, name in zip(wnids, first, strict=True) for other in _others(wordnet[wnid], name)
    ]
    siblings = _siblings(wordnet, wnids, known=set().union(*map(forms, first)))
    found = (encoder([name for name, _ in synonyms]) * encoder([other for _, other in synonyms])).sum(1)
    nearest = (encoder(siblings) @ encoder(first).T).amax(1)
    return [
        f"| cosine | of {len(synonyms):,} synonyms | of {len(siblings):,} siblings |",
        "| --- | --- | --- |",
        *(f"| {least} | {_share(found >= least)} | {_share(nearest >= least)} |" for least in COSINES),
    ]


def _others(synset: Synset, name: str) -> list[str]:
    """Other names than this one, of which none ends with the other."""
    words, found = normal(name), list[str]()
    for other in synset.lemmas[1:]:
        end = words.endswith(normal(other)) or normal(other).endswith(words)
        if not end and forms(other).isdisjoint(forms(name)):
            found.append(other)
    return found


def _siblings(wordnet: WordNet, wnids: Sequence[str], known: set[str]) -> list[str]:
    draw, found, classes = random.Random(0), list[str](), set(wnids)
    for wnid in wnids:
        names = [
            wordnet[sibling].lemmas[0]
            for above in wordnet[wnid].hypernyms
            for sibling in wordnet.hyponyms(above)
            if sibling not in classes
        ]
        names = [name for name in names if forms(name).isdisjoint(known)]
        found += draw.sample(names, min(SIBLINGS, len(names)))
    return found


def _share(holds: torch.Tensor) -> str:
    return f"{100 * holds.float().mean().item():.1f} %"


if __name__ == "__main__":
    print("\n".join(run(sys.argv[1])))
