"""The retrained classifier: what Table 6 of the paper compares the direct one with."""

import dataclasses

from lt_extrap.config import (
    AdamW,
    Balanced,
    Budget,
    ClassMeanHead,
    CosineHead,
    NoAuxiliary,
    Recipe,
    TextHead,
    TrainConfig,
)
from lt_extrap.data.target import load_target
from lt_extrap.runs import WEIGHTS, Run

FOLDER = "retrained"  # in the folder of the run
EPOCHS = 30


def retrained(run: Run, *, root: str | None = None) -> TrainConfig:
    """The run that trains the retrained classifier (paper, Section 3.2 and 4.1).

    A new head on the frozen backbone of a run, balanced softmax on the target set alone, 30 epochs of AdamW at
    2e-3 for 512 images without a warm-up, cosine to 0, Mixup 0.8 and CutMix 1. A head that started from text
    or class means starts from random values here: the features have left those.
    """
    config, recipe = run.config, run.config.recipe
    target = load_target(run.target(root), missing=config.data.missing)
    if not isinstance(recipe, AdamW):
        recipe = AdamW(**{field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)})
    recipe = dataclasses.replace(
        recipe,
        batch_size=min(512, len(target.train)),
        blr=1e-3,
        milestones=[],
        gamma=None,
        mixup=0.8,
        cutmix=1.0,
        ema=None,
        # Of the backbone, which does not learn here.
        accumulate=1,
        head_lr_factor=1.0,
        head_warmup_factor=None,
        freeze=0,
        layer_decay=1.0,
    )
    named = isinstance(config.head, TextHead | ClassMeanHead)
    head = CosineHead(scale=config.head.scale) if named else config.head
    return dataclasses.replace(
        config,
        name=f"{config.name}, retrained",
        target=run.target(root),
        auxiliary=NoAuxiliary(),
        sampling="all",
        loss=Balanced(),
        head=head,
        recipe=recipe,
        budget=Budget(unit="epochs", amount=float(EPOCHS), warmup=0.0),
        features_from=str(run.folder / WEIGHTS),
        data=dataclasses.replace(config.data, features_once=False),  # which Mixup would change
        retrained=False,
        logger={},
        # One device is enough for a head, and this machine may not have those of the run.
        trainer={key: value for key, value in config.trainer.items() if key != "strategy"}
        | {"devices": 1, "num_nodes": 1},
    )
