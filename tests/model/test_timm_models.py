"""timm models at small configurations: sizes, pooling, and weights in the formats that are really published."""

import http.server
import socket
import threading

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from lt_extrap.config import Timm
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model import hub
from lt_extrap.model.backbones import build_backbone, load_pretrained

TINY = {"depth": 2, "embed_dim": 24, "num_heads": 2}
DINOV2, REGISTERS = "vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_reg4_dinov2.lvd142m"
MAE = "vit_base_patch16_224.mae"


def node(model, weights=None, **options):
    keys = {key: options.pop(key) for key in ("pooling", "drop_path", "gradient_checkpointing") if key in options}
    return Timm(model=model, weights=None if weights is None else str(weights), options={**TINY, **options}, **keys)


def published(model, size, seed=1, **options):
    """The state dict of such a model at the size of its weights."""
    torch.manual_seed(seed)
    return timm.create_model(model, num_classes=0, img_size=size, **{**TINY, **options}).state_dict()


def loaded(backbone, size):
    built = build_backbone(backbone, image_size=size, seed=0)
    return built, load_pretrained(built, backbone)


def equal(network, weights):
    found = network.state_dict()
    assert found.keys() == weights.keys()
    return all(torch.equal(found[key], weights[key]) for key in found)


def test_dinov2_is_built_at_224_from_weights_for_518(tmp_path):
    weights = published(DINOV2, 518)
    # as facebookresearch publishes it: a mask token, and no classifier
    torch.save({**weights, "mask_token": torch.zeros(1, 24)}, tmp_path / "dinov2.pth")
    backbone = node(DINOV2, tmp_path / "dinov2.pth")
    small, said = loaded(backbone, 224)
    assert small.network.pos_embed.shape == (1, 1 + 16 * 16, 24)
    assert torch.equal(small.network.pos_embed[:, 0], weights["pos_embed"][:, 0])
    assert "1370 positions resampled to 257" in said
    assert said.endswith("left out mask_token")
    assert torch.isfinite(small(255 * torch.rand(1, 3, 224, 224))).all()
    native, said = loaded(backbone, 518)
    assert equal(native.network, weights)
    assert "resampled" not in said
    assert native.preprocessing == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 518, "bicubic")


def test_registers_are_no_patches(tmp_path):
    weights = published(REGISTERS, 518)
    original = {key: value for key, value in weights.items() if key not in ("reg_token", "pos_embed")}
    original |= {"register_tokens": weights["reg_token"], "mask_token": torch.zeros(1, 24)}
    original["pos_embed"] = torch.cat([torch.ones(1, 1, 24), weights["pos_embed"]], dim=1)
    torch.save(original, tmp_path / "reg4.pth")
    built, _ = loaded(node(REGISTERS, tmp_path / "reg4.pth", pooling="mean"), 224)
    network = built.network
    torch.testing.assert_close(network.cls_token, weights["cls_token"] + 1)  # its position is in it, as timm has it
    images = 255 * torch.rand(2, 3, 224, 224)
    built.eval()
    tokens = network.forward_features((images - built.mean) / built.std)
    assert (tokens.shape[1], network.num_prefix_tokens) == (16 * 16 + 5, 5)
    torch.testing.assert_close(built(images), tokens[:, 5:].mean(1))


@pytest.mark.parametrize(
    ("model", "pooling", "said"),
    [
        ("resnet10t", "mean", "keeps no class token apart"),
        ("convnext_atto", "token", "keeps no class token apart"),
        (MAE, "token", "pools so by itself"),
        ("vit_base_patch16_siglip_gap_224", "mean", "pools so by itself"),
        ("vit_base_patch16_siglip_gap_224", "token", "has no class token"),
        ("vit_base_patch16_siglip_224", "mean", "pools by attention"),
        ("vit_medium_patch16_reg4_gap_256", "token", "has no class token"),  # its first token is a register
        ("vit_medium_patch16_reg4_gap_256", "mean", "last norm is behind its own pooling"),
    ],
)
def test_a_pooling_that_means_nothing_or_changes_nothing_is_refused(model, pooling, said):
    options = {"resnet10t": {"layers": [1, 1, 1, 1], "channels": [8] * 4}}
    options["convnext_atto"] = {"depths": [1] * 4, "dims": [8] * 4}
    with pytest.raises(ConfigError, match=said):
        build_backbone(Timm(model=model, options=options.get(model, TINY), pooling=pooling), image_size=32, seed=0)


def test_the_distillation_token_is_neither_the_class_token_nor_a_patch():
    images = 255 * torch.rand(2, 3, 32, 32)
    for pooling in ("token", "mean"):
        built = build_backbone(node("deit_tiny_distilled_patch16_224", pooling=pooling), image_size=32, seed=0).eval()
        tokens = built.network.forward_features((images - built.mean) / built.std)
        assert tokens.shape[1] == 2 + 4
        torch.testing.assert_close(built(images), tokens[:, 0] if pooling == "token" else tokens[:, 2:].mean(1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"global_pool": ""}, "features of 2 dimensions"),
        ({"patch_size": 64}, "at 32 pixels"),
    ],
)
def test_options_that_make_no_features(options, said):
    with pytest.raises(ConfigError, match=said):
        build_backbone(node(MAE, **options), image_size=32, seed=0)


def test_gradient_checkpointing_needs_a_model_that_has_it():
    assert build_backbone(node(MAE, gradient_checkpointing=True), image_size=32, seed=0).network.grad_checkpointing
    without = Timm(model="coat_tiny", gradient_checkpointing=True)
    with pytest.raises(ConfigError, match="coat_tiny, which cannot"):
        build_backbone(without, image_size=32, seed=0)


def test_statistics_that_checkpointing_would_move_twice_are_refused():
    """torch computes the forward pass again in training mode, and a batch normalisation counts it again."""
    with pytest.raises(ConfigError, match="batch normalisation would count each batch twice"):
        build_backbone(Timm(model="test_resnet", gradient_checkpointing=True), image_size=32, seed=0)


def test_no_stochastic_depth_means_none():
    """Swin has a rate of its own, 0.1, where none is given."""
    images = 255 * torch.rand(2, 3, 32, 32)
    options = {"embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2], "window_size": 2}
    body = build_backbone(Timm(model="swin_tiny_patch4_window7_224", options=options), image_size=32, seed=0)
    assert torch.equal(body(images), body(images))
    dropping = Timm(model="swin_tiny_patch4_window7_224", options=options, drop_path=0.5)
    body = build_backbone(dropping, image_size=32, seed=0)
    assert not torch.equal(body(images), body(images))


def test_files_as_their_authors_publish_them(tmp_path):
    weights = published(MAE, 32)
    wrapped = {
        "mae.pth": {"model": {**weights, "mask_token": torch.zeros(1), "decoder_embed.weight": torch.zeros(1)}},
        "deit.pth": {"model": {**weights, "head.weight": torch.zeros(1000, 24), "head.bias": torch.zeros(1000)}},
        "dino.pth": {  # chunks of blocks, and heads beside the backbone
            "teacher": {
                **{f"backbone.{key.replace('blocks.', 'blocks.0.')}": value for key, value in weights.items()},
                "backbone.mask_token": torch.zeros(1),
                "dino_head.mlp.0.weight": torch.zeros(1),
            }
        },
    }
    for name, content in wrapped.items():
        torch.save(content, tmp_path / name)
        built, said = loaded(node(MAE, tmp_path / name), 32)
        assert equal(built.network, weights)
        assert "left out" in said


def test_deit3_names_its_layer_scale_otherwise(tmp_path):
    weights = published("deit3_small_patch16_224", 32)
    renamed = {key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): weights[key] for key in weights}
    torch.save({"model": renamed}, tmp_path / "deit3.pth")
    built, _ = loaded(node("deit3_small_patch16_224", tmp_path / "deit3.pth"), 32)
    assert equal(built.network, weights)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("blocks.1.attn.qkv.bias"), "1 missing: blocks.1.attn.qkv.bias"),
        (lambda w: w.update({"extra.weight": torch.ones(1)}), "1 unknown: extra.weight"),
        (lambda w: w.update({"norm.weight": torch.ones(25)}), r"norm.weight \(25,\), not \(24,\)"),
        (lambda w: w.update({"patch_embed.proj.weight": torch.ones(24, 3, 14, 14)}), "patches of 14 pixels, not 16"),
        (lambda w: w.update({"pos_embed": torch.ones(1, 8, 24)}), r"pos_embed \(1, 8, 24\)"),
        (lambda w: w.clear() or w.update({"conv1.weight": torch.ones(1)}), "missing: cls_token"),
    ],
)
def test_other_weights_are_refused(tmp_path, change, said):
    weights = dict(published(MAE, 32))
    change(weights)
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=said):
        loaded(node(MAE, tmp_path / "w.pth"), 32)


def jax_arrays(network):
    """The arrays of a JAX file of a vision transformer, in its own layout, from the weights of a network."""
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    heads, dim = 2, 24
    found = {
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "cls": state["cls_token"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": np.zeros((dim, 10), np.float32),
        "head/bias": np.zeros(10, np.float32),
    }
    for i in range(len(network.blocks)):
        block, ours = f"Transformer/encoderblock_{i}", f"blocks.{i}"
        for norm, name in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            found[f"{block}/{norm}/scale"] = state[f"{ours}.{name}.weight"]
            found[f"{block}/{norm}/bias"] = state[f"{ours}.{name}.bias"]
        attention = f"{block}/MultiHeadDotProductAttention_1"
        parts = zip(
            ("query", "key", "value"),
            np.split(state[f"{ours}.attn.qkv.weight"], 3),
            np.split(state[f"{ours}.attn.qkv.bias"], 3),
            strict=True,
        )
        for name, kernel, bias in parts:
            found[f"{attention}/{name}/kernel"] = kernel.T.reshape(dim, heads, -1)
            found[f"{attention}/{name}/bias"] = bias.reshape(heads, -1)
        found[f"{attention}/out/kernel"] = state[f"{ours}.attn.proj.weight"].T.reshape(heads, -1, dim)
        found[f"{attention}/out/bias"] = state[f"{ours}.attn.proj.bias"]
        for j, name in enumerate(("fc1", "fc2")):
            found[f"{block}/MlpBlock_3/Dense_{j}/kernel"] = state[f"{ours}.mlp.{name}.weight"].T
            found[f"{block}/MlpBlock_3/Dense_{j}/bias"] = state[f"{ours}.mlp.{name}.bias"]
    return found


AUGREG = "vit_tiny_patch16_224.augreg_in21k"


def test_jax_files(tmp_path):
    source = build_backbone(node(AUGREG), image_size=32, seed=5).network
    np.savez(tmp_path / "augreg.npz", **jax_arrays(source))
    built, said = loaded(node(AUGREG, tmp_path / "augreg.npz"), 32)
    assert equal(built.network, source.state_dict())
    assert said.endswith("augreg.npz, without its head, 30 tensors")
    assert built.preprocessing == ((0.5,) * 3, (0.5,) * 3, 224, "bicubic")
    # another size than that of the file
    bigger, _ = loaded(node(AUGREG, tmp_path / "augreg.npz"), 48)
    assert bigger.network.pos_embed.shape == (1, 10, 24)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (AUGREG, {"depth": 1}, "values beside its position table"),  # which timm would drop without a word
        (AUGREG, {"depth": 3}, "KeyError"),
        (AUGREG, {"patch_size": 8}, "weights of timm's"),
        (AUGREG, {"embed_dim": 32}, "weights of timm's"),
        (DINOV2, {"patch_size": 16}, "missing: blocks.0.ls1.gamma"),  # and would leave these as they were
        ("convnext_atto", None, "a model that timm reads .npz for"),
    ],
)
def test_jax_files_of_other_models_are_refused(tmp_path, model, options, said):
    np.savez(tmp_path / "w.npz", **jax_arrays(build_backbone(node(AUGREG), image_size=32, seed=5).network))
    small = {"depths": [1] * 4, "dims": [8] * 4} if options is None else {**TINY, **options}
    with pytest.raises(ConfigError, match=said):
        loaded(Timm(model=model, weights=str(tmp_path / "w.npz"), options=small), 32)


def test_a_broken_jax_file(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="npz archive") as error:
        loaded(node(AUGREG, tmp_path / "w.npz"), 32)
    assert "allow_pickle" not in str(error.value)
    (tmp_path / "w.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d")
    with pytest.raises(DataError, match="git lfs pull"):
        loaded(node(AUGREG, tmp_path / "w.npz"), 32)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_the_cache_of_the_hub_is_enough(hub_cache):
    weights = published(DINOV2, 518)
    commit, repository = "0" * 40, hub_cache / f"models--timm--{DINOV2}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    assert hub.cached_file(DINOV2) is None
    save_file(weights, snapshot / "model.safetensors")
    assert hub.cached_file(DINOV2) == snapshot / "model.safetensors"
    built, said = loaded(node(DINOV2, "hub"), 518)
    assert equal(built.network, weights)
    assert said == f"timm's {DINOV2}, {len(weights)} tensors"


def test_offline_and_not_in_the_cache(hub_cache):
    with pytest.raises(ConfigError) as error:
        loaded(node(DINOV2, "hub"), 28)
    assert f"hf download timm/{DINOV2}" in error.value.remedy
    assert "set backbone.weights=<file>" in error.value.remedy
    assert "OfflineModeIsEnabled" in error.value.found


@pytest.fixture
def endpoint(hub_cache, monkeypatch):
    """Take a port of this machine for the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def take(port):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
        url = f"http://127.0.0.1:{port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)

    return take


def test_no_network_is_said_at_once(endpoint, capfd):
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        endpoint(taken.getsockname()[1])
        with pytest.raises(ConfigError, match="(?s)ConnectError.*copy its cache.*backbone.weights=<file>"):
            hub.hub_file(DINOV2)
    assert "Retrying" not in capfd.readouterr().err


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers every question in the same way."""

    status, error, asked = 404, "", []

    def do_HEAD(self):
        self.asked.append(self.path.rpartition("/")[2])
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.error)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("status", "error", "said", "asked"),
    [
        (403, "GatedRepo", "ask for access at https://huggingface.co/timm/", 1),
        (401, "GatedRepo", "ask for access", 1),
        (401, "RepoNotFound", "RepositoryNotFoundError", 1),
        (404, "EntryNotFound", "neither model.safetensors nor pytorch_model.bin", 2),
        (503, "", "HfHubHTTPError", 1),
    ],
)
def test_what_the_hub_refuses(endpoint, monkeypatch, status, error, said, asked):
    answers = type("Answers", (Hub,), {"status": status, "error": error, "asked": []})
    with http.server.HTTPServer(("127.0.0.1", 0), answers) as server:
        endpoint(server.server_port)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(ConfigError, match=said):
            hub.hub_file(DINOV2)
        server.shutdown()
    assert answers.asked == ["model.safetensors", "pytorch_model.bin"][:asked]


@pytest.mark.parametrize(
    ("model", "said"),
    [("vit_base_patch16_reg4_gap_256.untrained", "timm names no weights"), ("gcvit_tiny.in1k", "elsewhere, https://")],
)
def test_models_without_weights_on_the_hub(model, said):
    with pytest.raises(ConfigError, match=said):
        hub.hub_file(model)
