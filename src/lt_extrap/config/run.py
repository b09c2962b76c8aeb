"""What every run has, whether it trains a classifier or a backbone for one."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from lt_extrap.config.checks import check, one_of
from lt_extrap.config.loading import Loading
from lt_extrap.config.recipe import Budget


@dataclass
class RunConfig:
    """A run.

    Attributes:
        do: `train`, or `plan`: print what the run would take, and what is missing for it.
        images_per_second: that a plan's hours are for; null = 500, 1,000 and 2,000.
        name: of the folder below runs/ that holds the runs of this experiment.
        seed: of everything random, 0..2**63-1.
        checkpoint_minutes: between two checkpoints within an epoch; each epoch's end is kept anyway.
        trainer: arguments of lightning.Trainer. logger: `_target_` and arguments of a Lightning logger.
    """

    do: str = "train"
    images_per_second: float | None = None
    name: str = "default"
    seed: int = 0
    target: Any = MISSING
    auxiliary: Any = MISSING
    backbone: Any = MISSING
    recipe: Any = MISSING
    budget: Budget = field(default_factory=Budget)
    data: Loading = field(default_factory=Loading)
    checkpoint_minutes: float = 10.0
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] = MISSING

    def __post_init__(self) -> None:
        one_of("do", self.do, ("train", "plan"))
        check(
            self.images_per_second is None or (self.do == "plan" and self.images_per_second > 0),
            "images_per_second",
            "positive with do=plan, and null without",
            self.images_per_second,
        )
        check(0 <= self.seed < 2**63, "seed", "in 0..2**63-1", self.seed)
        check(self.checkpoint_minutes >= 0, "checkpoint_minutes", "at least 0", self.checkpoint_minutes)
        recipe = self.recipe
        check(
            not (getattr(recipe, "fused", False) and recipe.clip and self.trainer.get("precision") == "16-mixed"),
            "recipe.fused",
            "false with recipe.clip and trainer.precision=16-mixed: a fused step takes the gradients before they are "
            "scaled back, and so before they can be clipped",
            True,
        )
