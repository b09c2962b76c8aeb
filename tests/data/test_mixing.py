import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.data.mixing import Mixing
from lt_extrap.errors import ConfigError

MIXUP = Mixing(seed=3, mixup_alpha=0.8, cutmix_alpha=0.0)
CUTMIX = Mixing(seed=3, mixup_alpha=0.0, cutmix_alpha=1.0)


def batch(images=5, height=12, width=9):
    """Random images; the label of an image is its place, so that labels tell partners."""
    rng = torch.Generator().manual_seed(images)
    return torch.randn(images, 3, height, width, generator=rng), torch.arange(images)


def mix(mixing, images, label, step=0, rank=0):
    mixed, partner, lam = mixing(images.clone(), label, step=step, rank=rank)
    assert sorted(partner.tolist()) == label.tolist()  # a permutation
    assert lam.dtype == torch.float32
    assert lam.shape == label.shape
    assert len(set(lam.tolist())) == 1  # one lam a batch
    return mixed, partner, lam


def kind(mixed, images, partner):
    """What happened to a batch of random images, told by its pixels."""
    if torch.equal(mixed, images):
        return "none"
    own, others = mixed == images, mixed == images[partner]
    return "cutmix" if (own | others).all() else "mixup"


@pytest.mark.parametrize("step", range(8))
def test_mixup_agrees_with_a_loop(step):
    images, label = batch()
    mixed, partner, lam = mix(MIXUP, images, label, step)
    for i in range(len(images)):
        share = lam[i].item()
        for pixel in np.ndindex(*images.shape[1:]):
            expected = share * images[i][pixel] + (1 - share) * images[int(partner[i])][pixel]
            assert mixed[i][pixel].item() == pytest.approx(expected.item(), abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 16), st.integers(1, 16))
def test_cutmix_cuts_one_box_and_lam_is_exactly_what_is_left(step, size, height, width):
    images, label = batch(size, height, width)
    mixed, partner, lam = mix(CUTMIX, images, label, step)
    moved = partner != label
    if not moved.any():
        return
    foreign = (mixed != images)[moved]
    box = foreign[0, 0]
    assert (foreign == box).all()  # the same box in every image and channel
    rows, columns = box.any(1).nonzero().flatten(), box.any(0).nonzero().flatten()
    if len(rows):  # a full rectangle
        assert box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(rows) * len(columns) == box.sum()
    for i in range(size):
        for y, x in np.ndindex(height, width):
            source = partner[i] if box[y, x] else i
            assert torch.equal(mixed[i, :, y, x], images[source, :, y, x])
    kept = height * width - int(box.sum())
    assert lam[0] == np.float32(kept / (height * width))


def test_equal_keys_give_equal_mixes():
    images, label = batch(16)
    mixing = Mixing(seed=1)
    first, again = (mix(mixing, images, label, step=7, rank=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    others = [
        mix(mixing, images, label, step=8, rank=1),
        mix(mixing, images, label, step=7, rank=0),
        mix(Mixing(seed=2), images, label, step=7, rank=1),
    ]
    for other in others:
        assert not torch.equal(first[1], other[1])
        assert first[2][0] != other[2][0]


def test_both_alphas_at_zero_leave_the_batch_alone():
    images, label = batch()
    off = Mixing(seed=0, mixup_alpha=0.0, cutmix_alpha=0.0)
    for step in range(20):
        mixed, partner, lam = off(images, label, step=step, rank=0)
        assert mixed is images
        assert torch.equal(partner, label)
        assert (lam == 1).all()
    assert torch.equal(images, batch()[0])


def test_an_alpha_of_zero_turns_its_kind_off():
    images, label = batch(8)
    seen = {"mixup": set(), "cutmix": set()}
    for step in range(40):
        for name, mixing in (("mixup", MIXUP), ("cutmix", CUTMIX)):
            mixed, partner, _ = mix(mixing, images, label, step)
            seen[name].add(kind(mixed, images, partner))
    assert seen["mixup"] == {"mixup"}
    assert seen["cutmix"] <= {"cutmix", "none"}  # a box may be empty


def test_a_small_alpha_is_not_off():
    images, label = batch(32, 2, 2)
    small = Mixing(seed=0, mixup_alpha=0.001, cutmix_alpha=0.0)
    shares = np.array([mix(small, images, label, step)[2][0].item() for step in range(300)])
    assert np.isfinite(shares).all()
    assert abs((shares < 0.01).mean() - 0.5) < 0.12


@pytest.mark.parametrize("switch_probability", [0.0, 0.3, 1.0])
def test_the_share_of_cutmix(switch_probability):
    images, label = batch(8)
    mixing = Mixing(seed=0, mixup_alpha=1.0, cutmix_alpha=1.0, switch_probability=switch_probability)
    mixes = [mix(mixing, images, label, step) for step in range(400)]
    mixup = np.mean([kind(mixed, images, partner) == "mixup" for mixed, partner, _ in mixes])
    spread = (switch_probability * (1 - switch_probability) / 400) ** 0.5
    assert abs(1 - mixup - switch_probability) <= 4 * spread


@pytest.mark.parametrize("probability", [0.0, 0.4])
def test_the_share_of_mixed_batches(probability):
    images, label = batch(8)
    mixing = Mixing(seed=0, mixup_alpha=1.0, cutmix_alpha=0.0, probability=probability)
    mixed = np.mean([not torch.equal(mix(mixing, images, label, s)[0], images) for s in range(400)])
    assert abs(mixed - probability) <= 4 * (probability * (1 - probability) / 400) ** 0.5


@pytest.mark.parametrize("alpha", [0.3, 0.8, 1.0])
def test_lam_has_the_moments_of_its_beta(alpha):
    images, label = batch(2, 1, 1)
    mixing = Mixing(seed=0, mixup_alpha=alpha, cutmix_alpha=0.0)
    lam = np.array([mixing(images, label, step=s, rank=0)[2][0].item() for s in range(1000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(lam.mean() - 0.5) < 4 * (variance / 1000) ** 0.5
    assert lam.var() == pytest.approx(variance, rel=0.1)


def test_the_clipped_box_keeps_more_than_the_drawn_one():
    # E[lam] over a uniform lam: 1 - E[(sides clipped at both ends)], by integration on a fine grid.
    side = np.sqrt(1 - (np.arange(400) + 0.5) / 400)[:, None]
    centre = (np.arange(400) + 0.5)[None] / 400
    clipped = np.minimum(centre + side / 2, 1) - np.maximum(centre - side / 2, 0)
    expected = 1 - (clipped.mean(1) ** 2).mean()
    images, label = batch(1, 64, 64)
    lam = [CUTMIX(images, label, step=step, rank=0)[2][0].item() for step in range(1000)]
    assert np.mean(lam) == pytest.approx(expected, abs=0.025)
    assert expected > 0.55  # where the drawn boxes would keep 0.5


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("mixing", [MIXUP, CUTMIX])
def test_odd_and_tiny_batches(mixing, size):
    images, label = batch(size)
    mixed, partner, lam = mixing(images.clone(), label, step=0, rank=0)
    assert mixed.shape == images.shape
    assert len(partner) == len(lam) == size
    if size == 1:
        assert torch.equal(mixed, images)  # its own partner


@pytest.mark.parametrize("mixing", [MIXUP, CUTMIX])
def test_the_memory_of_the_batch_is_reused(mixing):
    images, label = batch()
    assert mixing(images, label, step=0, rank=0)[0].data_ptr() == images.data_ptr()
    assert torch.equal(label, torch.arange(5))


def test_mixing_keeps_the_dtype():
    images, label = batch()
    for mixing in (MIXUP, CUTMIX):
        mixed, _, lam = mixing(images.bfloat16(), label, step=0, rank=0)
        assert (mixed.dtype, lam.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("name", ["mixup_alpha", "cutmix_alpha", "probability", "switch_probability"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_ranges(name, value):
    with pytest.raises(ConfigError, match=name):
        Mixing(**{"seed": 0, name: value})


@pytest.mark.parametrize("name", ["probability", "switch_probability"])
def test_shares_end_at_one(name):
    with pytest.raises(ConfigError, match=name):
        Mixing(**{"seed": 0, name: 1.01})
