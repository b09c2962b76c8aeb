"""The optimizer of a recipe, and its learning rate step by step."""

import math

import torch
from torch import nn

from lt_extrap.config import AdamW, Recipe, Sgd


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are trained, at the peak learning rate."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if isinstance(recipe, Sgd):
        return torch.optim.SGD(trained, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    assert isinstance(recipe, AdamW)
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.lr,
        betas=(recipe.betas[0], recipe.betas[1]),
    )


def lr_share(recipe: Recipe, step: int, *, warmup: int, steps: int) -> float:
    """Share of the peak learning rate at an optimizer step: linear warm-up, then a cosine to 0, or the milestones."""
    if step < warmup:
        return (step + 1) / warmup
    if recipe.gamma is None:
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    return recipe.gamma ** sum(step >= round(milestone * steps) for milestone in recipe.milestones)
