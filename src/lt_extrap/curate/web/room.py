"""How many bytes all downloads together may hold."""

import asyncio
from collections import deque


class Room:
    """Bytes, given to whoever comes first; of one event loop.

    Args:
        most: that are given; to one who wants more than that, while nobody else has any.
    """

    def __init__(self, most: int) -> None:
        self._most, self.taken = most, 0
        self._waiting = deque[tuple[int, asyncio.Future[None]]]()

    async def take(self, size: int) -> None:
        """Wait until there is room for so many bytes, and take it. It may be cancelled: then none is taken."""
        if not self._waiting and self._is_for(size):
            self.taken += size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn had come
                self.give(size)
            raise

    def give(self, size: int) -> None:
        """Give room back."""
        self.taken -= size
        while self._waiting and (self._waiting[0][1].cancelled() or self._is_for(self._waiting[0][0])):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.taken += wanted
                turn.set_result(None)

    def _is_for(self, size: int) -> bool:
        return not self.taken or self.taken + size <= self._most
