"""The optimizer of a recipe, and its learning rate step by step."""

import math
from typing import Any

import torch
from torch import nn

from lt_extrap.config import AdamW, Recipe, Sgd
from lt_extrap.errors import ConfigError
from lt_extrap.model.classifier import Classifier


def build_optimizer(recipe: Recipe, model: Classifier) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are trained, each group at its peak learning rate.

    Raises:
        ConfigError: an option of the recipe that changes nothing for this backbone.
    """
    groups = parameter_groups(recipe, model)
    if isinstance(recipe, Sgd):
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    assert isinstance(recipe, AdamW)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.betas[0], recipe.betas[1]))


def parameter_groups(recipe: Recipe, model: Classifier) -> list[dict[str, Any]]:
    """The parameters that are trained, by layer, and by whether they decay; each with its `name` and `lr`.

    Raises:
        ConfigError: layer decay on a backbone that has no layers to tell apart.
    """
    network = model.backbone.network
    layers = model.backbone.layers() if isinstance(recipe, AdamW) and recipe.layer_decay < 1 else {}
    if isinstance(recipe, AdamW) and recipe.layer_decay < 1 and (model.frozen or len(set(layers.values())) < 2):
        raise ConfigError(
            "a backbone whose layers can learn at different rates, for recipe.layer_decay",
            "a frozen one" if model.frozen else f"{type(network).__name__}, of one layer",
            "set recipe.layer_decay=1",
        )
    top = max(layers.values(), default=-1) + 1  # the head's
    groups: dict[str, dict[str, Any]] = {}

    def add(layer: str, lr: float, parameter: nn.Parameter, *, decays: bool) -> None:
        if not parameter.requires_grad:
            return
        group: dict[str, Any] = {"name": layer if decays else f"{layer}, no decay", "lr": lr, "params": []}
        if isinstance(recipe, AdamW):
            group["weight_decay"] = recipe.weight_decay if decays else 0.0
        groups.setdefault(group["name"], group)["params"].append(parameter)

    undecayed = model.backbone.undecayed()
    for name, parameter in network.named_parameters():
        layer = layers.get(name, top - 1)
        lr = recipe.lr * (recipe.layer_decay ** (top - layer) if isinstance(recipe, AdamW) else 1)
        decays = isinstance(recipe, Sgd) or (parameter.ndim > 1 and name not in undecayed)
        add(f"layer {layer}" if layers else "backbone", lr, parameter, decays=decays)
    for parameter in model.head.parameters():
        decays = isinstance(recipe, Sgd) or parameter.ndim > 1
        add("head", recipe.lr * recipe.head_lr_factor, parameter, decays=decays)
    return list(groups.values())


def lr_share(recipe: Recipe, step: int, *, warmup: int, steps: int) -> float:
    """Share of the peak learning rate at an optimizer step: linear warm-up, then a cosine to 0, or the milestones."""
    if step < warmup:
        return (step + 1) / warmup
    if recipe.gamma is None:
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    return recipe.gamma ** sum(step >= round(milestone * steps) for milestone in recipe.milestones)
