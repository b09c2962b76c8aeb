"""Files of weights, as training loops and wrappers leave them."""

import argparse
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.weights import put, read_weights

PLAIN = {"norm.weight": torch.tensor([1.0, 2.0]), "blocks.0.bias": torch.tensor([3.0])}


def prefixed(prefix):
    return {f"{prefix}{key}": value for key, value in PLAIN.items()}


def same(weights):
    assert weights.keys() == PLAIN.keys()
    assert all(torch.equal(weights[key], PLAIN[key]) for key in PLAIN)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".safetensors"])
def test_every_format(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(PLAIN, path)
    weights, source = read_weights(path)
    same(weights)
    assert source == str(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": PLAIN, "epoch": 3}, ", its state_dict"),
        ({"model": PLAIN, "args": argparse.Namespace(lr=1.0)}, ", its model"),  # MAE
        ({"student": prefixed("module."), "teacher": prefixed("module.backbone.")}, ", its teacher (not student)"),
        ({"model": prefixed("x."), "model_ema": PLAIN}, ", its model_ema (not model)"),
        ({"model_ema": None, "model": {"state_dict": PLAIN}}, ", its model, its state_dict"),
        (prefixed("_orig_mod.module.model.backbone."), ""),
        (prefixed("module._orig_mod."), ""),
        ({"backbone.norm.weight": PLAIN["norm.weight"], "blocks._orig_mod.0.bias": PLAIN["blocks.0.bias"]}, ""),
        ({**prefixed("model.backbone.network."), "model.head.weight": torch.zeros(1), "loss.prior": torch.ones(1)}, ""),
        (  # of a run with recipe.ema: what it measures and exports
            {
                "state_dict": {
                    **{f"model.backbone.network.{key}": -value for key, value in PLAIN.items()},
                    **prefixed("average.module.backbone.network."),
                    "average.n_averaged": torch.tensor(5),
                }
            },
            ", its state_dict",
        ),
        ({"backbone.network.norm.weight": PLAIN["norm.weight"], **prefixed("backbone.network.")}, ""),
    ],
)
def test_what_is_around_the_weights_comes_off(tmp_path, content, said):
    torch.save(content, tmp_path / "w.pth")
    weights, source = read_weights(tmp_path / "w.pth")
    same(weights)
    assert source == f"{tmp_path}/w.pth{said}"


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "no file there"),
        (lambda path: path.write_bytes(b"no weights"), "begins with b'no weights'"),
        (lambda path: path.write_bytes(b"hello"), "KeyError"),
        (lambda path: path.write_bytes(b"("), "EOFError"),
        (lambda path: path.write_bytes(b"R"), "IndexError"),
        (lambda path: path.write_bytes(b"J1"), "unpack requires"),
        (lambda path: torch.save({"epoch": 3}, path), "no tensor under the keys epoch"),
        (lambda path: torch.save([torch.ones(1)], path), "list where a state dict"),
        (lambda path: torch.save({"model.a": torch.ones(1), "a": torch.ones(1)}, path), "keys that differ in nothing"),
        (lambda path: torch.save({"a": torch.ones(1), "b": Evil()}, path), "an object of print"),
        (lambda path: torch.save(nn.Linear(2, 2), path), "an object of torch.nn.modules.linear.Linear, which is not"),
        (lambda path: path.write_text("<!DOCTYPE html>"), "begins with b'<!DOCTYPE html>'"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d"), "git lfs pull"),
        (lambda path: path.write_bytes(pickle.dumps(Evil(), protocol=2)), "."),
    ],
)
def test_what_is_no_file_of_weights_is_refused_and_never_run(tmp_path, capsys, write, said):
    write(tmp_path / "w.pth")
    with pytest.raises(DataError, match=said):
        read_weights(tmp_path / "w.pth")
    assert capsys.readouterr().out == ""


def test_weights_go_in_whole_or_not_at_all():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    whole = {key: torch.full_like(value, 7) for key, value in before.items() if not key.endswith("tracked")}
    wrong = {"0.weight": torch.ones(3, 2), "more": torch.ones(1), **{key: whole[key] for key in whole if key[0] == "1"}}
    with pytest.raises(ConfigError) as error:
        put(wrong, network, "w.pth")
    assert error.value.wanted == "weights of the backbone in w.pth"
    assert error.value.found == ("1 missing: 0.bias; 1 unknown: more; 1 of another shape: 0.weight (3, 2), not (2, 2)")
    spoilt = {**whole, "0.bias": torch.tensor([0.0, float("nan")])}
    with pytest.raises(ConfigError, match=r"1 with values that are not finite: 0\.bias"):
        put(spoilt, network, "w.pth")
    with pytest.raises(ConfigError, match=r"1 of whole numbers, such as quantised ones: 0\.bias"):
        put({**whole, "0.bias": torch.ones(2, dtype=torch.int8)}, network, "w.pth")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    # what the pretraining needed is left out, and told; so is what the converter took away
    said = put({**whole, "decoder_norm.bias": torch.ones(1)}, network, "w.pth", file=["mask_token", "0.bias"])
    assert said == "w.pth, 6 tensors; left out mask_token, decoder_norm.bias"
    assert all((network.state_dict()[key] == 7).all() for key in whole)
