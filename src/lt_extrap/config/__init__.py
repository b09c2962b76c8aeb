"""The schema: a dataclass for every configuration node that we own, with its ranges.

`compose.py` puts the values of conf/ and of the command line into these classes, which checks the ranges. The nodes
`trainer` and `logger` belong to Lightning and stay open dictionaries.
"""

from lt_extrap.config.adapter import Adapter, AdaptFormer, Biases, LoRA, NoAdapter, Norms, Prompts, ScaleShift
from lt_extrap.config.auxiliary import AuxiliaryClasses, NoAuxiliary, TargetExtra
from lt_extrap.config.checks import check
from lt_extrap.config.loading import Loading
from lt_extrap.config.loss import Balanced, ClassBalanced, Focal, Ldam, Loss, Silencing
from lt_extrap.config.model import (
    Backbone,
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
from lt_extrap.config.pretrain import Decoder, PretrainConfig
from lt_extrap.config.recipe import AdamW, Budget, Recipe, Sgd
from lt_extrap.config.run import RunConfig
from lt_extrap.config.target import (
    AuxiliaryFiles,
    CifarTarget,
    EmbeddedTarget,
    FolderTarget,
    Official,
    OfficialTarget,
    Target,
)
from lt_extrap.config.train import OPTIONS, TrainConfig

__all__ = [
    "OPTIONS",
    "AdamW",
    "AdaptFormer",
    "Adapter",
    "AuxiliaryClasses",
    "AuxiliaryFiles",
    "Backbone",
    "Balanced",
    "BatchNormHead",
    "Biases",
    "Budget",
    "CifarResNet",
    "CifarTarget",
    "ClassBalanced",
    "ClassMeanHead",
    "ConvNet",
    "CosineHead",
    "Decoder",
    "EmbeddedTarget",
    "Focal",
    "FolderTarget",
    "Head",
    "Ldam",
    "LoRA",
    "Loading",
    "Loss",
    "NoAdapter",
    "NoAuxiliary",
    "Norms",
    "Official",
    "OfficialTarget",
    "OpenClip",
    "PretrainConfig",
    "Prompts",
    "Recipe",
    "RunConfig",
    "ScaleShift",
    "Sgd",
    "Silencing",
    "Target",
    "TargetExtra",
    "TextHead",
    "Timm",
    "TrainConfig",
    "check",
]
