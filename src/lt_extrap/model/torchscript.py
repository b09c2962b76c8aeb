"""TorchScript archives, such as OpenAI published CLIP in: their tensors, read without running what they hold."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_extrap.errors import DataError

_TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_DAMAGED = (StopIteration, KeyError, TypeError, ValueError, RuntimeError, EOFError)


class _Part:
    """A scripted module, without its code: what was set on it."""


class _Reader(pickle.Unpickler):
    """Tensors, numbers, lists and `_Part`s. Everything else is refused, as torch.load does with weights_only."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name.startswith("__torch__"):
            return _Part
        if module_name == "torch" and global_name in _TYPES:
            return _TYPES[global_name]
        if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module_name == "torch.jit._pickle" and global_name.startswith("build_"):
            return list
        raise pickle.UnpicklingError(f"{module_name}.{global_name}, which is no tensor")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, *_ = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(content, dtype=dtype)
        return self._storages[key]


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, which torch.load refuses to read with weights_only."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor of an archive, by the names of its modules. No code of the file is run.

    Raises:
        DataError: it holds something else than modules, tensors and numbers, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("/data.pkl")
            return dict(_tensors(_Reader(archive, root).load()))
    except (pickle.UnpicklingError, zipfile.BadZipFile, *_DAMAGED) as error:
        raise DataError(
            f"a TorchScript archive of weights in {path}",
            f"{type(error).__name__}: {error}",
            "download it again, or save its state_dict() with torch.save where you trust the file",
        ) from error


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _tensors(part: Any, at: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(part).items():
        if isinstance(value, Tensor):
            yield f"{at}{name}", value
        elif isinstance(value, _Part):
            yield from _tensors(value, f"{at}{name}.")
