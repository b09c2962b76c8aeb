"""A DataLoader that goes on in the middle of an epoch."""

import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from lt_extrap.data.sampler import EpochSampler
from lt_extrap.data.side_by_side import end_with_parent


class ResumableLoader(DataLoader[Any]):
    """Its state is the number of batches that an epoch has delivered; the sampler is a function of the rest.

    Batches that workers have prefetched do not count, so any number of workers goes on at the same batch. Lightning
    keeps the state in its checkpoints, because of the names of the two methods.

    Attributes:
        on_ask: called when a batch is asked for, before it is waited for.
    """

    sampler: EpochSampler
    on_ask: Callable[[], None] = staticmethod(lambda: None)
    _delivered = 0
    _start = 0

    def state_dict(self) -> dict[str, int]:
        """After the last batch of an epoch: the beginning of the next."""
        return {"delivered": self._delivered % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next iteration begins behind that many batches."""
        self._start = state["delivered"]

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises a class of its own
        # A generator: Lightning makes the first iterator before it sets the epoch, and this reads neither until the
        # first batch is asked for.
        start, self._start = self._start, 0
        self.sampler.skip(start * self.sampler.batch_size)
        self.on_ask()
        for self._delivered, batch in enumerate(super().__iter__(), start + 1):
            yield batch
            self.on_ask()


def leave_signals(worker: int) -> None:
    """Keep a loader worker alive when the whole process group is told to stop, until the run has saved its state.

    SIGTERM is ignored once: the second is the loader's own, at the end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)
    end_with_parent()


def _ignore_once(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
