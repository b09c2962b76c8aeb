"""Pretrained weights: read from a file, and put into a network whole or not at all."""

import argparse
import hashlib
import json
import pickle
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lt_extrap.errors import ConfigError, DataError, some
from lt_extrap.model.torchscript import is_torchscript, read_torchscript

# What training loops put around a state dict. The average over steps, or DINO's teacher, which is one, comes before the
# last weights: it is what their authors measure and publish.
_INSIDE = (
    *("state_dict_ema", "model_ema", "teacher"),
    *("state_dict", "model_state_dict", "model_state", "model", "module", "student"),
)
# What wrappers put before its keys, and where our own files have the backbone: the average of recipe.ema first.
_PREFIX = re.compile(r"(?:(?:module|backbone|model)\.)+")
_OURS = ("average.module.backbone.network.", "model.backbone.network.", "backbone.network.")
# What torch's unpickler raises on bytes that are no pickle.
_NO_PICKLE = (EOFError, RuntimeError, ValueError, LookupError, struct.error, pickle.UnpicklingError)
# Parts that only the pretraining needed: they leave the file by name, and what left is told.
_PRETRAINING = (
    *("head.", "head_dist.", "fc.", "classifier.", "attn_pool.", "decoder_", "mask_token", "dino_head.", "ibot_head."),
    "n_averaged",
)

OF_RUN = "model.safetensors"  # what a run leaves of its network, in its folder


def weights_path(weights: str) -> Path:
    """The file that `backbone.weights` names: of the folder of a run what the run has left."""
    path = Path(weights)
    return path / OF_RUN if path.is_dir() else path


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a .pth, .pt, .bin, .ckpt or .safetensors file by key, without what training wrapped around them.

    Nothing in the file is run: it is read with weights_only, a TorchScript archive by a reader of our own.

    Returns:
        The weights, and where in the file they were, in words.

    Raises:
        ConfigError: one of our own runs with an adapter, which holds that and a head alone.
        DataError: no such file, or one that holds no state dict.
    """
    refuse_pointer(path)
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
        source = str(path)
        _refuse_adapter(path, content)
        while isinstance(content, Mapping) and (
            found := [key for key in _INSIDE if isinstance(content.get(key), Mapping) and content[key]]
        ):
            content, first, *others = content[found[0]], *found
            source += f", its {first}" + (f" (not {', '.join(others)})" if others else "")
        if not isinstance(content, Mapping):
            raise ValueError(f"{type(content).__name__} where a state dict was wanted")
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        if not tensors:
            raise ValueError(f"no tensor under the keys {some([str(key) for key in content])}")
        weights = {_bare(key): value for key, value in _ours(tensors).items()}
        if len(weights) < len(_ours(tensors)):
            raise ValueError("keys that differ in nothing but module., backbone. or model. before them")
    except (OSError, SafetensorError, *_NO_PICKLE) as error:
        raise DataError(f"a state dict in backbone.weights={path}", *_told(error, path)) from error
    return weights, source


def digest(values: Mapping[str, Tensor]) -> str:
    """A hash of tensors with their names, shapes and types, of 16 hexadecimal digits."""
    found = hashlib.sha256()
    for name, value in values.items():
        found.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def refuse_pointer(path: Path) -> None:
    """Refuse the few lines that a clone without git-LFS has in place of a large file.

    Raises:
        DataError: it is such a file.
    """
    if _begin(path).startswith(b"version https://git-lfs"):
        raise DataError(
            f"weights in backbone.weights={path}",
            "a pointer of git-LFS, which names the file and does not hold it",
            "run `git lfs pull` in the repository that it is from, or download the file itself",
        )


def write_safetensors(file: IO[bytes], weights: dict[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file whose bytes are a function of its content.

    The library writes metadata in another order in each process, so that equal runs would have files of other digests.
    """
    content = save(weights, dict(metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns tensors so
    file.write(len(text).to_bytes(8, "little") + text)
    file.write(memoryview(content)[start:])  # large: not copied


def put(weights: Mapping[str, Tensor], network: nn.Module, source: str, *, file: Iterable[str] = ()) -> str:
    """Load a state dict into a network.

    Args:
        weights: by the network's own keys.
        network: changed in place.
        source: where they come from, for messages.
        file: the keys of the file, where they were others.

    Returns:
        What was loaded and what was left out, in words.

    Raises:
        ConfigError: a key is missing, unknown or of another shape, or its values are whole numbers or
            not finite. Nothing has been
            loaded then.
    """
    wanted = network.state_dict()
    left = [key for key in dict.fromkeys([*file, *weights]) if key not in wanted and key.startswith(_PRETRAINING)]
    kept = {key: value for key, value in weights.items() if key not in left}
    wrong = {
        # A counter of batch normalisation, which files of before it lack: torch lets it start at 0.
        "missing": [key for key in wanted if key not in kept and not key.endswith("num_batches_tracked")],
        "unknown": [key for key in kept if key not in wanted],
        "of another shape": [
            f"{key} {tuple(value.shape)}, not {tuple(wanted[key].shape)}"
            for key, value in kept.items()
            if key in wanted and value.shape != wanted[key].shape
        ],
        "of whole numbers, such as quantised ones": [
            key
            for key, value in kept.items()
            if key in wanted and wanted[key].is_floating_point() and not value.is_floating_point()
        ],
        "with values that are not finite": [key for key, value in kept.items() if not value.isfinite().all()],
    }
    if any(wrong.values()):
        raise ConfigError(
            f"weights of the backbone in {source}",
            "; ".join(f"{len(keys)} {what}: {some(keys)}" for what, keys in wrong.items() if keys),
            "correct backbone.model (of timm's models backbone.options too), or give other weights",
        )
    network.load_state_dict(kept)
    return f"{source}, {len(kept)} tensors" + (f"; left out {some(left)}" if left else "")


def _refuse_adapter(path: Path, content: Any) -> None:
    """Refuse what a run with an adapter has left, of which the frozen backbone is no part."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            frozen = (file.metadata() or {}).get("frozen_backbone")
    else:
        frozen = content.get("frozen_backbone") if isinstance(content, Mapping) else None
    if isinstance(frozen, str):
        raise ConfigError(
            f"weights of a whole backbone in backbone.weights={path}",
            f"an adapter and a head alone, trained beside a frozen backbone with digest {frozen}",
            "give features_from=<that run>/model.safetensors for a head on both, or what lt_extrap.export format=timm "
            "writes of them, into which lora, ssf, bitfit and layernorm are folded",
        )


def _unpickled(path: Path) -> Any:
    if is_torchscript(path):
        return read_torchscript(path)
    # MAE and its descendants keep their arguments beside the weights; a Namespace holds values and runs nothing.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone, if the file is of one of our own runs; else all of it. Without what torch.compile adds to keys."""
    plain = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    inside = next((prefix for prefix in _OURS if any(key.startswith(prefix) for key in plain)), "")
    return {key.removeprefix(inside): value for key, value in plain.items() if key.startswith(inside)}


def _bare(key: str) -> str:
    return _PREFIX.sub("", key, count=1) if _PREFIX.match(key) else key


def _told(error: Exception, path: Path) -> tuple[str, str]:
    """What was found in a file instead of tensors, and what to do."""
    if match := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
        return (
            f"an object of {match[1]}, which is not loaded: a pickle of more than tensors and numbers can run code",
            "where you trust the file, read it by torch.load(file, weights_only=False) and save its state dict again",
        )
    if isinstance(error, FileNotFoundError):
        return "no file there", "correct the path"
    first = (str(error).splitlines() or [""])[0]
    return (
        # Of bytes that are no pickle torch says how they could be loaded all the same.
        f"a file that torch cannot read, which begins with {_begin(path)!r}"
        if isinstance(error, pickle.UnpicklingError)
        else f"{type(error).__name__}: {first}",
        "give a .pth, .pt, .bin, .ckpt or .safetensors file of tensors, or .npz where timm reads it for that model",
    )


def _begin(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(24)
