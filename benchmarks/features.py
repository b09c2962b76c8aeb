"""An epoch of a head on features that are computed once: our loader, module and callbacks beside a plain loop.

100,000 images of 768 features, batches of 512, a linear and a cosine head over 100 and 1,000 classes, one thread. The
first rows are beside the limit that was asked for, two seconds an epoch, whatever a machine is: of 1,000 classes the
matrix products alone are 0.3 TFLOP, so the linear head is measured in bfloat16 too, which some processors multiply in
hardware, with the optimizer's fused step (`trainer.precision=bf16-mixed recipe.fused=true`). They say CPU time.
"""

import contextlib
import io
import logging
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.nn import functional as F

from benchmarks.rows import Row, interleaved, keep_freed_memory, row, show
from benchmarks.vit_step import one_thread
from lt_extrap.checkpoints import Checkpoints, StopSignal, WholeFileIO
from lt_extrap.config import AdamW, ConvNet, CosineHead, Head
from lt_extrap.data.features_once import FeaturesOnce, whole
from lt_extrap.data.loader import ResumableLoader
from lt_extrap.data.sampler import EpochDraw, EpochSampler
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import AnyHead, build_head
from lt_extrap.model.losses import cross_entropy
from lt_extrap.model.shots import Shot
from lt_extrap.module import ExtrapolationModule
from lt_extrap.optimizer import build_optimizer
from lt_extrap.progress import EpochLine
from lt_extrap.stopwatch import Stopwatch

IMAGES, DIM, BATCH, LIMIT, ROUNDS = 100_000, 768, 512, 2.0, 3
Precision = Literal["32-true", "bf16-mixed"]
LINEAR, COSINE = Head(), CosineHead()  # which is computed in float32 whatever the precision
CASES: list[tuple[str, Head, int, Precision]] = [
    ("linear head of 100 classes", LINEAR, 100, "32-true"),
    ("cosine head of 100 classes", COSINE, 100, "32-true"),
    ("linear head of 1,000 classes", LINEAR, 1000, "32-true"),
    ("linear head of 1,000 classes, bfloat16, fused", LINEAR, 1000, "bf16-mixed"),
    ("cosine head of 1,000 classes", COSINE, 1000, "32-true"),
]
RECIPE = AdamW(batch_size=BATCH, blr=1e-3, image_size=32, freeze="all", crop_scale=None, crop_ratio=None, flip=0.0)


def _data(classes: int) -> FeaturesOnce:
    torch.manual_seed(0)
    return FeaturesOnce(torch.randn(IMAGES, DIM), torch.randint(0, classes, (IMAGES,)), {})


def _head(head: Head, classes: int) -> AnyHead:
    return build_head(head, dim=DIM, num_target=classes, num_auxiliary=0, seed=0)


def _recipe(precision: Precision) -> AdamW:
    return replace(RECIPE, fused=precision == "bf16-mixed")


def ours(data: FeaturesOnce, head: Head, classes: int, precision: Precision) -> float:
    """Seconds of an epoch of Lightning's Trainer with the module, callbacks and logger of a run."""
    backbone = build_backbone(ConvNet(widths=[8]), image_size=32, seed=0)
    backbone.freeze()
    module = ExtrapolationModule(
        model=Classifier(backbone, _head(head, classes)),
        loss=cross_entropy(torch.ones(classes), num_target=classes, smoothing=0.0),
        recipe=_recipe(precision),
        steps=IMAGES // BATCH,
        warmup=0,
        shots=[Shot.MANY] * classes,
        seed=0,
        skip_unreadable=False,
    )
    draw = EpochDraw(data.labels.numpy().astype(np.int32), cap=np.full(classes, -1), seed=0)
    sampler = EpochSampler(draw, batch_size=BATCH)
    loader = ResumableLoader(data, batch_size=BATCH, sampler=sampler, drop_last=True, collate_fn=whole)
    clock, stopwatch = _Clock(), Stopwatch(BATCH, lambda wait, trainer: None)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer = L.Trainer(
            accelerator="cpu",
            precision=precision,
            max_steps=IMAGES // BATCH,
            max_epochs=1,
            logger=CSVLogger(folder, name=""),
            callbacks=[stopwatch, clock, EpochLine(stopwatch), Checkpoints(Path(folder), StopSignal(), every=600.0)],
            plugins=[WholeFileIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
    return clock.seconds


class _Clock(L.Callback):
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began = time.process_time()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = time.process_time() - self.began


def plain(data: FeaturesOnce, head: Head, classes: int, precision: Precision) -> float:
    """Seconds of an epoch of the loop that one would write by hand."""
    own = _head(head, classes)
    model = Classifier(build_backbone(ConvNet(widths=[8]), image_size=32, seed=0), own)
    model.backbone.freeze()
    optimizer = build_optimizer(_recipe(precision), model)
    began = time.process_time()
    for place in torch.randperm(IMAGES)[: IMAGES // BATCH * BATCH].split(BATCH):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = F.cross_entropy(own(data.features[place]), data.labels[place])
        loss.backward()
        optimizer.step()
    return time.process_time() - began


def run() -> list[Row]:
    """Two rows a head and a number of classes."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    keep_freed_memory()
    rows = []
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, head, classes, precision in CASES:
            case = (_data(classes), head, classes, precision)
            taken = interleaved(lambda case=case: ours(*case), lambda case=case: plain(*case), ROUNDS)
            of = f"epoch of 100,000 features of 768, {name}, s"
            goal = 1.0 if classes == 100 else None
            rows.append(row(f"{of}: ours / the limit", [(mine, LIMIT) for mine, _ in taken], goal))
            rows.append(row(f"{of}: ours / plain loop", taken, None))
    return rows


if __name__ == "__main__":
    show(run())
