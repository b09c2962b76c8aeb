"""The training step: parts of a batch, the head alone, precision; on one batch after the other, without a run."""

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch.utils.data import DataLoader

from lt_extrap.config import AdamW, BatchNormHead, ConvNet, Head, Sgd, Timm
from lt_extrap.data.batch import Batch
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head
from lt_extrap.model.losses import balanced_softmax, neighbor_silencing
from lt_extrap.model.relation import NeighborRelation
from lt_extrap.model.shots import Shot
from lt_extrap.module import ExtrapolationModule, build_module
from lt_extrap.trainer import quiet

SIZE = 16
VIT = Timm(
    model="vit_tiny_patch16_224",
    options={"depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 8, "init_values": 1},
)
CONVNET = ConvNet(widths=[8])  # of 4 channels torch 2.14 writes past the end on a CPU with AVX2 alone


def module_of(recipe, backbone=VIT, *, freeze=0, head=None, loss=None, **schedule):
    body = build_backbone(backbone, image_size=SIZE, seed=0)
    if freeze:
        body.freeze(freeze)
    head = build_head(head or Head(), dim=body.dim, num_target=2, num_auxiliary=2, seed=0)
    return ExtrapolationModule(
        model=Classifier(body, head),
        loss=loss or balanced_softmax(torch.tensor([9, 3, 5, 5]), num_target=2),
        recipe=recipe,
        shots=[Shot.MANY, Shot.FEW],
        seed=0,
        skip_unreadable=True,
        **{"steps": 100, "warmup": 0, **schedule},
    )


def batches(*sizes):
    torch.manual_seed(1)
    return [
        Batch(
            torch.randint(0, 256, (images, 3, SIZE, SIZE), dtype=torch.uint8),
            torch.randint(0, 4, (images,)),
            torch.arange(images),
            [] if images == 8 else ["one: cut short"],
        )
        for images in sizes
    ]


def fit(module, *sizes, precision=None, **options):
    """Train on batches of these sizes; the trainer."""
    with quiet():
        trainer = L.Trainer(
            accelerator="cpu",
            max_steps=len(sizes),
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=precision,
            **options,
        )
        trainer.fit(module, DataLoader(batches(*sizes), batch_size=None), [])
    return trainer


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def recipe_of(kind=AdamW, **options):
    return kind(**{"batch_size": 8, "blr": 1.0, "image_size": SIZE, **options})


@pytest.mark.parametrize(
    ("sizes", "precision"),
    [((8, 8), "32-true"), ((7, 5), "32-true"), ((8, 1), "32-true"), ((7, 5), "bf16-mixed")],
    ids=str,
)
def test_parts_give_the_step_of_the_whole_batch(sizes, precision):
    """Also where images are missing and Mixup mixes; SGD, whose step is its gradient."""
    whole, parts = (
        module_of(recipe_of(Sgd, accumulate=accumulate, mixup=0.8, clip=0.5, weight_decay=0.0)) for accumulate in (1, 4)
    )
    before, losses = state(whole), []
    for module in (whole, parts):
        trainer = fit(module, *sizes, precision=MixedPrecision("bf16-mixed", "cpu") if precision != "32-true" else None)
        assert trainer.global_step == 2
        losses.append(float(trainer.callback_metrics["train/loss"]))
    tolerance = 1e-6 if precision == "32-true" else 2e-3
    assert losses[0] == pytest.approx(losses[1], abs=10 * tolerance)
    assert any(not torch.equal(before[key], value) for key, value in whole.state_dict().items())
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, atol=tolerance, rtol=0)


@pytest.mark.filterwarnings("ignore:.*returned `None`")  # which Lightning says once a process
def test_a_batch_without_an_image_steps_on_nothing():
    module = module_of(recipe_of(Sgd, accumulate=2, momentum=0.0, weight_decay=0.0))
    fit(module, 8)
    once = state(module)
    module = module_of(recipe_of(Sgd, accumulate=2, momentum=0.0, weight_decay=0.0))
    fit(module, 8, 0)
    assert all(torch.equal(once[key], value) for key, value in module.state_dict().items())


class Half(MixedPrecision):
    """float16 with a scaler, which Lightning offers on a GPU only."""

    def __init__(self, scale):
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))


@pytest.mark.parametrize(
    ("backbone", "head", "precision"), [(VIT, Head(), None), (CONVNET, BatchNormHead(), 2.0**10)], ids=["vit", "half"]
)
def test_at_first_the_head_learns_alone(backbone, head, precision):
    recipe = recipe_of(head_warmup_factor=10.0, clip=0.1, accumulate=2, ema=0.5)
    alone = module_of(recipe, backbone, head=head, warmup=4, head_warmup=3)
    # The same rates on a backbone that is frozen: so the clipped norm is that of the head.
    recipe_of_the_head = recipe_of(head_lr_factor=10.0, clip=0.1, accumulate=2, ema=0.5)
    frozen = module_of(recipe_of_the_head, backbone, head=head, warmup=4)
    frozen.model.backbone.freeze()
    before = state(alone)
    for module in (alone, frozen):
        trainer = fit(module, 8, 8, 8, precision=precision and Half(precision))
    after = alone.state_dict()
    assert all(torch.equal(after[key], value) for key, value in frozen.state_dict().items())
    assert all(torch.equal(after[key], value) for key, value in before.items() if "backbone" in key)
    assert not torch.equal(after["model.head.weight"], before["model.head.weight"])
    alone = module_of(recipe, backbone, head=head, warmup=4, head_warmup=3)
    trainer = fit(alone, 8, 8, 8, 8, precision=precision and Half(precision))
    moved = alone.state_dict()
    assert any(not torch.equal(moved[key], value) for key, value in before.items() if "backbone" in key)
    moments = trainer.optimizers[0].state
    assert {int(moments[p]["step"]) for p in alone.model.backbone.parameters()} == {1}
    assert {int(moments[p]["step"]) for p in alone.model.head.parameters()} == {4}
    assert int(alone.average.n_averaged) == 4  # once a step, not a part


@pytest.mark.filterwarnings("ignore:.*returned `None`")  # which Lightning says once a process
def test_the_backbone_learns_after_the_head_whatever_the_batch_between_them():
    module = module_of(recipe_of(head_warmup_factor=1.0), CONVNET, warmup=2, head_warmup=2)
    fit(module, 8, 8, 0, 8)
    assert module.model.backbone.training
    assert int(module.model.backbone.network.stem[1].num_batches_tracked) == 1


def test_a_step_that_float16_cannot_hold_is_left_out():
    """It counts, for the rate and the average; the scale that was found is kept."""
    precision = Half(2.0**60)
    module = module_of(recipe_of(clip=1.0, ema=0.9))
    before = state(module)
    trainer = fit(module, 8, 8, precision=precision)
    assert trainer.global_step == 2
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in before.items() if "n_averaged" not in key)
    assert trainer.strategy.precision_plugin.state_dict()["scale"] == 2.0**58
    precision.scaler.update(2.0**10)
    fit(module, 8, precision=precision)
    assert not torch.equal(module.model.head.weight, before["model.head.weight"])


@pytest.mark.parametrize(("fused", "scale"), [(False, None), (True, None), (False, 2.0**14)])
def test_gradients_are_clipped_to_the_norm_that_is_asked_for(fused, scale):
    """Those of all parts together, after a scaler has scaled them back. AdamW's step would not show a factor."""
    module = module_of(recipe_of(clip=0.05, accumulate=4, fused=fused))
    fit(module, 8, precision=scale and Half(scale))
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in module.model.parameters()])
    assert float(norm) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.slow
def test_training_alone_is_compiled(small):
    config = small("component=baseline", "compile=true")
    target = load_target(config.target)
    module = build_module(config, target, build_training_set(config.auxiliary, target, seed=0), steps=1)
    assert module.model._compiled_call_impl is not None  # torch has no public question for it
    assert module.measured.forward.__func__ is Classifier.forward


@pytest.mark.parametrize("layers", [1, 2])
def test_frozen_layers_stay_as_they_are(layers):
    """And the optimizer does not hold them."""
    module = module_of(recipe_of(freeze=layers, layer_decay=0.75, clip=1.0), freeze=layers)
    before = state(module)
    trainer = fit(module, 8, 8)
    still = {key for key, value in before.items() if torch.equal(module.state_dict()[key], value)}
    own = module.model.backbone.layers()
    assert {f"model.backbone.network.{name}" for name, layer in own.items() if layer < layers} == {
        key for key in still if "network" in key
    }
    held = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert held == {id(p) for p in module.parameters() if p.requires_grad}


def test_statistics_of_frozen_layers_do_not_move():
    backbone = Timm(model="test_resnet")
    module = module_of(recipe_of(freeze=2), backbone, freeze=2)
    before = state(module)
    fit(module, 8)
    moved = {key for key, value in before.items() if not torch.equal(module.state_dict()[key], value)}
    assert "model.backbone.network.bn1.running_mean" not in moved
    assert not [key for key in moved if "layer1.0" in key]
    assert [key for key in moved if "layer4" in key and "running_var" in key]


def test_stochastic_depth_grows_with_depth_and_trains_only():
    body = build_backbone(
        Timm(model=VIT.model, options={**VIT.options, "depth": 4}, drop_path=0.6), image_size=SIZE, seed=0
    )
    drops = [
        [getattr(block.drop_path1, "drop_prob", 0.0), getattr(block.drop_path2, "drop_prob", 0.0)]
        for block in body.network.blocks
    ]
    assert drops == [pytest.approx([0.2 * i] * 2) for i in range(4)]
    images = batches(8)[0].images.float()
    torch.manual_seed(0)
    assert not torch.equal(body(images), body(images))
    body.eval()
    assert torch.equal(body(images), body(images))


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "test_convnext"])
def test_checkpointing_of_activations_saves_memory_and_changes_nothing(model):
    options = VIT.options if model == VIT.model else {}
    gradients, saved = [], []
    for checkpointing in (False, True):
        backbone = Timm(model=model, options=options, drop_path=0.5, gradient_checkpointing=checkpointing)
        body = build_backbone(backbone, image_size=32, seed=0)
        held = []
        torch.manual_seed(0)
        with torch.autograd.graph.saved_tensors_hooks(lambda t, held=held: held.append(t.nbytes) or t, lambda t: t):
            features = body(torch.rand(8, 3, 32, 32) * 255)
        saved.append(sum(held))
        features.square().sum().backward()
        gradients.append([p.grad for p in body.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert saved[1] < saved[0] / 2


def test_a_fused_step_is_the_same_step():
    """With clipping, which Lightning refuses for a fused optimizer under any mixed precision."""
    # One step: in bfloat16 the last bit of a weight becomes the third digit of the next gradient.
    plain, fused = (module_of(recipe_of(clip=0.1, fused=fused)) for fused in (False, True))
    steps = [fit(module, 8, precision=MixedPrecision("bf16-mixed", "cpu")).optimizers[0] for module in (plain, fused)]
    assert steps[1].param_groups[0]["fused"]
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[key], value, atol=1e-6, rtol=1e-5)
    averages = [[state["exp_avg"] for state in step.state.values()] for step in steps]
    torch.testing.assert_close(averages[1], averages[0], atol=1e-8, rtol=1e-5)
    assert sum(average.square().sum() for average in averages[1]).sqrt() == pytest.approx((1 - 0.9) * 0.1, rel=1e-3)


def test_the_average_leaves_prior_and_relation_alone():
    relation = NeighborRelation.from_pairs(torch.tensor([[0, 2], [1, 3], [0, 3]]).numpy(), 2, 4)
    loss = neighbor_silencing(torch.tensor([9, 3, 5, 5]), relation=relation, num_target=2)
    before = {key: value.clone() for key, value in loss.named_buffers()}
    module = module_of(recipe_of(Sgd, ema=0.9), CONVNET, loss=loss)
    fit(module, *[8] * 100)
    assert int(module.average.n_averaged) == 100
    assert before.keys() >= {"counts", "neighbor"}
    for key, value in module.loss.named_buffers():
        assert torch.equal(value, before[key]), key
        assert value.dtype == before[key].dtype, key


def test_no_part_of_a_smaller_batch_is_one_image():
    module = module_of(recipe_of(Sgd, batch_size=9, accumulate=3), CONVNET, head=BatchNormHead())
    fit(module, 9, 7, 6)  # batch normalisation raises at a single image
    assert module.global_step == 3
