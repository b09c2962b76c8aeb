"""The configuration of a training run, and what each of its groups can be."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from lt_extrap.config.auxiliary import AuxiliaryClasses, NoAuxiliary, TargetExtra
from lt_extrap.config.checks import check
from lt_extrap.config.loss import Balanced, Loss, Silencing
from lt_extrap.config.model import BatchNormHead, CifarResNet, ConvNet, CosineHead, Head, OpenClip, TextHead, Timm
from lt_extrap.config.recipe import AdamW, Sgd
from lt_extrap.config.run import RunConfig
from lt_extrap.config.target import CifarTarget, EmbeddedTarget, FolderTarget, OfficialTarget, Target


@dataclass
class TrainConfig(RunConfig):
    """One training run.

    Attributes:
        features_from: a model.safetensors whose backbone is taken over and kept frozen, so that only a new head is
            trained; null = everything is trained.
        retrained: when the run has ended, also train the retrained classifier into <run>/retrained, a run of its own
            in tables: a new head on the frozen backbone, on the target set alone.
        compile: train through torch.compile: faster on a GPU, the same numbers up to rounding. Validation and test are
            never compiled, so that what they say of some weights is one number.
    """

    loss: Any = MISSING
    head: Any = MISSING
    features_from: str | None = None
    retrained: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        recipe = self.recipe
        check(
            (recipe.head_warmup_factor is None) == (self.budget.head_warmup == 0),
            "recipe.head_warmup_factor",
            "a number with budget.head_warmup, and null without",
            recipe.head_warmup_factor,
        )
        check(
            recipe.batch_size > recipe.accumulate or not isinstance(self.head, BatchNormHead),
            "recipe.accumulate",
            "less than recipe.batch_size with head=batchnorm, which wants two images at once",
            recipe.accumulate,
        )
        if self.features_from is not None:
            check(not self.retrained, "retrained", "false with features_from, which trains a new head itself", True)
            check(recipe.freeze == 0, "recipe.freeze", "0 with features_from, which freezes all layers", recipe.freeze)
            check(
                self.budget.head_warmup == 0,
                "budget.head_warmup",
                "0 with features_from, where the head alone learns all the time",
                self.budget.head_warmup,
            )
        check(
            not (getattr(recipe, "fused", False) and recipe.clip and self.trainer.get("precision") == "16-mixed"),
            "recipe.fused",
            "false with recipe.clip and trainer.precision=16-mixed: a fused step takes the gradients before they are "
            "scaled back, and so before they can be clipped",
            True,
        )


# Every class that a group of conf/ can be, by the name that its option files start from.
OPTIONS: dict[str, dict[str, type]] = {
    "target": {
        "lists": Target,
        "official": OfficialTarget,
        "folder": FolderTarget,
        "cifar": CifarTarget,
        "embedded": EmbeddedTarget,
    },
    "auxiliary": {"none": NoAuxiliary, "classes": AuxiliaryClasses, "target_extra": TargetExtra},
    "loss": {"ce": Loss, "balanced": Balanced, "silencing": Silencing},
    "backbone": {"convnet": ConvNet, "cifar_resnet": CifarResNet, "timm": Timm, "open_clip": OpenClip},
    "head": {"linear": Head, "batchnorm": BatchNormHead, "cosine": CosineHead, "text": TextHead},
    "recipe": {"adamw": AdamW, "sgd": Sgd},
}
