import pytest

from lt_extrap.config import CifarResNet, ConvNet, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.model.preprocessing import preprocessing_of

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("model", "constants", "size", "interpolation"),
    [
        ("vit_base_patch16_224.augreg_in21k", HALF, 224, "bicubic"),
        ("vit_base_patch16_224.mae", IMAGENET, 224, "bicubic"),
        ("vit_base_patch14_dinov2.lvd142m", IMAGENET, 518, "bicubic"),
        ("vit_small_patch16_dinov3.lvd1689m", IMAGENET, 256, "bicubic"),
        ("vit_base_patch16_siglip_384.webli", HALF, 384, "bicubic"),
        ("convnext_tiny.fb_in22k", IMAGENET, 224, "bicubic"),
        ("resnet34.tv_in1k", IMAGENET, 224, "bilinear"),
    ],
)
def test_it_is_that_of_the_weights(model, constants, size, interpolation):
    assert preprocessing_of(Timm(model=model)) == (*constants, size, interpolation)


def test_networks_of_ours_take_any_size():
    assert preprocessing_of(ConvNet()).size is None
    assert preprocessing_of(CifarResNet()).size is None


def test_the_node_overrides_it():
    over = Timm(model="vit_base_patch16_224.mae", mean=[0.1, 0.2, 0.3], interpolation="bilinear")
    assert preprocessing_of(over) == ((0.1, 0.2, 0.3), IMAGENET[1], 224, "bilinear")


def test_a_tag_that_timm_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="choose lvd142m"):
        preprocessing_of(Timm(model="vit_small_patch14_dinov2.lvd14"))
