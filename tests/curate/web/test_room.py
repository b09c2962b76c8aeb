import asyncio
import random

from lt_extrap.curate.web.room import Room


def test_no_more_is_taken_than_there_is_and_everybody_has_a_turn():
    room, draw, most = Room(100), random.Random(0), list[int]()

    async def one(size):
        await room.take(size)
        try:
            most.append(room.taken)
            await asyncio.sleep(draw.uniform(0, 0.002))
        finally:
            room.give(size // 2)
            room.give(size - size // 2)

    async def all_of_them():
        tasks = [asyncio.create_task(one(draw.randrange(1, 60))) for _ in range(200)]
        for task in draw.sample(tasks, 50):
            asyncio.get_running_loop().call_later(draw.uniform(0, 0.05), task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        return sum(task.cancelled() for task in tasks)

    cancelled = asyncio.run(all_of_them())
    assert cancelled
    assert room.taken == 0
    assert 60 < max(most) <= 100


def test_one_who_wants_more_than_there_is_waits_until_nobody_has_any():
    async def some_of_them():
        room = Room(100)
        await room.take(40)
        waiting = [asyncio.create_task(room.take(size)) for size in (250, 30, 30)]
        await asyncio.sleep(0)
        assert (room.taken, [task.done() for task in waiting]) == (40, [False] * 3)  # the small ones do not overtake
        room.give(40)
        await asyncio.sleep(0)
        assert (room.taken, [task.done() for task in waiting]) == (250, [True, False, False])
        room.give(250)
        await asyncio.gather(*waiting)
        assert room.taken == 60

    asyncio.run(some_of_them())


def test_one_who_is_cancelled_when_its_turn_has_come_takes_nothing():
    async def two_of_them():
        room = Room(100)
        await room.take(100)
        waiting = [asyncio.create_task(room.take(100)) for _ in range(2)]
        await asyncio.sleep(0)
        room.give(100)
        waiting[0].cancel()
        await asyncio.wait(waiting)
        assert (waiting[0].cancelled(), room.taken) == (True, 100)

    asyncio.run(two_of_them())
