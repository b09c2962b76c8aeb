"""The relation released with the paper: which ImageNet-21k classes are neighbors of which target class.

The file is a dict saved by numpy.save, {target: [WordNet id, ...]}, a target being its label ("0", "1", ...) or its id.
numpy.load would have to unpickle it, and a pickle can run any program. Here it is read by an unpickler to which numpy's
names mean three inert classes of this file, and every other name is refused: nothing outside of it is ever called.
"""

import io
import pickle
import pickletools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lt_extrap.data.images import suffixes
from lt_extrap.data.spelling import plain
from lt_extrap.data.stored.schema import ClassRecord, PairRecord, is_wnid
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError, some

PROPOSER = "released with the paper"
_MOST = 1_000_000  # neighbors of all targets


def read_relation(file: Path) -> dict[str, list[str]]:
    """Read the released relation without running anything of it.

    Returns:
        For each target, by its label or id, WordNet ids in the order of the file, which is no rank.

    Raises:
        DataError: it is no such file.
    """
    try:
        with file.open("rb") as content:
            major, _ = np.lib.format.read_magic(content)
            header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[major]
            shape, _, dtype = header(content)
            if shape != () or dtype != np.dtype(object):
                raise ValueError(f"an array of {dtype} of shape {shape}, where one object was wanted")
            array = _unpickle(content.read())
            (relation,) = array.content
            of_target = {_target(key): _items(values) for key, values in relation.items()}
            if sum(map(len, of_target.values())) > _MOST:  # one list may stand for many targets
                raise ValueError(f"more than {_MOST:,} neighbors")
            if len(of_target) < len(relation):
                raise ValueError("a target twice, by its label as a number and as a text")
            return {target: [_wnid(value) for value in values] for target, values in of_target.items()}
    except Exception as error:  # hostile bytes make an unpickler raise almost anything
        raise DataError(
            f"the relation released with the paper in {file}, {{target: [WordNet id, ...]}} saved by numpy.save",
            f"{type(error).__name__}: {error}",
            "give relation=<the file conp_cls.npy>",
        ) from None


@dataclass(frozen=True)
class Matched:
    """The released relation on the classes of a target and the images of a folder.

    Attributes:
        classes: by aux, which is the order of their WordNet ids.
        pairs: without ranks.
        targets: WordNet ids left out since they are target classes.
        absent: left out since the folder has no images of them.
        packed: how many of those lie there as a tar.
    """

    classes: list[ClassRecord]
    pairs: list[PairRecord]
    targets: list[str]
    absent: list[str]
    packed: int


def match(relation: dict[str, list[str]], table: ClassTable, images: Path) -> Matched:
    """Find the classes of the released relation in a folder of ImageNet-21k (`<WordNet id>/<image>`).

    Raises:
        DataError: a target of the relation is none of the table, the folder is not there, or nothing is left.
    """
    label_of = {str(label): label for label in range(len(table))} | {id_: i for i, id_ in enumerate(table.ids)}
    if unknown := [target for target in relation if target not in label_of]:
        raise DataError(
            f"a relation of the {len(table)} target classes, by label or id",
            f"{len(unknown)} that are none: {some(unknown, 3)}",
            "give the target that the relation was made for: target=imagenet_lt",
        )
    if not images.is_dir():
        raise DataError("a folder of ImageNet-21k", f"no folder {images}", "give images=<folder of n.../ folders>")
    proposed = sorted({wnid for wnids in relation.values() for wnid in wnids})
    ids = set(table.ids)
    targets = [wnid for wnid in proposed if wnid in ids]
    others = [wnid for wnid in proposed if wnid not in ids]
    used = [wnid for wnid in others if class_images(images, wnid)]
    absent = sorted(set(others) - set(used))
    packed = sum((images / f"{wnid}.tar").is_file() for wnid in absent)
    if not used:
        raise DataError(
            f"folders such as {some(absent, 3)} with images in {images}",
            "none" + (f"; {packed} lie there as a tar" if packed else ""),
            "unpack each into a folder of its name" if packed else "give images=<folder of n.../ folders>",
        )
    aux_of = {wnid: aux for aux, wnid in enumerate(used)}
    of_label = sorted((label_of[target], wnids) for target, wnids in relation.items())
    pairs = [
        PairRecord(table.ids[label], table.names[label], aux_of[wnid])
        for label, wnids in of_label
        for wnid in dict.fromkeys(wnids)
        if wnid in aux_of
    ]
    return Matched(_described(used, table), pairs, targets, absent, packed)


def class_images(images: Path, wnid: str) -> list[str]:
    """The images in the folder of a class, sorted, as paths below `images`."""
    folder = images / wnid
    if not folder.is_dir():
        return []
    endings = tuple(ending.decode() for ending in suffixes())
    return sorted(f"{wnid}/{file.name}" for file in folder.iterdir() if file.name.lower().endswith(endings))


def _described(wnids: Iterable[str], table: ClassTable) -> list[ClassRecord]:
    """Names and glosses of WordNet, which timm ships. A homonym of a target, such as crane, gets its id behind it."""
    from timm.data.imagenet_info import ImageNetInfo  # and torch with it

    info: Any = ImageNetInfo("imagenet22k")
    known = set(info.label_names())
    taken = {plain(name) for name in table.names}
    classes = []
    for aux, wnid in enumerate(wnids):
        lemmas = info.label_name_to_description(wnid).split(", ") if wnid in known else [wnid]
        gloss = info.label_name_to_description(wnid, detailed=True).partition(": ")[2] if wnid in known else None
        name = f"{lemmas[0]} ({wnid})" if plain(lemmas[0]) in taken else lemmas[0]
        classes.append(ClassRecord(aux, name, wnid, lemmas, gloss or None, PROPOSER))
    return classes


class _StandIn:
    """What takes no attributes from a pickle, which could else set those of the classes too."""

    def __setstate__(self, state: object) -> None:
        pass  # byte order and sizes of a dtype


class _Dtype(_StandIn):
    """In place of numpy.dtype: its name."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name


class _Array(_StandIn):
    """In place of an object array: its items."""

    def __init__(self, *_: object) -> None:
        self.content: list[Any] = []

    def __setstate__(self, state: Any) -> None:
        *_, self.content = state


class _Scalar(_StandIn):
    """In place of a numpy scalar: what it says."""

    def __init__(self, dtype: _Dtype, content: bytes) -> None:
        if dtype.name.startswith("U"):
            self.value = content.decode("utf-32-le").rstrip("\0")
        elif dtype.name.startswith("i"):
            self.value = str(int.from_bytes(content, "little", signed=True))
        else:
            raise ValueError(f"a scalar of type {dtype.name!r:.50}")


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **{(module, "_reconstruct"): _Array for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "scalar"): _Scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no such file needs; nothing was run")
        return _STAND_INS[module, name]


# What an object of the memo was made by, if it may be used again. A tuple of the same tuple twice, and so on, is a few
# bytes and takes for ever to hash; nothing else that is made here is hashed by what it holds.
_SHARED = ("UNICODE", "STRING", "BYTES", "GLOBAL", "REDUCE", "LIST", "DICT")


def _check(content: bytes) -> None:
    """Refuse a pickle that would take memory or time without end."""
    memo: dict[int, str] = {}
    before = ""
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if "PUT" in name and int(argument or 0) > len(content):  # the unpickler would make room for so many
            raise pickle.UnpicklingError(f"{name} {argument} in {len(content)} bytes")
        if "PUT" in name or name == "MEMOIZE":
            memo[len(memo) if argument is None else int(argument)] = before
        elif name == "DUP" or ("GET" in name and not memo.get(int(argument or 0), "").endswith(_SHARED)):
            raise pickle.UnpicklingError(f"{name} of what no such file needs twice")
        elif name != "FRAME":
            before = name


def _unpickle(content: bytes) -> _Array:
    _check(content)
    array = _Unpickler(io.BytesIO(content)).load()
    if not isinstance(array, _Array):
        raise ValueError(f"{type(array).__name__} where an array was wanted")
    return array


def _items(values: object) -> Sequence[Any]:
    if isinstance(values, _Array) and isinstance(values.content, list):
        return values.content
    if isinstance(values, list | tuple):
        return values
    raise ValueError(f"{type(values).__name__} where a list of WordNet ids was wanted")


def _target(key: object) -> str:
    value = key.value if isinstance(key, _Scalar) else key
    if type(value) not in (int, str):
        raise ValueError(f"a key of type {type(value).__name__} where a target's label or id was wanted")
    return str(value)


def _wnid(value: object) -> str:
    found = value.value if isinstance(value, _Scalar) else value
    if not isinstance(found, str) or not is_wnid(found):
        said = repr(found[:50]) if isinstance(found, str) else type(found).__name__  # a list may be as long as it likes
        raise ValueError(f"{said} where a WordNet id was wanted, such as n01440764")
    return found
