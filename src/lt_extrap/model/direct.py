"""The direct classifier in one file: target rows only, with the class names and the preprocessing inside."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from lt_extrap.config import OPTIONS, Adapter, Backbone, ClassMeanHead, Head, NoAdapter, TextHead
from lt_extrap.errors import LtExtrapError, RunError
from lt_extrap.files import write_whole
from lt_extrap.model.adapters.rebuilt import rebuilt
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import empty_head
from lt_extrap.model.preprocessing import Interpolation, preprocessing_of
from lt_extrap.model.weights import write_safetensors

FORMAT = "lt_extrap 1"


@dataclass(frozen=True)
class DirectClassifier:
    """The classifier that is exported and used for prediction (paper, Section 3.2).

    Attributes:
        model: images with values 0..255 -> logits of the target classes.
        backbone: how its backbone is built. head: of which kind its head is.
        classes: name of each column.
        image_size: edge of its square input, pixels.
        crop_fraction: share of the shorter side that the central crop keeps, in (0, 1].
        adapter: what is on its backbone. With one, a file holds adapter and head alone, and the backbone's identity.
    """

    model: Classifier
    backbone: Backbone
    head: Head | TextHead | ClassMeanHead
    classes: tuple[str, ...]
    image_size: int
    crop_fraction: float
    adapter: Adapter = field(default_factory=NoAdapter)

    @property
    def mean(self) -> list[float]:
        """Of each channel, for values 0..1; the model subtracts it itself."""
        return (self.model.backbone.mean.flatten() / 255).tolist()

    @property
    def std(self) -> list[float]:
        """Of each channel, for values 0..1; the model divides by it itself."""
        return (self.model.backbone.std.flatten() / 255).tolist()

    @property
    def interpolation(self) -> Interpolation:
        """Of resizing its images."""
        return self.model.backbone.preprocessing.interpolation

    def metadata(self) -> dict[str, str]:
        """All but the weights, as the strings of a safetensors header."""
        identity = self.model.backbone.identity
        frozen = {} if identity is None else {"adapter": _described(self.adapter), "frozen_backbone": identity}
        return frozen | {
            "format": FORMAT,
            "classes": json.dumps(self.classes, ensure_ascii=False),
            "backbone": _described(self.backbone),
            "head": _described(self.head),
            "image_size": str(self.image_size),
            "crop_fraction": str(self.crop_fraction),
            "interpolation": self.interpolation,
            "mean": json.dumps(self.mean),
            "std": json.dumps(self.std),
        }

    def save(self, path: Path) -> None:
        """Write weights and metadata; replaced whole or not at all."""
        weights = {key: value.detach().cpu().contiguous() for key, value in self.model.state_dict().items()}
        write_whole(path, lambda file: write_safetensors(file, weights, self.metadata()))

    @classmethod
    def load(cls, path: Path) -> "DirectClassifier":
        """Read what `save` wrote. In evaluation mode, on the CPU.

        Raises:
            RunError: no such file, one of another format, weights that do not fit its own description, or an adapter
                whose backbone is another one today or is not there.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r}")
            backbone = _as_written(_built(metadata["backbone"], "backbone"), metadata)
            head = _built(metadata["head"], "head") if "head" in metadata else Head()  # the only kind, once
            classes = tuple(json.loads(metadata["classes"]))
            image_size, crop_fraction = int(metadata["image_size"]), float(metadata["crop_fraction"])
            adapter = _built(metadata["adapter"], "adapter") if "adapter" in metadata else NoAdapter()
            body = rebuilt(
                backbone,
                adapter,
                image_size=image_size,
                classes=len(classes),
                identity=metadata.get("frozen_backbone"),
                holder=str(path),
            )
            model = Classifier(body, empty_head(head, dim=body.dim, classes=len(classes)))
            model.load_state_dict(weights)
        except RunError:
            raise
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, LtExtrapError) as error:
            raise RunError(
                f"a classifier of format {FORMAT!r} in {path}",
                f"{type(error).__name__}: {error}",
                "give a run folder or model.safetensors that this version wrote",
            ) from error
        return cls(model.eval(), backbone, head, classes, image_size, crop_fraction, adapter)

    def to(self, device: torch.device) -> "DirectClassifier":
        """Move the weights."""
        self.model.to(device)
        return self


def _as_written(backbone: Backbone, metadata: dict[str, str]) -> Backbone:
    """The backbone with the preprocessing of the file, should this version of its library have another one for it."""
    own = preprocessing_of(backbone)
    changed = {
        key: values
        for key in ("mean", "std")
        if not np.allclose(values := json.loads(metadata[key]), getattr(own, key), rtol=0, atol=1e-6)
    }
    # Once, all images were resized in the same way, whatever their model.
    if (interpolation := metadata.get("interpolation", "bicubic")) != own.interpolation:
        changed["interpolation"] = interpolation
    return replace(backbone, **changed) if changed else backbone


def _described(node: Any) -> str:
    return json.dumps({"type": type(node).__name__, **vars(node)})


def _built(description: str, group: str) -> Any:
    options: dict[str, Any] = json.loads(description)
    kinds = {kind.__name__: kind for kind in OPTIONS[group].values()}
    return kinds[options.pop("type")](**options)
