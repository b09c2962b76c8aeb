"""Which places are downloaded does not depend on the order in which they arrive."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.curate.backlog import Backlog

_PLACES = st.lists(st.integers(0, 12).map(str), max_size=10, unique=True)


def taken(places, good, enough, draw, known=None) -> dict[str, bool]:
    """All that is given out, settled in an order that is drawn; at most 4 at a time."""
    backlog, under_way, known = Backlog(places, known or {}, enough), [], dict(known or {})
    while True:
        while len(under_way) < 4 and (place := backlog.next()) is not None:
            assert place not in known
            assert place not in under_way
            under_way.append(place)
        assert backlog.under_way == len(under_way)
        if not under_way:
            assert set(backlog.left) == {p for of in places.values() for p in of} - known.keys()
            return known
        place = under_way.pop(draw(len(under_way)))
        known[place] = place in good
        backlog.settle(place, stored=place in good)


def shortest(places, good, enough) -> set[str]:
    needed = set()
    for of in places.values():
        stored = 0
        for place in of:
            if stored == enough:
                break
            needed.add(place)
            stored += place in good
    return needed


@settings(max_examples=40, deadline=None)
@given(st.lists(_PLACES, min_size=1, max_size=4), st.sets(st.integers(0, 12).map(str)), st.integers(1, 4), st.data())
def test_each_class_takes_the_shortest_beginning_that_is_enough(lists, good, enough, data):
    places = {str(number): of for number, of in enumerate(lists)}

    def draw(count):
        return data.draw(st.integers(0, count - 1))

    known = taken(places, good, enough, draw)
    assert known.keys() == shortest(places, good, enough)
    assert all(stored == (place in good) for place, stored in known.items())
    half = dict(list(known.items())[: len(known) // 2])  # as after a kill
    assert taken(places, good, enough, draw, half) == known
