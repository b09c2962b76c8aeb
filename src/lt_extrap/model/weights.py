"""Pretrained weights: read from a file or the hub, and put into a network whole or not at all."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lt_extrap.errors import ConfigError, DataError, some

# What training loops and wrappers put around a state dict, and before its keys.
_INSIDE = ("state_dict", "model", "teacher", "model_state", "module", "state_dict_ema", "model_ema")
_PREFIXES = ("_orig_mod.", "module.", "backbone.", "model.")
# Parts that only the pretraining needed: they leave the file by name, and what left is told.
_PRETRAINING = ("head.", "head_dist.", "fc.", "classifier.", "decoder_", "mask_token", "dino_head.", "ibot_head.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth, .pt or .safetensors file by key, without what training wrapped around them.

    Nothing in the file is run: it is read with weights_only.

    Raises:
        DataError: no such file, or one that holds no state dict.
    """
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        while isinstance(content, Mapping) and (
            inner := next((content[key] for key in _INSIDE if isinstance(content.get(key), Mapping)), None)
        ):
            content = inner
        if not isinstance(content, Mapping):
            raise ValueError(f"{type(content).__name__} where a state dict was wanted")
        weights = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        if not weights:
            raise ValueError(f"no tensor under the keys {some([str(key) for key in content])}")
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise DataError(
            f"a state dict in backbone.weights={path}",
            f"{type(error).__name__}: {str(error).splitlines()[0]}",
            "give a .pth, .pt or .safetensors file of weights, or .npz where timm reads it for that model",
        ) from error
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def put(weights: Mapping[str, Tensor], network: nn.Module, source: str) -> str:
    """Load a state dict into a network.

    Args:
        weights: by the network's own keys.
        network: changed in place.
        source: where they come from, for messages.

    Returns:
        What was loaded and what was left out, in words.

    Raises:
        ConfigError: a key is missing, unknown or of another shape. Nothing has been loaded then.
    """
    wanted = network.state_dict()
    left = [key for key in weights if key not in wanted and key.startswith(_PRETRAINING)]
    kept = {key: value for key, value in weights.items() if key not in left}
    wrong = {
        "missing": [key for key in wanted if key not in kept],
        "unknown": [key for key in kept if key not in wanted],
        "of another shape": [
            f"{key} {tuple(value.shape)}, not {tuple(wanted[key].shape)}"
            for key, value in kept.items()
            if key in wanted and value.shape != wanted[key].shape
        ],
    }
    if any(wrong.values()):
        raise ConfigError(
            f"weights of the backbone in {source}",
            "; ".join(f"{len(keys)} {what}: {some(keys)}" for what, keys in wrong.items() if keys),
            "correct backbone.model or backbone.options, or give other weights",
        )
    network.load_state_dict(kept)
    return f"{source}, {len(kept)} tensors" + (f", left out: {some(left)}" if left else "")
