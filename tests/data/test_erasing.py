import random

import numpy as np
import pytest
import torch
from timm.data.random_erasing import RandomErasing as Peer

from lt_extrap.data.erasing import Erasing
from lt_extrap.errors import ConfigError

MEAN, STD = torch.tensor([120.0, 110.0, 100.0]).view(3, 1, 1), torch.tensor([60.0, 50.0, 40.0]).view(3, 1, 1)
ALWAYS = Erasing(seed=3, probability=1.0)


def erased(erasing, images=8, height=24, width=18, epoch=0, first=0):
    """Black images after erasing, which of them is whose."""
    batch, sample = torch.full((images, 3, height, width), -1e6), torch.arange(first, first + images)
    erasing(batch, sample, mean=MEAN, std=STD, epoch=epoch)
    return batch


def boxes(batch):
    """Upper, left, height, width of what changed in each image; all of it a rectangle."""
    found = []
    for image in batch.numpy():
        changed = image[0] != -1e6
        assert ((image != -1e6) == changed).all()
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        if len(rows):
            assert changed.sum() == len(rows) * len(columns)
            found.append((rows[0], columns[0], len(rows), len(columns)))
    return np.array(found)


def distance(ours, theirs):
    """Two-sample Kolmogorov-Smirnov statistic."""
    both = np.sort(np.concatenate([ours, theirs]))
    below = [np.searchsorted(np.sort(sample), both, side="right") / len(sample) for sample in (ours, theirs)]
    return np.abs(below[0] - below[1]).max()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 12)])
def test_boxes_have_the_distribution_of_timm(height, width):
    images = 500
    random.seed(0)
    batch = torch.full((images, 3, height, width), -1e6)
    theirs = boxes(Peer(probability=1.0, mode="const", device="cpu")(batch))
    ours = boxes(erased(ALWAYS, images, height, width))
    assert len(ours) == pytest.approx(len(theirs), abs=0.05 * images)
    limit = 1.95 * (2 / len(ours)) ** 0.5  # rejects 1 in 1000 where the distributions are the same
    for side in range(4):
        assert distance(ours[:, side], theirs[:, side]) < limit
    assert distance(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]) < limit
    assert distance(ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3]) < limit


def test_the_noise_is_normal_around_what_images_are_normalised_by():
    batch = erased(ALWAYS, 300)
    noise = ((batch - MEAN) / STD).transpose(0, 1)
    for channel in noise:
        values = channel[channel > -1e3]
        assert abs(values.mean()) < 4 / len(values) ** 0.5
        assert abs(values.std() - 1) < 4 / (2 * len(values)) ** 0.5
    values = batch[batch > -1e5]
    assert values.min() < 0  # never clipped to bytes
    assert values.max() > 255
    assert (values != values.round()).any()


@pytest.mark.parametrize("probability", [0.0, 0.25])
def test_the_share_of_erased_images(probability):
    images = 1000
    batch = erased(Erasing(seed=1, probability=probability), images, 6, 6)
    share = (batch != -1e6).flatten(1).any(dim=1).float().mean()
    assert abs(share - probability) <= 4 * (probability * (1 - probability) / images) ** 0.5


def test_an_image_loses_the_same_box_whatever_batch_it_is_in():
    whole = erased(ALWAYS, 8)
    state = torch.get_rng_state()
    assert torch.equal(erased(ALWAYS, 3, first=5), whole[5:])
    assert torch.equal(state, torch.get_rng_state())
    for other in (erased(ALWAYS, 8, epoch=1), erased(ALWAYS, 8, first=8), erased(Erasing(seed=4, probability=1.0), 8)):
        assert not any(torch.equal(a, b) for a, b in zip(other, whole, strict=True))


def test_the_rest_of_an_image_stays():
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = images.clone()
    ALWAYS(batch, torch.arange(4), mean=MEAN, std=STD, epoch=0)
    mask = erased(ALWAYS, 4, 16, 16) == -1e6
    assert torch.equal(batch[mask], images[mask])
    assert 0 < mask.float().mean() < 1


@pytest.mark.parametrize(("images", "edge"), [(0, 8), (3, 1), (3, 2)])
def test_empty_batches_and_tiny_images(images, edge):
    assert erased(ALWAYS, images, edge, edge).shape == (images, 3, edge, edge)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_ranges(probability):
    with pytest.raises(ConfigError, match="probability"):
        Erasing(seed=0, probability=probability)
