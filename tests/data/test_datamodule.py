"""The loaders of a run."""

import os

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from lt_extrap.config import Loading
from lt_extrap.data import datamodule
from lt_extrap.data.color_jitter import ColorJitter
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.randaugment import RandAugment
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, generator
from lt_extrap.model.preprocessing import preprocessing_of


def data_of(config):
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=config.seed)
    preprocessing = preprocessing_of(config.backbone)
    return ImageDataModule(
        target, training, recipe=config.recipe, preprocessing=preprocessing, loading=config.data, seed=config.seed
    )


def loaders(data):
    data.setup("fit")
    return [data.train_dataloader(), *data.val_dataloader(), data.test_dataloader()]


def test_resident_batches_are_those_of_the_loader(small):
    from_files = loaders(data_of(small("component=silencing")))
    resident = loaders(data_of(small("component=silencing", "data.resident=true")))
    for ours, theirs in zip(resident, from_files, strict=True):
        assert ours.num_workers == 0
        if hasattr(ours.sampler, "set_epoch"):
            ours.sampler.set_epoch(3)
            theirs.sampler.set_epoch(3)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.label, b.label)
            assert torch.equal(a.sample, b.sample)
            assert a.unreadable == b.unreadable == []


@pytest.mark.parametrize("crop", [(), ("recipe.padding=2", "recipe.crop_scale=null", "recipe.crop_ratio=null")])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_every_loader_resizes_as_the_backbone_wants_it(small, interpolation, crop):
    data = data_of(small("component=baseline", f"backbone.interpolation={interpolation}", *crop))
    assert [loader.dataset.transform.interpolation for loader in loaders(data)] == [interpolation] * 3


RAND, JITTER = "recipe.randaugment=[9,0.5]", "recipe.color_jitter=0.4"
PADDED = ("recipe.padding=2", "recipe.crop_scale=null", "recipe.crop_ratio=null")


@pytest.mark.parametrize(("augment", "crop"), [(RAND, ()), (JITTER, PADDED)])
def test_augmentation_follows_the_crop_and_flip_of_a_run_without(small, augment, crop):
    plain, *others = (loaders(data_of(small("component=baseline", *crop, *more))) for more in ([], [augment]))
    (train, *evaluation), before = others[0], plain[0].dataset
    augmented, changed = train.dataset, 0
    mean = preprocessing_of(small().backbone).mean
    expected = RandAugment(magnitude=9.0, std=0.5, mean=mean) if augment == RAND else ColorJitter(amount=0.4)
    for sample in range(40):
        square, shown = before[3, sample][0], augmented[3, sample][0]
        rng = generator(Stream.AUGMENT, augmented.seed, 3, sample)
        before.transform.draw(24, 24, rng)
        image = expected(Image.fromarray(square.permute(1, 2, 0).numpy()), rng)
        assert torch.equal(shown, torch.from_numpy(np.array(image)).permute(2, 0, 1))
        changed += not torch.equal(shown, square)
    assert changed >= 20
    assert all(isinstance(loader.dataset.transform, EvalTransform) for loader in evaluation)


@pytest.mark.parametrize("augment", [RAND, JITTER])
def test_resident_images_refuse_what_only_pillow_does_before_they_are_decoded(small, augment):
    with pytest.raises(ConfigError, match=augment.partition("=")[0]):
        data_of(small("component=baseline", "data.resident=true", augment))


def test_a_resident_set_is_decoded_once_and_only_where_it_is_wanted(small):
    data = data_of(small("component=baseline", "data.resident=true", "target.val=null"))
    data.setup("test")
    test = data.test_dataloader().dataset
    with pytest.raises(KeyError):
        data.train_dataloader()
    data.setup("test")
    assert data.test_dataloader().dataset is test
    assert data.val_dataloader() == []


def test_all_lists_together_have_one_room(small, monkeypatch):
    data = data_of(small("component=baseline", "data.resident=true"))
    sizes = [3 * 24 * 24 * len(index) for index in (data.training.index, data.target.val, data.target.test)]
    monkeypatch.setattr(datamodule, "room", lambda device, processes: sum(sizes) - 1)
    with pytest.raises(ConfigError, match=f"at most {sizes[2] - 1:,} bytes"):
        data.setup("fit")
    monkeypatch.setattr(datamodule, "room", lambda device, processes: sum(sizes))
    data.setup("fit")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_is_pinned_for_the_device_that_trains(small, monkeypatch, device):
    data = data_of(small("component=baseline"))
    data.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a GPU that the trainer need not use
    monkeypatch.setattr(type(data.trainer.strategy), "root_device", torch.device(device))
    assert [loader.pin_memory for loader in loaders(data)] == [device == "cuda"] * 3


@pytest.mark.parametrize(("prefetch", "ahead"), [("null", 2), ("5", 5)])
def test_prefetched_batches(small, prefetch, ahead):
    data = data_of(small("component=baseline", "data.workers=1", f"data.prefetch={prefetch}"))
    assert [loader.prefetch_factor for loader in loaders(data)] == [ahead] * 3
    assert all(loader.persistent_workers for loader in loaders(data))


def test_workers_are_a_core_each_but_one_shared_by_the_processes_of_a_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert [Loading().workers_of(processes) for processes in (1, 2, 8, 9)] == [7, 3, 1, 1]
    assert Loading(workers=3).workers_of(2) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(128)), raising=False)
    assert [Loading().workers_of(processes) for processes in (1, 8)] == [16, 15]


@pytest.mark.parametrize(("bound", "workers"), [(True, 11), (False, 1)])
def test_tasks_of_srun_have_cores_of_their_own_where_they_are_bound_to_them(monkeypatch, bound, workers):
    """8 tasks of a node, 12 cores each by --cpus-per-task; or all tasks 12 together."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "96" if bound else "12")
    assert Loading().workers_of(8) == workers
