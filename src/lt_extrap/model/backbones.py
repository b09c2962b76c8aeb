"""Backbones: images -> features, with the preprocessing that belongs to them."""

import torch
from jaxtyping import Float
from timm.models import group_parameters
from torch import Tensor, nn

from lt_extrap.config import Backbone, CifarResNet, ConvNet, OpenClip, Timm
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.model.clip import ImageTower, build_image_tower, load_image_tower
from lt_extrap.model.networks import CifarResidualNet, ResidualNet
from lt_extrap.model.preprocessing import Preprocessing, preprocessing_of
from lt_extrap.model.timm_models import build_timm, load_timm, pooled


class NormalisedBackbone(nn.Module):
    """A network with the preprocessing that it wants.

    Args:
        network: what it is made of; transformers speak timm's interface (forward_features, num_prefix_tokens,
            group_matcher, no_weight_decay, set_grad_checkpointing).
        dim: width of the features.
        preprocessing: of its images.
        pooling: see `config.Timm`.

    Attributes:
        dim: width of the features.
        preprocessing: of its images; mean and deviation are applied here.
        start: the weights that it starts from, in words.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, dim: int, preprocessing: Preprocessing, *, pooling: str | None = None
    ) -> None:
        super().__init__()
        self.network, self.dim, self.preprocessing, self.pooling = network, dim, preprocessing, pooling
        self.start = "random, a function of the seed"
        self.register_buffer("mean", 255 * torch.tensor(preprocessing.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(preprocessing.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Features of images whose values are 0..255."""
        images = (images - self.mean) / self.std
        features: Tensor
        if self.pooling is None:
            features = self.network(images)
            return features
        return pooled(self.network, self.network.forward_features(images), self.pooling)  # type: ignore[operator]

    def layers(self) -> dict[str, int]:
        """The layer of each parameter of the network, by name: 0 is the embedding. Empty: it does not say."""
        if not hasattr(self.network, "group_matcher"):
            return {}
        matcher = self.network.group_matcher(coarse=False)  # type: ignore[operator]
        layers: dict[str, int] = group_parameters(self.network, matcher, reverse=True)
        return layers

    def undecayed(self) -> set[str]:
        """Parameters of the network that weight decay leaves alone, beside those of one dimension."""
        names: set[str] = self.network.no_weight_decay() if hasattr(self.network, "no_weight_decay") else set()  # type: ignore[operator]
        return names


def build_backbone(backbone: Backbone, *, image_size: int, seed: int) -> NormalisedBackbone:
    """A backbone with random weights that are a function of the seed alone; `load_pretrained` gives it others.

    Raises:
        ConfigError: there is no such model, or it refuses its options.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(Stream.BACKBONE, seed))
        if isinstance(backbone, Timm):
            preprocessing = preprocessing_of(backbone)
            model, width = build_timm(backbone, image_size)
            return NormalisedBackbone(model, width, preprocessing, pooling=backbone.pooling)
        if isinstance(backbone, OpenClip):
            preprocessing = preprocessing_of(backbone)
            tower, width = build_image_tower(backbone, image_size)
            return NormalisedBackbone(tower, width, preprocessing)
        if isinstance(backbone, CifarResNet):
            small: nn.Module = CifarResidualNet(backbone.depth)
            return NormalisedBackbone(small, CifarResidualNet.num_features, preprocessing_of(backbone))
        assert isinstance(backbone, ConvNet)
        network = ResidualNet(backbone.widths)
        return NormalisedBackbone(network, network.num_features, preprocessing_of(backbone))


def load_pretrained(built: NormalisedBackbone, backbone: Backbone) -> str | None:
    """Give a backbone the weights that its node names.

    Returns:
        Which, in words; None where it starts from random ones.

    Raises:
        ConfigError: they are of another model, or there is neither a network nor a cached copy.
        DataError: the file cannot be read.
    """
    if not isinstance(backbone, Timm | OpenClip) or backbone.weights is None:
        return None
    if isinstance(backbone, OpenClip):
        assert isinstance(built.network, ImageTower)
        return load_image_tower(built.network, backbone)
    return load_timm(built.network, backbone)
