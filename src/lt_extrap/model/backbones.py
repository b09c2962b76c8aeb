"""Backbones: images -> features, with the preprocessing that belongs to them."""

from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.models import group_parameters, load_state_dict_from_hf, model_entrypoint
from torch import Tensor, nn

from lt_extrap.config import Backbone, CifarResNet, ConvNet, OpenClip, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.model.clip import ImageTower, build_image_tower, load_image_tower
from lt_extrap.model.networks import CifarResidualNet, ResidualNet
from lt_extrap.model.preprocessing import Preprocessing, preprocessing_of
from lt_extrap.model.weights import put, read_weights


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
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, dim: int, preprocessing: Preprocessing, *, pooling: str | None = None
    ) -> None:
        super().__init__()
        self.network, self.dim, self.preprocessing, self.pooling = network, dim, preprocessing, pooling
        self.register_buffer("mean", 255 * torch.tensor(preprocessing.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(preprocessing.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Features of images whose values are 0..255."""
        images = (images - self.mean) / self.std
        features: Tensor
        if self.pooling is None:
            features = self.network(images)
            return features
        tokens: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        prefix: int = self.network.num_prefix_tokens  # type: ignore[assignment]
        features = tokens[:, 0] if self.pooling == "token" else tokens[:, prefix:].mean(dim=1)
        return features

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
            return _build_timm(backbone, image_size)
        if isinstance(backbone, OpenClip):
            return _build_open_clip(backbone, image_size)
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
    network = built.network
    if isinstance(backbone, OpenClip):
        assert isinstance(network, ImageTower)
        return load_image_tower(network, backbone)
    if backbone.weights == "hub":
        weights, source = _from_hub(backbone), f"timm's {backbone.model}"
    else:
        source = backbone.weights
        if source.endswith(".npz"):
            network.load_pretrained(source)  # type: ignore[operator]
            return source
        weights = read_weights(Path(source))
    # What timm itself does to published files: other names, and position embeddings of another size.
    module = __import__(model_entrypoint(backbone.model.partition(".")[0]).__module__, fromlist=["_"])
    convert = getattr(module, "checkpoint_filter_fn", None)
    return put(convert(weights, network) if convert else weights, network, source)


def timm_options(backbone: Timm, image_size: int) -> dict[str, Any]:
    """Arguments of timm.create_model beside the name and the number of classes."""
    options = dict(backbone.options)
    known = timm.get_pretrained_cfg(backbone.model)
    if known is not None and known.fixed_input_size:
        # Transformers have a position for each patch, so their size is fixed when they are built.
        options["img_size"] = image_size
    if backbone.drop_path > 0:
        options["drop_path_rate"] = backbone.drop_path
    return options


def _build_timm(backbone: Timm, image_size: int) -> NormalisedBackbone:
    preprocessing = preprocessing_of(backbone)
    options = timm_options(backbone, image_size)
    try:
        network = timm.create_model(backbone.model, pretrained=False, num_classes=0, **options)
        if backbone.gradient_checkpointing:
            network.set_grad_checkpointing(True)  # type: ignore[operator]
        built = NormalisedBackbone(network, 0, preprocessing, pooling=backbone.pooling)
        # Asked of the network itself: num_features is not always the width of what comes out.
        with torch.no_grad():
            built.dim = built.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1]
        built.train()
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"options that timm's {backbone.model} takes at {image_size} pixels",
            f"{options}: {error}",
            "correct backbone.options or recipe.image_size",
        ) from error
    if backbone.drop_path > 0 and not any(getattr(part, "drop_prob", 0) for part in network.modules()):
        raise ConfigError(
            "a model with stochastic depth for backbone.drop_path",
            f"{backbone.model}, which has none",
            "set backbone.drop_path=0",
        )
    return built


def _build_open_clip(backbone: OpenClip, image_size: int) -> NormalisedBackbone:
    preprocessing = preprocessing_of(backbone)
    try:
        tower = build_image_tower(backbone, image_size)
        with torch.no_grad():
            dim = tower.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1]
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"options that open_clip's {backbone.model} takes at {image_size} pixels",
            f"{type(error).__name__}: {error}",
            "correct recipe.image_size, or set backbone.gradient_checkpointing=false",
        ) from error
    return NormalisedBackbone(tower.train(), dim, preprocessing)


def _from_hub(backbone: Timm) -> dict[str, Tensor]:
    known = timm.get_pretrained_cfg(backbone.model)
    place = known.hf_hub_id if known is not None else None
    if place is None:
        raise ConfigError(
            f"weights of {backbone.model} on the hub",
            "none: timm names no weights for it",
            "set backbone.weights=<file>",
        )
    try:
        weights: dict[str, Tensor] = load_state_dict_from_hf(place, weights_only=True)
    except OSError as error:
        raise ConfigError(
            f"the weights of {backbone.model}: from the hub or its cache, or a file",
            f"neither a network nor a cached copy of {place} ({type(error).__name__})",
            f"run `hf download {place}` where there is a network and copy its cache ($HF_HOME) here, or set "
            "backbone.weights=<file>",
        ) from error
    return weights
