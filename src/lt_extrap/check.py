"""Is my data what I think it is? `python -m lt_extrap.check target=tiny_imagenet_lt [auxiliary=neighbors]`.

Looks at every row of every list and at every image, and reports what training would refuse and what it would not
notice. Prints a page of text and writes it into a folder, beside check.json (every case) and exclude.txt (for
`target.exclude`).

The exit status is 1 if there are errors. What was found about images is kept: a check that is ended goes on where it
was, and a second looks at new and changed files only.
"""

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig

from lt_extrap import cli
from lt_extrap.bar import Bar
from lt_extrap.compose import from_hydra
from lt_extrap.config import AuxiliaryClasses, Target, TargetExtra, check
from lt_extrap.data.auxiliary import add_classes, add_target_images
from lt_extrap.data.facts import FORMAT, FactStore, survey
from lt_extrap.data.inventory import Inventory, read_inventory
from lt_extrap.data.store import RemoteFolder
from lt_extrap.data.target import load_target, read_paths
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.files import write_whole
from lt_extrap.findings import Case, Finding, Findings, Severity, find
from lt_extrap.machine import cores
from lt_extrap.page import class_rows, page
from lt_extrap.paths import cache_dir, conf_dir

VERSION = 1  # of check.json
# Findings that say why training does not begin.
_REFUSALS = {"list", "labels", "empty", "missing", "auxiliary_name"}


@dataclass
class CheckConfig:
    """What to check.

    Attributes:
        target: the data set.
        auxiliary: what is trained on beside it.
        output: folder of check.txt, check.json and exclude.txt, which are replaced if they are there.
        workers: processes that look at images; 0 = this one; null = one a core.
        tiny: pixels; images with a shorter side are named.
    """

    target: Any = MISSING
    auxiliary: Any = MISSING
    output: str = MISSING
    workers: int | None = None
    tiny: int = 32

    def __post_init__(self) -> None:
        check(self.workers is None or self.workers >= 0, "workers", "at least 0, or null", self.workers)
        check(self.tiny >= 0, "tiny", "at least 0", self.tiny)


def check_data(config: CheckConfig) -> Findings:
    """Check a data set, print the page and write the files.

    Raises:
        DataError: there is no such data set, or the store of facts cannot be used.
    """
    inventory = read_inventory(config.target, config.auxiliary)
    if isinstance(inventory.place.images, RemoteFolder):
        raise ConfigError(
            "images on this machine, or packed ones, of which the check reads every one",
            f"{inventory.place.images}, a request an image",
            "pack them first (python -m lt_extrap.pack), and give target.images=<the packed folder, or its URL>",
        )
    files = [inventory.images.where(path) for path in inventory.paths]
    workers = cores(1) if config.workers is None else config.workers
    with FactStore(cache_dir() / f"facts-{FORMAT}.sqlite") as store:
        with Bar("images") as bar:
            missing = survey(files, inventory.images, store, workers=workers, report=bar.show)
        findings = find(inventory, files, missing, store, tiny=config.tiny, allow_empty=config.target.allow_empty)
    if not _REFUSALS & {finding.kind for finding in findings.of(Severity.ERROR)} and (refusal := _refusal(config)):
        findings = Findings((refusal, *findings.findings), findings.folders, findings.exclude)
    folder = Path(config.output)
    text = page(inventory, findings, len(missing), folder)
    _write(folder, text, _json(config, inventory, findings), _excluded(config.target, inventory, findings))
    print(text)
    return findings


def _refusal(config: CheckConfig) -> Finding | None:
    """What training would refuse, and nothing above has found."""
    try:
        target = load_target(config.target)
        if isinstance(config.auxiliary, AuxiliaryClasses):
            add_classes(config.auxiliary, target, seed=0)
        elif isinstance(config.auxiliary, TargetExtra):
            add_target_images(config.auxiliary, target)
    except DataError as error:
        case = Case((), f"{error.found}; wanted: {error.wanted}")
        return Finding(Severity.ERROR, "refused", "training refuses this data", error.remedy, (case,))
    return None


def _json(config: CheckConfig, inventory: Inventory, findings: Findings) -> dict[str, Any]:
    folders = findings.folders.folder_of if findings.folders else {}
    header = ("label", "id", "name", "train", "val", "test", "shot")
    return {
        "version": VERSION,
        "target": config.target.folder,
        "images": str(inventory.place.images),
        "lists": {
            split: {"file": str(inventory.files[split]), "rows": int(inventory.named(split).sum())}
            for split in inventory.splits
        },
        "left_out": inventory.left_out,
        "notes": inventory.place.notes,
        "classes": [
            {**dict(zip(header, row, strict=True)), "folder": folders.get(row[0])} for row in class_rows(inventory)
        ],
        "auxiliary_classes": list(inventory.auxiliary),
        "findings": [
            {
                "severity": finding.severity,
                "kind": finding.kind,
                "summary": finding.summary,
                "remedy": finding.remedy,
                "cases": [
                    {"rows": [sample._asdict() for sample in case.samples], "detail": case.detail}
                    for case in finding.cases
                ],
            }
            for finding in findings.findings
        ],
    }


def _excluded(target: Target, inventory: Inventory, findings: Findings) -> list[str]:
    """What is to be left out, with what is left out already: the file may be the one that is in use."""
    already = read_paths(inventory.place.root / Path(target.exclude).expanduser()) if target.exclude else frozenset()
    return sorted({*already, *findings.exclude})


def _write(folder: Path, text: str, content: dict[str, Any], excluded: list[str]) -> None:
    files = {
        "check.txt": text + "\n",
        "check.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        "exclude.txt": "".join(f"{path}\n" for path in excluded),
    }
    for name, words in files.items():
        data = words.encode()
        write_whole(folder / name, lambda file, data=data: file.write(data))  # type: ignore[misc]


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


ConfigStore.instance().store(group="schema", name="check", node=CheckConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="check")
def task(composed: DictConfig) -> None:
    """Hydra's entry: check, and end with status 1 if there are errors."""
    if check_data(from_hydra(composed)).of(Severity.ERROR):
        sys.exit(1)


def main() -> None:
    """The command."""
    signal.signal(signal.SIGTERM, _stop)  # the workers end with it, and what was found is kept
    cli.run(task)


if __name__ == "__main__":
    main()
