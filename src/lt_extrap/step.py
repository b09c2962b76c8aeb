"""The one training step, whatever is trained: a batch in parts, its optimizer, and images that cannot be read."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer

from lt_extrap.agreement import gathered, mean
from lt_extrap.config import Recipe
from lt_extrap.data.batch import Batch
from lt_extrap.errors import DataError, TrainingError
from lt_extrap.keys import Stream, torch_seed
from lt_extrap.optimizer import Trained, build_optimizer, lr_share

M = TypeVar("M", bound=Trained)


class StepModule(L.LightningModule, Generic[M]):
    """Trains a model by a recipe, on the loss of a subclass.

    Args:
        model: what is trained.
        recipe: how.
        steps: of the optimizer, of the whole run.
        warmup: steps of the warm-up.
        head_warmup: steps before it, of the head alone.
        seed: of dropout and drop path.
        skip_unreadable: go on without images that cannot be read.

    Attributes:
        model: what is trained.
        unreadable: images that were left out of their batches, each once.
    """

    def __init__(
        self,
        *,
        model: M,
        recipe: Recipe,
        steps: int,
        warmup: int,
        head_warmup: int = 0,
        seed: int,
        skip_unreadable: bool,
    ) -> None:
        super().__init__()
        self.model: M = model
        self.recipe, self.seed = recipe, seed
        self.steps, self.warmup, self.head_warmup = steps, warmup, head_warmup
        self.skip_unreadable = skip_unreadable
        self.unreadable: dict[str, None] = {}
        self._imageless = False  # the step at hand, in all processes

    @abstractmethod
    def losses(self, batch: Batch) -> Callable[[slice], Tensor]:
        """What gives the mean loss of a part of a batch; called once a step, and not without an image."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The loss of a batch, whose last part is still to be propagated back; those before it are by then.

        Of several processes each has its share of a batch, and their mean is the loss of the whole; torch averages what
        the last parts leave in the gradients, which are sums over the parts.
        """
        cast(Optimizer, self.optimizers(use_pl_optimizer=False)).zero_grad()
        if self.global_step <= self.head_warmup:  # before any return: a batch without an image is a step too
            self.model.backbone.train(self.global_step == self.head_warmup)
        weight = self._account_training(batch)
        self._imageless = weight is None
        if weight is None:  # Lightning takes a None from one process alone
            return self._nothing() if self.trainer.world_size > 1 else None
        if len(batch.label) == 0:
            loss = self._nothing()
            self._log_loss(loss)
            return loss
        # Dropout and drop path are a function of (seed, step, rank), like everything else.
        _seed(batch.label.device, torch_seed(Stream.FORWARD, self.seed, self.global_step, self.global_rank))
        losses, label = self.losses(batch), batch.label
        loss = torch.zeros((), device=label.device)
        parts = min(self.recipe.accumulate, len(label))
        edges = [len(label) * i // parts for i in range(parts + 1)]  # equal but for one image, which may be unreadable
        for part in map(slice, edges, edges[1:]):
            if loss.requires_grad:  # the part before
                with torch.autocast(label.device.type, enabled=False):  # for a backward pass is not to be cast again
                    self.trainer.strategy.backward(loss, None)
                loss = loss.detach()
            with _attention(label.device):
                of_part = losses(part)
            loss = loss + of_part * (weight * len(label[part]) / len(label))
        if not torch.isfinite(loss):
            raise TrainingError(
                "a finite loss",
                f"{loss.item()} at step {self.global_step}, for the samples {batch.sample.tolist()}",
                "lower recipe.blr, set recipe.clip=1, or look at those images (rows of the training list, "
                "auxiliary rows after them)",
            )
        self._log_loss(loss)
        return loss

    def optimizer_zero_grad(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: Lightning asks for it after training_step, which has done it before its first part."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        idle: nn.Module | None = self.model.backbone if self.global_step < self.head_warmup else None
        if self._imageless:  # a gradient of zero would still be a step of the momentum and of the decay
            idle = self.model
        # Not by requires_grad: several processes agree once on what they exchange.
        for parameter in idle.parameters() if idle is not None else ():
            parameter.grad = None

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        # Lightning's own refuses a fused optimizer under bf16-mixed too, where no gradient is scaled.
        if self.recipe.clip is not None:
            trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.recipe.clip)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = build_optimizer(self.recipe, self.model)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: lr_share(
                self.recipe, step, warmup=self.warmup, steps=self.steps, head_warmup=self.head_warmup
            ),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["unreadable"] = list(self.unreadable)
        checkpoint["processes"] = self.trainer.world_size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.unreadable = dict.fromkeys(checkpoint["unreadable"])

    def _log_loss(self, loss: Tensor) -> None:
        # Not by sync_dist, for which the host waits twice a step, logged or not.
        self.log("train/loss", mean(loss), batch_size=1)

    def _nothing(self) -> Tensor:
        """The loss of a share of which no image can be read, while others go on: the gradients are zero."""
        return torch.stack([0 * parameter.sum() for parameter in self.parameters() if parameter.requires_grad]).sum()

    def _account_training(self, batch: Batch) -> float | None:
        """Stop at an unreadable image, or go on without it.

        Returns:
            What the loss of this process counts among those of all, 1 where all have as many images; None where
            there is no image in any.
        """
        if not self.skip_unreadable:  # then all have as many, and need not hear of one another
            self._account(batch.unreadable, skip=False)
            return 1.0
        shares = gathered((len(batch.label), batch.unreadable))
        for _, unreadable in shares:
            self._account(unreadable, skip=True)
        images = sum(share for share, _ in shares)
        return len(batch.label) * len(shares) / images if images else None

    def _account(self, unreadable: Sequence[str], *, skip: bool) -> None:
        """Stop at an unreadable image, or name it once and go on without it."""
        for image in unreadable:
            if not skip:
                raise DataError(
                    "images that can be read",
                    image,
                    "put a readable file of that name there, and the same command goes on (without it, list and run "
                    "are others): python -m lt_extrap.check finds all such files (data.on_unreadable=skip leaves out "
                    "training images)",
                )
            if image not in self.unreadable:
                self.unreadable[image] = None
                self.print(f"left out, unreadable: {image}")


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """Which of its kernels torch takes for attention.

    In bfloat16 the fused one for CPUs, backward above all, is slower than its parts one by one: the whole step of a ViT
    took 1.3 times as long (torch 2.14, AVX-512).
    """
    if device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return cast(AbstractContextManager[None], sdpa_kernel(SDPBackend.MATH))
    return nullcontext()


def _seed(device: torch.device, seed: int) -> None:
    """As `torch.manual_seed`, which takes a millisecond of a step for the kinds of device that are not there."""
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
