"""What classes gained in runs that have ended, beside what was predicted for them."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from lt_extrap import runs
from lt_extrap.config import AuxiliaryClasses
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.target import load_target
from lt_extrap.errors import RunError
from lt_extrap.model.shots import Shot
from lt_extrap.studies.diagnose.kinship import kinship_of, read_table
from lt_extrap.studies.diagnose.known_neighbors import find_neighbors
from lt_extrap.studies.diagnose.score import predicted_gains

BASELINE, METHOD, EXTRA, RANDOM = "baseline", "silencing", "target_extra", "random"
Rows = Mapping[str, Mapping[int, Path]]  # run folders by row and seed
GroupGains = Mapping[str, Mapping[str, Sequence[float]]]  # points of each seed by row and group of classes
_OF_A_ROW = re.compile(
    r"(name|kinds\.auxiliary|kinds\.loss|auxiliary\b.*|loss\b.*|target\.(neighbors|random|extra)\b.*)"
)


@dataclass(frozen=True)
class World:
    """Runs with and without neighbors that share all else.

    Attributes:
        name: the folder of the first.
        target: folder of the target set.
        backbone: kind of the network, and where its weights are from.
        seeds: of the pairs of runs.
        score: what each class was predicted to gain; NaN where it has none.
        gains: of each pair of runs, accuracy with neighbors minus without, -1..1; NaN of a class without test images.
        halves: the same on each half of the test images of a class, where per_class.csv tells images apart; else on
            all of them, as one half.
        counts: training images that each class really has, with those of `target.extra_per_class`.
    """

    name: str
    target: str
    backbone: str
    seeds: tuple[int, ...]
    score: Float64[np.ndarray, " target"]
    gains: Float64[np.ndarray, "seeds target"]
    halves: Float64[np.ndarray, "seeds halves target"]
    counts: Int64[np.ndarray, " target"]

    def columns(self) -> tuple[Float64[np.ndarray, " known"], ...]:
        """Score, mean gain and training images of the classes that have all of them."""
        gain = self.gains.mean(axis=0)
        known = np.isfinite(self.score) & np.isfinite(gain)
        return self.score[known], gain[known], self.counts[known].astype(np.float64)


def comparisons(folder: Path) -> list[Rows]:
    """Finished runs below a folder that share all but what is added to the target set, seed and precision.

    Of several settings of one row, as of sweeps, the one from which the others depart in the fewest keys counts: what
    all sweeps have in common. Of two it is that of the shorter folder names: the component without further keys. Of
    comparisons that share a baseline run, to the outcome of each test image, the one with the most seeds counts.

    Returns:
        Of each comparison the run folders by row (`baseline`, `silencing`, `target_extra`) and seed, those with a
        baseline and another row.

    Raises:
        RunError: a file of a run cannot be read.
    """
    found: dict[str, dict[str, dict[str, dict[int, Path]]]] = {}
    for file in sorted(folder.glob(f"**/{runs.RESULTS}")):
        run = file.parent
        if not (run / runs.RUN).is_file() or (run.parent / runs.RUN).is_file():  # a retrained one is within its run
            continue
        # A precision rounds otherwise, as another device does, which no key tells.
        settings = {key: value for key, value in runs.settings(run).items() if key != "trainer.precision"}
        if (row := _row(settings)) is None:
            continue
        shared = {key: value for key, value in settings.items() if not _OF_A_ROW.fullmatch(key)}
        of_world = found.setdefault(json.dumps([str(run.parent), shared], sort_keys=True, default=str), {})
        own = json.dumps(
            {key: value for key, value in settings.items() if key not in shared}, sort_keys=True, default=str
        )
        of_world.setdefault(row, {}).setdefault(own, {})[runs.read_json(file)["seed"]] = run
    chosen = ({row: _common_setting(settings) for row, settings in of_world.items()} for of_world in found.values())
    compared = [rows for rows in chosen if BASELINE in rows and len(rows) > 1]
    alone: list[Rows] = []
    seen: set[tuple[int, bytes]] = set()
    for rows in sorted(compared, key=lambda rows: -len(rows[BASELINE])):
        outcomes = {
            (seed, (run / runs.PER_CLASS).read_bytes())
            for seed, run in rows[BASELINE].items()
            if (run / runs.PER_CLASS).is_file()
        }
        if not outcomes & seen:
            alone.append(rows)
        seen |= outcomes
    return [rows for rows in compared if rows in alone]


def read_world(rows: Rows, wordnet: WordNet | None) -> World | None:
    """The gains of a comparison and what was predicted; None where its runs have no accuracies of classes.

    Raises:
        LtExtrapError: the lists that the runs were trained on are not there, or have changed.
    """
    seeds = tuple(sorted(rows[BASELINE].keys() & rows.get(METHOD, {}).keys()))
    pairs = [(rows[BASELINE][seed], rows[METHOD][seed]) for seed in seeds]
    if not pairs or not all((run / runs.PER_CLASS).is_file() for pair in pairs for run in pair):
        return None
    before, now = (np.stack([_accuracies(pair[side]) for pair in pairs]) for side in (0, 1))
    halves_before, halves_now = (np.stack([_halves(pair[side]) for pair in pairs]) for side in (0, 1))
    run = runs.load(pairs[0][1])
    assert isinstance(run.config.auxiliary, AuxiliaryClasses)
    node = run.target()
    target = load_target(replace(node, allow_empty=True), missing="keep")
    if changed := run.changed({f"target.{key}": path for key, path in target.files.items()}):
        raise RunError(
            f"the lists that {run.folder} was trained on", f"others under {', '.join(changed)}", "restore them"
        )
    table = read_table(target.place.lists, node.names, target.classes.ids)
    kinship = kinship_of(table, target.classes, wordnet)
    neighbors = find_neighbors(run.config.auxiliary, target, kinship, wordnet)
    assert neighbors is not None  # or silencing would have had no pairs
    return World(
        name=str(pairs[0][0].parent),
        target=run.config.target.folder,
        backbone=network_of(pairs[0][1]),
        seeds=seeds,
        score=predicted_gains(target.trained_on, neighbors),
        gains=now - before,
        halves=halves_now - halves_before,
        counts=target.trained_on,
    )


def network_of(run: Path) -> str:
    """The network of a run, where it starts from, and what of it learns if that is not all."""
    settings = runs.settings(run)
    start = "pretrained" if settings.get("backbone.weights") else "from scratch"
    words = [f"{settings.get('backbone.model') or settings.get('kinds.backbone', 'a network')} {start}"]
    if (adapter := settings.get("kinds.adapter", "NoAdapter")) != "NoAdapter":
        words.append(str(adapter))
    elif settings.get("recipe.freeze") == "all":
        words.append("frozen")
    return ", ".join(words)


def group_gains(rows: Rows) -> GroupGains:
    """Points that each row gains over the baseline, of each common seed, by row and group of classes."""
    measures = {"overall": "acc", **{str(shot): f"acc_{shot}" for shot in (Shot.MANY, Shot.MEDIUM, Shot.FEW)}}
    found: dict[str, Mapping[str, Sequence[float]]] = {}
    for row in rows.keys() - {BASELINE}:
        differences: defaultdict[str, list[float]] = defaultdict(list)
        for seed in rows[row].keys() & rows[BASELINE].keys():
            before, now = (runs.read_json(of[seed] / runs.RESULTS)["test"] for of in (rows[BASELINE], rows[row]))
            for name, measure in measures.items():
                if before[measure] is not None and now[measure] is not None:
                    differences[name].append(100 * (now[measure] - before[measure]))
        if differences:
            found[row] = dict(differences)
    return found


def _row(settings: Mapping[str, Any]) -> str | None:
    """Which row of a table a run is, by the keys of its nodes, which runs of older versions have too."""
    if "auxiliary.shots" in settings:
        return EXTRA
    if "loss.lambda_s" in settings and not settings.get("auxiliary.permute"):
        return METHOD
    pairs = [settings.get(f"auxiliary.{key}", "none") for key in ("pairs", "folder")]
    if pairs == [None, None] and "loss.lambda_s" not in settings:  # a folder may bring its own
        return RANDOM
    alone = not any(key.startswith("auxiliary.") for key in settings)
    return BASELINE if alone and "loss.tau" in settings and "loss.lambda_s" not in settings else None


def _common_setting(settings: Mapping[str, Mapping[int, Path]]) -> Mapping[int, Path]:
    """The runs of the setting from which the others depart least, by settings as JSON."""
    keys = {own: {f"{key}={value}" for key, value in json.loads(own).items()} for own in settings}

    def departures(own: str) -> tuple[int, int]:
        names = max(len(run.name) for run in settings[own].values())
        return sum(len(keys[own] ^ others) for others in keys.values()), names

    return settings[min(settings, key=departures)]


def _accuracies(run: Path) -> Float64[np.ndarray, " target"]:
    """Of each class in per_class.csv; NaN of one without test images."""
    rows = runs.read_table(run / runs.PER_CLASS)
    return np.array([float(row["accuracy"] or "nan") for row in rows], np.float64)


def _halves(run: Path) -> Float64[np.ndarray, "halves target"]:
    """Accuracies on every other test image of a class and on the rest; of a run that does not tell them, on all."""
    rows = runs.read_table(run / runs.PER_CLASS)
    if "right" not in rows[0]:
        return _accuracies(run)[None]
    found = np.full((2, len(rows)), np.nan)
    for label, row in enumerate(rows):
        digits = np.array([*row["right"]], np.float64)
        for half in (0, 1):
            if len(digits[half::2]):
                found[half, label] = digits[half::2].mean()
    return found
