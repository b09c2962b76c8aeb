"""What curation passes from stage to stage. Names are never keys and never paths: ImageNet has two cranes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lt_extrap.model.shots import Shot


@dataclass(frozen=True)
class TargetClass:
    """A class of the target set.

    Attributes:
        label: 0..L-1.
        id: unique in the set, such as a WordNet id.
        name: for people.
        spellings: under which it is known, the name among them; all that is known of a synset.
        wnid: its WordNet 3.0 id; None where it is not known.
        gloss: what it is, in a sentence; None where it is not known.
        images: of the training list.
        shot: its group.
    """

    label: int
    id: str
    name: str
    spellings: tuple[str, ...]
    wnid: str | None
    gloss: str | None
    images: int
    shot: Shot


@dataclass(frozen=True)
class Sought:
    """A class whose images are looked for: an auxiliary class, or a target class of which more images are wanted.

    Attributes:
        key: unique: the WordNet id, else `name:` and the normal name, or `target:` and the label.
        name: for people.
        spellings: of which one has to occur in a caption, the name among them.
        wnid, gloss: of WordNet; None where they are not known.
        query: what a search engine is asked for: the name, with a word that tells it from its homonyms.
        proposer: who named it.
    """

    key: str
    name: str
    spellings: tuple[str, ...]
    wnid: str | None = None
    gloss: str | None = None
    query: str = ""
    proposer: str = ""


@dataclass(frozen=True)
class Candidate:
    """An image that a source offers for a class.

    Attributes:
        place: what tells it from all others of the source: a path in it, or a URL.
        caption: what is said of it; None where nothing is.
        url, page: of the image and of where it is shown, http or https; None for files.
        creator, licence, licence_url: for the attribution.
    """

    place: str
    caption: str | None = None
    url: str | None = None
    page: str | None = None
    creator: str | None = None
    licence: str | None = None
    licence_url: str | None = None


@dataclass(frozen=True)
class Refused:
    """An image that a source has found for a class, and does not offer.

    Attributes:
        place: as of a candidate; empty where it is not known.
        reason: in a few words, the same for all of its kind: they are counted by it.
    """

    place: str
    reason: str


@runtime_checkable
class Proposer(Protocol):
    """Names neighbors."""

    name: str

    def propose(self, target: TargetClass) -> Iterator[tuple[Sought, float | None]]:
        """Classes near a target, nearest first, each with its similarity if it is known; as many as there are."""
        ...


@runtime_checkable
class Asking(Protocol):
    """A proposer that has to ask somebody: what it does not know yet is left out of its proposals."""

    def ask(self) -> bool:
        """Find out what the last proposals ended for, all of it at once; False where there was nothing."""
        ...


@runtime_checkable
class Source(Protocol):
    """Has images.

    Attributes:
        notes: what is to be told of it, a line each.
    """

    name: str
    notes: tuple[str, ...]

    def offers(self, sought: Sought) -> bool:
        """Whether it may have images of a class, by a look that costs little."""
        ...

    def classes(self) -> Iterable[Sought]:
        """The classes that it is divided into; none where it is not."""
        ...

    def search(self, sought: Sought) -> Iterator[Candidate | Refused]:
        """Images of a class, best first, always in the same order; as many as there are.

        Raises:
            ConfigError: what a source on the web cannot be asked without, such as a key.
            DataError: the source does not answer, or not as it should.
        """
        ...

    def read(self, place: str) -> bytes:
        """The bytes of an image.

        Raises:
            UnreadableImage: with the place and a reason.
        """
        ...
