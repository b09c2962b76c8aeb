"""When does it help? `python -m lt_extrap.studies.diagnose target=<name>`.

Says what is known of a target set before anything is trained on it, each statement with its number and its source, and
what each class may gain. `do=validate` compares predicted with measured gains, and writes the verdict that the page
of a diagnosis tells.
"""

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from rich.console import Console
from rich.markdown import Markdown

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config import FolderTarget, Target, check
from lt_extrap.config.checks import one_of
from lt_extrap.config.curate_filter import FILTER_OPTIONS
from lt_extrap.curate.wordnet import WordNet, find_wordnet, read_wordnet
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.files import write_whole
from lt_extrap.paths import conf_dir
from lt_extrap.runs import write_json, write_table
from lt_extrap.studies.diagnose.diagnosis import Options, diagnose
from lt_extrap.studies.diagnose.sheet import as_json, as_markdown
from lt_extrap.studies.diagnose.statement import Statement
from lt_extrap.studies.diagnose.validation import validate
from lt_extrap.studies.diagnose.verdict import VERDICT, Verdict, read_verdict
from lt_extrap.studies.diagnose.worlds import jobs, train_all


@dataclass
class DiagnoseConfig:
    """What to find out.

    Attributes:
        do: `diagnose` a target set, or `validate` the score by runs.
        target: of a diagnosis: the data set. Its images are read only for features.
        features: what images are compared by; null = no image is read.
        baseline: folder of a finished run on the target set, whose confusions are told; null = none.
        images_per_class: training images of a class whose features are taken, at most; drawn by a key.
        neighbors_per_class, sampling_ratio: as in training, for the numbers of neighbors that are advised.
        wordnet: `auto` = looked up where it is usually found; `none`; or its folder.
        verdict: on the score, which a diagnosis reads and a validation writes; null = that of the package is read, and
            none but that in `output` is written.
        output: folder of the page (diagnosis.md, .json, predicted.csv; or validation.md, .json and verdict.json);
            null = diagnoses/<name of the target's folder>, or diagnoses/validation. Another diagnosis there is
            written over.
        runs: of a validation: a folder with run folders at any depth; null = the embedded worlds alone.
        worlds: of a validation: embedded worlds that are trained below `output`, with each row and seed; 0 = none.
        seeds: runs of each row and world.
        workers: runs side by side; 0 = in this process.
        overrides: further ones for the runs of the embedded worlds.
        resamples: draws of the bootstrap.
    """

    do: str = "diagnose"
    target: Any = None
    features: Any = None
    baseline: str | None = None
    images_per_class: int = 50
    neighbors_per_class: int = 5
    sampling_ratio: list[float] | None = None
    wordnet: str = "auto"
    verdict: str | None = None
    output: str | None = None
    runs: str | None = None
    worlds: int = 10
    seeds: int = 3
    workers: int = 2
    overrides: list[str] = field(default_factory=list)
    resamples: int = 2000

    def __post_init__(self) -> None:
        one_of("do", self.do, ("diagnose", "validate"))
        diagnosis = self.do == "diagnose"
        if diagnosis and self.target is None:
            raise ConfigError(
                "target=<name>", "none", "choose a target, such as target=folder target.root=<your images>"
            )
        check(diagnosis or self.target is None, "target", "null with do=validate, which reads those of runs", "one")
        check(diagnosis or self.features is None, "features", "null with do=validate", "some")
        check(diagnosis or self.baseline is None, "baseline", "null with do=validate", self.baseline)
        check(not diagnosis or self.runs is None, "runs", "null without do=validate", self.runs)
        for key, least in (("images_per_class", 1), ("neighbors_per_class", 1), ("worlds", 0), ("seeds", 1),
                           ("workers", 0), ("resamples", 100)):  # fmt: skip
            check(getattr(self, key) >= least, key, f"at least {least}", getattr(self, key))
        ratio = self.sampling_ratio
        check(
            ratio is None or (len(ratio) == 3 and min(ratio) >= 0 and 0 < max(ratio) < float("inf")),
            "sampling_ratio",
            "three numbers [many, medium, few], none negative, not all 0",
            ratio,
        )
        check(diagnosis or self.worlds > 0 or self.runs is not None, "runs", "a folder with worlds=0", self.runs)


def run(config: DiagnoseConfig) -> list[Statement]:
    """Diagnose or validate, print the page and write the files.

    Raises:
        LtExtrapError: the target set, the runs or a file is not what it should be.
    """
    wordnet = _wordnet(config.wordnet)
    name = _name(config.target) if config.target else "validation"
    output = Path(config.output) if config.output else Path("diagnoses") / name
    verdict: Verdict | None
    if config.do == "validate":
        folders = [Path(config.runs)] if config.runs else []
        if config.worlds:
            train_all(list(jobs(output / "runs", config.worlds, config.seeds, config.overrides)), config.workers)
            folders.append(output / "runs")
        verdict, statements = validate(folders, wordnet, config.resamples)
        for file in filter(None, (output / VERDICT, Path(config.verdict) if config.verdict else None)):
            write_json(file, verdict)
        title = "Does the score predict who gains?"
    else:
        verdict = read_verdict(Path(config.verdict) if config.verdict else None)
        options = Options(
            features=config.features,
            images_per_class=config.images_per_class,
            baseline=Path(config.baseline) if config.baseline else None,
            neighbors_per_class=config.neighbors_per_class,
            sampling_ratio=config.sampling_ratio,
            wordnet=wordnet,
            verdict=verdict,
        )
        target, statements, score = diagnose(config.target, options)
        title = f"When does it help? {name}"
        if score is not None:
            rows = zip(target.classes.ids, target.classes.names, target.trained_on, score, strict=True)
            cells = ((*row[:3], "" if row[3] != row[3] else f"{row[3]:.4f}") for row in rows)
            write_table(output / "predicted.csv", ["id", "name", "train_images", "score"], cells)
    stem = "diagnosis" if config.do == "diagnose" else "validation"
    page = as_markdown(title, statements)
    write_whole(output / f"{stem}.md", lambda file: file.write(page.encode()))
    write_json(output / f"{stem}.json", as_json(title, statements, verdict))
    if sys.stdout.isatty():
        Console().print(Markdown(page))
    else:
        print(page, end="")
    print(f"\n{output / stem}.md, .json")
    return statements


def _name(target: Target) -> str:
    """What a target is called: its folder, or that of one's own images."""
    return Path(target.root).resolve().name if isinstance(target, FolderTarget) and target.root else target.folder


def _wordnet(place: str) -> WordNet | None:
    """WordNet, where it is wanted; with `auto` None where it is not found, which the page tells."""
    if place == "none":
        return None
    try:
        return read_wordnet(find_wordnet(None if place == "auto" else place))
    except DataError:
        if place == "auto":
            return None
        raise


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


store = ConfigStore.instance()
store.store(group="schema", name="diagnose", node=DiagnoseConfig)
for option, schema in FILTER_OPTIONS["features"].items():
    store.store(group="schema/features", name=option, node=schema)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="studies/diagnose")
def task(composed: DictConfig) -> None:
    """Hydra's entry."""
    run(from_hydra(composed))


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, _stop)  # runs under way are waited for, no further one begins
    cli.run(task)


if __name__ == "__main__":
    main()
