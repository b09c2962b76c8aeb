import itertools

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lt_extrap.data.sampler import EpochDraw, EpochSampler, EvaluationSampler
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.keys import Stream, hash64

CLASSES = 5
labels_of = st.lists(st.integers(0, CLASSES - 1), max_size=50).map(lambda labels: np.array(labels, np.int32))
caps_of = st.lists(st.integers(1, 9) | st.just(-1), min_size=CLASSES, max_size=CLASSES).map(np.array)
seeds, epochs = st.integers(0, 2**32), st.integers(0, 1000)
quick = settings(deadline=None, max_examples=50)


def long_tail(*sizes: int) -> np.ndarray:
    """Shuffled labels of classes of some sizes."""
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return np.random.default_rng(0).permutation(labels)


def reference(labels, cap, seed, epoch, class_key, repeat) -> list[int]:
    """The draw, image by image."""
    shown = []
    for column, limit in enumerate(cap.tolist()):
        key, images = int(class_key[column]), np.flatnonzero(labels == column).tolist()
        if not images:
            continue
        limit = len(images) if limit == -1 else limit
        copies, rest = divmod(limit if repeat else min(limit, len(images)), len(images))
        places = list(range(len(images)))
        for step in range(rest):
            other = step + int(hash64(Stream.DRAW, seed, epoch, key, step)) % (len(images) - step)
            places[step], places[other] = places[other], places[step]
        slots = [(copy, place) for copy in range(copies) for place in range(len(images))]
        slots += [(copies, place) for place in places[:rest]]
        for copy, place in slots:
            identity = int(hash64(Stream.ORDER, key, copy * len(images) + place).astype(np.int64))
            shown.append((int(hash64(Stream.ORDER, seed, epoch, np.int64(identity))) >> 33, images[place]))
    return [image for _, image in sorted(shown)]


@quick
@given(labels_of, caps_of, seeds, epochs, st.permutations(range(CLASSES)), st.booleans())
def test_draw_equals_the_draw_image_by_image(labels, cap, seed, epoch, class_key, repeat):
    class_key = np.array(class_key) * 2**40
    draw = EpochDraw(labels, cap=cap, seed=seed, class_key=class_key, repeat=repeat)
    assert draw.draw(epoch).tolist() == reference(labels, cap, seed, epoch, class_key, repeat)


@quick
@given(labels_of, caps_of, seeds, epochs)
def test_every_class_shows_its_cap_or_all_and_nothing_twice(labels, cap, seed, epoch):
    draw = EpochDraw(labels, cap=cap, seed=seed)
    shown = draw.draw(epoch)
    assert len(set(shown.tolist())) == len(shown) == len(draw)
    assert shown.dtype == np.int64
    for column in range(CLASSES):
        of_class = set(np.flatnonzero(labels == column).tolist())
        shown_of_class = {int(i) for i in shown if labels[i] == column}
        assert len(shown_of_class) == draw.counts[column]
        if cap[column] == -1 or len(of_class) <= cap[column]:
            assert shown_of_class == of_class
        else:
            assert len(shown_of_class) == cap[column]


@quick
@given(labels_of, caps_of, seeds, epochs)
def test_repeating_shows_whole_copies_and_a_remainder(labels, cap, seed, epoch):
    draw = EpochDraw(labels, cap=cap, seed=seed, repeat=True)
    times = np.bincount(draw.draw(epoch), minlength=len(labels))
    assert times.sum() == len(draw)
    for column in range(CLASSES):
        of_class = times[labels == column]
        expected = 0 if len(of_class) == 0 else len(of_class) if cap[column] == -1 else cap[column]
        assert of_class.sum() == draw.counts[column] == expected
        assert np.ptp(of_class) <= 1 if len(of_class) else True


@quick
@given(labels_of, caps_of, seeds, epochs, st.integers(0, CLASSES - 1), st.booleans())
def test_other_classes_move_nothing(labels, cap, seed, epoch, gone, repeat):
    whole = EpochDraw(labels, cap=cap, seed=seed, repeat=repeat).draw(epoch)
    # Without one class, the samples behind it and the columns behind it move up; the keys stay.
    kept = np.flatnonzero(labels != gone)
    columns = np.delete(np.arange(CLASSES), gone)
    part = EpochDraw(
        np.searchsorted(columns, labels[kept]).astype(np.int32),
        cap=cap[columns],
        seed=seed,
        class_key=columns,
        repeat=repeat,
    ).draw(epoch)
    assert kept[part].tolist() == [i for i in whole.tolist() if labels[i] != gone]


def test_draw_is_a_function_of_seed_and_epoch():
    labels = long_tail(60, 20, 5)
    cap = np.array([-1, 10, 10])
    draw = EpochDraw(labels, cap=cap, seed=1)
    third = draw.draw(3)
    draw.draw(4)
    np.testing.assert_array_equal(draw.draw(3), third)
    np.testing.assert_array_equal(EpochDraw(labels, cap=cap, seed=1).draw(3), third)
    drawn = [set(x[labels[x] == 1].tolist()) for x in (third, draw.draw(4), EpochDraw(labels, cap=cap, seed=2).draw(3))]
    assert all(a != b for a, b in itertools.combinations(drawn, 2))


def test_a_smaller_cap_draws_some_of_the_same_images():
    labels = long_tail(40)
    few, many = (set(EpochDraw(labels, cap=np.array([cap]), seed=1).draw(0).tolist()) for cap in (5, 15))
    assert few < many


@pytest.mark.parametrize(("size", "cap", "repeat"), [(12, 5, False), (5, 8, True)])
def test_every_image_and_every_pair_is_drawn_equally_often(size, cap, repeat):
    classes, rounds = 500, 4000
    draw = EpochDraw(
        np.repeat(np.arange(classes, dtype=np.int32), size), cap=np.full(classes, cap), seed=5, repeat=repeat
    )
    together = np.zeros((size, size))
    for epoch in range(rounds // classes):
        times = np.bincount(draw.draw(epoch), minlength=size * classes).reshape(classes, size) - cap // size
        together += times.T @ times
    drawn = cap % size
    chance = np.full((size, size), drawn * (drawn - 1) / (size * (size - 1)))
    np.fill_diagonal(chance, drawn / size)
    deviation = (together - rounds * chance) / np.sqrt(rounds * chance * (1 - chance))
    assert np.abs(deviation).max() < 4


@pytest.mark.parametrize("copies", [1, 2])
def test_every_order_is_equally_likely(copies):
    size, classes, rounds = 4 // copies, 500, 4000
    labels = np.repeat(np.arange(classes, dtype=np.int32), size)
    draw = EpochDraw(labels, cap=np.full(classes, 4), seed=6, repeat=True)
    seen: dict[tuple[int, ...], int] = {}
    for epoch in range(rounds // classes):
        shown = draw.draw(epoch)
        for order in (shown[np.argsort(labels[shown], kind="stable")] % size).reshape(classes, 4).tolist():
            seen[tuple(order)] = seen.get(tuple(order), 0) + 1
    possible = len(set(itertools.permutations(list(range(size)) * copies)))
    expected = rounds / possible
    chi_square = sum((times - expected) ** 2 / expected for times in seen.values())
    assert len(seen) == possible
    assert chi_square < possible - 1 + 4 * np.sqrt(2 * (possible - 1))


def test_order_mixes_classes_and_copies():
    labels = long_tail(1000, 1000)
    draw = EpochDraw(np.sort(labels), cap=np.array([2000, 2000]), seed=0, repeat=True)
    order, next_order = draw.draw(0), draw.draw(1)
    places = np.argsort(order, kind="stable").reshape(2000, 2)  # where the two copies of each image stand
    assert abs(np.corrcoef(order, np.arange(4000))[0, 1]) < 0.06
    assert abs(np.corrcoef(order, next_order)[0, 1]) < 0.06
    assert np.diff(places).mean() == pytest.approx(4000 / 3, rel=0.1)  # two random places


def test_caps_and_labels_are_checked():
    labels = long_tail(3, 3)
    for wrong in (0, -2):
        with pytest.raises(ConfigError, match=f"{wrong} for column 1"):
            EpochDraw(labels, cap=np.array([-1, wrong]), seed=0)
    for labels in ([0, 2], [-1, 1]):
        with pytest.raises(DataError, match=f"labels from {labels[0]} to {labels[1]}"):
            EpochDraw(np.array(labels, np.int32), cap=np.array([-1, -1]), seed=0)


def batches(sampler: EpochSampler) -> list[list[tuple[int, int]]]:
    pairs = list(sampler)
    assert len(pairs) == len(sampler)
    return [pairs[i : i + sampler.batch_size] for i in range(0, len(pairs), sampler.batch_size)]


@quick
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 60), epochs)
def test_processes_share_the_batches_of_one(batch_size, replicas, extra, epoch):
    draw = EpochDraw(long_tail(batch_size * replicas, extra), cap=np.array([-1, 30]), seed=3)
    alone = EpochSampler(draw, batch_size=batch_size * replicas)
    ranks = [EpochSampler(draw, batch_size=batch_size, num_replicas=replicas, rank=r) for r in range(replicas)]
    for sampler in (alone, *ranks):
        sampler.set_epoch(epoch)
    shares = [batches(rank) for rank in ranks]
    assert [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)] == batches(alone)
    whole = len(draw) // (batch_size * replicas) * batch_size * replicas
    assert list(alone) == [(epoch, i) for i in draw.draw(epoch)[:whole].tolist()]


def test_one_process_may_keep_the_last_samples():
    draw = EpochDraw(long_tail(7, 4), cap=np.array([-1, -1]), seed=0)
    sampler = EpochSampler(draw, batch_size=4, drop_last=False)
    assert [len(batch) for batch in batches(sampler)] == [4, 4, 3]
    with pytest.raises(ConfigError, match="drop_last=false with 2 processes"):
        EpochSampler(draw, batch_size=4, num_replicas=2, drop_last=False)


def test_an_epoch_without_a_batch_is_refused():
    draw = EpochDraw(long_tail(7), cap=np.array([-1]), seed=0)
    assert len(EpochSampler(draw, batch_size=7)) == 7
    for size, replicas in ((8, 1), (4, 2)):
        with pytest.raises(ConfigError, match="7 samples an epoch"):
            EpochSampler(draw, batch_size=size, num_replicas=replicas)


def test_iterators_fix_their_epoch_at_the_first_pair():
    sampler = EpochSampler(EpochDraw(long_tail(9), cap=np.array([-1]), seed=0), batch_size=3)
    early = iter(sampler)
    sampler.set_epoch(4)
    assert next(early)[0] == 4
    sampler.set_epoch(5)
    assert {epoch for epoch, _ in early} == {4}


@given(st.integers(0, 30), st.integers(1, 5))
def test_evaluation_shows_every_sample_once(samples, replicas):
    shares = [EvaluationSampler(samples, num_replicas=replicas, rank=rank) for rank in range(replicas)]
    assert all(len(list(share)) == len(share) for share in shares)
    assert sorted(pair for share in shares for pair in share) == [(0, i) for i in range(samples)]
    assert list(shares[0]) == sorted(shares[0])


class Echo(Dataset[torch.Tensor]):
    """What it was asked for."""

    def __getitem__(self, pair: tuple[int, int]) -> torch.Tensor:
        return torch.tensor(pair)


class Recorder(L.LightningModule):
    """Keeps the pairs that reach the training step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen += batch.tolist()
        return self.weight * batch.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # as many as the test is about
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6 with torch 2.14
@pytest.mark.parametrize("workers", [0, 2])
def test_training_sees_the_draw_of_each_epoch_in_order(tmp_path, workers):
    draw = EpochDraw(long_tail(20, 9, 3), cap=np.array([-1, 5, 5]), seed=7)
    loader = DataLoader(
        Echo(),
        batch_size=4,
        sampler=EpochSampler(draw, batch_size=4),
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    recorder = Recorder()
    trainer.fit(recorder, loader)
    assert trainer.global_step == 3 * 7
    assert recorder.seen == [[epoch, i] for epoch in range(3) for i in draw.draw(epoch).tolist()]
