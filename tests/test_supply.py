import dataclasses

import lightning as L
import pytest

from conftest import SMALL
from lt_extrap import supply
from lt_extrap.compose import configure
from lt_extrap.config import FolderTarget
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.supply import Supply, supply_of


@pytest.mark.parametrize(
    ("workers", "cores", "resident", "fits", "edge", "wait", "remedy"),
    [
        (2, 15, True, True, 2048, 0.9, None),
        # 2 workers deliver half of what is wanted: 4 deliver all
        (2, 15, False, True, 2048, 0.5, "set data.workers=4 (now 2; there are cores for 15)"),
        (0, 15, False, True, 2048, 0.75, "set data.workers=3 (now 0; there are cores for 15)"),
        (2, 3, False, True, 2048, 0.5, "set data.resident=true: the images are of one size and fit into memory"),
        (
            *(2, 3, False, False, 2048, 0.5),
            "pack smaller copies, python -m lt_extrap.pack target=<name> folder=<new> longest_edge=512 with the "
            "target.* keys of this run, and train by the line that it prints: the images have 2048 pixels, "
            "recipe.image_size=224",
        ),
        (2, 3, False, False, 640, 0.5, "set data.workers=3 (now 2; there are cores for no more, of 4)"),
        (
            2,
            2,
            False,
            False,
            640,
            0.5,
            "give the run more cores: 4 loader processes would do, and there are cores for 2; where the disk or the "
            "network is what is slow, data.workers=4 helps without",
        ),
    ],
)
def test_the_remedy_is_that_of_what_was_measured(workers, cores, resident, fits, edge, wait, remedy):
    found = Supply(workers=workers, cores=cores, resident=resident, fits=fits, edge=edge, image_size=224)
    assert found.remedy(wait) == remedy


@pytest.fixture(scope="module")
def sets(cache):
    """A target set and its training set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        config = configure(*SMALL)
        target = load_target(config.target)
        return target, build_training_set(config.auxiliary, target, seed=0)


@pytest.fixture
def of(small, sets):
    trainer = L.Trainer(accelerator="cpu", devices=2, logger=False)
    return lambda *overrides: supply_of(small(*overrides), *sets, trainer)


def test_what_is_measured(of, sets, monkeypatch):
    """On a CPU the training computes with cores of its own: one, in the tests."""
    monkeypatch.setattr(supply, "cores", lambda processes: 8 // processes)
    assert of("data.workers=1") == Supply(workers=1, cores=3, resident=False, fits=True, edge=24, image_size=16)
    target, training = sets
    size = 3 * 24 * 24 * (len(training.index) + len(target.test) + len(target.val))
    monkeypatch.setattr(supply, "room", lambda device, processes: {2: size}[processes])
    assert of().fits
    monkeypatch.setattr(supply, "room", lambda device, processes: {2: size - 1}[processes])
    assert not of().fits


def test_the_remedy_of_a_folder_of_classes_names_it(small, sets, monkeypatch):
    target, training = sets
    monkeypatch.setattr(supply, "image_size", lambda path, data: (2048, 1536))
    monkeypatch.setattr(supply, "cores", lambda processes: 2 // processes)
    trainer = L.Trainer(accelerator="cpu", devices=2, logger=False)
    config = dataclasses.replace(small(), target=FolderTarget(root="mine"))
    said = supply_of(config, target, training, trainer).remedy(0.5)
    assert said is not None
    assert "lt_extrap.pack target=folder folder=<new>" in said


@pytest.mark.parametrize("augmentation", ["randaugment=[9,0.5]", "color_jitter=0.4"])
def test_what_pillow_does_to_each_image_cannot_be_resident(of, augmentation):
    assert not of(f"recipe.{augmentation}").fits


@pytest.mark.parametrize(("edge", "fits"), [(63, True), (64, False)])
def test_nor_can_images_that_the_loader_decodes_smaller(of, monkeypatch, edge, fits):
    monkeypatch.setattr(supply, "image_size", lambda path, data: (200, edge))
    assert of().fits == fits


def test_nor_can_images_of_several_sizes(of, monkeypatch):
    """Or those whose size is not known, since no header can be read."""
    sizes = iter([(30, 20), (24, 40)] * 99)
    monkeypatch.setattr(supply, "image_size", lambda path, data: next(sizes))
    found = of()
    assert (found.fits, found.edge) == (False, 35)

    def damaged(path, data):
        raise UnreadableImage(path, "damaged")

    monkeypatch.setattr(supply, "image_size", damaged)
    found = of()
    assert (found.fits, found.edge) == (False, 0)
