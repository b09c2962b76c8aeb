"""Lightning's Trainer, with what a configuration may say and what every run decides itself."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lt_extrap.config import check
from lt_extrap.errors import ConfigError
from lt_extrap.machine import computes_in_bfloat16
from lt_extrap.processes import Processes, environment

# What the commands decide themselves, so that it means the same in every configuration; and what decides it.
OWN_TRAINER_KEYS = {
    "max_steps": "budget",
    "max_epochs": "budget",
    "gradient_clip_val": "recipe.clip",
    "logger": "logger",
    "callbacks": "nothing: the commands make them",
    "plugins": "nothing: the commands make them",
    "default_root_dir": "hydra.run.dir",
    "use_distributed_sampler": "nothing: the samplers are ours",
    "num_sanity_val_steps": "nothing: it would feed the metrics",
    "val_check_interval": "nothing: validation follows an epoch (trainer.check_val_every_n_epoch=n: every n)",
    "limit_val_batches": "nothing: a share of the classes is no measure of all",
    "enable_progress_bar": "nothing: there is a bar on a terminal, and a line an epoch elsewhere",
    "enable_model_summary": "nothing: the panel at the start has what it says",
    "enable_checkpointing": "nothing: a run always keeps its weights",
    "accumulate_grad_batches": "recipe.accumulate",
    **dict.fromkeys(("fast_dev_run", "overfit_batches", "max_time", "min_steps", "min_epochs"), "budget"),
    **dict.fromkeys(("limit_train_batches", "limit_test_batches"), "budget, or shorter lists"),
}

# Weights stay in float32: in half of it, the small steps of fine-tuning are rounded away.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def device_name(trainer: L.Trainer) -> str:
    """What a trainer trains on: a GPU as its maker calls it, else the kind of device; "2 x" before it if on two."""
    device, count = trainer.strategy.root_device, trainer.world_size
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return name if count == 1 else f"{count} x {name}"


def build_trainer(options: Mapping[str, Any], own: Mapping[str, Any]) -> L.Trainer:
    """A Trainer.

    Args:
        options: the configuration's node `trainer`.
        own: arguments that the command decides.

    Raises:
        ConfigError: an option that the command decides itself, or that Lightning does not take, or a precision that
            the device does not have.
    """
    precision = options.get("precision", "32-true")
    check(precision in PRECISIONS, "trainer.precision", "one of " + ", ".join(PRECISIONS), precision)
    strategy = options.get("strategy", "auto")
    check(strategy in ("auto", "ddp"), "trainer.strategy", "auto, or ddp, which it is for several devices", strategy)
    for key in OWN_TRAINER_KEYS.keys() & options.keys():
        raise ConfigError(f"trainer.{key} to be left alone", repr(options[key]), f"use {OWN_TRAINER_KEYS[key]}")
    try:
        trainer = L.Trainer(
            **{**options, **own},
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_checkpointing=False,  # checkpoints.py does it
            enable_model_summary=False,
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(
            "arguments that lightning.Trainer takes", f"{dict(options)}: {error}", "correct trainer.<key>"
        ) from error
    if trainer.precision != precision:
        raise ConfigError(
            f"a device that computes in trainer.precision={precision}",
            f"one on which Lightning would take {trainer.precision} instead",
            f"set trainer.precision={trainer.precision}",
        )
    return trainer


def emulation(precision: str, device: str) -> str | None:
    """What to tell before training in a precision that a device of this type has no instructions for; else None."""
    faster = {"cpu": "32-true", "cuda": "16-mixed"}.get(device)
    if precision != "bf16-mixed" or faster is None or computes_in_bfloat16(device):
        return None
    return (
        f"this {device.upper()} has no instructions for trainer.precision=bf16-mixed and emulates them, "
        f"many times slower than trainer.precision={faster}"
    )


def leave_signals_to_us(trainer: L.Trainer) -> None:
    """Let Lightning answer no signal, since signals.py does.

    It sends a message from within its handler, which the other processes may be too busy to take, and one a step, for
    which the host waits (2.6.6).
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def processes_of(options: Mapping[str, Any]) -> Processes:
    """The processes that these options of `trainer` ask for on this machine, one a device, as Lightning reads them.

    Raises:
        ConfigError: as `build_trainer`, or others have been started.
    """
    trainer = _asked_for(options)
    return Processes(devices=trainer.num_devices, nodes=trainer.num_nodes, device=trainer.strategy.root_device.type)


def root_device(options: Mapping[str, Any]) -> torch.device:
    """The device of this process among those that these options of `trainer` ask for.

    Raises:
        ConfigError: as `build_trainer`.
    """
    return _asked_for(options).strategy.root_device


def _asked_for(options: Mapping[str, Any]) -> L.Trainer:
    with quiet():
        return build_trainer(options, {"logger": False, "enable_progress_bar": False, "plugins": environment()})


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's hints, and its warnings of what is decided here; errors and other warnings stay."""
    lightning = logging.getLogger("lightning.pytorch")
    level = lightning.level
    lightning.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # data.workers says how many
        warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # short epochs are no mistake
        warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # a run that goes on
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # LongTailMetrics has summed over all processes
        warnings.filterwarnings("ignore", ".*returned `None`.*")  # a batch of which no image can be read
        warnings.filterwarnings("ignore", ".*in eval mode at the start.*")  # a frozen backbone
        warnings.filterwarnings("ignore", ".*broadcast_buffers. is deprecated.*")  # its successor is of torch 2.14
        warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU.*")  # refused
        warnings.filterwarnings("ignore", ".*available but not used.*")  # trainer.accelerator says what is
        warnings.filterwarnings("ignore", ".*Detected call of .lr_scheduler.*")  # float16 may begin so
        warnings.filterwarnings("ignore", ".*treespec.*", FutureWarning)  # Lightning 2.6 on torch 2.14
        try:
            yield
        finally:
            lightning.setLevel(level)


def numbers(logged: Mapping[str, float], split: str) -> dict[str, float | None]:
    """Logged metrics without their prefix; None for the NaN of an empty group, since JSON has no NaN."""
    return {key.removeprefix(f"{split}/"): None if value != value else float(value) for key, value in logged.items()}
