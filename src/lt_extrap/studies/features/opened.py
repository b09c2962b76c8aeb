"""A finished run, opened to look at what its backbone makes of images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader

from lt_extrap import runs
from lt_extrap.config import Head
from lt_extrap.data.datamodule import ImageDataset, collate
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.sampler import EvaluationSampler
from lt_extrap.data.store import ImageStore
from lt_extrap.data.target import TargetSet, load_target
from lt_extrap.data.training_set import TrainingSet, build_training_set
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import DataError, RunError
from lt_extrap.evaluate import load_module
from lt_extrap.model.backbones import NormalisedBackbone
from lt_extrap.model.tokens import patch_tokens
from lt_extrap.module import build_model
from lt_extrap.run_name import WEIGHT_FILES
from lt_extrap.runs import Run


@dataclass(frozen=True)
class Images:
    """Images and the columns of their classes.

    Attributes:
        index: their paths; labels are columns of the run.
        store: what has them.
    """

    index: SampleIndex
    store: ImageStore

    def of(self, columns: "Int64[np.ndarray, ' columns'] | list[int]") -> "Images":
        """Those of some columns, in their order."""
        return self.select(np.flatnonzero(np.isin(self.index.labels, columns)))

    def select(self, rows: Int64[np.ndarray, " rows"]) -> "Images":
        """Those of some rows."""
        return replace(self, index=self.index.select(rows))

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class OpenedRun:
    """A finished run with its data.

    Attributes:
        run: its folder and configuration.
        target, training: as it was trained on.
        trained: its backbone as it was measured, in evaluation mode.
        workers: loader processes.
    """

    run: Run
    target: TargetSet
    training: TrainingSet
    trained: NormalisedBackbone
    workers: int

    @classmethod
    def open(cls, folder: Path, *, weights: str, root: str | None, workers: int) -> "OpenedRun":
        """Open a run.

        Args:
            folder: of the run.
            weights: `selected` or `last`.
            root: of the target's files, where it is another one today.
            workers: loader processes.

        Raises:
            LtExtrapError: no finished run of this version, or lists that are not those that it was trained on.
        """
        run = runs.load(folder)
        missing = run.config.data.missing
        target = load_target(run.target(root), missing=missing)
        lists = {
            key: file
            for key, file in runs.files_of(run.config, target).items()
            if key.startswith(("target.", "auxiliary."))
        }
        if changed := run.changed(lists):
            raise RunError(
                f"the lists and names that {folder} was trained on",
                f"another content of {', '.join(sorted(changed))}",
                "give root=<the folder with the old ones>",
            )
        training = build_training_set(
            run.config.auxiliary,
            target,
            seed=run.config.seed,
            missing=missing,
            balanced=run.config.sampling == "balanced",
        )
        return cls(run, target, training, load_module(run, target, weights).measured.backbone.eval(), workers)

    def start(self) -> NormalisedBackbone:
        """The backbone before the first step; its `start` says what its weights are.

        Raises:
            LtExtrapError: the pretrained weights are not where they were, or are others.
        """
        files = runs.files_of(self.run.config, self.target)
        weights = {key: file for key, file in files.items() if key in WEIGHT_FILES and file.is_file()}
        if self.run.changed(weights):
            raise RunError(
                f"the weights that {self.run.folder} started from",
                f"another content of {', '.join(map(str, weights.values()))}",
                "give back the weights that were there",
            )
        plain = replace(self.run.config, head=Head())  # of text it would take the text tower
        return build_model(plain, self.target, self.training).backbone.eval()

    def train(self) -> Images:
        """Training images of target classes, without the further ones of auxiliary=target_extra."""
        return Images(self.target.train, self.target.place.images)

    def unseen(self) -> Images:
        """Images that it was not trained on: those of the validation list, else of the test list."""
        index = self.target.test if self.target.val is None else self.target.val
        return Images(index, self.target.place.images)

    @property
    def unseen_name(self) -> str:
        """Which list `unseen` is of."""
        return "test" if self.target.val is None else "validation"

    def auxiliary(self, column: int, most: int) -> Images:
        """At most so many images of an auxiliary class, evenly spread over its list."""
        found = Images(self.training.index, self.training.images).of([column])
        return found.select(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(np.int64))

    def name(self, column: int) -> str:
        """Of a target or an auxiliary class."""
        targets = self.target.classes.names
        return targets[column] if column < len(targets) else self.training.auxiliary_names[column - len(targets)]

    def features(self, images: Images, backbone: NormalisedBackbone | None = None) -> Float32[np.ndarray, "images dim"]:
        """What the head sees of images in evaluation, in float32 whatever the precision of training.

        Raises:
            DataError: an image cannot be read.
        """
        network = backbone or self.trained
        parts = [part for _, part in self._computed(images, network, network)]
        return np.concatenate(parts) if parts else np.empty((0, network.dim), np.float32)

    def tokens(
        self, images: Images
    ) -> tuple[UInt8[np.ndarray, "images size size 3"], Float32[np.ndarray, "images rows columns dim"]]:
        """Images as the network sees them, at least one, and what it says of their places (see `patch_tokens`).

        Raises:
            ConfigError: it says nothing of places.
            DataError: an image cannot be read.
        """
        shown, tokens = zip(
            *self._computed(images, self.trained, lambda batch: patch_tokens(self.trained, batch)), strict=True
        )
        return np.concatenate(shown).transpose(0, 2, 3, 1), np.concatenate(tokens)

    def _computed(
        self, images: Images, backbone: NormalisedBackbone, compute: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[UInt8[np.ndarray, "batch 3 size size"], np.ndarray]]:
        recipe = self.run.config.recipe
        transform = EvalTransform(
            size=recipe.image_size,
            crop_fraction=recipe.crop_fraction,
            interpolation=backbone.preprocessing.interpolation,
        )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        backbone.to(device)
        loader = DataLoader(
            ImageDataset(images.index, images.store, transform, self.run.config.seed),
            sampler=EvaluationSampler(len(images)),
            batch_size=recipe.part,
            collate_fn=collate,
            num_workers=self.workers if len(images) > recipe.part else 0,  # starting them takes longer
        )
        for batch in loader:
            if batch.unreadable:
                raise DataError("images that can be read", batch.unreadable[0], "replace the file")
            with torch.inference_mode():
                yield batch.images.numpy(), compute(batch.images.to(device).float()).float().cpu().numpy()
