"""What pages say of images, well and badly."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from benchmarks.curation.photographs import Named
from lt_extrap.curate.names import forms, normal

NAMING = (
    "{}",
    "a photo of a {}",
    "{}, close up",
    "{} in the morning",
    "the {} that we saw last summer",
    "Best {} of 2014!",
    "<b>{}</b> &amp; friends",
    "My {} - part 2",
    "buy a {}: free delivery",
    "the {}'s place",
)
NAMELESS = (
    "",
    "untitled",
    "IMG_2031.JPG",
    "click to enlarge",
    "a photo from our holidays",
    "close up, soft light",
    "what a day!",
    "page 3 of 12",
    "Nikon D90, f/2.8, 1/250 s",
)


def naming(spelling: str, rng: np.random.Generator) -> str:
    """A caption with a name in it, as people write names."""
    written = (spelling, spelling.lower(), spelling.upper(), spelling.title(), spelling.replace(" ", "-"))
    return str(rng.choice(NAMING)).format(written[int(rng.integers(len(written)))])


def of(named: Named, rng: np.random.Generator) -> str:
    """A caption that names a class, mostly by its first name."""
    spellings = named.spellings if rng.random() < 0.3 else (named.name,)
    return naming(spellings[int(rng.integers(len(spellings)))], rng)


def nameless(rng: np.random.Generator) -> str:
    """A caption that names nothing."""
    return str(rng.choice(NAMELESS))


def says(text: str, named: Named) -> bool:
    """Whether a name of a class stands in a text, alone or within a longer name."""
    return _pattern(named.spellings).search(normal(text)) is not None


def longer_names(named: Named, known: Sequence[Named]) -> list[str]:
    """Names of other classes in which a name of this one stands, as "lion" in "mountain lion"."""
    own = {normal(spelling) for spelling in named.spellings}
    return sorted(
        spelling
        for other in known
        if other != named
        for spelling in other.spellings
        if normal(spelling) not in own and says(spelling, named)
    )


@lru_cache(maxsize=1000)
def _pattern(spellings: tuple[str, ...]) -> re.Pattern[str]:
    found = sorted(form for spelling in spellings for form in forms(spelling))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, found))})(?!\w)")
