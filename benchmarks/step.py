"""The training step: Lightning with our module, metrics and callbacks against a plain PyTorch loop.

Same model, loss, batches and optimizer; one thread; rounds of both alternate, so that a busy machine slows both. The
metrics are updated in validation, which both do once a round on the same batches: ours all of LongTailMetrics, the
plain loop top-1 accuracy.
"""

import contextlib
import io
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from benchmarks.rows import Row, row, show
from lt_extrap.checkpoints import Checkpoints, StopSignal, WholeFileIO
from lt_extrap.config import AdamW, ConvNet, Head
from lt_extrap.data.batch import Batch
from lt_extrap.data.loader import ResumableLoader
from lt_extrap.data.sampler import EpochDraw, EpochSampler
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head
from lt_extrap.model.losses import neighbor_silencing
from lt_extrap.model.relation import NeighborRelation
from lt_extrap.model.shots import Shot
from lt_extrap.module import ExtrapolationModule
from lt_extrap.progress import EpochLine
from lt_extrap.stopwatch import Stopwatch

TARGET, AUXILIARY, BATCH, STEPS, VALIDATION, ROUNDS = 60, 60, 64, 30, 5, 5
RECIPE = AdamW(batch_size=BATCH, blr=4e-3, clip=1.0, image_size=48)


def _parts() -> tuple[Classifier, torch.nn.Module]:
    backbone = build_backbone(ConvNet(), image_size=RECIPE.image_size, seed=0)
    head = build_head(Head(), dim=backbone.dim, num_target=TARGET, num_auxiliary=AUXILIARY, seed=0)
    pairs = torch.stack([torch.arange(TARGET), TARGET + torch.arange(AUXILIARY)], dim=1).numpy()
    relation = NeighborRelation.from_pairs(pairs, TARGET, TARGET + AUXILIARY)
    counts = torch.arange(TARGET + AUXILIARY) + 5
    return Classifier(backbone, head), neighbor_silencing(counts, relation=relation, num_target=TARGET)


def _batches() -> list[Batch]:
    torch.manual_seed(0)
    shape = (BATCH, 3, RECIPE.image_size, RECIPE.image_size)
    return [
        Batch(
            torch.randint(0, 256, shape, dtype=torch.uint8),
            torch.randint(0, TARGET, (BATCH,)),
            torch.arange(BATCH),
            [],
        )
        for _ in range(STEPS)
    ]


def plain(batches: list[Batch]) -> float:
    """Milliseconds a step of the loop that one would write by hand."""
    model, loss = _parts()
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": RECIPE.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=RECIPE.lr,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / (STEPS + 1))
    model.train()
    began = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        value = loss(model(batch.images), batch.label)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    right = torch.zeros(())
    with torch.inference_mode():
        for batch in batches[:VALIDATION]:
            right += (model(batch.images)[:, :TARGET].argmax(dim=1) == batch.label).sum()
    return 1000 * (time.perf_counter() - began) / STEPS


class Batches(list[Batch]):
    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key[1])


class _Clock(L.Callback):
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.milliseconds = 1000 * (time.perf_counter() - self.began) / STEPS


def ours(batches: list[Batch], folder: str) -> float:
    """Milliseconds a step of Lightning's Trainer with the callbacks and logger of a run."""
    model, loss = _parts()
    module = ExtrapolationModule(
        model=model,
        loss=loss,
        recipe=RECIPE,
        steps=STEPS,
        warmup=0,
        shots=[Shot.MANY] * TARGET,
        seed=0,
        skip_unreadable=False,
    )
    clock, stopwatch = _Clock(), Stopwatch(BATCH, lambda wait, trainer: None)
    draw = EpochDraw(np.zeros(STEPS, dtype=np.int32), cap=np.array([-1]), seed=0)
    loader = ResumableLoader(Batches(batches), batch_size=None, sampler=EpochSampler(draw, batch_size=1))
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        max_epochs=1,
        logger=CSVLogger(folder, name=""),
        callbacks=[stopwatch, clock, EpochLine(stopwatch), Checkpoints(Path(folder), StopSignal(), every=600.0)],
        plugins=[WholeFileIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        log_every_n_steps=50,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.fit(module, loader, DataLoader(batches[:VALIDATION], batch_size=None))
    return clock.milliseconds


def run() -> list[Row]:
    """The row of the training step."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    batches = _batches()
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(ROUNDS):
            times["plain"].append(plain(batches))
            times["ours"].append(ours(batches, folder))
    name = "training step, ms: Lightning with our module, metrics, callbacks / plain PyTorch loop"
    return [row(name, [*zip(times["ours"], times["plain"], strict=True)], 1.05)]


if __name__ == "__main__":
    show(run())
