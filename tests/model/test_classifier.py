import pytest
import torch

from lt_extrap.config import CifarResNet, ConvNet, Head, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head

IMAGES = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)


def build(num_auxiliary: int, seed: int = 0, backbone=None) -> Classifier:
    body = build_backbone(backbone or ConvNet(widths=[8, 16]), image_size=32, seed=seed)
    head = build_head(Head(), dim=body.dim, num_target=4, num_auxiliary=num_auxiliary, seed=seed)
    return Classifier(body, head)


def test_shapes_and_uint8():
    model = build(3)
    assert model(IMAGES).shape == (5, 7)
    torch.testing.assert_close(model(IMAGES), model(IMAGES.float()))


def test_a_frozen_backbone_stays_in_evaluation_mode_and_has_no_gradients():
    whole = build(0)
    whole.backbone.freeze()
    model = Classifier(whole.backbone, whole.head).train()
    assert model.head.training
    assert not any(module.training for module in model.backbone.modules())
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert all(p.requires_grad for p in model.head.parameters())


def test_initial_weights_of_target_and_backbone_do_not_depend_on_the_auxiliary_classes():
    alone, together, more = build(0), build(3), build(50)
    for key, value in alone.backbone.state_dict().items():
        assert torch.equal(value, more.backbone.state_dict()[key])
    assert torch.equal(alone.head.weight, together.head.weight[:4])
    assert torch.equal(together.head.weight, more.head.weight[:7])
    assert not torch.equal(alone.head.weight, build(0, seed=1).head.weight)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build(3)
    assert torch.equal(torch.rand(1), expected)


def test_head_is_a_truncated_normal():
    head = build_head(Head(init_std=0.02), dim=400, num_target=200, num_auxiliary=50, seed=0)
    assert head.weight.abs().max() <= 0.04
    # a normal cut at 2 sigma has a standard deviation of 0.880 sigma
    assert head.weight.std().item() == pytest.approx(0.0176, rel=0.02)
    assert head.weight.mean().abs() < 1e-3
    assert not head.bias.any()


def test_the_direct_classifier_is_the_target_rows_with_their_biases():
    model = build(3)
    with torch.no_grad():
        model.head.bias.copy_(torch.arange(7.0))
    direct = model.direct(4)
    torch.testing.assert_close(direct(IMAGES), model(IMAGES)[:, :4])
    assert direct.head.out_features == 4


def test_pixels_are_normalised_by_the_backbones_own_constants():
    vit = build(0, backbone=Timm(model="vit_tiny_patch16_224"))
    assert (vit.backbone.mean.flatten() / 255).tolist() == pytest.approx([0.5] * 3)
    conv = build(0)
    grey = torch.full((1, 3, 32, 32), 0.0) + conv.backbone.mean
    assert conv.backbone.network(torch.zeros(1, 3, 32, 32)).allclose(conv.backbone(grey))


def test_timm_models_of_both_kinds_at_another_size():
    # a transformer has its size from its making, a convolutional network takes any
    vit = Timm(model="vit_tiny_patch16_224", options={"depth": 1, "embed_dim": 24, "num_heads": 2})
    assert build(2, backbone=vit)(IMAGES).shape == (5, 6)
    assert build(2, backbone=Timm(model="resnet10t"))(IMAGES).shape == (5, 6)
    # and some put out more features than num_features says
    assert build(2, backbone=Timm(model="mobilenetv3_small_050"))(IMAGES).shape == (5, 6)


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        (Timm(model="vit_tiny_patch61_224"), "model of timm"),
        (Timm(model="resnet18", options={"depht": 3}), "depht"),
        (Timm(model="vit_tiny_patch16_224", options={"patch_size": 64}), "at 32 pixels"),
    ],
)
def test_models_and_options_that_timm_does_not_have(backbone, said):
    with pytest.raises(ConfigError, match=said):
        build(0, backbone=backbone)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)])
def test_the_cifar_networks_have_the_parameters_of_the_literature(depth, parameters):
    """He et al. 2015, Table 6: 0.27, 0.46, 0.66 and 0.85 million, with a head of 10 classes."""
    body = build_backbone(CifarResNet(depth=depth), image_size=32, seed=0)
    assert sum(p.numel() for p in body.parameters()) + 10 * (body.dim + 1) == parameters
    assert sum(isinstance(module, torch.nn.Conv2d) for module in body.modules()) + 1 == depth


def test_the_cifar_network_halves_the_resolution_twice_beside_identities():
    body = build_backbone(CifarResNet(depth=20), image_size=32, seed=0).eval()
    images = 255 * torch.rand(2, 3, 32, 32)
    assert body(images).shape == (2, 64)
    assert (body.mean.flatten() / 255).tolist() == pytest.approx([0.5071, 0.4867, 0.4408])
    for block in body.network.blocks:
        torch.nn.init.zeros_(block.block[-1].weight)  # only the shortcuts are left
    stem = body.network.stem((images - body.mean) / body.std)
    through = body.network.blocks(stem)
    assert through.shape == (2, 64, 8, 8)
    assert torch.equal(through[:, 24:40], stem[:, :, ::4, ::4])
    assert through[:, :24].abs().max() == through[:, 40:].abs().max() == 0


def test_the_cifar_network_starts_as_the_field_has_it():
    weight = build_backbone(CifarResNet(depth=32), image_size=32, seed=0).network.blocks[-1].block[0].weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
