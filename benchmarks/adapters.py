"""A training step with an adapter beside full fine-tuning: time, peak memory and trained parameters, measured in turns.

Both are ours, on the same images, model and loss; one thread.
"""

import gc
import subprocess
import sys
import time

import torch
from torch.nn import functional as F

from benchmarks.rows import PAIRS, Row, interleaved, row, show
from benchmarks.vit_step import one_thread
from lt_extrap.config import AdamW, Adapter, AdaptFormer, Head, LoRA, NoAdapter, Prompts, Timm
from lt_extrap.model.adapters.adapted import adapt
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head
from lt_extrap.optimizer import build_optimizer

NODE = Timm(model="vit_small_patch16_224")
SIZE, BATCH, STEPS, CLASSES = 96, 16, 2, 1000
ADAPTERS: dict[str, Adapter] = {"AdaptFormer": AdaptFormer(), "LoRA": LoRA(), "deep prompts": Prompts()}


class Step:
    """A model that is trained on the same images again and again."""

    def __init__(self, adapter: Adapter) -> None:
        backbone = build_backbone(NODE, image_size=SIZE, seed=0)
        adapt(backbone, adapter, classes=CLASSES, seed=0)
        self.model = Classifier(
            backbone, build_head(Head(), dim=backbone.dim, num_target=CLASSES, num_auxiliary=0, seed=0)
        )
        self.optimizer = build_optimizer(AdamW(batch_size=BATCH, blr=1e-3, image_size=SIZE), self.model)
        torch.manual_seed(0)
        self.images, self.label = torch.rand(BATCH, 3, SIZE, SIZE) * 255, torch.arange(BATCH)

    @property
    def trained(self) -> int:
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def run(self) -> float:
        """Milliseconds of CPU time a step."""
        began = time.process_time()
        for _ in range(STEPS):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self.images), self.label).backward()
            self.optimizer.step()
        return 1e3 * (time.process_time() - began) / STEPS


def peak(name: str) -> float:
    """Megabytes by which steps raise what a process of its own has at most, its model and optimizer included."""
    code = (
        "import re, torch; from pathlib import Path; from benchmarks.adapters import ADAPTERS, NoAdapter, Step; "
        "torch.set_num_threads(1); status = Path('/proc/self/status'); "
        "of = lambda key: int(re.search(key + r':\\s+(\\d+)', status.read_text())[1]) / 1024; "
        # getrusage would begin at the peak of the process that started this one
        "Path('/proc/self/clear_refs').write_text('5'); base = of('VmRSS'); "
        f"Step(ADAPTERS.get({name!r}, NoAdapter())).run(); print(of('VmHWM') - base)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def run() -> list[Row]:
    """Three rows an adapter."""
    rows = []
    with one_thread():
        whole = Step(NoAdapter())
        memory = peak("none")
        for name, adapter in ADAPTERS.items():
            own = Step(adapter)
            of = f"{NODE.model} at {SIZE} px, {name} / full fine-tuning"
            rows.append(row(f"training step of {of}, ms", interleaved(own.run, whole.run, PAIRS), 0.85))
            rows.append(row(f"its peak memory, {name}, MB", [(peak(name), memory)], 0.85))
            rows.append(row(f"its trained parameters, head included, {name}", [(own.trained, whole.trained)], None))
            gc.collect()
    return rows


if __name__ == "__main__":
    show(run())
