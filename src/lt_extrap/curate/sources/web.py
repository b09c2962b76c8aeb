"""What sources on the web have in common; one of them says how its API is asked and how its answers are read."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

from lt_extrap.config.curate_source import WebSource
from lt_extrap.curate.licences import permitted
from lt_extrap.curate.records import Candidate, Refused, Sought
from lt_extrap.curate.sources.said import line
from lt_extrap.curate.web.api import Api, NoAnswer
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.errors import ConfigError, DataError

Config = TypeVar("Config", bound=WebSource)
Hit = Callable[[], Candidate | Refused]  # reads something found; a DataError: it is not as the API has it


class Web(ABC, Generic[Config]):
    """A source that is asked over the network, when it is searched and not before.

    A class without images is believed only if the source, asked at once for something that everybody has pictures of,
    shows some: a service that has changed, or is broken, answers with nothing too.

    Args:
        config: of the source.
        contact: of who asks.
        pause: waits some seconds.

    Attributes:
        name: of the source.
        notes: what its owner should know, a line each.
        control: what it surely has images of.
    """

    name: str
    notes: tuple[str, ...] = ()
    control: ClassVar[Sought] = Sought("name:dog", "dog", ("dog",), query="dog")

    def __init__(self, config: Config, contact: str | None, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.config, self.contact, self.pause = config, contact, pause

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.config, self.contact)

    @cached_property
    @abstractmethod
    def api(self) -> Api:
        """What is asked.

        Raises:
            ConfigError: a contact or a key is missing.
        """

    @abstractmethod
    def pages(self, sought: Sought) -> Iterator[Sequence[Hit]]:
        """What the API finds for a class, page by page, best first; as many pages as there are."""

    def offers(self, sought: Sought) -> bool:
        """True: it is not asked for each name that is thought of."""
        return True

    def classes(self) -> Iterable[Sought]:
        """None: it is not divided into classes that could be listed."""
        return ()

    def search(self, sought: Sought) -> Iterator[Candidate | Refused]:
        """Images of a class, in the order of the API, each place once.

        It ends at the last page, at a page that shows nothing new, and after `pages` of them.

        Raises:
            ConfigError: a contact or a key is missing.
            DataError: the API does not answer, or not as it should.
        """
        seen, readable = set[str](), False
        for hits in islice(self.pages(sought), self.config.pages):
            new = False
            found, _ = _read(hits)
            for one in found:
                readable = readable or bool(one.place)
                if one.place not in seen:
                    new = new or bool(one.place)
                    seen.update({one.place} - {""})
                    yield permitted(one, self.config.licences) if isinstance(one, Candidate) else one
            if not new:
                break
        if not readable:
            self._look()

    def read(self, place: str) -> bytes:
        """Nothing: its places are addresses, which are downloaded.

        Raises:
            UnreadableImage: always.
        """
        raise UnreadableImage(place, "needs the network")

    def key(self, variable: str, what: str) -> str:
        """What an environment variable has, where no configuration, file or message shows it.

        Raises:
            ConfigError: it is not set, or cannot be a header.
        """
        value = os.environ.get(variable, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            found = "signs that no key has" if value else "no such variable"
            raise ConfigError(f"{what} in the environment variable {variable}", found, f"export {variable}=<it>")
        return value

    def _look(self) -> None:
        """Whether it has images at all."""
        hits = next(self.pages(self.control), ())
        found, error = _read(hits)
        if any(one.place for one in found):
            return
        raise error or NoAnswer(
            f"{self.name}: images of {self.control.name}, after a class without any",
            "none either",
            "look whether source.api is right; if it is, the API has changed; the same command goes on",
        )


def _read(hits: Sequence[Hit]) -> tuple[list[Candidate | Refused], DataError | None]:
    """What some hits are, and the first error among them."""
    found, first = list[Candidate | Refused](), None
    for hit in hits:
        try:
            found.append(hit())
        except DataError as error:
            found.append(Refused("", "not as the API has it"))
            first = first or error
    return found, first


def phrase(sought: Sought, letters: int) -> str:
    """A question for the name of a class as a phrase, and for the word that tells it from its homonyms.

    Args:
        sought: the class.
        letters: at most.
    """
    name = line(sought.name).replace('"', " ").strip()[: letters - 2]
    further = line(sought.query).removeprefix(line(sought.name)).strip() if sought.query.startswith(sought.name) else ""
    question = f'"{name}" {further}'.strip()
    return question if len(question) <= letters else f'"{name}"'
