"""How a run hears that it is to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lt_extrap.errors import LtExtrapError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """A run that was told to stop: ends the process, and with it a sweep, with the status of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __reduce__(self) -> tuple[type["Stopped"], tuple[int]]:
        return type(self), (self.number,)  # a job of a sweep may be stopped in another process


class StopSignal:
    """SIGTERM and SIGINT as a request, which the training loop answers after its next step.

    Attributes:
        patient: a request waits for `answer`; otherwise, and at the second SIGINT, it stops at once.
        received: the number of the signal, if one came.
    """

    def __init__(self) -> None:
        self.patient, self.received = False, 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received == signal.SIGINT, number
        if again or not self.patient:
            raise Stopped(number)

    def answer(self) -> None:
        """Stop, if a signal asked for it."""
        if self.received:
            raise Stopped(self.received)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen within this block, if it is of the main thread, where alone signals arrive."""
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self) for number in _SIGNALS} if main else {}
        try:
            yield
            self.answer()  # Python drops what a handler raises in some places, such as a lock of logging
        except LtExtrapError:
            raise  # such as a full disk, where the state was to be saved: that has to be told
        except Exception as error:
            if self.received:  # and what was interrupted may fail in ways of its own
                raise Stopped(self.received) from error
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
