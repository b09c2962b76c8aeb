"""A run folder: what is written in it, and what it holds when the run has ended."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lt_extrap.compose import from_dict, kinds, pretrains, to_dict
from lt_extrap.config import FolderTarget, RunConfig, Target, TrainConfig
from lt_extrap.data.auxiliary_set import set_folder
from lt_extrap.data.stored.schema import CLASSES, MANIFEST, PAIRS
from lt_extrap.data.target import ClassTable, TargetSet
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.files import write_whole
from lt_extrap.model.measured import Confusions, PerClass, PerImage
from lt_extrap.model.relation import NeighborRelation
from lt_extrap.model.weights import OF_RUN, weights_path
from lt_extrap.run_name import FREE

RESULTS, RUN, PER_CLASS, WEIGHTS = "results.json", "run.json", "per_class.csv", OF_RUN
CONFUSIONS, CHECKPOINTS, LISTS = "confusions.csv", "checkpoints", "lists"
FORMAT = 1  # of a run folder; another one is refused


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
        return [key for key, path in files.items() if key in self.files and self.files[key] != digest(path)]

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
    record = record_of(folder)
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
    record = completed(read_json(folder / RUN))
    values = dict(leaves({**record["config"], "kinds": record["kinds"]}))
    return {key: value for key, value in values.items() if key != "seed" and not FREE.fullmatch(key)}


def record_of(folder: Path) -> dict[str, Any]:
    """Its run.json.

    Raises:
        RunError: it cannot be read, or is of another version.
    """
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


def digest(path: Path) -> str:
    """What tells the content of a file from any other: the beginning of its SHA-256, 16 digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def completed(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What run.json says, with keys that this version has more at their defaults, and classes by their new names."""
    values, names = record.get("config", {}), record.get("kinds", {})
    try:
        config = from_dict(values, names)
    except ConfigError:  # it has keys that this version lacks, or no classes: all is as it is there
        return {**record, "config": values, "kinds": names}
    return {**record, "config": to_dict(config), "kinds": kinds(config)}


def leaves(node: Any, at: str = "") -> Iterable[tuple[str, Any]]:
    """The values of nested mappings, with their keys joined by dots."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, node
