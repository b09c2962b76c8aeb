"""The configuration of a training run, and what each of its groups can be."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from lt_extrap.config.adapter import AdaptFormer, Biases, LoRA, NoAdapter, Norms, Prompts, ScaleShift
from lt_extrap.config.auxiliary import AuxiliaryClasses, NoAuxiliary, TargetExtra
from lt_extrap.config.checks import check, one_of
from lt_extrap.config.loss import Balanced, ClassBalanced, Focal, Ldam, Loss, Silencing
from lt_extrap.config.model import (
    BatchNormHead,
    CifarResNet,
    ClassMeanHead,
    ConvNet,
    CosineHead,
    Head,
    OpenClip,
    TextHead,
    Timm,
)
from lt_extrap.config.recipe import AdamW, Sgd
from lt_extrap.config.run import RunConfig
from lt_extrap.config.target import CifarTarget, EmbeddedTarget, FolderTarget, OfficialTarget, Target


@dataclass
class TrainConfig(RunConfig):
    """One training run.

    Attributes:
        sampling: `all` = an epoch shows every target image once; `balanced` = as many images of each target class, the
            mean number, of rare classes the same ones again (with auxiliary=none). The prior of the loss follows.
        features_from: a model.safetensors whose backbone is taken over and kept frozen, so that only a new head is
            trained; null = everything is trained.
        retrained: when the run has ended, also train the retrained classifier into <run>/retrained, a run of its own
            in tables: a new head on the frozen backbone, on the target set alone.
        compile: train through torch.compile: faster on a GPU, the same numbers up to rounding. Validation and test are
            never compiled, so that what they say of some weights is one number.
    """

    loss: Any = MISSING
    adapter: Any = MISSING
    head: Any = MISSING
    sampling: str = "all"
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
        self._check_adapter()
        self._check_features_once()
        one_of("sampling", self.sampling, ("all", "balanced"))
        check(
            self.sampling == "all" or isinstance(self.auxiliary, NoAuxiliary),
            "sampling",
            "all with auxiliary classes or images, which have a number of their own",
            self.sampling,
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

    def _check_adapter(self) -> None:
        if isinstance(self.adapter, NoAdapter):
            return
        check(
            getattr(self.backbone, "weights", None) is not None,
            "backbone.weights",
            "pretrained ones with an adapter: random ones that stay as they are mean nothing",
            None,
        )
        check(
            self.recipe.freeze == 0,
            "recipe.freeze",
            "0 with an adapter, beside which the backbone is frozen anyway",
            self.recipe.freeze,
        )
        check(
            getattr(self.backbone, "drop_path", 0) == 0,
            "backbone.drop_path",
            "0 with an adapter, for what is frozen stays in evaluation mode",
            getattr(self.backbone, "drop_path", 0),
        )

    def _check_features_once(self) -> None:
        if not self.data.features_once:
            return
        once, recipe = "with data.features_once=true", self.recipe
        if self.features_from is None:
            check(
                isinstance(self.adapter, NoAdapter),
                "adapter",
                f"none {once}: features that an adapter changes are others each step",
                type(self.adapter).__name__,
            )
            check(recipe.freeze == "all", "recipe.freeze", f"all {once}, or features_from given", recipe.freeze)
        check(
            recipe.plain,
            "recipe.crop_scale",
            f"null {once}, whose images are always as evaluation sees them: recipe=probe",
            recipe.crop_scale,
        )
        for key in ("erasing", "mixup", "cutmix"):
            value = getattr(recipe, key)
            check(value == 0, f"recipe.{key}", f"0 {once}, which keeps no images to change", value)
        check(not self.data.resident, "data.resident", f"false {once}: no image is needed again", True)
        check(not self.compile, "compile", f"false {once}, where the head alone runs", True)


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
    "loss": {
        "ce": Loss,
        "balanced": Balanced,
        "silencing": Silencing,
        "focal": Focal,
        "class_balanced": ClassBalanced,
        "ldam": Ldam,
    },
    "backbone": {"convnet": ConvNet, "cifar_resnet": CifarResNet, "timm": Timm, "open_clip": OpenClip},
    "adapter": {
        "none": NoAdapter,
        "adaptformer": AdaptFormer,
        "lora": LoRA,
        "prompts": Prompts,
        "ssf": ScaleShift,
        "biases": Biases,
        "norms": Norms,
    },
    "head": {
        "linear": Head,
        "batchnorm": BatchNormHead,
        "cosine": CosineHead,
        "text": TextHead,
        "class_mean": ClassMeanHead,
    },
    "recipe": {"adamw": AdamW, "sgd": Sgd},
}
