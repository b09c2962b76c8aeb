"""What a backbone says of each place of an image."""

import pytest
import torch
from test_clip import _tiny_models  # noqa: F401

from lt_extrap.config import CifarResNet, ConvNet, OpenClip, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.tokens import patch_tokens

IMAGES = 255 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def built(node, size=32):
    return build_backbone(node, image_size=size, seed=0).eval()


@pytest.mark.parametrize("node", [ConvNet(widths=[8, 16]), CifarResNet(depth=8), Timm(model="test_efficientnet")])
@torch.inference_mode()
def test_the_mean_of_the_last_map_is_the_feature(node):
    backbone = built(node)
    tokens = patch_tokens(backbone, IMAGES)
    assert tokens.shape[1] == tokens.shape[2] > 0
    if not isinstance(node, Timm):  # which has further layers behind it
        torch.testing.assert_close(tokens.mean(dim=(1, 2)), backbone(IMAGES))


REGISTERS = Timm(model="vit_small_patch14_reg4_dinov2.lvd142m", options={"depth": 1, "embed_dim": 24, "num_heads": 2})
SWIN = Timm(
    model="swin_tiny_patch4_window7_224",
    options={"depths": [1, 1], "embed_dim": 16, "num_heads": [1, 2], "window_size": 4},
)


@pytest.mark.parametrize(("node", "prefix"), [(Timm(model="test_vit"), 1), (REGISTERS, 5)])
@torch.inference_mode()
def test_class_and_register_tokens_are_left_out(node, prefix):
    size = 28 if node is REGISTERS else 32
    backbone, images = built(node, size), IMAGES[..., :size, :size]
    everything = backbone.network.forward_features((images - backbone.mean) / backbone.std)
    assert everything.shape[1] == 4 + prefix
    tokens = patch_tokens(backbone, images)
    assert tokens.shape[1:3] == (2, 2)
    assert torch.equal(tokens.flatten(1, 2), everything[:, prefix:])


@pytest.mark.parametrize("node", [Timm(model="test_vit"), SWIN, ConvNet(widths=[8, 16])])
@torch.inference_mode()
def test_places_are_where_they_are_in_the_image(node):
    """What changes the upper right corner changes the upper right token most."""
    backbone = built(node)
    other = IMAGES.clone()
    other[:, :, :8, 24:] = 255 - other[:, :, :8, 24:]
    change = (patch_tokens(backbone, other) - patch_tokens(backbone, IMAGES)).norm(dim=-1)
    rows, columns = change.shape[1:]
    assert (change.flatten(1).argmax(dim=1) == columns - 1).all()
    assert rows == columns > 1


@torch.inference_mode()
def test_towers_of_clip():
    """open_clip's own transformer as its own tokens; the trunk of timm's; the map of its residual network."""
    backbone = built(OpenClip(model="tiny-clip"))
    visual = backbone.network.visual
    visual.output_tokens = True
    _, own = visual((IMAGES - backbone.mean) / backbone.std)
    assert patch_tokens(backbone, IMAGES).shape == (2, 4, 4, 32)
    torch.testing.assert_close(patch_tokens(backbone, IMAGES).flatten(1, 2), own)
    assert patch_tokens(built(OpenClip(model="tiny-timm")), IMAGES).shape == (2, 2, 2, 64)
    assert patch_tokens(built(OpenClip(model="tiny-rn")), IMAGES).shape == (2, 1, 1, 256)


def test_a_network_without_places_is_refused():
    backbone = built(Timm(model="test_vit"))
    backbone.network.num_prefix_tokens = 0  # as of those that do not tell their class token apart
    with pytest.raises(ConfigError, match=r"puts out \(5, 64\) an image"):
        patch_tokens(backbone, IMAGES)
