"""The name of a run folder: what of a command changes the result, in one spelling."""

import atexit
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

# What changes no result, and so may differ between two starts of one run. Every other key counts.
FREE = re.compile(
    r"(do|images_per_second|logger\b.*|checkpoint_minutes|compile|retrained|data\.(workers|prefetch|resident|features_once)"
    r"|backbone\.gradient_checkpointing"
    r"|target\.(root|images|archive|download|package|official\b.*)|(auxiliary|target\.(neighbors|random))\.images"
    r"|trainer\.(accelerator|devices|num_nodes|strategy|log_every_n_steps|profiler|detect_anomaly))"
)
# Files of weights: a run is named by their names, and known by their content.
WEIGHT_FILES = {"backbone.weights", "features_from"}
# And what stands in the folder above.
_ABOVE = re.compile(r"(experiment|sweep|name|hydra\b.*)")
UNSAFE = re.compile(r"[^A-Za-z0-9.+_-]+")
_LONGEST = 80


def run_folder(overrides: Iterable[str], seed: int) -> str:
    """The folder name of a run: `row_name`, cut where it is long for a folder, and the seed.

    `component=silencing loss.lambda_s=.5` and `loss.lambda_s=5e-1 component=silencing` are one run:
    `component+silencing-loss.lambda_s+0.5-seed+0`. The name can be pasted behind `run=`.

    Args:
        overrides: Hydra's task overrides, `key=value`.
        seed: of the run; always in the name, and last, so that a row of a table is what stands before it.
    """
    name = row_name(overrides)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return f"{name or 'default'}-seed+{seed}"


def row_name(overrides: Iterable[str]) -> str:
    """The overrides that change a result, but for the seed, in an order and spelling of their own."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    last = {override.key_or_group: override.value() for override in parsed}  # of a key given twice
    last |= {key: _weights(value) for key, value in last.items() if key in WEIGHT_FILES and isinstance(value, str)}
    parts = [
        UNSAFE.sub(".", f"{key}+{_canonical(value)}")
        for key, value in last.items()
        if key != "seed" and not FREE.fullmatch(key) and not _ABOVE.fullmatch(key)
    ]
    # The component is what a reader looks for first.
    return "-".join(sorted(parts, key=lambda part: (not part.startswith("component+"), part)))


def _weights(value: str) -> str:
    """The name of a file of weights; what runs have left is named by their folders, for all such files are alike."""
    path = Path(value)
    name = path.parent.name if path.name == "model.safetensors" else path.name
    return name.replace("+", ".") or path.name


def row_of(folder: str) -> str:
    """The row that a run folder of this name belongs to: its name without the seed."""
    return re.sub(r"(^|-)seed\+\d+$", "", folder) or "default"


def whole_row(folder: str, overrides: Iterable[str]) -> str:
    """`row_of` of a folder, not cut where these overrides, of the command that made it, tell the rest."""
    row, words = row_of(folder), list(overrides)
    return row_name(words) if row not in ("default", row_name(words)) and row_of(run_folder(words, 0)) == row else row


def component_of(row: str) -> str | None:
    """The component that the name of a row begins with; None if it was not chosen."""
    found = re.match(r"component\+(.+?)(?=-[\w.]+\+|$)", row)
    return found[1] if found else None


@cache
def runs_root(do: str) -> str:
    """The folder of all runs. A plan leaves none: the folders that Hydra makes for it go with the process."""
    if do != "plan":
        return "runs"
    folder = tempfile.mkdtemp(prefix="lt_extrap-plan-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _canonical(value: Any) -> str:
    """One spelling a value: .1, 1e-1 and 0.10 are all 0.1, 1 and 1.0 are 1."""
    if isinstance(value, dict):
        return ".".join(f"{key}.{_canonical(item)}" for key, item in sorted(value.items()))
    if isinstance(value, list):
        return "_".join(map(_canonical, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "null" if value is None else str(value)


OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("runs_root", runs_root, replace=True)
