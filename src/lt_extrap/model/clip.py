"""CLIP and its kin by open_clip: the image tower as a network, and class names as embeddings of the text tower.

open_clip and timm are imported where they are used: that takes seconds, and other backbones need none of it.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lt_extrap.config import OpenClip
from lt_extrap.errors import ConfigError
from lt_extrap.model.preprocessing import preprocessing_of
from lt_extrap.model.weights import put, read_weights, weights_path

# A tower that comes with the one that is wanted, as small as it can be: open_clip builds them by twos.
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}
_NO_IMAGE = {"image_size": 1, "patch_size": 1, "width": 1, "head_width": 1, "layers": 1}
# Only in the state dicts of OpenAI's own archives, where they are no weights.
_OPENAI = ("input_resolution", "context_length", "vocab_size")
# Tokens, positions and scales of more than one dimension, which weight decay leaves alone.
_UNDECAYED = ("class_embedding", "positional_embedding", "query", "latent", "logit_scale", "head_scale", "gamma")
_PROJECTION = "visual.proj"
_TEXTS = 64  # at once: always as many, so that no embedding depends on how many follow


class ImageTower(nn.Module):
    """Images -> embeddings, not normalised. Speaks timm's interface; keys are open_clip's.

    With backbone.projection=false it is features before the last projection.

    Args:
        visual: of open_clip: its own transformer or residual network, or a model of timm's.
        image_size: edge of its square input, pixels.
    """

    def __init__(self, visual: nn.Module, image_size: int) -> None:
        super().__init__()
        self.visual, self.image_size = visual, image_size

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        features: Tensor = self.visual(images)
        return features

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """The layer of a parameter: 0 is the embedding; what follows the blocks is of the head's layer."""
        from timm.models import group_parameters

        trunk: Any = getattr(self.visual, "trunk", None)
        inside: dict[str, int] = (
            {} if trunk is None else group_parameters(trunk, trunk.group_matcher(coarse=coarse), reverse=True)
        )

        def layer(name: str) -> int:
            part, _, rest = name.removeprefix("visual.").partition(".")
            if part == "trunk":
                return inside[rest]
            if part == "transformer":  # .resblocks.<i>.
                return int(rest.split(".")[1]) + 1
            if part.startswith("layer"):  # of a residual network
                return int(part.removeprefix("layer"))
            return 1000 if part in ("ln_post", "proj", "attn_pool", "attn_pool_contrastive", "attnpool", "head") else 0

        return layer

    def no_weight_decay(self) -> set[str]:
        """Tokens, positions and scales."""
        trunk: Any = getattr(self.visual, "trunk", None)
        named = {f"visual.trunk.{name}" for name in trunk.no_weight_decay()} if trunk is not None else set()
        return named | {name for name, _ in self.named_parameters() if name.rpartition(".")[2] in _UNDECAYED}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations again in the backward pass.

        Raises:
            AssertionError, AttributeError: the tower cannot.
        """
        # Not open_clip's own wrapper of timm, which would only log a refusal.
        inner: Any = self.visual.trunk if hasattr(self.visual, "trunk") else self.visual
        inner.set_grad_checkpointing(enable)


def build_image_tower(backbone: OpenClip, image_size: int) -> tuple[ImageTower, int]:
    """The image tower of a model, in float32, with random weights; and the width of its embeddings.

    Raises:
        ConfigError: it cannot be of this size.
    """
    import open_clip

    config = open_clip.get_model_config(backbone.model)
    options = {**config["vision_cfg"], "timm_model_pretrained": False, "output_tokens": False}
    of_timm = "timm_model_name" in options
    if not of_timm:
        options["image_size"] = image_size
    try:
        visual = open_clip.CLIP(config["embed_dim"], options, _NO_TEXT, config.get("quick_gelu", False)).visual
        if of_timm and image_size != preprocessing_of(backbone).size:
            visual.set_input_size(image_size)
        if not backbone.projection:
            _take_projection(visual, backbone)
        tower = ImageTower(visual, image_size)
        # Asked of the tower itself: whether it takes this size shows only here.
        with torch.no_grad():
            width = tower.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1]
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"a size that open_clip's {backbone.model} takes",
            f"{image_size} pixels: {type(error).__name__}: {error}",
            "correct recipe.image_size",
        ) from error
    return tower.train(), width


def _take_projection(visual: nn.Module, backbone: OpenClip) -> None:
    """Let features be what comes before the last projection.

    Raises:
        ConfigError: the tower has none that can be taken away.
    """
    if not isinstance(getattr(visual, "proj", None), nn.Parameter):
        raise ConfigError(
            "an image tower of open_clip's own transformer, for backbone.projection=false",
            f"{backbone.model}, whose projection is a part of another network",
            "set backbone.projection=true, or choose a model such as ViT-B-16",
        )
    visual.register_parameter("proj", None)


def load_image_tower(tower: ImageTower, backbone: OpenClip) -> str:
    """Give the image tower the weights that its node names, its positions resampled to another size.

    Returns:
        Which, in words.

    Raises:
        ConfigError: they are of another model, activation or preprocessing; there is neither a network nor a cached
            copy; or the tower cannot have another size.
        DataError: the file cannot be read.
    """
    from open_clip.model import resize_pos_embed

    weights, source = _weights(backbone)
    if any(key.startswith("visual.") for key in weights):
        source += ", its image tower"
        weights = {key: value for key, value in weights.items() if key.startswith("visual.")}
    else:
        weights = {f"visual.{key}": value for key, value in weights.items()}
    if not backbone.projection and weights.pop(_PROJECTION, None) is not None:
        source += ", without its projection"
    native = preprocessing_of(backbone).size
    if tower.image_size == native:
        return put(weights, tower, source)
    if hasattr(tower.visual, "attnpool"):
        raise ConfigError(
            f"recipe.image_size={native}, at which the weights of {backbone.model} have their positions",
            str(tower.image_size),
            f"set recipe.image_size={native}",
        )
    if hasattr(tower.visual, "trunk"):
        tower.visual.set_input_size(native)  # type: ignore[operator]
        told = put(weights, tower, source)
        tower.visual.set_input_size(tower.image_size)  # type: ignore[operator]
        return told
    with suppress(RuntimeError):  # no square of positions: `put` tells what does not fit
        resize_pos_embed(weights, tower)
    return put(weights, tower, source)


class TextTower:
    """The text tower of a model, with the weights that the backbone's node names.

    Its embeddings have the width of the backbone's features: of a backbone without its projection they are multiplied
    by the transpose of that.

    Raises:
        ConfigError: it needs a package or files that are not here, or the weights have no text tower that fits.
        DataError: the file cannot be read.
    """

    def __init__(self, backbone: OpenClip) -> None:
        import open_clip
        from open_clip.model import convert_to_custom_text_state_dict

        if backbone.weights is None:
            raise ConfigError(
                "backbone.weights for head=text", "null: random texts mean nothing", "set it, or choose head=cosine"
            )
        both, source = _weights(backbone)
        weights = {
            key: value
            for key, value in convert_to_custom_text_state_dict(both).items()
            if key.startswith("text.") and not key.endswith((".attn_mask", ".position_ids"))
        }
        if not weights:
            raise ConfigError(
                "the text tower in backbone.weights, for head=text",
                f"an image tower alone in {source}",
                "give the whole model's file, or choose head=cosine",
            )
        config = open_clip.get_model_config(backbone.model)
        self._projection = _projection(both, source) if not backbone.projection else None
        options = {**config["text_cfg"], "hf_model_pretrained": False, "output_tokens": False}
        try:
            self._tokenize: Callable[[list[str]], Tensor] = open_clip.get_tokenizer(backbone.model)
            whole = open_clip.CustomTextCLIP(config["embed_dim"], _NO_IMAGE, options, config.get("quick_gelu", False))
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            of = options.get("hf_tokenizer_name") or options.get("hf_model_name")
            raise ConfigError(
                f"the tokenizer and the text tower of {backbone.model}, for head=text",
                f"{type(error).__name__}: {str(error).splitlines()[0]}",
                f"pip install transformers sentencepiece, and run `hf download {of}` where there is a network and copy "
                "its cache ($HF_HOME) here; or choose head=cosine",
            ) from error
        self._text = whole.text
        put(weights, nn.ModuleDict({"text": self._text}), source)
        accelerator = torch.accelerator.is_available() and torch.accelerator.current_accelerator()
        self._device = accelerator or torch.device("cpu")
        self._text.eval().to(self._device)

    def embed(self, names: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "names dim"]:
        """Embeddings of classes, of length 1: the mean of the normalised embeddings of their sentences.

        Args:
            names: underscores stand for blanks.
            templates: sentences with {} in place of a name.
        """
        words = [" ".join(name.replace("_", " ").split()) for name in names]
        each = [F.normalize(self._encode([text.replace("{}", word) for word in words]), dim=1) for text in templates]
        mean = torch.stack(each).mean(dim=0)
        return F.normalize(mean if self._projection is None else mean @ self._projection.T, dim=1)

    @torch.no_grad()
    def _encode(self, texts: list[str]) -> Float[Tensor, "texts dim"]:
        tokens = self._tokenize(texts)
        batches = torch.split(F.pad(tokens, (0, 0, 0, -len(texts) % _TEXTS)), _TEXTS)
        return torch.cat([self._text(batch.to(self._device)).cpu() for batch in batches])[: len(texts)]


def _projection(weights: dict[str, Tensor], source: str) -> Float[Tensor, "features embedding"]:
    if _PROJECTION not in weights:
        raise ConfigError(
            f"the image tower's projection in {source}, for head=text with backbone.projection=false",
            f"no {_PROJECTION}",
            "give the whole model's file, or choose head=class_mean",
        )
    return weights[_PROJECTION]


def _weights(backbone: OpenClip) -> tuple[dict[str, Tensor], str]:
    """Both towers' tensors in float32, by open_clip's keys, and where they come from."""
    import open_clip

    assert backbone.weights is not None
    if backbone.tag is not None:
        known = open_clip.get_pretrained_cfg(backbone.model, backbone.tag)
        _check_activation(backbone, quick=known.get("quick_gelu", False), of=f"the tag {backbone.tag}")
    if backbone.weights == "hub":
        path = _from_hub(backbone)
    else:
        path = weights_path(backbone.weights)
        _check_beside(backbone, path.with_name("open_clip_config.json"))
    weights, source = read_weights(path)
    if backbone.weights == "hub":
        source = f"open_clip's {backbone.model} {backbone.tag}"
    if all(key in weights for key in _OPENAI):
        _check_activation(backbone, quick=True, of=f"OpenAI's weights in {source}")
    floats = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    return {key: value for key, value in floats.items() if key not in _OPENAI}, source


def _check_activation(backbone: OpenClip, *, quick: bool, of: str) -> None:
    import open_clip

    if quick != open_clip.get_model_config(backbone.model).get("quick_gelu", False):
        other = backbone.model + "-quickgelu" if quick else backbone.model.removesuffix("-quickgelu")
        raise ConfigError(
            f"a model with {'QuickGELU' if quick else 'GELU'} for {of}",
            f"{backbone.model}, which has {'GELU' if quick else 'QuickGELU'}: features would be silently worse",
            f"set backbone.model={other}" if other in open_clip.list_models() else "choose another model",
        )


def _check_beside(backbone: OpenClip, file: Path) -> None:
    """Compare with what open_clip writes beside its weights, if that is there."""
    if not file.is_file():
        return
    described = json.loads(file.read_text(encoding="utf-8"))
    quick = described.get("model_cfg", {}).get("quick_gelu", False)
    _check_activation(backbone, quick=quick, of=f"the weights that {file} describes")
    own = preprocessing_of(backbone)
    for key in ("mean", "std", "interpolation"):
        wanted, found = described.get("preprocess_cfg", {}).get(key), getattr(own, key)
        if wanted is not None and getattr(backbone, key) is None and list(wanted) != list(found):
            raise ConfigError(
                f"the {key} of {file}: {wanted}",
                f"{found}, which belongs to {backbone.model}" + (f" {backbone.tag}" if backbone.tag else ""),
                f"set 'backbone.{key}={wanted}', or another backbone.tag",
            )


def is_cached(backbone: OpenClip) -> bool:
    """Whether the weights of a tag are on this machine, where open_clip looks for them before it asks a network."""
    import open_clip
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    known = open_clip.get_pretrained_cfg(backbone.model, backbone.tag)
    repository, _, name = known["hf_hub"].rpartition("/")
    if not repository:
        return Path("~/.cache/clip", known["url"].rpartition("/")[2]).expanduser().is_file()
    names = (name, str(Path(name).with_suffix(".safetensors"))) if name else (HF_WEIGHTS_NAME, HF_SAFE_WEIGHTS_NAME)
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)


def _from_hub(backbone: OpenClip) -> Path:
    import open_clip

    known = open_clip.get_pretrained_cfg(backbone.model, backbone.tag)
    place = known["hf_hub"].rpartition("/")[0] or known["url"]
    try:
        return Path(open_clip.download_pretrained(known))
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the weights {backbone.tag} of {backbone.model}: from the hub or its cache, or a file",
            f"neither a network nor a cached copy of {place} ({type(error).__name__})",
            f"run `hf download {place}` where there is a network and copy its cache ($HF_HOME) here, or set "
            "backbone.weights=<file>",
        ) from error
