"""The training step of a small vision transformer with Mixup: ours beside the loop that one would write by hand.

Ours is a run's: Lightning, our module with its Mixup and the neighbor-silencing loss, our callbacks. The loop has
timm's Mixup, which makes dense soft targets, and the balanced softmax over those (as LiVT trains): it silences nothing.
Same model, images, optimizer and clipping. ViT of width 128, depth 4 and 2 heads, patches of 8, images of 64 pixels,
batch 64, 6,000 classes; one thread, CPU time. Both, in float32 and in bfloat16, take turns.

Run from the repository's root, on Linux: `python -m benchmarks.vit_step`.
"""

import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import CSVLogger
from timm.data import Mixup
from torch import nn

from benchmarks.rows import PAIRS, Row, keep_freed_memory, row, show, skipped
from benchmarks.step import Batches
from lt_extrap.checkpoints import Checkpoints, StopSignal, WholeFileIO
from lt_extrap.config import AdamW, Head, Timm
from lt_extrap.data.batch import Batch
from lt_extrap.data.loader import ResumableLoader
from lt_extrap.data.sampler import EpochDraw, EpochSampler
from lt_extrap.machine import computes_in_bfloat16
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head
from lt_extrap.model.losses import OffsetCrossEntropy, neighbor_silencing
from lt_extrap.model.relation import NeighborRelation
from lt_extrap.model.shots import Shot
from lt_extrap.module import ExtrapolationModule
from lt_extrap.progress import EpochLine
from lt_extrap.stopwatch import Stopwatch
from lt_extrap.trainer import build_trainer

WARMUP = 2  # steps that are not counted


@dataclass(frozen=True)
class Case:
    """What is trained, and how it is timed."""

    backbone: Timm
    image_size: int
    batch: int
    steps: int
    targets: int
    auxiliary: int
    device: str
    clock: Callable[[], float]

    @property
    def recipe(self) -> AdamW:
        return AdamW(batch_size=self.batch, blr=1e-3, clip=1.0, image_size=self.image_size, mixup=0.8)

    @property
    def counts(self) -> torch.Tensor:
        return torch.arange(self.targets + self.auxiliary) % 50 + 1

    def parts(self) -> tuple[Classifier, OffsetCrossEntropy]:
        """The model, and the loss with the neighbors of five auxiliary classes a target."""
        backbone = build_backbone(self.backbone, image_size=self.image_size, seed=0)
        head = build_head(Head(), dim=backbone.dim, num_target=self.targets, num_auxiliary=self.auxiliary, seed=0)
        auxiliary = np.arange(self.auxiliary)
        pairs = np.stack([auxiliary % self.targets, self.targets + auxiliary], axis=1)
        relation = NeighborRelation.from_pairs(pairs, self.targets, self.targets + self.auxiliary)
        return Classifier(backbone, head), neighbor_silencing(self.counts, relation=relation, num_target=self.targets)

    def loader(self) -> ResumableLoader:
        """As many as there are steps, four of them different."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, 3, self.image_size, self.image_size)
        made = [
            Batch(
                torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
                torch.randint(self.targets + self.auxiliary, (self.batch,), generator=generator),
                torch.arange(self.batch),
                [],
            )
            for _ in range(4)
        ]
        batches = Batches([made[step % 4] for step in range(self.steps)])
        draw = EpochDraw(np.zeros(self.steps, dtype=np.int32), cap=np.array([-1]), seed=0)
        return ResumableLoader(
            batches,
            batch_size=None,
            sampler=EpochSampler(draw, batch_size=1),
            pin_memory=self.device == "cuda",
        )


SMALL = Case(
    backbone=Timm(
        model="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 128, "depth": 4, "num_heads": 2}
    ),
    image_size=64,
    batch=64,
    steps=WARMUP + 6,
    targets=1000,
    auxiliary=5000,
    device="cpu",
    clock=time.process_time,
)


def run() -> list[Row]:
    """Rows of the step in float32 and, where the CPU has it, in bfloat16."""
    name = "ViT 128 x 4 at 64 px with Mixup, ms a step"
    reason = None if computes_in_bfloat16("cpu") else "this CPU has no instructions for bfloat16"
    with one_thread():
        ways: dict[str, Callable[[], float]] = {
            "plain": lambda: plain(SMALL, SMALL.loader(), "32-true"),
            "ours": lambda: ours(SMALL, SMALL.loader(), "32-true"),
        }
        if reason is None:
            ways["plain, bfloat16"] = lambda: plain(SMALL, SMALL.loader(), "bf16-mixed")
            ways["ours, bfloat16"] = lambda: ours(SMALL, SMALL.loader(), "bf16-mixed")
        keep_freed_memory()
        taken = []
        for turn in range(PAIRS + 1):  # the first warms up; who begins does not gain by it
            order = [*ways] if turn % 2 else [*reversed(ways)]
            taken.append({way: ways[way]() for way in order})

    def pairs(ours: str, peer: str) -> list[tuple[float, float]]:
        return [(turn[ours], turn[peer]) for turn in taken[1:]]

    rows = [row(f"{name}: ours / plain loop with dense targets", pairs("ours", "plain"), 1 / 0.97)]
    names = (f"{name}: ours in bfloat16 / that loop in float32", f"{name}: both in bfloat16")
    if reason is not None:
        return rows + [skipped(name, reason) for name in names]
    return [
        *rows,
        row(names[0], pairs("ours, bfloat16", "plain"), 1 / 1.2),
        row(names[1], pairs("ours, bfloat16", "plain, bfloat16"), 1 / 1.2),  # like with like
    ]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def plain(case: Case, loader: ResumableLoader, precision: str, *, compiled: bool = False) -> float:
    """Milliseconds a step of the loop that one would write by hand."""
    classes, device = case.targets + case.auxiliary, torch.device(case.device)
    model, prior = case.parts()[0].to(device), case.counts.log().to(device)
    if compiled:
        model.compile()
    groups = [[p for p in model.parameters() if (p.ndim > 1) is decays] for decays in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": case.recipe.weight_decay}, {"params": groups[1], "weight_decay": 0.0}],
        lr=case.recipe.lr,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / (case.steps + 1))
    mixup = Mixup(mixup_alpha=case.recipe.mixup, label_smoothing=0.0, num_classes=classes)
    model.train()
    began = 0.0
    for step, batch in enumerate(loader):
        if step == WARMUP:
            began = case.clock()
        images, target = mixup(
            batch.images.to(device, non_blocking=True).float(), batch.label.to(device, non_blocking=True)
        )
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
            logits = model(images)
            loss = -(target * F.log_softmax(logits + prior, dim=1)).sum(dim=1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return 1e3 * (case.clock() - began) / (case.steps - WARMUP)


class _Clock(L.Callback):
    """The time of a step: from the end of the last that is not counted to that of the last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == WARMUP:
            self.began = self.clock()
        if trainer.global_step == trainer.max_steps:
            self.milliseconds = 1e3 * (self.clock() - self.began) / (trainer.max_steps - WARMUP)


def ours(
    case: Case,
    loader: ResumableLoader,
    precision: str,
    *,
    compiled: bool = False,
    stopwatch: Stopwatch | None = None,
) -> float:
    """Milliseconds a step of Lightning's Trainer with the module, the callbacks and the logger of a run."""
    model, loss = case.parts()
    module = ExtrapolationModule(
        model=model,
        loss=loss,
        recipe=case.recipe,
        steps=case.steps,
        warmup=0,
        shots=[Shot.MANY] * case.targets,
        seed=0,
        skip_unreadable=False,
    )
    if compiled:
        module.model.compile()
    clock, stopwatch = _Clock(case.clock), stopwatch or Stopwatch(case.batch, lambda wait, trainer: None)
    with tempfile.TemporaryDirectory() as folder, _silence():
        # The clock comes first: a checkpoint at the end of an epoch is no part of a step.
        trainer = build_trainer(
            {"accelerator": "gpu" if case.device == "cuda" else "cpu", "devices": 1, "precision": precision},
            {
                "max_steps": case.steps,
                "max_epochs": 1,
                "logger": CSVLogger(folder, name=""),
                "callbacks": [
                    stopwatch,
                    clock,
                    EpochLine(stopwatch),
                    Checkpoints(Path(folder), StopSignal(), every=600.0),
                ],
                "plugins": [WholeFileIO()],
                "enable_progress_bar": False,
                "limit_val_batches": 0,
            },
        )
        trainer.fit(module, loader)
    return clock.milliseconds


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    show(run())
