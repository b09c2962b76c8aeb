"""Adapters on timm's and open_clip's transformers: what is added, what learns, what is kept."""

import json
from copy import deepcopy

import jaxtyping
import open_clip
import pytest
import torch
from torch.nn import functional as F

from lt_extrap.config import (
    AdamW,
    AdaptFormer,
    Biases,
    ConvNet,
    Head,
    LoRA,
    NoAdapter,
    Norms,
    OpenClip,
    Prompts,
    ScaleShift,
    Timm,
)
from lt_extrap.errors import ConfigError
from lt_extrap.model.adapters.adapted import adapt, merge
from lt_extrap.model.adapters.adaptformer import lift_width
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head
from lt_extrap.model.tokens import patch_tokens
from lt_extrap.optimizer import build_optimizer, parameter_groups

CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 3, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
    "text_cfg": {"layers": 1, "width": 16, "heads": 2, "context_length": 16},
}
TINY = {"depth": 3, "embed_dim": 24, "num_heads": 2}
NODES = {
    "timm": Timm(model="vit_tiny_patch16_224", options=TINY),
    "dinov2": Timm(model="vit_small_patch14_reg4_dinov2.lvd142m", options=TINY, pooling="mean"),
    "open_clip": OpenClip(model="tiny-adapter-clip"),
}
SIZE = {"timm": 32, "dinov2": 28, "open_clip": 32}
ADAPTERS = {
    "adaptformer": AdaptFormer(),
    "lora": LoRA(rank=2, alpha=3.0),
    "vpt_shallow": Prompts(count=3, deep=False),
    "vpt_deep": Prompts(count=3),
    "ssf": ScaleShift(),
    "bitfit": Biases(),
    "layernorm": Norms(),
}
CLASSES = 40  # bottlenecks of 4 on 3 blocks


@pytest.fixture(scope="module", autouse=True)
def _tiny_clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-adapter-clip.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder)


def built(kind):
    backbone = build_backbone(NODES[kind], image_size=SIZE[kind], seed=1)
    with torch.no_grad():  # layer scales and norms that are not all alike, as trained ones are not
        torch.manual_seed(2)
        for parameter in backbone.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone


def images(kind, count=3):
    torch.manual_seed(3)
    return torch.rand(count, 3, SIZE[kind], SIZE[kind]) * 255


def adapted(kind, adapter):
    backbone = built(kind)
    adapt(backbone, ADAPTERS[adapter], classes=CLASSES, seed=5)
    return backbone


def moved(backbone):
    """The adapter after it has learned something, whatever."""
    with torch.no_grad():
        torch.manual_seed(6)
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return backbone.eval()


BOTH = [pytest.param(kind, name, marks=[pytest.mark.slow] * (kind == "timm")) for kind in NODES for name in ADAPTERS]


@pytest.mark.parametrize(("classes", "wide"), [(1000, 32), (365, 8), (8142, 256), (100, 4), (24, 1), (5, 1), (48, 2)])
def test_the_width_is_lifts(classes, wide):
    assert lift_width(classes, 12) == wide


@pytest.mark.parametrize(
    "node",
    [Timm(model="vit_base_patch14_dinov2.lvd142m"), OpenClip(model="ViT-B-16-quickgelu")],
    ids=["dinov2", "clip"],
)
@pytest.mark.parametrize(("classes", "parameters"), [(1000, 617_868), (365, 175_212), (8142, 4_749_324)])
def test_adaptformer_has_the_published_number_of_parameters(node, classes, parameters):
    with torch.device("meta"):
        backbone = build_backbone(node, image_size=224, seed=0)
        adapt(backbone, AdaptFormer(), classes=classes, seed=0)
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == parameters


@pytest.mark.parametrize(("kind", "adapter"), BOTH)
def test_at_first_the_features_are_the_backbones(kind, adapter):
    before, after = built(kind).eval()(images(kind)), adapted(kind, adapter).eval()(images(kind))
    assert after.shape == before.shape
    if adapter.startswith("vpt"):
        assert not torch.allclose(after, before)
    elif kind == "open_clip":  # by another form of attention
        torch.testing.assert_close(after, before)
    else:
        assert torch.equal(after, before)


@pytest.mark.parametrize(("kind", "adapter"), BOTH)
def test_only_the_adapter_learns_and_only_it_is_kept(kind, adapter):
    backbone = adapted(kind, adapter)
    head = build_head(Head(), dim=backbone.dim, num_target=3, num_auxiliary=0, seed=0)
    model = Classifier(backbone, head)
    before = deepcopy(backbone.network.state_dict())
    state = model.state_dict()
    recipe = AdamW(batch_size=3, blr=1.0, image_size=32, layer_decay=0.5)
    optimizer = build_optimizer(recipe, model)
    for _ in range(3):  # a bottleneck that puts out zeros learns from its second step on
        optimizer.zero_grad()
        F.cross_entropy(model(images(kind)), torch.arange(3)).backward()
        optimizer.step()
    after = backbone.network.state_dict()
    kept = {key.removeprefix("backbone.network.") for key in state if key.startswith("backbone.")}
    assert kept == {key.removeprefix("network.") for key in backbone.adapter_keys}
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed <= kept
    assert kept - changed <= {key for key in kept if "attn.k" in key}  # to the keys' bias attention is blind

    other = Classifier(
        adapted(kind, adapter), build_head(Head(), dim=backbone.dim, num_target=3, num_auxiliary=0, seed=9)
    )
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(images(kind)), model.eval()(images(kind)))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({key: value for key, value in model.state_dict().items() if key != next(iter(state))})


@pytest.mark.parametrize("kind", ["dinov2", "open_clip"])
def test_an_adapter_learns_with_its_block(kind):
    backbone = adapted(kind, "vpt_deep")
    layers = {name: layer for name, layer in backbone.layers().items() if name.endswith("prompts")}
    assert sorted(layers.values()) == [1, 2, 3]
    model = Classifier(backbone, build_head(Head(), dim=backbone.dim, num_target=3, num_auxiliary=0, seed=0))
    groups = parameter_groups(AdamW(batch_size=256, blr=1.0, image_size=32, layer_decay=0.5), model)
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in groups}
    # Tokens never decay; the head's layer is the last block's.
    assert {name: rate for name, rate in rates.items() if "head" not in name} == {
        f"layer {layer}, no decay": (0.5 ** (backbone.head_layer() - layer), 0.0) for layer in (1, 2, 3)
    }


@pytest.mark.parametrize("kind", ["dinov2", "open_clip"])
def test_adaptformer_is_parallel_to_the_feed_forward_part(kind):
    backbone = moved(adapted(kind, "adaptformer"))
    network = backbone.network
    wrapped = network.visual.transformer.resblocks[1] if kind == "open_clip" else network.blocks[1]
    block, own = wrapped.block, wrapped.adapter
    torch.manual_seed(4)
    tokens = torch.randn(2, 5, block.mlp[0].in_features if kind == "open_clip" else 24)
    by_hand = []
    half = block.mlp.register_forward_hook(lambda _, seen, out: by_hand.append(out))
    inner = (block.ln_2 if kind == "open_clip" else block.norm2).register_forward_hook(
        lambda _, seen, out: by_hand.append(seen[0])
    )
    whole = block(tokens)  # without the adapter
    half.remove(), inner.remove()
    attended, _ = by_hand
    x = F.layer_norm(attended, attended.shape[-1:], own.norm.weight, own.norm.bias)
    added = F.relu(x @ own.down.weight.T + own.down.bias) @ own.up.weight.T + own.up.bias
    torch.testing.assert_close(wrapped(tokens), whole + own.scale * added)


@pytest.mark.parametrize("kind", ["dinov2", "open_clip"])
def test_lora_adds_its_product_to_queries_and_values(kind):
    backbone = moved(adapted(kind, "lora"))
    network = backbone.network
    attention = (network.visual.transformer.resblocks if kind == "open_clip" else network.blocks)[1].attn
    low, width = attention.qkv, attention.qkv.width
    weight = low.qkv.weight.detach().clone()
    for row in range(width):
        for column in range(width):
            for rank in range(2):
                weight[row, column] += 3.0 / 2 * low.up_query[row, rank] * low.down_query[rank, column]
                weight[2 * width + row, column] += 3.0 / 2 * low.up_value[row, rank] * low.down_value[rank, column]
    tokens = torch.randn(2, 5, width)
    torch.testing.assert_close(low(tokens), F.linear(tokens, weight, low.qkv.bias))
    torch.testing.assert_close(low.merged()(tokens), F.linear(tokens, weight, low.qkv.bias))


@pytest.mark.parametrize("adapter", ["lora", "ssf", "bitfit", "layernorm"])
@pytest.mark.parametrize("kind", ["dinov2", "open_clip"])
def test_merged_it_is_a_plain_network_with_the_same_features(kind, adapter):
    backbone = moved(adapted(kind, adapter))
    wanted = backbone(images(kind))
    assert not torch.allclose(wanted, built(kind).eval()(images(kind)))
    merge(backbone)
    torch.testing.assert_close(backbone(images(kind)), wanted)
    if kind == "dinov2":
        plain = built(kind)
        plain.load_state_dict(backbone.state_dict())
        torch.testing.assert_close(plain.eval()(images(kind)), wanted)


def test_scale_and_shift_stand_behind_each_layer():
    backbone = moved(adapted("dinov2", "ssf"))
    layer = backbone.network.blocks[0].mlp.fc1
    tokens = torch.randn(2, 5, 24)
    by_hand = (tokens @ layer.layer.weight.T + layer.layer.bias) * layer.scale + layer.shift
    torch.testing.assert_close(layer(tokens), by_hand)
    patches = backbone.network.patch_embed.proj
    pixels = torch.randn(1, 3, 28, 28)
    by_hand = patches.layer(pixels) * patches.scale[:, None, None] + patches.shift[:, None, None]
    torch.testing.assert_close(patches(pixels), by_hand)


@pytest.mark.parametrize("adapter", ["vpt_shallow", "vpt_deep"])
@pytest.mark.parametrize("kind", ["dinov2", "open_clip"])
def test_prompts_are_read_by_the_blocks_and_pooled_by_nothing(kind, adapter):
    backbone = adapted(kind, adapter).eval()
    network = backbone.network
    holder = network.visual.transformer.resblocks if kind == "open_clip" else network.blocks
    prompted = [block for block in holder if getattr(block, "prompts", None) is not None]
    assert len(prompted) == (1 if adapter == "vpt_shallow" else 3)
    width = prompted[0].prompts.shape[1]
    # By hand: prompts in front of all tokens, where attention cannot tell; of deep ones each block has its own.
    blocks = [getattr(block, "block", block) for block in holder]
    own = [getattr(block, "prompts", None) for block in holder]
    seen = []
    hook = blocks[0].register_forward_hook(lambda _, given, out: seen.append(given[0]))
    features = backbone(images(kind))
    hook.remove()
    tokens, inside = seen[0][:, :-3], 0
    for block, prompts in zip(blocks, own, strict=True):
        if prompts is not None:
            tokens = torch.cat([prompts.expand(len(tokens), -1, -1), tokens[:, inside:]], dim=1)
            inside = 3
        tokens = block(tokens)
    tokens = tokens[:, 3:]
    if kind == "open_clip":
        visual = network.visual
        by_hand = visual.ln_post(tokens)[:, 0] @ visual.proj
        assert tokens.shape[1] == 1 + 16
    else:
        by_hand = network.norm(tokens)[:, 5:].mean(dim=1)  # without a class and four register tokens
        assert tokens.shape[1] == 5 + 4
    torch.testing.assert_close(features, by_hand)
    edge = 4 if kind == "open_clip" else 2
    assert patch_tokens(backbone, images(kind)).shape == (3, edge, edge, width)


@pytest.mark.parametrize(("kind", "adapter"), [("dinov2", "adaptformer"), ("open_clip", "vpt_deep"), ("timm", "lora")])
def test_activations_computed_again_give_the_same_gradients(kind, adapter):
    def gradients(again):
        backbone = adapted(kind, adapter)
        backbone.network.set_grad_checkpointing(again)
        backbone.train()(images(kind)).square().sum().backward()
        return {name: p.grad for name, p in backbone.named_parameters() if p.requires_grad}

    plain, again = gradients(False), gradients(True)
    assert any(value.abs().max() > 0 for value in plain.values())
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("kind", ["dinov2", pytest.param("open_clip", marks=pytest.mark.long)])
def test_it_compiles_without_a_break(kind, adapter, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # no graph holds the tests' checks of shapes
    torch.compiler.reset()  # or the graphs of the other cases count towards a limit
    backbone = moved(adapted(kind, adapter))
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images(kind)), backbone(images(kind)))


@pytest.mark.parametrize(
    ("node", "found"),
    [
        (ConvNet(), "ResidualNet"),
        (Timm(model="resnet18"), "ResNet"),
        (Timm(model="deit3_small_patch16_224"), None),
        (Timm(model="vit_srelpos_small_patch16_224"), "VisionTransformerRelPos"),
        (Timm(model="vit_tiny_r_s16_p8_224"), None),
        (OpenClip(model="RN50"), "ModifiedResNet"),
    ],
)
def test_it_stands_on_plain_transformers_alone(node, found):
    with torch.device("meta"):
        backbone = build_backbone(node, image_size=224, seed=0)
        if found is None:
            adapt(backbone, AdaptFormer(), classes=CLASSES, seed=0)
            assert backbone.adapter_keys
        else:
            with pytest.raises(ConfigError, match=rf"for the adapter AdaptFormer\n  found:  {found}"):
                adapt(backbone, AdaptFormer(), classes=CLASSES, seed=0)


def test_the_start_is_a_function_of_the_seed():
    one, same, other = (built("dinov2") for _ in range(3))
    for backbone, seed in ((one, 1), (same, 1), (other, 2)):
        torch.rand(1)
        adapt(backbone, LoRA(rank=2), classes=CLASSES, seed=seed)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert one.identity == other.identity
    untouched = built("dinov2")
    adapt(untouched, NoAdapter(), classes=CLASSES, seed=0)
    assert untouched.adapter_keys is None
    assert not untouched.frozen
