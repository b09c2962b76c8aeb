"""A run folder: what identifies it, and what it holds when the run has ended."""

import csv
import hashlib
import io
import json
import platform
import secrets
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig

from lt_extrap.compose import from_dict, kinds, pretrains, to_dict
from lt_extrap.config import FolderTarget, RunConfig, Target, TrainConfig
from lt_extrap.data.auxiliary_set import set_folder
from lt_extrap.data.stored.schema import CLASSES, MANIFEST, PAIRS
from lt_extrap.data.target import ClassTable, TargetSet
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.files import alone_in, write_whole
from lt_extrap.model.measured import Confusions, PerClass, PerImage
from lt_extrap.model.relation import NeighborRelation
from lt_extrap.model.weights import OF_RUN, weights_path
from lt_extrap.paths import cache_dir
from lt_extrap.run_name import FREE, WEIGHT_FILES

RESULTS, RUN, PER_CLASS, WEIGHTS = "results.json", "run.json", "per_class.csv", OF_RUN
CONFUSIONS, CHECKPOINTS, LISTS = "confusions.csv", "checkpoints", "lists"
FORMAT = 1  # of a run folder; another one is refused


def locked(folder: Path) -> AbstractContextManager[None]:
    """Keep every other process out of a run folder. The lock ends with the process, however that ends.

    Raises:
        RunError: another process has it.
    """
    return alone_in(folder, "a run folder", "wait for that one, or give this run its own name=...")


def files_of(config: RunConfig, target: TargetSet) -> dict[str, Path]:
    """The files that decide what this run trains and tests on, by configuration key."""
    found = {f"target.{key}": path for key, path in target.files.items()}
    for key in ("train", "names", "pairs", "budget_list"):
        if (file := getattr(config.auxiliary, key, None)) is not None:
            found[f"auxiliary.{key}"] = target.place.root / (file.partition(":")[0] if key == "names" else file)
    for key, names in (("folder", (MANIFEST, CLASSES, PAIRS)), ("budget_folder", (MANIFEST,))):
        if (folder := getattr(config.auxiliary, key, None)) is not None:
            found |= {f"auxiliary.{key}/{name}": set_folder(folder, target.place) / name for name in names}
    weights = getattr(config.backbone, "weights", None)
    if (donor := getattr(config, "features_from", None)) is not None:  # whose weights are not read again
        found["features_from"] = Path(donor)
    elif weights is not None and weights != "hub":
        found["backbone.weights"] = weights_path(weights)
    return found


def keep_lists(folder: Path, target: TargetSet) -> None:
    """Copy lists that this machine made into `lists/` of a run folder: the cache that they are in may be emptied."""
    for path in target.files.values():
        if path.is_relative_to(cache_dir()):
            with path.open("rb") as made:
                write_whole(folder / LISTS / path.name, partial(shutil.copyfileobj, made))


@dataclass(frozen=True)
class Claim:
    """A run folder that belongs to a configuration.

    Attributes:
        id: random, and the same for all starts of the run.
        results: of the run, if it has ended.
        notes: what is not as it was at the last start, and yet no reason to refuse.
    """

    id: str
    results: dict[str, Any] | None
    notes: tuple[str, ...]


def claim(
    folder: Path,
    config: RunConfig,
    files: Mapping[str, Path],
    *,
    begun: bool,
    longest_edges: Collection[int | None] = (None,),
) -> Claim:
    """Write down what a folder's run is, or find that it is this one.

    Args:
        folder: made if it is not there.
        config: what the run is about to do.
        files: files that the result depends on, by configuration key; their hashes are kept in run.json.
        begun: the folder holds a checkpoint; without one, and without results, there is nothing to lose, and the
            folder is taken over.
        longest_edges: of the images (see `ImageStore`): smaller ones give another result.

    Raises:
        RunError: the folder holds the run of another configuration, of other files or of another version, or
            cannot be read.
    """
    identity = {
        "format": FORMAT,
        "config": to_dict(config),
        "kinds": kinds(config),
        "files": {key: _hash(path) for key, path in files.items()},
        "longest_edges": sorted(longest_edges, key=lambda edge: edge or 0),
    }
    start = {"command": _command(), "commit": _commit(), "versions": _versions()}
    ended = (folder / RESULTS).is_file()
    if not ended and not begun:
        folder.mkdir(parents=True, exist_ok=True)
        run_id = secrets.token_hex(4)
        write_json(folder / RUN, {"id": run_id, **identity, "starts": [start]})
        return Claim(run_id, None, ())
    record = _record(folder)
    changed = sorted(_differences(record, identity))
    if changed:
        raise RunError(
            f"the same run as before in {folder}",
            "; ".join(changed),
            "give the new run its own name=..., or move that folder away",
        )
    if ended:
        return Claim(record["id"], read_json(folder / RESULTS), ())
    last = record["starts"][-1]
    old, new = {"commit": last["commit"], **last["versions"]}, {"commit": start["commit"], **_versions()}
    notes = tuple(f"{key} was {old.get(key)}, now {new.get(key)}" for key in new if old.get(key) != new.get(key))
    # What it leaves at its end is read back on weights from where they are now.
    config_now = {**record["config"], **_weight_places(record, identity)}
    write_json(folder / RUN, {**record, "config": config_now, "starts": [*record["starts"], start]})
    return Claim(record["id"], None, notes)


@dataclass(frozen=True)
class Run:
    """A run that has ended, as evaluate, predict and export read it.

    Attributes:
        folder: where it is.
        config: of the run.
        results: content of results.json.
        files: hashes of what it was trained and tested on, by configuration key.
    """

    folder: Path
    config: TrainConfig
    results: dict[str, Any]
    files: dict[str, str]

    def changed(self, files: Mapping[str, Path]) -> list[str]:
        """Which of these files are not what they were for the run, by configuration key."""
        return [key for key, path in files.items() if key in self.files and self.files[key] != _hash(path)]

    def target(self, root: str | None = None) -> Target:
        """The target that it was trained on. A folder of one's own may have changed since: its lists were kept.

        Args:
            root: of the target's files, where it is another one today.
        """
        target: Target = self.config.target
        kept = (self.folder / LISTS).resolve()
        if isinstance(target, FolderTarget) and kept.is_dir():
            target = Target(
                root=target.root,
                folder=target.folder,
                images=target.images,
                archive=target.archive,
                train=str(kept / target.train),
                val=str(kept / target.val) if target.val else None,
                test=str(kept / target.test),
                names=f"{kept}/{target.names}",
                exclude=target.exclude,
                samples_per_class=target.samples_per_class,
                allow_empty=target.allow_empty,
            )
        return replace(target, root=root) if root else target


def load(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: the folder holds none, or one of another version.
    """
    if not (folder / RUN).is_file():
        raise RunError(f"a run folder with {RUN}", f"none in {folder}", "give run=<a folder below runs/>")
    record = _record(folder)
    if pretrains(record["kinds"]):
        raise RunError(
            "the run of a classifier",
            f"a pretraining in {folder}, which has a backbone and no classes",
            f"train a classifier from it: backbone.weights={folder}",
        )
    if not (folder / RESULTS).is_file():
        raise RunError(
            f"a run that has ended in {folder}", f"no {RESULTS}", "run its command again: it goes on where it stopped"
        )
    try:
        config = from_dict(record["config"], record["kinds"])
    except ConfigError as error:
        raise _another_version(folder, f"{error.wanted}: {error.found}") from error
    assert isinstance(config, TrainConfig)
    return Run(folder, config, read_json(folder / RESULTS), record["files"])


def is_pretraining(folder: Path) -> bool:
    """Whether a folder with a run.json is of a pretraining, which has no accuracies."""
    return pretrains(read_json(folder / RUN).get("kinds", {}))


def weights_file(run: Path) -> Path:
    """The direct classifier of a finished run; a path of such a file stands for itself.

    Raises:
        RunError: neither is there, the run has not ended, or it is of another version.
    """
    return run if run.is_file() else load(run).folder / WEIGHTS


def settings(folder: Path) -> dict[str, Any]:
    """What decides the result of the run in a folder, of any version, but for its seed: values of run.json by key.

    Keys that this version has more are at their defaults, as where a run goes on: they set apart no row.
    """
    record = _completed(read_json(folder / RUN))
    values = dict(_leaves({**record["config"], "kinds": record["kinds"]}))
    return {key: value for key, value in values.items() if key != "seed" and not FREE.fullmatch(key)}


def _record(folder: Path) -> dict[str, Any]:
    record = read_json(folder / RUN)
    if record.get("format") != FORMAT:
        raise _another_version(folder, f"format {record.get('format')}")
    return record


def _another_version(folder: Path, found: str) -> RunError:
    return RunError(
        f"a run folder of this version (format {FORMAT}): {folder}",
        found,
        "use the version of lt_extrap that made it, or run again under another name=...",
    )


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
    raise RunError(f"a JSON object in {path}", found, "move the run folder away and run again")


def command_of(record: Mapping[str, Any]) -> list[str]:
    """The words of the command that began a run, by its run.json: the program first; none where they were not kept."""
    starts = record.get("starts") or [{}]
    return [str(word) for word in starts[0].get("command") or ()]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def write_per_class(
    path: Path, classes: ClassTable, measured: PerClass, images: PerImage, relation: NeighborRelation
) -> None:
    """Write a row a target class.

    Its label, id, name, shot, training images, test images, accuracy (0..1); `right`, a digit a test image in the
    order of the list, 1 where it is recognised; and how many of them have their highest logit in an auxiliary column,
    and in that of a neighbor.
    """
    label, predicted, highest = (column.cpu().numpy() for column in images)
    to_auxiliary = highest >= len(classes)
    pairs = zip(label.tolist(), highest.tolist(), strict=True)
    to_neighbor = to_auxiliary & np.fromiter((column in relation.row(own) for own, column in pairs), bool, len(label))
    of_class = [np.flatnonzero(label == own) for own in range(len(classes))]
    rows = zip(
        range(len(classes)),
        classes.ids,
        classes.names,
        classes.shots,
        classes.counts.tolist(),
        measured.support.tolist(),
        ("" if accuracy != accuracy else f"{accuracy:.6f}" for accuracy in measured.accuracy.tolist()),
        ("".join(np.where(predicted[own] == label[own], "1", "0")) for own in of_class),
        (to_auxiliary[own].sum() for own in of_class),
        (to_neighbor[own].sum() for own in of_class),
        strict=True,
    )
    header = ["class", "id", "name", "shot", "train_images", "test_images", "accuracy"]
    write_table(path, [*header, "right", "to_auxiliary", "to_neighbors"], rows)


def write_confusions(path: Path, confusions: Confusions) -> None:
    """Write a row a pair of classes that was confused: true class, predicted class, test images; most first."""
    columns = (column.tolist() for column in confusions)
    write_table(path, ["class", "predicted", "images"], zip(*columns, strict=True))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write_whole(path, lambda file: file.write(text.getvalue().encode()))


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, by the names of its header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _weight_places(record: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a configuration that name files of weights, as of this start; the content is the same."""
    places: dict[str, Any] = {}
    for key in WEIGHT_FILES & record.get("files", {}).keys() & now["files"].keys():
        group, _, name = key.rpartition(".")
        config = now["config"]
        places |= {group: {**record["config"][group], name: config[group][name]}} if group else {name: config[name]}
    return places


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    if any(before.get(key) != now[key] for key in ("config", "kinds")):  # finding defaults takes a while
        before = _completed(before)
    for group in now["kinds"]:
        if before["kinds"].get(group) != now["kinds"][group]:
            yield f"{group} was {before['kinds'].get(group)}, now {now['kinds'][group]}"
    old, new = dict(_leaves(before["config"])), dict(_leaves(now["config"]))
    files, files_now = before.get("files", {}), now["files"]
    # Where these files are does not matter: their content is compared below.
    moved = WEIGHT_FILES & files.keys() & files_now.keys()
    for key in old.keys() | new.keys():
        if old.get(key) != new.get(key) and not FREE.fullmatch(key) and key not in moved:
            yield f"{key} was {old.get(key)}, now {new.get(key)}"
    if (edges := before.get("longest_edges", [None])) != now["longest_edges"]:
        words = [
            ", ".join("none" if edge is None else str(edge) for edge in of) for of in (edges, now["longest_edges"])
        ]
        yield f"the longest edge to which images were shrunk (lt_extrap.pack) was {words[0]}, now {words[1]}"
    others = [key for key in files.keys() | files_now.keys() if files.get(key) != files_now.get(key)]
    yield from (f"the content of {key} is another" for key in others)
    root = "target.root"  # may differ, but if the content does too it is what a reader wants to know
    if others and old.get(root) != new.get(root):
        yield f"{root} was {old.get(root)}, now {new.get(root)}"


def _completed(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What run.json says, with keys that this version has more at their defaults, and classes by their new names."""
    values, names = record.get("config", {}), record.get("kinds", {})
    try:
        config = from_dict(values, names)
    except ConfigError:  # it has keys that this version lacks, or no classes: all is as it is there
        return {**record, "config": values, "kinds": names}
    return {**record, "config": to_dict(config), "kinds": kinds(config)}


def _leaves(node: Any, at: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, node


@cache
def _commit() -> str | None:
    """The commit of the checkout that runs, with a + when its files differ; None outside of one.

    As of the first run of the process: it has its modules from then.
    """
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # or the repository is not ours, but encloses it
        return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    except (OSError, subprocess.CalledProcessError):
        return None


def _command() -> list[str] | None:
    """The words of the command that runs this job, in a multirun those of this job alone; None where none runs it."""
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    return [f"lt_extrap.{hydra.job.name}", *hydra.overrides.task]


@cache
def _versions() -> dict[str, str]:
    packages = (
        "lt-extrap",
        "torch",
        "torchvision",
        "lightning",
        "timm",
        "open-clip-torch",
        "numpy",
        "pillow",
        "hydra-core",
    )
    return {"python": platform.python_version()} | {package: version(package) for package in packages}
