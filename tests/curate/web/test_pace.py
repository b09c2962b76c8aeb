import asyncio
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.curate.web.failure import Failure
from lt_extrap.curate.web.pace import Pace, retry_after

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("2", 2.0),
        (" 86400 ", 86400.0),
        ("1.5", 1.5),
        ("-3", None),
        ("soon", None),
        ("\u0663", None),
        ("9" * 500, math.inf),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:50:37", 60.0),  # without a zone
        ("Sun, 99 Nov 1994 08:00:00 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, DATE) == seconds


def test_a_date_counts_from_this_machines_clock_where_the_host_tells_none():
    assert retry_after(DATE, None) == 0
    assert retry_after("Mon, 01 Mar 2500 00:00:00 GMT", "nonsense") > 1e9


@settings(max_examples=30)
@given(st.text(max_size=40), st.none() | st.text(max_size=40))
def test_any_header_can_be_read(value, date):
    seconds = retry_after(value, date)
    assert seconds is None or seconds >= 0


def pace(**changed) -> Pace:
    return Pace(**{"concurrency": 9, "per_host": 9, "rate": 1000.0, "rates": {}, "longest_wait": 5.0} | changed)


async def times(pace: Pace, host: str, count: int) -> list[float]:
    async def one() -> float:
        async with pace.turn(host):
            return asyncio.get_running_loop().time()

    return sorted(await asyncio.gather(*(one() for _ in range(count))))


def test_requests_start_no_closer_than_the_interval():
    found = asyncio.run(times(pace(rate=100.0), "a", 4))
    assert all(later - sooner > 0.009 for sooner, later in pairwise(found))


def test_a_delay_makes_a_host_slower_and_never_faster():
    async def slowed() -> list[float]:
        slow = pace(longest_wait=0.03)
        slow.slow_down("a", 1e9)
        slow.slow_down("a", 0.0)
        return await times(slow, "a", 3)

    found = asyncio.run(slowed())
    assert all(later - sooner > 0.029 for sooner, later in pairwise(found))


def test_a_host_that_bears_it_again_is_asked_as_often_as_before():
    """Else a host of a long run would be asked once a minute after a handful of refusals."""

    async def intervals() -> list[float]:
        busy = pace(rate=10.0, longest_wait=60.0)
        busy.slow_down("a", 0.2)
        found = list[float]()
        for answers in (0, 34, 1000):
            for _ in range(3 * (answers == 0)):
                busy.postpone("a", 0.0, "429")
            for _ in range(answers):
                busy.answered("a")
            found.append(busy._host("a").interval)
        return found

    after, later, end = asyncio.run(intervals())
    assert after == pytest.approx(1.6)
    assert later == pytest.approx(0.8, rel=0.02)
    assert end == 0.2


def test_a_short_wait_is_waited_and_a_long_one_is_not():
    async def both() -> float:
        waiting, loop = pace(longest_wait=1.0), asyncio.get_running_loop()
        waiting.postpone("a", 0.05, "429")
        waiting.postpone("b", 1.5, "429")
        with pytest.raises(Failure, match="postponed: b said 429 and asks for 2 s"):
            await times(waiting, "b", 1)
        start = loop.time()
        return (await times(waiting, "a", 1))[0] - start

    assert asyncio.run(both()) > 0.049


def test_those_who_wait_already_hear_that_a_host_asks_for_more_time():
    async def told() -> list[BaseException]:
        waiting = pace(rate=20.0)
        tasks = [asyncio.create_task(times(waiting, "a", 1)) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiting.postpone("a", 999.0, "503")
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(told())
    assert isinstance(first, list)
    assert [other.kind for other in others] == ["postponed"] * 2


def test_a_host_that_is_left_alone_is_asked_again_after_a_while():
    async def again() -> None:
        short = pace(longest_wait=0.05)
        for _ in range(4):
            short.missed("a", Failure("dns", "no answer"))
        short.answered("a")
        for _ in range(5):
            await times(short, "a", 1)
            short.missed("a", Failure("dns", "no answer"))
        with pytest.raises(Failure, match="dns: no answer; 5 in a row"):
            await times(short, "a", 1)
        await times(short, "b", 1)
        await asyncio.sleep(0.06)
        await times(short, "a", 1)

    asyncio.run(again())
