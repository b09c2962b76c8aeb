"""Which addresses are still to be fetched: of each class so many that it has enough images."""

from collections import deque
from collections.abc import Mapping, Sequence


class _Class:
    """A class: its places in the order of the source, and how far they have been begun.

    Attributes:
        begun: places, from the first, that are settled or under way.
        open: of those, the ones that have not failed.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.places, self.begun, self.open = places, 0, 0


class Backlog:
    """Gives out places, class by class.

    A place is given out while fewer than enough of those before it are stored or under way. So a class ends with the
    shortest beginning of its places in which enough are stored: that depends on what is at the places, and neither on
    the order in which they arrive nor on how often the program was ended.

    Args:
        places: of each class, in the order of the source.
        known: whether a place has been stored; those that have neither been stored nor failed are not in it.
        enough: stored images of a class.
    """

    def __init__(self, places: Mapping[str, Sequence[str]], known: Mapping[str, bool], enough: int) -> None:
        self._known, self._enough = dict(known), enough
        self._waiting: dict[str, list[_Class]] = {}  # classes that count on a place that is under way
        self._places = [place for of_class in places.values() for place in of_class]
        self._classes = deque(_Class(of_class) for of_class in places.values())

    def next(self) -> str | None:
        """A place to fetch now; None where there is none until more is settled."""
        while self._classes:
            of = self._classes[0]
            if of.begun == len(of.places) or of.open == self._enough:
                self._classes.popleft()
                continue
            place = of.places[of.begun]
            of.begun += 1
            stored = self._known.get(place)
            if stored is False:
                continue
            of.open += 1
            if stored is None:
                self._waiting.setdefault(place, []).append(of)
                if len(self._waiting[place]) == 1:
                    return place
        return None

    def settle(self, place: str, *, stored: bool) -> None:
        """Say what became of a place that was given out."""
        self._known[place] = stored
        for of in self._waiting.pop(place):
            if not stored:
                if of.open == self._enough:
                    self._classes.appendleft(of)  # it had been left, and goes on before others begin
                of.open -= 1

    @property
    def left(self) -> list[str]:
        """Places that were not given out."""
        return list(dict.fromkeys(place for place in self._places if place not in self._known))

    @property
    def under_way(self) -> int:
        """Places that were given out and are not settled."""
        return len(self._waiting)
