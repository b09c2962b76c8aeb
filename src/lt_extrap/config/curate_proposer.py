"""The nodes `proposer` and `names` of curation: who names auxiliary classes, and which names are none."""

from dataclasses import dataclass

from omegaconf import MISSING

from lt_extrap.config.checks import check


@dataclass
class Names:
    """What is known of names, and which are no auxiliary classes (docs/curating.md, Neighbors).

    Attributes:
        use_wordnet: look names up in WordNet 3.0: synonyms, hypernyms, hyponyms. false = compare names alone.
        wordnet: folder of its data.noun; null = $WNHOME, Debian's wordnet-base, NLTK's corpus.
        classes: a CSV that knows more of the target classes: id, and any of wnid, gloss, spellings (parted by "|").
        keep_hyponyms: also take kinds of a target class, whose images are target images.
        keep_persons: also take kinds of persons.
        forbidden: a file of names that no auxiliary class may have, one a line.
    """

    use_wordnet: bool = True
    wordnet: str | None = None
    classes: str | None = None
    keep_hyponyms: bool = False
    keep_persons: bool = False
    forbidden: str | None = None

    def __post_init__(self) -> None:
        check(self.use_wordnet or self.wordnet is None, "names.wordnet", "null without names.use_wordnet", self.wordnet)


@dataclass
class Proposing:
    """Who names auxiliary classes.

    Attributes:
        within: name only what the source has, such as the folders of ImageNet-21k.
    """

    within: bool = False


@dataclass
class WordNetNeighbors(Proposing):
    """Co-hyponyms by WordNet, the nearest level first.

    Attributes:
        levels: how many hypernyms up they are looked for: each level only where those below have too few.
        leaves: take only synsets without kinds of their own, so that no auxiliary class holds another.
    """

    levels: int = 4
    leaves: bool = True

    def __post_init__(self) -> None:
        check(1 <= self.levels <= 20, "proposer.levels", "in 1..20", self.levels)


@dataclass
class TaxonomyNeighbors(Proposing):
    """Species of the same genus, then family, then order.

    Attributes:
        file: what may be named, as iNaturalist's categories.json: name, genus, family, order.
        target_file: the species of the target set in this form; null = they are in `file` too.
    """

    file: str = MISSING
    target_file: str | None = None


@dataclass
class FileNeighbors(Proposing):
    """A list for each target class.

    Attributes:
        file: JSON {target: [name, ...]}, or CSV with the columns target, name and, if known, wnid and similarity.
    """

    file: str = MISSING


@dataclass
class RandomClasses(Proposing):
    """Classes that are nobody's neighbors: the paper's control RD.

    Attributes:
        classes: how many; null = as many as neighbors are wanted for all targets.
        seed: of the draw.
    """

    classes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.classes is None or self.classes >= 1, "proposer.classes", "at least 1, or null", self.classes)
        check(0 <= self.seed < 2**63, "proposer.seed", "in 0..2**63-1", self.seed)
