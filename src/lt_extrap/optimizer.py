"""The optimizer of a recipe, and its learning rate step by step."""

import math
from typing import Any

import torch
from torch import nn

from lt_extrap.config import AdamW, Recipe, Sgd
from lt_extrap.errors import ConfigError
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.masked import MaskedAutoencoder

Trained = Classifier | MaskedAutoencoder  # a backbone, and a head on it


def build_optimizer(recipe: Recipe, model: Trained) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are trained, each group at its peak learning rate.

    Raises:
        ConfigError: an option of the recipe that changes nothing for this backbone.
    """
    groups = parameter_groups(recipe, model)
    if isinstance(recipe, Sgd):
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    assert isinstance(recipe, AdamW)
    betas = (recipe.betas[0], recipe.betas[1])
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, fused=recipe.fused or None)  # None: torch chooses


def parameter_groups(recipe: Recipe, model: Trained) -> list[dict[str, Any]]:
    """The parameters that are trained, by layer, and by whether they decay; each with its `name` and `lr`.

    Raises:
        ConfigError: layer decay on a backbone that has no layers to tell apart.
    """
    network, frozen = model.backbone.network, model.backbone.frozen
    layers = model.backbone.layers() if isinstance(recipe, AdamW) and recipe.layer_decay < 1 else {}
    if isinstance(recipe, AdamW) and recipe.layer_decay < 1 and (frozen or len(set(layers.values())) < 2):
        raise ConfigError(
            "a backbone whose layers can learn at different rates, for recipe.layer_decay",
            "a frozen one" if frozen else f"{type(network).__name__}, of one layer",
            "set recipe.layer_decay=1",
        )
    if recipe.head_warmup_factor is not None and frozen:
        raise ConfigError(
            "a backbone that learns after budget.head_warmup",
            "a frozen one",
            "set budget.head_warmup=0 and recipe.head_warmup_factor=null, or lower recipe.freeze",
        )
    top = model.backbone.head_layer()
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
        layer = layers.get(name, top)
        lr = recipe.lr * (recipe.layer_decay ** (top - layer) if isinstance(recipe, AdamW) else 1)
        decays = isinstance(recipe, Sgd) or (parameter.ndim > 1 and name not in undecayed)
        add(f"layer {layer}" if layers else "backbone", lr, parameter, decays=decays)
    for parameter in model.head.parameters():
        decays = isinstance(recipe, Sgd) or parameter.ndim > 1
        add("head", recipe.lr * recipe.head_lr_factor, parameter, decays=decays)
    return list(groups.values())


def lr_share(recipe: Recipe, step: int, *, warmup: int, steps: int, head_warmup: int = 0) -> float:
    """Share of the peak learning rate at an optimizer step.

    While the head alone learns, the slope of the warm-up times recipe.head_warmup_factor; then, for all, the warm-up
    from 0, linear; then a cosine to 0, or the milestones.

    Args:
        recipe: of the run.
        step: 0 is the first.
        warmup: steps of the warm-up.
        steps: of the whole run.
        head_warmup: of the head alone, which come first.
    """
    if step < head_warmup:
        assert recipe.head_warmup_factor is not None  # the schema wants both
        return recipe.head_warmup_factor * (step + 1) / max(1, warmup)
    warmup += head_warmup
    if step < warmup:
        return (step - head_warmup + 1) / (warmup - head_warmup)
    if recipe.gamma is None:
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    return recipe.gamma ** sum(step >= round(milestone * steps) for milestone in recipe.milestones)
