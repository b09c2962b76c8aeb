"""Backbones: images -> features, with the preprocessing that belongs to them."""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from lt_extrap.config import Backbone, CifarResNet, ConvNet, OpenClip, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.model.clip import ImageTower, build_image_tower, load_image_tower
from lt_extrap.model.networks import CifarResidualNet, ResidualNet
from lt_extrap.model.preprocessing import Preprocessing, preprocessing_of
from lt_extrap.model.timm_models import build_timm, load_timm, pooled
from lt_extrap.model.weights import weights_path

RANDOM_START = "random, a function of the seed"
_HEAD = "head.weight"  # as a model of timm names it, of which only the body is built here


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
        adapter_keys: of its parameters those of an adapter, by name, which alone are trained and kept; None = without.
        identity: with an adapter, what tells the frozen weights from others.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, dim: int, preprocessing: Preprocessing, *, pooling: str | None = None
    ) -> None:
        super().__init__()
        self.network, self.dim, self.preprocessing, self.pooling = network, dim, preprocessing, pooling
        self.start = RANDOM_START
        self.adapter_keys: frozenset[str] | None = None
        self.identity: str | None = None
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

    def freeze(self, layers: int | None = None) -> None:
        """Take the first layers, or all, out of training: no gradients, and always in evaluation mode.

        Raises:
            ConfigError: there are not that many, or the network does not say what its layers are.
        """
        found = self.layers()
        if layers is not None and layers > max(found.values(), default=-1) + 1:
            raise ConfigError(
                f"a backbone of {layers} layers, for recipe.freeze={layers}",
                f"{type(self.network).__name__}, of {max(found.values()) + 1}" if found else "one that names none",
                "lower recipe.freeze",
            )
        for name, parameter in self.network.named_parameters():
            if layers is None or found[name] < layers:
                parameter.requires_grad_(False)
        self.train()

    @property
    def patch_size(self) -> int:
        """Edge of the patches that images are cut into, pixels; what is no whole one is not seen. 1: there are none."""
        inside = self.network.visual if isinstance(self.network, ImageTower) else self.network
        cut = getattr(getattr(inside, "trunk", inside), "patch_embed", None)
        if cut is not None:
            from timm.layers.patch_embed import PatchEmbed

            if isinstance(cut, PatchEmbed):
                return 1 if cut.dynamic_img_pad else int(cut.patch_size[0])
        # open_clip's own transformer
        return int(inside.patch_size[0]) if inside is not self.network and hasattr(inside, "patch_size") else 1  # type: ignore[index]

    @property
    def frozen(self) -> bool:
        """Whether nothing here is trained."""
        return not any(parameter.requires_grad for parameter in self.parameters())

    def train(self, mode: bool = True) -> "NormalisedBackbone":
        """As of any module, but that frozen parts stay in evaluation mode: statistics do not move, no path drops."""
        super().train(mode and not self.frozen)
        if mode:
            for part in self.network.modules():
                parameters = list(part.parameters())
                if parameters and not any(parameter.requires_grad for parameter in parameters):
                    part.eval()
        return self

    def layers(self) -> dict[str, int]:
        """The layer of each parameter of the network, by name: 0 is the embedding. Empty: it does not say."""
        return {name: layer for name, layer in self._grouped().items() if name != _HEAD}

    def head_layer(self) -> int:
        """The layer of a head on top: the last, with what timm counts to a model's head, such as ConvNeXt's norm."""
        return self._grouped().get(_HEAD, 0)

    def _grouped(self) -> dict[str, int]:
        if not hasattr(self.network, "group_matcher"):
            return {}
        from timm.models._manipulate import group_with_matcher  # public is its form that knows no head

        matcher = self.network.group_matcher(coarse=False)  # type: ignore[operator]
        named = iter([*self.network.named_parameters(), (_HEAD, None)])
        layers: dict[str, int] = group_with_matcher(named, matcher, reverse=True)
        return layers

    def undecayed(self) -> set[str]:
        """Parameters of the network that weight decay leaves alone, beside those of one dimension."""
        names: set[str] = self.network.no_weight_decay() if hasattr(self.network, "no_weight_decay") else set()  # type: ignore[operator]
        prompts = {name for name, _ in self.network.named_parameters() if name.endswith(".prompts")}  # of an adapter
        return names | prompts


def build_backbone(backbone: Backbone, *, image_size: int, seed: int) -> NormalisedBackbone:
    """A backbone with random weights that are a function of the seed alone; `load_pretrained` gives it others.

    Raises:
        ConfigError: there is no such model, it refuses its options, or it cannot compute activations again.
    """
    built = _built(backbone, image_size=image_size, seed=seed)
    if isinstance(backbone, Timm | OpenClip) and backbone.gradient_checkpointing:
        _compute_again(built.network, backbone.model)
    return built


def _built(backbone: Backbone, *, image_size: int, seed: int) -> NormalisedBackbone:
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


def _compute_again(network: nn.Module, name: str) -> None:
    """Let a network compute its activations again in the backward pass."""
    wanted, remedy = "that can compute activations again, for backbone.gradient_checkpointing", "set it to false"
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules()):
        raise ConfigError(
            f"a model {wanted}", f"{name}, whose batch normalisation would count each batch twice", remedy
        )
    try:
        network.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError) as error:
        raise ConfigError(f"a model {wanted}", f"{name}, which cannot", remedy) from error


def load_pretrained(built: NormalisedBackbone, backbone: Backbone) -> str | None:
    """Give a backbone the weights that its node names.

    Returns:
        Which, in words; None where it starts from random ones.

    Raises:
        ConfigError: they are of another model or, in a file of our runs, of other preprocessing; or there is neither a
            network nor a cached copy.
        DataError: the file cannot be read.
    """
    if not isinstance(backbone, Timm | OpenClip) or backbone.weights is None:
        return None
    if isinstance(backbone, OpenClip):
        assert isinstance(built.network, ImageTower)
        loaded = load_image_tower(built.network, backbone)
    else:
        loaded = load_timm(built.network, backbone)
    if (file := weights_path(backbone.weights)).suffix == ".safetensors":
        built.preprocessing = _of_own(file, built.preprocessing, backbone)
    return loaded


def _of_own(file: Path, preprocessing: Preprocessing, backbone: Backbone) -> Preprocessing:
    """With the size of a file of one of our runs; its mean and deviation are these, but for what the node overrides."""
    with safe_open(file, "pt") as header:
        written = header.metadata() or {}
    if not written.get("format", "").startswith("lt_extrap"):
        return preprocessing
    of_file = {key: [float(f"{value:.6g}") for value in json.loads(written[key])] for key in ("mean", "std")}
    differs = {
        key: values
        for key, values in of_file.items()
        if getattr(backbone, key) is None and not np.allclose(values, getattr(preprocessing, key), rtol=0, atol=1e-5)
    }
    if differs:
        raise ConfigError(
            f"the preprocessing that {file} was trained with: {differs}",
            ", ".join(f"{key} {list(getattr(preprocessing, key))}" for key in differs),
            "set " + " ".join(f"'backbone.{key}={values}'" for key, values in differs.items()),
        )
    return preprocessing._replace(size=int(written["image_size"]))
