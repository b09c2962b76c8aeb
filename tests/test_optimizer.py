import pytest
import torch
from torch import nn

from lt_extrap.compose import configure
from lt_extrap.config import AdamW, Sgd
from lt_extrap.optimizer import build_optimizer, lr_share

MODEL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


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
    optimizer = build_optimizer(recipe, MODEL)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: lr_share(recipe, step, warmup=5 * 84, steps=200 * 84)
    )
    golden = {0: 0.1 / 420, 1: 0.2 / 420, 419: 0.1, 420: 0.1, 160 * 84 - 1: 0.1, 160 * 84: 1e-3}
    golden |= {180 * 84 - 1: 1e-3, 180 * 84: 1e-5, 200 * 84 - 1: 1e-5}
    rates = {step: 0.1 * schedule.lr_lambdas[0](step) for step in golden}
    assert rates == pytest.approx(golden, rel=1e-12)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(golden[0], rel=1e-12)


@pytest.mark.parametrize("steps", [7, 84 * 200, 9_999])
def test_each_milestone_multiplies_once_and_exactly(steps):
    recipe = Sgd(batch_size=1, blr=1.0, image_size=8, milestones=[0.3, 0.6, 0.9], gamma=0.5)
    shares = [lr_share(recipe, step, warmup=0, steps=steps) for step in range(steps)]
    assert sorted(set(shares), reverse=True) == [1.0, 0.5, 0.25, 0.125]
    assert [shares.index(share) for share in (0.5, 0.25, 0.125)] == [round(m * steps) for m in (0.3, 0.6, 0.9)]


def test_decay_of_adamw_is_for_weights_only():
    recipe = AdamW(batch_size=32, blr=4e-3, image_size=32)
    weights, others = build_optimizer(recipe, MODEL).param_groups
    assert (weights["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    assert [p.ndim for p in weights["params"]] == [4, 2]
    assert [p.ndim for p in others["params"]] == [1, 1, 1, 1]
    assert weights["lr"] == others["lr"] == 4e-3 * 32 / 256


def test_decay_of_sgd_is_for_all_parameters_that_are_trained():
    recipe = Sgd(batch_size=128, blr=0.2, image_size=32)
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), MODEL)
    (group,) = build_optimizer(recipe, model).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 2e-4)
    assert [id(p) for p in group["params"]] == [id(p) for p in MODEL.parameters()]
