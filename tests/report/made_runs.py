"""Run folders as `train` leaves them, with outcomes drawn from given probabilities."""

import csv
import json
from pathlib import Path

import numpy as np

from lt_extrap.model.shots import shot_of
from lt_extrap.run_name import run_folder
from lt_extrap.table import Row, find_runs, read_rows, row_name

COUNTS = (400, 250, 150, 101, 100, 70, 45, 30, 20, 19, 12, 8, 5)
COMPONENTS = {
    "baseline": ("NoAuxiliary", "Balanced", 0.0),
    "random": ("AuxiliaryClasses", "Balanced", -0.04),
    "neighbors": ("AuxiliaryClasses", "Balanced", 0.05),
    "silencing": ("AuxiliaryClasses", "Silencing", 0.09),
}
# ImageNet-LT with DINOv2, as run.json has what the paper's tables are chosen by
PAPER = {
    "name": "imagenet_lt_dinov2",
    "target": {
        "folder": "ImageNet_LT",
        "official": {
            "train": 115846, "val": 20000, "test": 50000, "classes": 1000, "many": 385, "medium": 479, "few": 136,
            "largest": 1280, "smallest": 5, "counts": "93782c2e7eda453a",
        },
    },
    "backbone": {"model": "vit_base_patch14_dinov2.lvd142m", "weights": "hub"},
    "kinds": {"target": "OfficialTarget", "backbone": "Timm"},
}  # fmt: skip


def make_run(
    root: Path,
    component: str,
    seed: int,
    *,
    gain: float | None = None,
    images: int = 20,
    per_class: bool = True,
    outcomes: bool = True,
    words: tuple[str, ...] = (),
    retrained: bool = False,
    names: tuple[str, ...] = (),
    config: dict | None = None,
) -> Path:
    """Write a run; accuracies rise with training images, and by `gain` on few-shot classes, half of it on others."""
    auxiliary, loss, usual = COMPONENTS[component]
    gain = usual if gain is None else gain
    overrides = [f"component={component}", f"seed={seed}", *words]
    run = root / run_folder(overrides, seed)
    if retrained:
        run = run / "retrained"
    run.mkdir(parents=True)
    rng = np.random.default_rng([seed, len(component), retrained])
    shots = [str(shot) for shot in shot_of(COUNTS)]
    chances = 0.25 + 0.1 * np.log10(COUNTS) + gain * np.where(np.array(shots) == "few", 1.0, 0.5)
    easy = np.random.default_rng(7).random((len(COUNTS), images)) * 0.4 - 0.2  # the same images are easy in every run
    right = rng.random((len(COUNTS), images)) < chances[:, None] + easy
    accuracy = right.mean(axis=1)
    test = {"acc": float(accuracy.mean())} | {
        f"acc_{shot}": float(accuracy[np.array(shots) == shot].mean()) for shot in ("many", "medium", "few")
    }
    has = component != "baseline" and not retrained
    command = ["lt_extrap.evaluate", f"run={run.parent}", "classifier=retrained"] if retrained else [
        "lt_extrap.train", "experiment=made", *overrides
    ]  # fmt: skip
    record = {
        "format": 1,
        "config": {"name": "made", "seed": seed, "target": {"folder": "made"}, **(config or {})},
        "kinds": {"target": "Target", "auxiliary": auxiliary, "loss": loss, "backbone": "ConvNet", "head": "Head"},
        "files": {"target.train": "0123456789abcdef"},
        "starts": [{"command": command, "commit": "c0ffee" * 6 + "c0ff", "versions": {"python": "3.11.7"}}],
    }
    record["config"] |= config or {}
    if config and "kinds" in config:
        record["kinds"] |= record["config"].pop("kinds")
    (run / "run.json").write_text(json.dumps(record))
    if per_class:
        taken = rng.binomial(images, 0.3, len(COUNTS)) if has else np.zeros(len(COUNTS), dtype=int)
        with (run / "per_class.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            header = ["class", "id", "name", "shot", "train_images", "test_images", "accuracy"]
            writer.writerow([*header, *(["right", "to_auxiliary", "to_neighbors"] if outcomes else [])])
            for label, count in enumerate(COUNTS):
                name = names[label % len(names)] if names else f"class {label}"
                row = [label, f"n{label:03}", name, shots[label], count, images, f"{accuracy[label]:.6f}"]
                digits = "".join("1" if one else "0" for one in right[label])
                writer.writerow([*row, *([digits, taken[label], taken[label] // 2] if outcomes else [])])
    results = {
        "selected": "last", "test": test, "last": test, "seed": seed, "steps": 60, "views": 1920,
        "target_views": 1200 if has else 1920, "target_classes": len(COUNTS), "auxiliary_classes": 20 if has else 0,
        "trained_parameters": 123456, "device": "CPU",
        "seconds": 61.5, "time": {"images_per_second": 31.2, "peak_memory": 2**30},
    }  # fmt: skip
    (run / "results.json").write_text(json.dumps(results))
    return run


def make_experiment(root: Path, seeds: int, *, retrained: bool = False, **options) -> Path:
    """All four components, each with some seeds, and with retrained classifiers where that is wanted."""
    for component in COMPONENTS:
        for seed in range(seeds):
            make_run(root, component, seed, **options)
            if retrained:
                make_run(root, component, seed, retrained=True, **options)
    return root


def rows_of(root: Path) -> list[Row]:
    """The rows of a folder."""
    return read_rows((row_name(run, root), run) for run in find_runs(root)[0])
