import pickle
import warnings
import zipfile

import pytest
import torch
from torch import nn

from lt_extrap.errors import DataError
from lt_extrap.model.torchscript import is_torchscript, read_torchscript
from lt_extrap.model.weights import read_weights


@pytest.fixture
def scripted(tmp_path):
    """A network with halves, a buffer, a list of numbers and a transposed weight, as TorchScript saves it."""
    network = nn.Sequential(nn.Linear(3, 4).half(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3, padding=1))
    network.turned = nn.Parameter(torch.randn(3, 5).t())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(network), tmp_path / "scripted.pt")
    return network, tmp_path / "scripted.pt"


def test_its_tensors_are_those_of_the_state_dict(scripted):
    network, path = scripted
    assert is_torchscript(path)
    weights, expected = read_torchscript(path), network.state_dict()
    assert weights.keys() == expected.keys()
    assert all(
        weights[key].dtype == value.dtype and torch.equal(weights[key], value) for key, value in expected.items()
    )
    assert read_weights(path)[0].keys() == expected.keys()


def test_a_state_dict_is_no_archive(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"PK\3\4")
    assert not is_torchscript(tmp_path / "a.pt")
    assert not is_torchscript(tmp_path / "b.pt")


class Shell:
    def __reduce__(self):
        return print, ("this must not be printed",)


def test_nothing_in_it_is_run(scripted, tmp_path, capsys):
    _, path = scripted
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "evil.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle.dumps(Shell()) if name.endswith("/data.pkl") else old.read(name))
    with pytest.raises(DataError, match=r"builtins\.print"):
        read_torchscript(tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""


def test_a_damaged_archive_is_refused(scripted, tmp_path):
    _, path = scripted
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "half.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:4] if "/data/" in name else old.read(name))
    with pytest.raises(DataError, match=r"half\.pt"):
        read_torchscript(tmp_path / "half.pt")
