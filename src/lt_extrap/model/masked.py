"""A masked autoencoder on a vision transformer of timm: a backbone that sees a part of the patches, and a decoder.

Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377; on long-tailed images it is the
masked generative pretraining (MGP) of LiVT, arXiv 2212.02015. The blocks are timm's. lightly has one too, which is not
used: it brings a second Lightning (pytorch_lightning) and draws masks from torch's global state, so that no resumed run
would be the straight one; its decoder is deprecated (1.6).
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from lt_extrap.config import Decoder, PretrainConfig, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.model.backbones import NormalisedBackbone, build_backbone

_EPS = 1e-6  # of the deviation of a patch, and of norms


class Shown(nn.Module):
    """Lets the patches pass that are shown; at the place at which timm drops patches, behind their positions."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.places: Tensor | None = None  # of the batch at hand; None: all pass

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch passed dim"]:
        if self.places is None:
            return tokens
        return torch.cat([tokens[:, : self.prefix], pick(tokens[:, self.prefix :], self.places)], dim=1)


class PatchDecoder(nn.Module):
    """Fills in the hidden patches: the tokens of those that are shown, one learnt token for all others, and blocks.

    Args:
        decoder: its size.
        dim: width of the encoder's tokens.
        prefix: tokens of the encoder that are of no patch.
        grid: patches of an image, rows and columns.
        patch: edge of a patch, pixels.
    """

    positions: Tensor

    def __init__(self, decoder: Decoder, *, dim: int, prefix: int, grid: tuple[int, int], patch: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        width, self.prefix = decoder.width, prefix
        norm = partial(nn.LayerNorm, eps=_EPS)
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(width))  # a vector, which no weight decay has
        self.register_buffer("positions", sines(grid, width), persistent=False)
        self.blocks = nn.Sequential(
            *(
                Block(width, decoder.heads, qkv_bias=True, norm_layer=norm)  # type: ignore[arg-type]
                for _ in range(decoder.depth)
            )
        )
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.pixels = nn.Linear(width, 3 * patch**2)
        initialise(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self, tokens: Float[Tensor, "batch passed dim"], places: Int64[Tensor, "batch shown"]
    ) -> Float[Tensor, "batch patches values"]:
        """Values of every patch, those that were shown too."""
        embedded = self.embed(tokens)
        prefix, shown = embedded[:, : self.prefix], embedded[:, self.prefix :]
        # In the dtype of what is put there: under autocast that is not the parameter's.
        patches = self.mask_token.to(shown.dtype).repeat(len(shown), len(self.positions), 1)
        patches = patches.scatter(1, places[:, :, None].expand(-1, -1, shown.shape[2]), shown)
        values: Tensor = self.pixels(self.norm(self.blocks(torch.cat([prefix, patches + self.positions], dim=1))))
        return values[:, self.prefix :]


class MaskedAutoencoder(nn.Module):
    """Learns to fill in what it does not see of an image.

    Args:
        backbone: around a vision transformer of timm.
        head: the decoder on it.
        normalised: what is to be filled in is each patch less its mean, over its deviation.

    Raises:
        ConfigError: a transformer that shows its patches otherwise, or no transformer.
    """

    def __init__(self, backbone: NormalisedBackbone, head: PatchDecoder, *, normalised: bool) -> None:
        super().__init__()
        self.backbone, self.head, self.normalised = backbone, head, normalised
        self.patch = backbone.patch_size
        self.shown = backbone.network.patch_drop = Shown(head.prefix)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        places: Int64[Tensor, "batch shown"],
    ) -> Float[Tensor, "batch patches values"]:
        """Values of every patch of images whose values are 0..255, of which the patches at `places` are seen."""
        self.shown.places = places
        tokens: Tensor = self.backbone.network.forward_features(self.normalise(images))  # type: ignore[operator]
        self.shown.places = None  # whatever the network is used for besides sees whole images
        filled: Tensor = self.head(tokens, places)
        return filled

    def loss(
        self,
        images: Float[Tensor, "batch 3 height width"],
        places: Int64[Tensor, "batch shown"],
        hidden: Int64[Tensor, "batch hidden"],
    ) -> Float32[Tensor, ""]:
        """The mean squared error over the hidden patches, in float32 whatever the autocast dtype."""
        filled = self(images, places)
        with torch.autocast(images.device.type, enabled=False):
            wanted = pick(patches_of(self.normalise(images.float()), self.patch), hidden)
            if self.normalised:
                mean, deviation = _moments(wanted)
                wanted = (wanted - mean) / deviation
            return F.mse_loss(pick(filled.float(), hidden), wanted)

    def reconstruct(
        self, images: Float[Tensor, "batch 3 height width"], places: Int64[Tensor, "batch shown"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """The images, filled in where they were hidden; values 0..255.

        Where patches were normalised, each gets the mean and the deviation of the true one, which the network does not
        know.
        """
        filled = self(images, places).float()
        true = patches_of(self.normalise(images.float()), self.patch)
        if self.normalised:
            mean, deviation = _moments(true)
            filled = filled * deviation + mean
        index = places[:, :, None].expand(-1, -1, true.shape[2])
        whole = image_of(filled.scatter(1, index, pick(true, places)), self.patch, images.shape[2])
        return (whole * self.backbone.std + self.backbone.mean).clamp(0, 255)

    def normalise(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """As the backbone normalises them."""
        return (images - self.backbone.mean) / self.backbone.std


def build_autoencoder(config: PretrainConfig) -> MaskedAutoencoder:
    """The autoencoder of a pretraining, its initial weights a function of the seed.

    As published: positions are fixed sines, linear layers start uniform (Xavier), the patch embedding as one of them,
    and the class token and the mask token normal, of deviation .02.

    Raises:
        ConfigError: no such model, one that is no plain vision transformer with its norm before its pooling, or a size
            that cuts a patch.
    """
    size = config.recipe.image_size
    backbone = build_backbone(config.backbone, image_size=size, seed=config.seed)
    network, patch = backbone.network, backbone.patch_size
    _check(config.backbone, network)
    if size % patch or size == patch:
        low = max(2, size // patch) * patch
        raise ConfigError(
            f"recipe.image_size to be a multiple of the patch, {patch} pixels, and two at least",
            str(size),
            f"set recipe.image_size to {low} or {low + patch}",
        )
    grid, prefix = (size // patch, size // patch), int(network.num_prefix_tokens)  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(Stream.DECODER, config.seed))
        head = PatchDecoder(config.decoder, dim=backbone.dim, prefix=prefix, grid=grid, patch=patch)
        initialise(network)
        if network.cls_token is not None:
            nn.init.normal_(network.cls_token, std=0.02)  # type: ignore[arg-type]
    places = sines(grid, backbone.dim)
    with torch.no_grad():
        network.pos_embed.zero_()  # type: ignore[operator]
        network.pos_embed[0, -len(places) :].copy_(places)  # type: ignore[index]
    network.pos_embed.requires_grad_(False)
    return MaskedAutoencoder(backbone, head, normalised=config.normalised)


def initialise(network: nn.Module) -> None:
    """Uniform weights of linear layers and of the patch embedding, after Xavier, and zero biases."""
    for part in network.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.view(len(part.weight), -1))


def sines(grid: tuple[int, int], width: int) -> Float32[Tensor, "patches {width}"]:
    """Fixed positions: a half each for column and row of a patch, sines and cosines of falling frequency."""
    frequencies = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    halves = []
    for place in (columns, rows):
        angles = place[:, None] * frequencies[None]
        halves += [np.sin(angles), np.cos(angles)]
    return torch.from_numpy(np.concatenate(halves, axis=1).astype(np.float32))


def patches_of(images: Float[Tensor, "batch 3 height width"], patch: int) -> Float[Tensor, "batch patches values"]:
    """The values of each patch: rows, columns, channels."""
    batch, channels, height, width = images.shape
    cut = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def image_of(
    patches: Float[Tensor, "batch patches values"], patch: int, height: int
) -> Float[Tensor, "batch 3 height width"]:
    """The inverse of `patches_of`."""
    batch, rows = len(patches), height // patch
    cut = patches.reshape(batch, rows, -1, patch, patch, 3)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(batch, 3, height, -1)


def pick(
    patches: Float[Tensor, "batch patches values"], places: Int64[Tensor, "batch picked"]
) -> Float[Tensor, "batch picked values"]:
    """Some of the patches of each image."""
    return patches.gather(1, places[:, :, None].expand(-1, -1, patches.shape[2]))


def _moments(patches: Float[Tensor, "batch patches values"]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the values of each patch."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return mean, (variance + _EPS).sqrt()


def _check(backbone: Timm, network: nn.Module) -> None:
    """Refuse what has no place for hidden patches, or no norm that the pretraining would teach.

    Raises:
        ConfigError: it has none.
    """
    from timm.models.vision_transformer import VisionTransformer

    remedy = "choose a plain one, such as backbone.model=vit_base_patch16_224.mae"
    wanted = "a vision transformer of timm for a masked pretraining"
    if not isinstance(network, VisionTransformer) or network.pos_embed is None or network.attn_pool is not None:
        raise ConfigError(wanted, f"{backbone.model}, which is {type(network).__name__}", remedy)
    if isinstance(network.norm, nn.Identity) or not isinstance(network.patch_drop, nn.Identity):
        raise ConfigError(
            f"{wanted}, with its last norm before its pooling and no other way to hide patches",
            f"{backbone.model} {backbone.options}",
            f"{remedy}; backbone.options={{global_pool: avg}} is for fine-tuning",
        )
