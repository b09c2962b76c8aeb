"""Which samples an epoch shows, in which order, and each process's share of them."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch.utils.data import Sampler

from lt_extrap.errors import ConfigError, DataError
from lt_extrap.keys import Stream, hash64


class EpochDraw:
    """The samples of each epoch as a pure function of (seed, epoch).

    A class shows at most `cap` of its images an epoch, drawn afresh each epoch and never twice; one with no
    more than that shows them all. A draw is keyed by class and by an image's place among the images of its
    class. So the images that a class shows, and the order in which the images of any set of classes
    follow one another, do not depend on which other classes are in the run.

    Args:
        labels: column of each sample, in 0..classes-1.
        cap: images a class shows an epoch, at least 1, or -1 for all.
        seed: not negative.
        class_key: distinct identities of the classes in the keys, which stay theirs when columns move;
            default: the columns.
        repeat: a class with fewer images than its cap shows them again up to the cap: whole copies, then a
            drawn remainder. A cap of -1 repeats nothing.

    Attributes:
        counts: images an epoch shows of each class, the n_j of the prior (Eq. 2 and Eq. 4).

    Raises:
        ConfigError: a cap is neither -1 nor positive.
        DataError: a label lies outside 0..classes-1.
    """

    counts: Int64[np.ndarray, " classes"]

    def __init__(
        self,
        labels: Int32[np.ndarray, " samples"],
        *,
        cap: Int64[np.ndarray, " classes"],
        seed: int,
        class_key: Int64[np.ndarray, " classes"] | None = None,
        repeat: bool = False,
    ) -> None:
        wrong = np.flatnonzero((cap < 1) & (cap != -1))
        if len(wrong):
            found = f"{cap[wrong[0]]} for column {wrong[0]}"
            raise ConfigError("a cap of at least 1 image, or -1 for all", found, "correct the cap")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(cap):
            raise DataError(
                f"labels in 0..{len(cap) - 1}",
                f"labels from {labels.min()} to {labels.max()}",
                "correct the labels or the number of classes",
            )
        self._seed = seed
        keys = np.arange(len(cap)) if class_key is None else class_key
        available = np.bincount(labels, minlength=len(cap))
        wanted = np.where(cap < 0, available, cap)
        self.counts = np.where(available == 0, 0, wanted) if repeat else np.minimum(available, wanted)
        copies, drawn = np.divmod(self.counts, np.maximum(available, 1))

        # A slot is one showing of a sample. A class's copy c of place p has the place c * available + p in
        # the keys. First the slots that every epoch shows, then those that are drawn from.
        by_class = np.argsort(labels, kind="stable")
        column, place = labels[by_class], _ramps(available)
        whole = np.repeat(np.arange(len(labels)), copies[column])
        pool = np.flatnonzero(drawn[column])
        row = np.concatenate([whole, pool])
        copy = np.concatenate([_ramps(copies[column]), copies[column[pool]]])
        self._sample = by_class[row]
        place_of_copy = place[row] + copy * available[column[row]]
        self._identity = np.asarray(hash64(Stream.ORDER, keys[column[row]], place_of_copy)).view(np.int64)
        self._whole = len(whole)

        classes = np.argsort(-drawn, kind="stable")[: np.count_nonzero(drawn)]  # most drawn first
        self._drawn, self._available, self._drawn_keys = drawn[classes], available[classes], keys[classes]
        self._pool_start = (np.cumsum(np.where(drawn > 0, available, 0)) - available)[classes]

    def __len__(self) -> int:
        """Samples an epoch shows, the same in every epoch."""
        return int(self.counts.sum())

    def draw(self, epoch: int) -> Int64[np.ndarray, " shown"]:
        """The samples of one epoch, in the order shown."""
        slots = self._draw_slots(epoch)
        sample = np.append(self._sample[: self._whole], self._sample[slots])
        bits = np.append(
            self._order_bits(epoch, self._identity[: self._whole]),
            self._order_bits(epoch, self._identity[slots]),
        )
        # torch sorts 32 bits by radix, several times as fast as NumPy on some processors. A stable sort, so
        # that equal bits do not leave the order to the implementation.
        order: Int64[np.ndarray, " shown"] = torch.sort(torch.from_numpy(bits), stable=True).indices.numpy()
        return sample.take(order)

    def _order_bits(self, epoch: int, identity: Int64[np.ndarray, " slots"]) -> Int32[np.ndarray, " slots"]:
        bits = np.asarray(hash64(Stream.ORDER, self._seed, epoch, identity))
        return (bits >> np.uint64(33)).astype(np.int32)

    def _draw_slots(self, epoch: int) -> Int64[np.ndarray, " drawn"]:
        """The drawn slots: Fisher and Yates's shuffle, stopped early, of all classes at once."""
        pool = np.arange(self._whole, len(self._sample))
        steps = []
        for step in range(self._drawn.max(initial=0)):
            live = np.searchsorted(-self._drawn, -step)  # classes that draw more than `step` images
            bits = hash64(Stream.DRAW, self._seed, epoch, self._drawn_keys[:live], step)
            here = self._pool_start[:live] + step
            there = here + (bits % (self._available[:live] - step).astype(np.uint64)).astype(np.int64)
            steps.append(pool[there])
            pool[there] = pool[here]
        return np.concatenate([pool[:0], *steps])


class EpochSampler(Sampler[tuple[int, int]]):
    """One process's share of each epoch, as pairs (epoch, sample).

    The pair tells persistent workers which epoch a sample belongs to. The k-th batches of all processes
    are together the k-th batch that one process would show with `batch_size * num_replicas`. An iterator
    fixes its epoch, and draws, when its first pair is asked for, not when it is made: Lightning makes the
    first one before it sets the epoch.

    Args:
        draw: what each epoch shows; the same in all processes.
        batch_size: of one process.
        num_replicas: number of processes.
        rank: of this process.
        drop_last: leave out the samples behind the last whole batch of all processes.

    Raises:
        ConfigError: the epoch has no whole batch, or a last batch is to be shared between processes.
    """

    def __init__(
        self,
        draw: EpochDraw,
        *,
        batch_size: int,
        num_replicas: int = 1,
        rank: int = 0,
        drop_last: bool = True,
    ) -> None:
        if drop_last and len(draw) < batch_size * num_replicas:
            raise ConfigError(
                "an epoch of at least one batch",
                f"{len(draw)} samples an epoch, {batch_size} x {num_replicas} process(es) a batch",
                "lower the batch size",
            )
        if not drop_last and num_replicas > 1:
            raise ConfigError(
                "equally many batches in every process",
                f"drop_last=false with {num_replicas} processes",
                "set drop_last=true or train in one process",
            )
        self.draw, self.batch_size, self.drop_last = draw, batch_size, drop_last
        self.num_replicas, self.rank = num_replicas, rank
        self.epoch, self._skip = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch of iterators that have not begun. Lightning calls it before each epoch."""
        self.epoch = epoch

    def skip(self, samples: int) -> None:
        """Leave out that many samples of this process, whole batches, at the beginning of the next iteration."""
        self._skip = samples

    def __len__(self) -> int:
        """Samples that this process shows an epoch."""
        shown = len(self.draw)
        return shown // (self.batch_size * self.num_replicas) * self.batch_size if self.drop_last else shown

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, skip, self._skip = self.epoch, self._skip, 0
        samples = self.draw.draw(epoch)[: len(self) * self.num_replicas]
        of_all = self.batch_size * self.num_replicas
        for start in range(skip * self.num_replicas + self.rank * self.batch_size, len(samples), of_all):
            for sample in samples[start : start + self.batch_size].tolist():
                yield epoch, sample


class EvaluationSampler(Sampler[tuple[int, int]]):
    """One process's share of samples 0..samples-1, each once over all processes, as pairs (0, sample).

    Nothing is padded or dropped, so that shares may differ by one sample, and accuracy over all processes
    is the accuracy of one.

    Args:
        samples: number of samples.
        num_replicas: number of processes.
        rank: of this process.
    """

    def __init__(self, samples: int, *, num_replicas: int = 1, rank: int = 0) -> None:
        self.share = range(rank, samples, num_replicas)

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((0, sample) for sample in self.share)


def _ramps(lengths: Int64[np.ndarray, " ramps"]) -> Int64[np.ndarray, " total"]:
    """0, 1, .., length - 1 for each length, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(lengths.sum()) - np.repeat(before, lengths))
