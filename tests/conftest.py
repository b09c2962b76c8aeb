"""What every test stands on: no network, no environment of the user's, one thread, a small embedded world."""

import copy
import functools
import gc
import importlib
import inspect
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jaxtyping
import pytest

if TYPE_CHECKING:
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


def _sparing(shapes: Callable[..., Any]) -> Callable[..., Any]:
    """jaxtyping's decorator where a signature has arrays; elsewhere beartype alone, for a small part of the time."""

    def decorator(*, typechecker: Callable[..., Any]) -> Callable[..., Any]:
        def decorate(of: Any) -> Any:
            hints = of.__annotations__.values() if inspect.isfunction(of) else ["unknown"]
            arrays = any(isinstance(hint, str) or "jaxtyping." in repr(hint) for hint in hints)
            return shapes(of, typechecker=typechecker) if arrays else typechecker(of)

        return decorate

    return decorator


jaxtyping.jaxtyped = _sparing(jaxtyping.jaxtyped)  # which the hook of --jaxtyping-packages puts on every function


def pytest_configure() -> None:
    """Look for garbage rarely: torch and Hydra have many objects to go through. And one thread for every library.

    A child is forked without the threads of its parent, and would wait for them. Nor could it use a GPU that its parent
    has used: none is seen but by `make test-gpu`.
    """
    gc.set_threshold(20_000, 20, 100)
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("LT_EXTRAP_TEST_GPU", "")


def pytest_collectstart() -> None:
    """Import what takes seconds here: the process that waits for xdist's workers collects nothing.

    And these first: what a module of lt_extrap imports, jaxtyping's hook compiles anew.
    """
    for name in ("beartype.claw", "httpx", "hydra", "jinja2", "lightning", "protego"):
        importlib.import_module(name)


def pytest_collection_finish() -> None:
    """What is imported stays: Python need not look through it for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """A shell starts what runs in its background deaf to SIGINT, and so would be the commands that tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_loss_of_power():
    """No test waits for its disk: a kill loses nothing of what was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


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
def tmpfs(tmp_path):
    """Mount a file system of so many kilobytes."""
    mounted = []

    def mount(name: str, kilobytes: int) -> Path:
        place = tmp_path / name
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("this process may not mount a file system")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@functools.cache
def _small(*overrides: str) -> "TrainConfig":
    from lt_extrap.compose import configure

    return configure(*SMALL, *overrides)


@pytest.fixture
def small():
    """Make a configuration of the small world from overrides."""

    def make(*overrides: str) -> "TrainConfig":
        return copy.deepcopy(_small(*overrides))  # which takes a hundredth of the time

    return make


@pytest.fixture(scope="session")
def convnet_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a finished run of the small world, with auxiliary classes; its last weights count."""
    return _train(tmp_path_factory, cache, "component=silencing", "target.val=null", "recipe.crop_fraction=0.8")


@pytest.fixture(scope="session")
def timm_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """As `convnet_run`, of a small transformer, whose mean and deviation are not those of the convnet."""
    without = [override for override in SMALL if not override.startswith(("backbone", "recipe.image_size", "budget"))]
    model = ("backbone=timm", "backbone.model=test_vit", "recipe.image_size=32")
    budget = "budget={unit: steps, amount: 2, warmup: 0}"
    return _train(tmp_path_factory, cache, *model, budget, "component=baseline", "target.val=null", base=without)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """What tests/curate/pool.py makes: a pool of images with planted faults."""
    from pool import make

    return make(tmp_path_factory.mktemp("curation"), cache)


@pytest.fixture(scope="session")
def curated(made: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a finished curation of it."""
    from pool import config

    from lt_extrap.curate.__main__ import curate

    folder = tmp_path_factory.mktemp("curated") / "state"
    with pytest.MonkeyPatch.context() as patch:  # a session fixture is set up before `_environment`
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        assert curate(config(made, folder)) == 0
    return folder


def _train(factory: pytest.TempPathFactory, cache: Path, *overrides: str, base: Sequence[str] = SMALL) -> Path:
    from lt_extrap.compose import configure
    from lt_extrap.train import train

    folder = factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:  # a session fixture is set up before `_environment`
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        train(configure(*base, *overrides), folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The root of the real data sets, or a skip."""
    # A session fixture is set up before `_environment` hides the variable.
    root = os.environ.get("LT_EXTRAP_DATA")
    if not root or not (Path(root) / "tiny_imagenet").is_dir():
        pytest.skip("LT_EXTRAP_DATA does not name a folder with tiny_imagenet/ in it")
    return Path(root).resolve()
