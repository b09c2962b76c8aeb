import math
from collections import Counter

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from lt_extrap.compose import configure
from lt_extrap.config import AdamW, ConvNet, Head, Sgd, Timm
from lt_extrap.errors import ConfigError
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head
from lt_extrap.optimizer import build_optimizer, lr_share


def classifier(backbone, *, freeze=0):
    body = build_backbone(backbone, image_size=32, seed=0)
    head = build_head(Head(), dim=body.dim, num_target=2, num_auxiliary=0, seed=0)
    if freeze:
        body.freeze(None if freeze == "all" else freeze)
    return Classifier(body, head)


SMALL = ConvNet(widths=[8])
VIT = Timm(model="vit_tiny_patch16_224", options={"depth": 2, "embed_dim": 24, "num_heads": 2, "reg_tokens": 4})


def test_a_cosine_warms_up_and_ends_at_zero():
    recipe = AdamW(batch_size=128, blr=1e-3, image_size=32)
    rates = [lr_share(recipe, step, warmup=10, steps=100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates[55] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_rates_of_the_field():
    """Cao et al. 2019: 0.1, from epoch 160 of 200 on 1e-3, from epoch 180 on 1e-5; 84 steps an epoch."""
    recipe = configure("experiment=cifar100_lt").recipe
    assert (type(recipe), recipe.momentum, recipe.weight_decay) == (Sgd, 0.9, 2e-4)
    optimizer = build_optimizer(recipe, classifier(SMALL))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: lr_share(recipe, step, warmup=5 * 84, steps=200 * 84)
    )
    golden = {0: 0.1 / 420, 1: 0.2 / 420, 419: 0.1, 420: 0.1, 160 * 84 - 1: 0.1, 160 * 84: 1e-3}
    golden |= {180 * 84 - 1: 1e-3, 180 * 84: 1e-5, 200 * 84 - 1: 1e-5}
    rates = {step: 0.1 * schedule.lr_lambdas[0](step) for step in golden}
    assert rates == pytest.approx(golden, rel=1e-12)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(golden[0], rel=1e-12)


def test_the_head_alone_comes_first():
    """The published scripts: lr x factor x epoch / warm-up epochs; then the warm-up from 0, then the cosine to 0."""
    recipe = AdamW(batch_size=128, blr=1e-3, image_size=32, head_warmup_factor=60.0)
    rates = [lr_share(recipe, step, warmup=10, steps=100, head_warmup=3) for step in range(101)]
    assert rates[:3] == pytest.approx([6, 12, 18])
    assert rates[3:13] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[13] == 1
    assert rates[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 42 / 87)))
    assert rates[100] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("steps", [7, 84 * 200, 9_999])
def test_each_milestone_multiplies_once_and_exactly(steps):
    recipe = Sgd(batch_size=1, blr=1.0, image_size=8, milestones=[0.3, 0.6, 0.9], gamma=0.5)
    shares = [lr_share(recipe, step, warmup=0, steps=steps) for step in range(steps)]
    assert sorted(set(shares), reverse=True) == [1.0, 0.5, 0.25, 0.125]
    assert [shares.index(share) for share in (0.5, 0.25, 0.125)] == [round(m * steps) for m in (0.3, 0.6, 0.9)]


def test_decay_of_adamw_is_for_weights_only():
    recipe = AdamW(batch_size=32, blr=4e-3, image_size=32)
    model = classifier(SMALL)
    groups = build_optimizer(recipe, model).param_groups
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "backbone": 0.05,
        "backbone, no decay": 0.0,
        "head": 0.05,
        "head, no decay": 0.0,
    }
    for group in groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
        assert group["lr"] == 4e-3 * 32 / 256
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_decay_of_sgd_is_for_all_parameters_that_are_trained():
    recipe = Sgd(batch_size=128, blr=0.2, image_size=32)
    model = classifier(SMALL, freeze="all")
    (group,) = build_optimizer(recipe, model).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 2e-4)
    assert [id(p) for p in group["params"]] == [id(p) for p in model.head.parameters()]


def test_each_layer_learns_at_its_own_rate():
    recipe = AdamW(batch_size=256, blr=1.0, image_size=32, layer_decay=0.5, head_lr_factor=10.0)
    model = classifier(VIT)
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {
        names[id(p)]: group["lr"] for group in build_optimizer(recipe, model).param_groups for p in group["params"]
    }
    network = {name.removeprefix("backbone.network."): rate for name, rate in rates.items()}
    for name in ("cls_token", "reg_token", "pos_embed", "patch_embed.proj.weight"):
        assert network[name] == 0.125
    assert {network[f"blocks.{i}.attn.qkv.weight"] for i in (0, 1)} == {0.25, 0.5}
    assert network["blocks.0.norm1.bias"] == 0.25
    assert network["norm.weight"] == 0.5  # timm counts it to the last block
    assert rates["head.weight"] == rates["head.bias"] == 10.0


@pytest.mark.parametrize("backbone", [VIT, Timm(model="test_convnext", options={"depths": [1, 1, 2, 1]})], ids=str)
def test_rates_and_decays_are_those_that_timm_proposes(backbone):
    """timm's groups carry lr_scale, for schedulers of its own; here it is in each group's rate, at every step."""
    recipe = AdamW(batch_size=256, blr=0.1, image_size=32, layer_decay=0.75, weight_decay=0.05)
    model = classifier(backbone)
    whole = timm.create_model(backbone.model, num_classes=2, **backbone.options)
    names = {id(p): name for name, p in whole.named_parameters()}
    without = getattr(whole, "no_weight_decay", set)()
    theirs = {
        names[id(p)]: (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(whole, 0.05, without, layer_decay=0.75)
        for p in group["params"]
    }
    optimizer = build_optimizer(recipe, model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_share(recipe, step, warmup=4, steps=9))
    names = {id(p): name for name, p in model.named_parameters()}
    for step in range(3):
        share = 0.1 * (step + 1) / 4
        ours = {
            names[id(p)].removeprefix("backbone.network."): (pytest.approx(group["lr"] / share), group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }
        assert {name.replace("head.fc.", "head."): value for name, value in theirs.items()} == ours
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    ("freeze", "layer_decay"), [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (0, 0.75), (1, 0.75), (2, 0.75)]
)
def test_every_parameter_that_is_trained_is_held_once(freeze, layer_decay):
    model = classifier(VIT, freeze=freeze)
    recipe = AdamW(batch_size=256, blr=1.0, image_size=32, layer_decay=layer_decay)
    held = Counter(id(p) for group in build_optimizer(recipe, model).param_groups for p in group["params"])
    assert held == Counter(id(p) for p in model.parameters() if p.requires_grad)
    frozen = {name for name, p in model.backbone.network.named_parameters() if not p.requires_grad}
    assert ("pos_embed" in frozen, "blocks.0.mlp.fc1.bias" in frozen, "norm.weight" in frozen) == (
        freeze >= 1,
        freeze >= 2,
        freeze >= 3,
    )


@pytest.mark.parametrize(("backbone", "said"), [(VIT, "of 3"), (SMALL, "names none")])
def test_more_frozen_layers_than_there_are_is_refused(backbone, said):
    with pytest.raises(ConfigError, match=rf"{said}[\s\S]*lower recipe\.freeze"):
        classifier(backbone, freeze=4)


def test_the_head_alone_before_a_backbone_that_never_learns_is_refused():
    recipe = AdamW(batch_size=32, blr=4e-3, image_size=32, head_warmup_factor=2.0)
    build_optimizer(recipe, classifier(VIT, freeze=2))
    with pytest.raises(ConfigError, match=r"budget\.head_warmup=0"):
        build_optimizer(recipe, classifier(VIT, freeze=3))


def test_tokens_and_positions_do_not_decay():
    model = classifier(VIT)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = build_optimizer(AdamW(batch_size=256, blr=1.0, image_size=32), model).param_groups
    still = {names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    decayed = {names[id(p)] for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    assert {f"backbone.network.{name}" for name in ("cls_token", "reg_token", "pos_embed", "norm.bias")} <= still
    assert {"backbone.network.blocks.0.attn.qkv.weight", "head.weight"} <= decayed


@pytest.mark.parametrize(("backbone", "freeze"), [(SMALL, 0), (VIT, "all"), (VIT, 3)])
def test_layer_decay_that_changes_nothing_is_refused(backbone, freeze):
    recipe = AdamW(batch_size=32, blr=4e-3, image_size=32, layer_decay=0.75)
    with pytest.raises(ConfigError, match=r"layer_decay=1"):
        build_optimizer(recipe, classifier(backbone, freeze=freeze))
