"""What every test stands on: no network, no environment of the user's, one thread, a small embedded world."""

import os
import socket
from pathlib import Path

import pytest
import torch

from lt_extrap.compose import configure
from lt_extrap.config import TrainConfig

SMALL = (
    "experiment=demo",
    "target.world.families=3",
    "target.world.classes=9",
    "target.world.largest=110",
    "target.world.smallest=6",
    "target.world.neighbors_per_family=3",
    "target.world.random_classes=9",
    "target.world.val_per_class=5",
    "target.world.test_per_class=5",
    "target.world.auxiliary_images=20",
    "target.world.extra_images=30",
    "target.world.image_size=24",
    "recipe.image_size=16",
    "recipe.batch_size=32",
    "backbone.widths=[8,16]",
    "budget={unit: steps, amount: 12, warmup: 2}",
    "data.workers=0",
    "logger=csv",
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session: the small world is written once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, cache: Path):
    monkeypatch.delenv("LT_EXTRAP_DATA", raising=False)
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(cache))
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch):
    """Connections go to this machine or nowhere."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(
            ("127.", "::1", "localhost")
        ):
            raise RuntimeError(f"a test tried to connect to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def small():
    """Make a configuration of the small world from overrides."""

    def make(*overrides: str) -> TrainConfig:
        return configure(*SMALL, *overrides)

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The root of the real data sets, or a skip."""
    # A session fixture is set up before `_environment` hides the variable.
    root = os.environ.get("LT_EXTRAP_DATA")
    if not root or not (Path(root) / "tiny_imagenet").is_dir():
        pytest.skip("LT_EXTRAP_DATA does not name a folder with tiny_imagenet/ in it")
    return Path(root).resolve()
