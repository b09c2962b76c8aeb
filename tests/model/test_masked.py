"""The masked autoencoder against its definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.compose import configure_command
from lt_extrap.config import AdamW
from lt_extrap.data.masking import Masking
from lt_extrap.model.masked import build_autoencoder, image_of, patches_of, sines
from lt_extrap.optimizer import parameter_groups


def autoencoder(*overrides):
    words = ("patch_size: 8", "depth: 2", "embed_dim: 24", "num_heads: 2", *overrides)
    return build_autoencoder(
        configure_command(
            "pretrain",
            *("target=embedded", "backbone.model=vit_tiny_patch16_224", "recipe.image_size=32"),
            f"+backbone.options={{{', '.join(words)}}}",
            "decoder={depth: 1, width: 16, heads: 2}",
        )
    ).eval()


@pytest.fixture
def images():
    return 255 * torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 2**40), st.integers(0, 1000))
def test_every_patch_is_shown_or_hidden_by_seed_epoch_and_sample_alone(patches, ratio, seed, epoch):
    sample = torch.tensor([5, 0, 7])
    shown, hidden = Masking(seed=seed, ratio=ratio)(sample, patches=patches, epoch=epoch)
    assert (torch.cat([shown, hidden], dim=1).sort(dim=1).values == torch.arange(patches)).all()
    assert 1 <= shown.shape[1] < patches
    assert abs(shown.shape[1] - patches * (1 - ratio)) <= 1
    alone = Masking(seed=seed, ratio=ratio)(sample[2:], patches=patches, epoch=epoch)
    assert torch.equal(alone[0], shown[2:])


def test_masks_are_even_and_change_by_epoch_and_sample():
    masking, samples = Masking(seed=0, ratio=0.75), torch.arange(4000)
    shown = masking(samples, patches=16, epoch=3)[0]
    often = torch.bincount(shown.flatten(), minlength=16) / 4000
    assert (often - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 4000)
    assert not torch.equal(shown, masking(samples, patches=16, epoch=4)[0])
    assert len({tuple(row) for row in shown.sort(dim=1).values.tolist()}) > 1500  # of 1,820


def test_patches_and_images_are_inverses(images):
    patches = patches_of(images, 8)
    assert torch.equal(image_of(patches, 8, 32), images)
    row, column = 2, 1
    expected = images[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].permute(1, 2, 0).flatten()
    assert torch.equal(patches[0, 4 * row + column], expected)


def test_positions_are_those_of_the_definition():
    found = sines((2, 3), 8)
    for place in range(6):
        row, column = divmod(place, 3)
        expected = []
        for where in (column, row):
            expected += [math.sin(where / 10000 ** (i / 2)) for i in range(2)]
            expected += [math.cos(where / 10000 ** (i / 2)) for i in range(2)]
        assert found[place].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("more", [[], ["reg_tokens: 2", "no_embed_class: true"]])
def test_the_loss_is_over_hidden_patches_and_what_is_hidden_is_not_seen(images, more):
    model = autoencoder(*more)
    shown, hidden = Masking(seed=1, ratio=0.75)(torch.arange(3), patches=16, epoch=0)
    assert (shown.shape[1], hidden.shape[1]) == (4, 12)
    filled = model(images, shown)
    total = 0.0
    for image in range(3):
        for place in hidden[image].tolist():
            row, column = divmod(place, 4)
            patch = images[image, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].double()
            patch = (patch - model.backbone.mean) / model.backbone.std
            values = patch.permute(1, 2, 0).flatten()
            wanted = (values - values.mean()) / math.sqrt(values.var() + 1e-6)
            total += ((filled[image, place].double() - wanted) ** 2).mean().item() / (3 * 12)
    assert model.loss(images, shown, hidden).item() == pytest.approx(total, rel=1e-4)
    other = patches_of(images, 8).scatter(1, hidden[:, :, None].expand(-1, -1, 192), 7.0)
    torch.testing.assert_close(model(image_of(other, 8, 32), shown), filled, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(images.flip(0), shown), filled)


def test_it_sees_shown_patches_where_they_are(images):
    """In another order they are the same picture; all of them are what the network alone would see."""
    model = autoencoder()
    shown = Masking(seed=1, ratio=0.5)(torch.arange(3), patches=16, epoch=0)[0]
    torch.testing.assert_close(model(images, shown.flip(1)), model(images, shown), atol=1e-5, rtol=1e-5)
    model.shown.places = torch.arange(16).expand(3, -1)
    network, normalised = model.backbone.network, model.normalise(images)
    every = network.forward_features(normalised)
    model.shown.places = None
    assert torch.equal(network.forward_features(normalised), every)


def test_a_reconstruction_keeps_what_was_shown(images):
    model = autoencoder()
    shown, hidden = Masking(seed=1, ratio=0.75)(torch.arange(3), patches=16, epoch=0)
    before, after = patches_of(images, 8), patches_of(model.reconstruct(images, shown), 8)
    rows = np.arange(3)[:, None]
    torch.testing.assert_close(after[rows, shown], before[rows, shown], atol=1e-3, rtol=0)
    assert not torch.allclose(after[rows, hidden], before[rows, hidden], atol=1)


def test_its_start_is_a_function_of_the_seed_and_positions_do_not_learn():
    one, other = autoencoder(), autoencoder()
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert not one.backbone.network.pos_embed.requires_grad
    assert torch.equal(one.backbone.network.pos_embed[0, 1:], sines((4, 4), 24))
    assert (one.backbone.network.pos_embed[0, 0] == 0).all()
    assert one.backbone.network.cls_token.std().item() == pytest.approx(0.02, rel=0.5)
    assert {part.eps for part in one.modules() if isinstance(part, torch.nn.LayerNorm)} == {1e-6}
    groups = parameter_groups(AdamW(batch_size=3, blr=1.0, image_size=32), one)
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    assert not {id(one.head.mask_token), id(one.backbone.network.cls_token)} & decayed
    assert id(one.head.embed.weight) in decayed


def test_the_loss_is_reckoned_in_float32(images):
    model = autoencoder()
    shown, hidden = Masking(seed=1, ratio=0.75)(torch.arange(3), patches=16, epoch=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(images, shown, hidden)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(model.loss(images, shown, hidden).item(), rel=0.02)
