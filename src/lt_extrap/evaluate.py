"""Measure a finished run again: `python -m lt_extrap.evaluate run=runs/<name>/<folder>`.

The same numbers as in its results.json, or those of its last weights, of another list, or of the retrained classifier.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig
from rich.console import Console

from lt_extrap import checkpoints, cli, runs
from lt_extrap.compose import from_hydra
from lt_extrap.config import Loading, check
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.layout import find_images
from lt_extrap.data.lists import read_list
from lt_extrap.data.target import TargetSet, check_labels, load_target
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.model.adapters.rebuilt import rebuilt
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import empty_head
from lt_extrap.module import ExtrapolationModule
from lt_extrap.paths import conf_dir
from lt_extrap.processes import Processes, environment, one_voice
from lt_extrap.progress import result_line
from lt_extrap.retrained import FOLDER, retrained
from lt_extrap.runs import Run
from lt_extrap.signals import StopSignal
from lt_extrap.train import train
from lt_extrap.trainer import build_trainer, leave_signals_to_us, numbers, processes_of, quiet


@dataclass
class EvaluateConfig:
    """What to measure.

    Attributes:
        run: folder of a run that has ended.
        classifier: `direct` (the target rows of the trained head) or `retrained` (a new head on the frozen backbone,
            trained on the target set alone; kept in <run>/retrained, and trained once).
        weights: `selected`, the headline of results.json, or `last`.
        images: a list, `path label` a line, with the labels of the target; null = the target's test list.
        root: of the target's files, where it is not the one of the run; the paths of `images` start there too.
        output: JSON file; null = <run>/evaluation-<classifier>-<weights>[-<list>].json.
        workers: loader processes.
        trainer: arguments of lightning.Trainer; several devices share the images and give the same numbers.
    """

    run: str = MISSING
    classifier: str = "direct"
    weights: str = "selected"
    images: str | None = None
    root: str | None = None
    output: str | None = None
    workers: int = 2
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.classifier in ("direct", "retrained"), "classifier", "direct or retrained", self.classifier)
        check(self.weights in ("selected", "last"), "weights", "selected or last", self.weights)
        check(self.workers >= 0, "workers", "at least 0", self.workers)


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure a run.

    Returns:
        What was measured, with its numbers (see `LongTailMetrics.compute`); also written to `output`.

    Raises:
        LtExtrapError: no finished run of this version, weights that do not fit the target, or a list that is not
            what it should be.
    """
    run, processes = runs.load(Path(config.run)), processes_of(config.trainer)
    if config.classifier == "retrained":
        folder = run.folder / FOLDER
        if processes.count == 1:
            train(retrained(run, root=config.root), folder)
        elif not (folder / runs.RESULTS).is_file():
            raise ConfigError(
                "one device to train the new head",
                f"{config.trainer}",
                "run this once with trainer.devices=1; what it trained can be measured on several",
            )
        run = runs.load(folder)
    with StopSignal().listening(), processes:
        return _evaluate(config, run, processes)


def _evaluate(config: EvaluateConfig, run: Run, processes: Processes) -> dict[str, Any]:
    """Measure a run, in each process."""
    processes.wait()
    target = _target(run, config.root)
    changed = run.changed({f"target.{key}": path for key, path in target.files.items()})
    if wrong := {"target.train", "target.names", "target.extra"} & set(changed):
        raise RunError(
            f"the lists and names that {run.folder} was trained on",
            f"another content of {', '.join(sorted(wrong))}: groups and classes would be others under the same names",
            "give root=<the folder with the old ones>",
        )
    if config.images:
        file = Path(config.images)
        index = read_list(file)
        check_labels(index, len(target.classes), file, "target classes")
        index = target.by_class(find_images(index, target.place.images, file))
        target = dataclasses.replace(target, test=index)
    module = load_module(run, target, config.weights)
    loading = Loading(workers=config.workers)
    data = ImageDataModule(
        target,
        None,
        recipe=run.config.recipe,
        preprocessing=module.model.backbone.preprocessing,
        loading=loading,
        seed=run.config.seed,
    )
    # The precision of the run: another one would give other numbers under the same name.
    options = {"precision": run.config.trainer.get("precision", "32-true"), **config.trainer}
    processes.begin({"evaluate": dataclasses.asdict(config)}, None)
    own = {"logger": False, "enable_progress_bar": False, "plugins": environment(), "strategy": processes.strategy}
    with quiet():
        trainer = build_trainer(options, own)
        leave_signals_to_us(trainer)
        measured = numbers(trainer.test(module, data, verbose=False)[0], "test")
    results = {
        "run": str(run.folder),
        "classifier": config.classifier,
        "weights": config.weights,
        "images": config.images or run.config.target.test,
        "test": measured,
    }
    if processes.first:
        of_list = f"-{Path(config.images).stem}" if config.images else ""
        name = f"evaluation-{config.classifier}-{config.weights}{of_list}.json"
        output = Path(config.output) if config.output else Path(config.run) / name
        runs.write_json(output, results)
        console = Console()
        line = result_line(measured, config.weights, str(output), target.untested)
        console.print(line, highlight=False, soft_wrap=True)
        before = run.results["test" if config.weights == "selected" else "last"]
        if not config.images:
            why = " (another test list)" if "target.test" in changed else ""
            of = run.folder / runs.RESULTS
            print(f"the numbers of {of}" if before == measured else f"not those of {of}{why}: {before}")
    return results


def load_module(run: Run, target: TargetSet, weights: str) -> ExtrapolationModule:
    """The trained module of a run, without a loss.

    Raises:
        RunError: the checkpoint is of other classes than the target, or is not there.
    """
    name = checkpoints.BEST if weights == "selected" and run.results["selected"] == "best" else checkpoints.LAST
    path = run.folder / runs.CHECKPOINTS / name
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content["state_dict"]
        columns = len(state["model.head.weight"])
    except (OSError, KeyError, RuntimeError, EOFError) as error:
        raise RunError(f"the weights of the run in {path}", str(error), "copy the whole run folder") from error
    expected = len(target.classes) + run.results["auxiliary_classes"]
    if columns != expected or len(target.classes) != run.results["target_classes"]:
        raise RunError(
            f"a checkpoint of {expected} classes: {len(target.classes)} of the target now, "
            f"{run.results['auxiliary_classes']} auxiliary",
            f"{columns} in {path}, trained on {run.results['target_classes']} target classes",
            "give the class names and lists that the run was trained on",
        )
    backbone = rebuilt(
        run.config.backbone,
        run.config.adapter,
        image_size=run.config.recipe.image_size,
        classes=len(target.classes),
        identity=content.get("frozen_backbone"),
        holder=str(path),
    )
    module = ExtrapolationModule(
        model=Classifier(backbone, empty_head(run.config.head, dim=backbone.dim, classes=columns)),
        loss=None,
        recipe=run.config.recipe,
        steps=1,
        warmup=0,
        shots=target.classes.shots,
        seed=run.config.seed,
        skip_unreadable=False,
    )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(
            f"weights of {type(run.config.backbone).__name__} {vars(run.config.backbone)} in {path}",
            str(error),
            "use the version that made the run",
        ) from error
    return module


def _target(run: Run, root: str | None) -> TargetSet:
    return load_target(run.target(root), missing=run.config.data.missing)


ConfigStore.instance().store(group="schema", name="evaluate", node=EvaluateConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="evaluate")
def task(composed: DictConfig) -> None:
    """Hydra's entry."""
    evaluate(from_hydra(composed))


def main() -> None:
    """The command."""
    with one_voice():
        cli.run(task)


if __name__ == "__main__":
    main()
