"""What the processes of a run see alike: of one process, all is its own, at once."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Agreement:
    """Numbers that all processes see alike: the highest of them, a step late, so that no step waits.

    In one process they are its own, at once.
    """

    def __init__(self) -> None:
        self._begun: tuple[Tensor, dist.Work] | None = None

    def of_step(self, *mine: int) -> list[int]:
        """The numbers of the step before; each process calls this once a step."""
        if not _several():
            return list(mine)
        before, self._begun = self._begun, _highest(mine)
        return [0 for _ in mine] if before is None else _seen(*before)

    def now(self, *mine: int) -> list[int]:
        """The numbers of this moment."""
        return _seen(*_highest(mine)) if _several() else list(mine)


def _several() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1


def _highest(mine: Iterable[int]) -> tuple[Tensor, dist.Work]:
    numbers = torch.tensor(list(mine))
    return numbers, dist.all_reduce(numbers, dist.ReduceOp.MAX, async_op=True)


def _seen(numbers: Tensor, work: dist.Work) -> list[int]:
    work.wait()
    seen: list[int] = numbers.tolist()
    return seen


def gathered(mine: Any) -> list[Any]:
    """What each process has at this point, in the order of their ranks."""
    if not _several():
        return [mine]
    all_of_them = [None] * dist.get_world_size()
    dist.all_gather_object(all_of_them, mine)
    return all_of_them


def mean(mine: Tensor) -> Tensor:
    """The mean over all processes, on its device: the host waits for none."""
    if not _several():
        return mine
    total = mine.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def from_first(tensors: Iterable[Tensor]) -> None:
    """Make these tensors those of the first process."""
    for tensor in tensors if _several() else ():
        dist.broadcast(tensor, 0)
