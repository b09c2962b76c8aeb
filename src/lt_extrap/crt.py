"""cRT: a classifier re-trained on frozen features with class-balanced sampling."""

import dataclasses

from lt_extrap.config import Budget, Loss, Recipe, Sgd, TrainConfig
from lt_extrap.retrained import retrained
from lt_extrap.runs import Run

FOLDER = "crt"  # in the folder of the run


def crt(run: Run, *, root: str | None = None) -> TrainConfig:
    """The run that trains the classifier of cRT (Kang et al. 2020, Section 4.1).

    A new head on the frozen backbone of a run: cross entropy on the target set, of which each class shows as many
    images an epoch, for 10 epochs of SGD at 0.2 for 512 images (momentum .9, weight decay 5e-4), cosine to 0, without
    mixing. It differs from `retrained`, the paper's own, in sampling, loss and optimizer.
    """
    config = retrained(run, root=root)
    shared = {field.name: getattr(config.recipe, field.name) for field in dataclasses.fields(Recipe)}
    recipe = Sgd(**shared | {"blr": 0.1, "mixup": 0.0, "cutmix": 0.0}, momentum=0.9, weight_decay=5e-4)
    return dataclasses.replace(
        config,
        name=f"{run.config.name}, crt",
        sampling="balanced",
        loss=Loss(),
        recipe=recipe,
        budget=Budget(unit="epochs", amount=10.0, warmup=0.0),
    )
