"""A run folder: its name, what identifies it, and what it holds when the run has ended."""

import csv
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lt_extrap.config import TrainConfig, to_dict
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import RunError
from lt_extrap.model.metrics import PerClass

RESULTS, RUN, PER_CLASS, WEIGHTS = "results.json", "run.json", "per_class.csv", "model.safetensors"

# What changes no result, and so may differ between two starts of one run. Every other key counts.
_FREE = re.compile(
    r"(logger\b.*|loading\.workers|target\.root"
    r"|trainer\.(accelerator|devices|num_nodes|log_every_n_steps|profiler|detect_anomaly))"
)
# And what stands in the folder above.
_ABOVE = re.compile(r"(experiment|sweep|name|hydra\b.*)")
_UNSAFE = re.compile(r"[^A-Za-z0-9.+_-]+")
_LONGEST = 80


def run_folder(overrides: Iterable[str], seed: int) -> str:
    """The folder name of a run: the overrides that change its result, in an order and spelling of their own.

    `component=silencing loss.lambda_s=.5` and `loss.lambda_s=5e-1 component=silencing` are one run:
    `component+silencing-loss.lambda_s+0.5-seed+0`. The name can be pasted behind `run=`.

    Args:
        overrides: Hydra's task overrides, `key=value`.
        seed: of the run; always in the name, and last, so that a row of a table is what stands before it.
    """
    parts = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key != "seed" and not _FREE.fullmatch(key) and not _ABOVE.fullmatch(key):
            parts.append(_UNSAFE.sub(".", f"{key}+{_canonical(override.value())}"))
    # The component is what a reader looks for first.
    name = "-".join(sorted(parts, key=lambda part: (not part.startswith("component+"), part)))
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return f"{name or 'default'}-seed+{seed}"


def register() -> None:
    """Offer `run_folder` to the configuration."""
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)


def open_run(folder: Path, config: TrainConfig, files: Mapping[str, Path]) -> dict[str, Any] | None:
    """Claim a run folder, or find that its run has ended. A run that did not end is begun anew.

    Args:
        folder: made if it is not there.
        config: what the run is about to do.
        files: text files that the result depends on, by configuration key; their hashes are kept in run.json.

    Returns:
        The results of the finished run, or None if there is something to do.

    Raises:
        RunError: the folder holds the results of another configuration or of other files, or cannot be read.
    """
    identity = {
        "config": to_dict(config),
        "files": {key: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for key, path in files.items()},
    }
    record = folder / RUN
    if (folder / RESULTS).is_file():
        changed = sorted(_differences(read_json(record), identity))
        if changed:
            raise RunError(
                f"the same run as before in {folder}",
                "; ".join(changed),
                "give the new run its own name=..., or remove that folder",
            )
        return read_json(folder / RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(record, {**identity, "commit": _commit(), "versions": _versions()})
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: it is not there or is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        found = type(content).__name__
    except (OSError, ValueError) as error:
        found = str(error)
    raise RunError(f"a JSON object in {path}", found, "remove the run folder and run again")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object whole or not at all."""
    _replace(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_per_class(path: Path, classes: ClassTable, measured: PerClass) -> None:
    """Write a row a target class: id, name, shot, training images, test images, accuracy (0..1)."""
    rows = zip(
        range(len(classes)),
        classes.names,
        classes.shots,
        classes.counts.tolist(),
        measured.support.tolist(),
        measured.accuracy.tolist(),
        strict=True,
    )
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "name", "shot", "train_images", "test_images", "accuracy"])
        writer.writerows([*row[:-1], "" if row[-1] != row[-1] else f"{row[-1]:.6f}"] for row in rows)
    temporary.replace(path)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _canonical(value: Any) -> str:
    """One spelling a value: .1, 1e-1 and 0.10 are all 0.1, 1 and 1.0 are 1."""
    if isinstance(value, dict):
        return ".".join(f"{key}.{_canonical(item)}" for key, item in sorted(value.items()))
    if isinstance(value, list):
        return ".".join(map(_canonical, value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "null" if value is None else str(value)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    old, new = dict(_leaves(before.get("config", {}))), dict(_leaves(now["config"]))
    for key in old.keys() | new.keys():
        if old.get(key) != new.get(key) and not _FREE.fullmatch(key):
            yield f"{key} was {old.get(key)}, now {new.get(key)}"
    old, new = before.get("files", {}), now["files"]
    for key in old.keys() | new.keys():
        if old.get(key) != new.get(key):
            yield f"the content of {key} is another"


def _leaves(node: Any, at: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, node


def _commit() -> str | None:
    """The commit of the checkout that runs, with a + when its files differ; None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def _versions() -> dict[str, str]:
    packages = ("lt-extrap", "torch", "torchvision", "lightning", "timm", "numpy", "pillow", "hydra-core")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}
