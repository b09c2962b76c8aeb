"""Which classes are neighbors: pairs of a target class and an auxiliary class, many to many."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int32, Int64

from lt_extrap.errors import DataError


@dataclass(frozen=True, eq=False)
class NeighborRelation:
    """The neighbor pairs of Eq. 4 (Zhao et al., arXiv 2410.15980) as compressed sparse rows.

    The neighbors of class c, ascending, are `neighbor[start[c]:start[c + 1]]`. The relation is symmetric: the
    row of a target lists its auxiliary neighbors, the row of an auxiliary class the targets that it was
    proposed for. Two auxiliary classes of one target are no pair. A table of classes x classes would take 9
    GB at 48,000 classes; this takes 4 bytes a class and 8 a pair.

    Attributes:
        start: where each row starts in `neighbor`, and where the last one ends.
        neighbor: class columns, row after row.
        num_target: targets are the columns 0..num_target-1, auxiliary classes all others.
    """

    start: Int32[np.ndarray, " boundaries"]
    neighbor: Int32[np.ndarray, " neighbors"]
    num_target: int

    @classmethod
    def from_pairs(cls, pairs: Int64[np.ndarray, "pairs 2"], num_target: int, num_classes: int) -> "NeighborRelation":
        """Build the relation from (target column, auxiliary column) pairs; a repeated pair counts once.

        Raises:
            DataError: a pair is not a target column followed by an auxiliary column.
        """
        target, auxiliary = pairs.T
        wrong = (target < 0) | (target >= num_target) | (auxiliary < num_target) | (auxiliary >= num_classes)
        if wrong.any():
            first = int(wrong.argmax())
            raise DataError(
                f"neighbor pairs of a target column (0..{num_target - 1}) and an auxiliary column "
                f"({num_target}..{num_classes - 1})",
                f"{int(wrong.sum())} of {len(pairs)} pairs are not such, the first is pair {first}: "
                f"({target[first]}, {auxiliary[first]})",
                "check that the auxiliary set was made for this target set, and the order within its pairs",
            )
        row = np.concatenate([target, auxiliary])
        column = np.concatenate([auxiliary, target])
        row, column = np.divmod(np.unique(row * num_classes + column), num_classes)
        start = np.searchsorted(row, np.arange(num_classes + 1))
        return cls(start.astype(np.int32), column.astype(np.int32), num_target)

    @classmethod
    def empty(cls, num_target: int, num_classes: int) -> "NeighborRelation":
        """The relation in which no class has a neighbor."""
        return cls.from_pairs(np.empty((0, 2), np.int64), num_target, num_classes)

    def target_rows(self) -> "NeighborRelation":
        """The same with the rows of auxiliary classes emptied: only images of targets have neighbors."""
        end = self.start[self.num_target]
        return replace(self, start=np.minimum(self.start, end), neighbor=self.neighbor[:end])

    def auxiliary_rows(self) -> "NeighborRelation":
        """The same with the rows of targets emptied: only images of auxiliary classes have neighbors."""
        end = self.start[self.num_target]
        return replace(self, start=np.maximum(self.start - end, 0), neighbor=self.neighbor[end:])

    def row(self, column: int) -> Int32[np.ndarray, " neighbors"]:
        """The neighbors of one class, ascending."""
        return self.neighbor[self.start[column] : self.start[column + 1]]

    @property
    def num_classes(self) -> int:
        """Target and auxiliary classes together."""
        return len(self.start) - 1

    @property
    def width(self) -> int:
        """Length of the longest row; 0 when there is no pair."""
        return int(np.diff(self.start).max(initial=0))

    @property
    def nbytes(self) -> int:
        """Bytes of the two arrays."""
        return self.start.nbytes + self.neighbor.nbytes
