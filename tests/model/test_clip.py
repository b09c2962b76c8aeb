"""Towers of tiny open_clip models, with weights in the formats that the published ones have."""

import json
import warnings

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from conftest import SMALL
from lt_extrap.compose import configure
from lt_extrap.config import AdamW, CosineHead, Head, OpenClip, TextHead
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.export import ExportConfig, export
from lt_extrap.model.backbones import build_backbone, load_pretrained
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.clip import TextTower, is_cached
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.model.heads import build_head, started_head
from lt_extrap.model.preprocessing import preprocessing_of
from lt_extrap.module import build_model
from lt_extrap.optimizer import build_optimizer
from lt_extrap.predict import PredictConfig, predict
from lt_extrap.runs import load
from lt_extrap.train import train

VIT = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
TEXT = {"layers": 1, "width": 16, "heads": 2, "context_length": 16}
TINY = {
    "tiny-clip": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    "tiny-clip-quickgelu": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "tiny-clip-custom": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT, "custom_text": True},
    "tiny-rn": {
        "embed_dim": 24,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32},
        "text_cfg": TEXT,
    },
    "tiny-timm": {
        "embed_dim": 24,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "image_size": 160},
        "text_cfg": TEXT,
    },
    "tiny-siglip": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": {**TEXT, "hf_tokenizer_name": "nobody/tokens"}},
}
IMAGES = 255 * torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NAMES = ("snow_leopard", "lion", "house  cat")


@pytest.fixture(autouse=True, scope="module")
def _tiny_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, config in TINY.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


def whole(name):
    """A model of open_clip with random weights, as open_clip makes it."""
    torch.manual_seed(7)
    return open_clip.create_model(name, pretrained_text=False).eval()


@pytest.fixture
def saved(tmp_path):
    """A model of open_clip and the file that it is in."""

    def make(name="tiny-clip", change=lambda weights: weights, file="weights.pt"):
        model, path = whole(name), tmp_path / file
        weights = change(model.state_dict())
        save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
        return model, path

    return make


def loaded(name, path, size=32, **options):
    node = OpenClip(model=name, weights=str(path), **options)
    body = build_backbone(node, image_size=size, seed=0)
    assert load_pretrained(body, node)
    return body.eval()


def prefixed(prefix):
    return lambda weights: {f"{prefix}{key}": value for key, value in weights.items()}


def image_tower(weights):
    return {key.removeprefix("visual."): value for key, value in weights.items() if key.startswith("visual.")}


LAYOUTS = {
    "plain": lambda weights: weights,
    "training": lambda weights: {"epoch": 3, "name": "run", "state_dict": prefixed("module.")(weights)},
    "compiled": prefixed("_orig_mod."),
    "wrapped": prefixed("model."),
    "image tower": image_tower,
    "image tower with its prefix": lambda weights: prefixed("visual.")(image_tower(weights)),
    "half": lambda weights: {key: value.half() for key, value in weights.items()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_features_are_the_embeddings_of_open_clip_whatever_the_layout(saved, layout):
    model, path = saved(change=LAYOUTS[layout])
    body = loaded("tiny-clip", path)
    assert all(p.dtype == torch.float32 for p in body.parameters())
    assert not any("text" in name or "token_embedding" in name for name, _ in body.named_parameters())
    expected = model.encode_image((IMAGES - body.mean) / body.std)
    torch.testing.assert_close(body(IMAGES), expected, atol=2e-2 if layout == "half" else 1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "patch"),
    [("tiny-clip-custom", 32, 8), ("tiny-clip-quickgelu", 32, 8), ("tiny-rn", 32, 1), ("tiny-timm", 160, 16)],
)
def test_towers_of_every_kind(saved, name, size, patch):
    model, path = saved(name, file="open_clip_model.safetensors")
    images = 255 * torch.rand(2, 3, size, size)
    body = loaded(name, path, size)
    assert (body.dim, body.patch_size) == (24, patch)
    torch.testing.assert_close(body(images), model.encode_image((images - body.mean) / body.std))


def openai_archive(path):
    """What OpenAI published: TorchScript with halves and three numbers beside the weights."""
    model = whole("tiny-clip-quickgelu")
    open_clip.convert_weights_to_fp16(model)
    for key, value in (("input_resolution", 32), ("context_length", 16), ("vocab_size", 49408)):
        vars(model).pop(key, None)
        model.register_buffer(key, torch.tensor(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(1, 3, 32, 32).half(), torch.zeros(1, 16, dtype=torch.long))
        torch.jit.save(torch.jit.trace(model, example, check_trace=False), path)
    return model.float()


def test_openais_own_archive_wants_quickgelu(tmp_path):
    model = openai_archive(tmp_path / "ViT.pt")
    body = loaded("tiny-clip-quickgelu", tmp_path / "ViT.pt")
    torch.testing.assert_close(body(IMAGES), model.encode_image((IMAGES - body.mean) / body.std))
    with pytest.raises(ConfigError, match=r"QuickGELU for OpenAI's weights.*\n.*\n.*model=tiny-clip-quickgelu"):
        loaded("tiny-clip", tmp_path / "ViT.pt")


def test_a_tag_wants_its_activation(tmp_path):
    for weights in ("hub", str(tmp_path / "x.pt")):
        with pytest.raises(
            ConfigError, match=r"QuickGELU for the tag openai.*\n.*\n.*backbone.model=ViT-B-16-quickgelu"
        ):
            TextTower(OpenClip(model="ViT-B-16", weights=weights, tag="openai"))
    with pytest.raises(ConfigError, match=r"tag.*\n.*laion2b.*\n.*openai"):
        preprocessing_of(OpenClip(model="ViT-B-16-quickgelu", weights="hub", tag="laion2b_s34b_b88k"))


def test_what_open_clip_writes_beside_weights_is_compared(saved):
    _, path = saved()
    beside = path.with_name("open_clip_config.json")
    beside.write_text(json.dumps({"model_cfg": {"quick_gelu": True}}))
    with pytest.raises(ConfigError, match="QuickGELU for the weights that .*open_clip_config.json"):
        loaded("tiny-clip", path)
    beside.write_text(json.dumps({"model_cfg": {}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}))
    with pytest.raises(ConfigError, match=r"backbone.mean=\[0.5, 0.5, 0.5\]"):
        loaded("tiny-clip", path)
    loaded("tiny-clip", path, mean=[0.5, 0.5, 0.5])


def test_weights_that_do_not_fit_are_listed(saved):
    def change(weights):
        weights["visual.head.more"] = weights.pop("visual.proj")
        return weights

    _, path = saved(change=change)
    with pytest.raises(ConfigError, match=r"1 missing: visual\.proj; 1 unknown: visual\.head\.more"):
        loaded("tiny-clip", path)
    with pytest.raises(
        ConfigError,
        match=r"(?s)missing: visual\.bn1.*31 unknown: visual\.class_emb.*visual\.conv1\.weight \(32, 3, 8, 8\), not",
    ):
        loaded("tiny-rn", path)
    with pytest.raises(DataError, match=r"nowhere\.pt"):
        loaded("tiny-clip", path.with_name("nowhere.pt"))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub, no network, and weights that open_clip names for a tiny model."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    published = {
        "hf_hub": "nobody/tiny/",
        "url": "",
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "interpolation": "bilinear",
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", {"made": published})
    return tmp_path / "hub"


def test_the_cache_of_the_hub_is_enough(hub_cache, saved):
    snapshot = hub_cache / "models--nobody--tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    model, path = saved(file="open_clip_model.safetensors")
    node = OpenClip(model="tiny-clip", weights="hub", tag="made")
    assert not is_cached(node)
    path.rename(snapshot / path.name)
    assert is_cached(node)
    body = loaded("tiny-clip", "hub", tag="made")
    assert (body.preprocessing.mean, body.preprocessing.interpolation) == ((0.5,) * 3, "bilinear")
    torch.testing.assert_close(body(IMAGES), model.encode_image(IMAGES / 127.5 - 1))


def test_without_a_network_and_a_copy_both_ways_are_named(hub_cache):
    with pytest.raises(ConfigError, match=r"(?s)hf download nobody/tiny.*weights=<file>"):
        loaded("tiny-clip", "hub", tag="made")


@pytest.mark.parametrize(
    ("node", "mean", "size", "interpolation"),
    [
        (OpenClip(model="ViT-B-16-quickgelu"), 0.48145466, 224, "bicubic"),
        (OpenClip(model="ViT-L-14-336"), 0.48145466, 336, "bicubic"),
        (OpenClip(model="ViT-L-14", weights="x.pt", tag="laion2b_s32b_b82k"), 0.5, 224, "bicubic"),
        (OpenClip(model="ViT-B-16-SigLIP-384"), 0.5, 384, "bicubic"),
        (OpenClip(model="MobileCLIP-S1"), 0.0, 256, "bilinear"),
        (OpenClip(model="tiny-clip", mean=[0.1, 0.1, 0.1]), 0.1, 32, "bicubic"),
    ],
)
def test_preprocessing_is_that_of_the_weights(node, mean, size, interpolation):
    found = preprocessing_of(node)
    assert (found.mean[0], found.size, found.interpolation) == (mean, size, interpolation)


def test_preprocessing_that_a_file_leaves_open_is_asked_for():
    with pytest.raises(ConfigError, match=r"(?s)ViT-L-14 with different ones.*backbone.tag"):
        preprocessing_of(OpenClip(model="ViT-L-14", weights="x.pt"))
    with pytest.raises(ConfigError, match="(?s)vit-b16.*such as"):
        preprocessing_of(OpenClip(model="vit-b16"))


@pytest.mark.parametrize(("name", "native", "size"), [("tiny-clip", 32, 48), ("tiny-timm", 160, 64)])
def test_positions_are_resampled_to_another_size(saved, name, native, size):
    _, path = saved(name)
    images = 255 * torch.rand(2, 3, size, size)
    body, other = loaded(name, path, size), loaded(name, path, native)
    assert body(images).shape == (2, 24)
    native_state = other.state_dict()
    moved = [key for key, value in body.state_dict().items() if value.shape != native_state[key].shape]
    assert [key.rpartition(".")[2] for key in moved] in (["positional_embedding"], ["pos_embed"])
    assert all(torch.equal(value, native_state[key]) for key, value in body.state_dict().items() if key not in moved)
    torch.testing.assert_close(body.state_dict()[moved[0]].mean(), native_state[moved[0]].mean(), atol=0.05, rtol=0)


def test_positions_of_a_residual_network_stay(saved):
    _, path = saved("tiny-rn")
    with pytest.raises(ConfigError, match="recipe.image_size=32"):
        loaded("tiny-rn", path, 64)


def rates(name, size=32):
    body = build_backbone(OpenClip(model=name), image_size=size, seed=0)
    model = Classifier(body, build_head(Head(), dim=body.dim, num_target=2, num_auxiliary=0, seed=0))
    names = {id(p): key.removeprefix("backbone.network.visual.") for key, p in model.named_parameters()}
    groups = build_optimizer(AdamW(batch_size=256, blr=1.0, image_size=size, layer_decay=0.5), model).param_groups
    return {names[id(p)]: (group["lr"], group["weight_decay"] > 0) for group in groups for p in group["params"]}


def test_layers_learn_at_their_own_rates():
    vit = rates("tiny-clip")
    assert {vit[key] for key in ("class_embedding", "positional_embedding", "ln_pre.weight")} == {(1 / 8, False)}
    assert vit["conv1.weight"] == (1 / 8, True)
    assert [vit[f"transformer.resblocks.{i}.mlp.c_fc.weight"] for i in (0, 1)] == [(1 / 4, True), (1 / 2, True)]
    assert (vit["proj"], vit["ln_post.weight"], vit["head.weight"]) == ((1, True), (1, False), (1, True))
    timm = rates("tiny-timm", 32)
    assert timm["trunk.pos_embed"] == timm["trunk.cls_token"] == (timm["trunk.patch_embed.proj.weight"][0], False)
    assert timm["trunk.blocks.0.attn.qkv.weight"][0] == 2 * timm["trunk.pos_embed"][0]
    assert timm["head.proj.weight"] == (1, True)
    rn = rates("tiny-rn")
    assert [rn[f"layer{i}.0.conv1.weight"][0] for i in (1, 4)] == [1 / 16, 1 / 2]
    assert rn["attnpool.positional_embedding"] == (1, False)


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-timm"])
def test_checkpointing_changes_no_number(name):
    gradients = []
    for checkpointing in (False, True):
        node = OpenClip(model=name, gradient_checkpointing=checkpointing)
        body = build_backbone(node, image_size=32, seed=0)
        body(IMAGES).square().mean().backward()
        gradients.append([p.grad for p in body.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_checkpointing_that_a_tower_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="gradient_checkpointing"):
        build_backbone(OpenClip(model="tiny-rn", gradient_checkpointing=True), image_size=32, seed=0)


@pytest.mark.parametrize("name", ["tiny-clip-custom", "tiny-clip-quickgelu"])
def test_a_text_head_is_the_zero_shot_classifier_of_open_clip(saved, name):
    model, path = saved(name)
    body, templates = loaded(name, path), ["a photo of a {}.", "art of the {}."]
    tower = TextTower(OpenClip(model=name, weights=str(path)))
    head = started_head(TextHead(), tower.embed([*NAMES, "tiger"], templates))
    assert zero_shot_differs_by(model, name, Classifier(body, head), [*NAMES, "tiger"], templates) < 1e-4


def test_before_the_projection_text_is_taken_back_through_it(saved):
    """As LIFT has it: sentences of length 1, their mean, times the transpose of the projection, of length 1."""
    model, path = saved()
    body, templates = loaded("tiny-clip", path, projection=False), ["a photo of a {}.", "art of the {}."]
    assert body.dim == VIT["width"]
    assert "network.visual.proj" not in body.state_dict()
    shown = (IMAGES - body.mean) / body.std
    with torch.no_grad():
        torch.testing.assert_close(body(IMAGES) @ model.visual.proj, model.encode_image(shown))
        texts = torch.stack(
            [
                model.encode_text(open_clip.get_tokenizer("tiny-clip")([text.format("snow leopard")]), normalize=True)[
                    0
                ]
                for text in templates
            ]
        )
        row = texts.mean(0) @ model.visual.proj.T
    tower = TextTower(OpenClip(model="tiny-clip", weights=str(path), projection=False))
    torch.testing.assert_close(tower.embed(["snow_leopard"], templates), (row / row.norm())[None])


@pytest.mark.parametrize("name", ["tiny-rn", "tiny-timm"])
def test_a_projection_that_cannot_be_left_out_is_refused(name):
    with pytest.raises(ConfigError, match="whose projection is a part of another network"):
        build_backbone(OpenClip(model=name, projection=False), image_size=32, seed=0)


def test_a_file_without_the_projection_gives_features_and_no_text(saved):
    def without(weights):
        return {key: value for key, value in weights.items() if key != "visual.proj"}

    model, path = saved(change=without)
    body = loaded("tiny-clip", path, projection=False)
    assert torch.equal(body.network.visual.conv1.weight, model.visual.conv1.weight)
    with pytest.raises(ConfigError, match="head=class_mean"):
        TextTower(OpenClip(model="tiny-clip", weights=str(path), projection=False))


def zero_shot_differs_by(model, name, built, names, templates):
    """From logits that open_clip makes of class names, with the scale that CLIP was trained to."""
    tokenizer = open_clip.get_tokenizer(name)
    names = [name.replace("_", " ") for name in names]
    texts = open_clip.build_zero_shot_classifier(model, tokenizer, names, [text.format for text in templates])
    images = model.encode_image((IMAGES - built.backbone.mean) / built.backbone.std, normalize=True)
    return (built(IMAGES) - 100 * images @ texts).abs().max().item()


def test_an_embedding_does_not_depend_on_how_many_follow(saved):
    _, path = saved()
    tower = TextTower(OpenClip(model="tiny-clip", weights=str(path)))
    many = [f"{name} {i}" for i in range(30) for name in NAMES]
    few = tower.embed(many[:7], ["a {}."])
    assert torch.equal(few, tower.embed(many, ["a {}."])[:7])
    assert torch.equal(tower.embed(["snow_leopard"], ["{}"]), tower.embed(["snow  leopard"], ["{}"]))
    assert tower.embed([], ["{}"]).shape == (0, 24)


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [(image_tower, "tiny-clip", "an image tower alone"), (dict, "tiny-siglip", "hf download nobody/tokens")],
)
def test_a_text_tower_that_is_not_there_is_told(saved, change, name, said, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _, path = saved(name, change)
    with pytest.raises(ConfigError, match=said):
        TextTower(OpenClip(model=name, weights=str(path)))


def test_text_without_weights_is_refused():
    with pytest.raises(ConfigError, match="random texts mean nothing"):
        TextTower(OpenClip(model="tiny-clip"))


@pytest.mark.parametrize(
    "options", [{"weights": "hub"}, {"tag": "openai"}, {"weights": "hub", "tag": "openai", "mean": [0.5]}]
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ConfigError, match=r"backbone\.(tag|mean)"):
        OpenClip(model="ViT-B-16", **options)


@pytest.fixture
def clip_config(saved):
    """Make a configuration of the small world with a tiny CLIP in a file."""

    def make(*overrides):
        model, path = saved()
        without = [word for word in SMALL if not word.startswith(("backbone", "recipe.image_size"))]
        backbone = ("backbone=clip", "backbone.model=tiny-clip", f"backbone.weights={path}", "recipe=finetune")
        return model, path, configure(*without, *backbone, *overrides)

    return make


def test_text_is_for_clip(small):
    config = small("head=text")
    target = load_target(config.target)
    with pytest.raises(ConfigError, match="backbone=clip for head=text"):
        build_model(config, target, build_training_set(config.auxiliary, target, seed=0))


@pytest.mark.slow
def test_a_run_starts_as_zero_shot_and_is_read_without_the_pretrained_file(clip_config, tmp_path):
    budget = "budget={unit: steps, amount: 3, warmup: 1}"
    model, path, config = clip_config("head=text", "component=silencing", "recipe.layer_decay=0.75", budget)
    assert config.recipe.image_size == 32  # of the weights
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    start = build_model(config, target, training).eval()
    names = [*target.classes.names, *training.auxiliary_names]
    assert len(names) > len(target.classes)
    assert zero_shot_differs_by(model, "tiny-clip", start, names, config.head.templates) < 1e-4
    folder = tmp_path / "run"
    results = train(config, folder)
    path.unlink()
    assert evaluate(EvaluateConfig(run=str(folder), workers=0))["test"] == results["test"]
    direct = DirectClassifier.load(folder / "model.safetensors")
    assert (type(direct.head), direct.interpolation) == (TextHead, "bicubic")
    assert not any("text" in key for key in direct.model.state_dict())
    assert not torch.equal(direct.model.head.weight, start.head.weight[: len(target.classes)])
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
    words = {"images": str(tmp_path / "x.png"), "output": str(tmp_path / "out"), "workers": 0, "device": "cpu"}
    assert predict(PredictConfig(run=str(folder), **words)).errors == 0
    for format in ("safetensors", "onnx", "torchscript"):
        assert export(ExportConfig(run=str(folder), format=format)).difference < 1e-3
    with pytest.raises(ConfigError, match="backbone=timm for format=timm"):
        export(ExportConfig(run=str(folder), format="timm"))


@pytest.mark.slow
def test_its_retrained_classifier_needs_no_pretrained_file(clip_config, tmp_path, monkeypatch):
    _, path, config = clip_config("head=text", "budget={unit: steps, amount: 1, warmup: 0}", "component=baseline")
    train(config, tmp_path / "run")
    path.unlink()
    monkeypatch.setattr("lt_extrap.retrained.Budget", lambda **_: config.budget)  # 30 epochs say no more
    evaluate(EvaluateConfig(run=str(tmp_path / "run"), workers=0, classifier="retrained"))
    again = load(tmp_path / "run" / "retrained").config
    assert (type(again.head), again.head.scale) == (CosineHead, 100)
