"""Measure a finished run again: `python -m lt_extrap.evaluate run=runs/<name>/<folder>`.

The same numbers as in its results.json, or those of its last weights, of another list, of another classifier on its
features, of five crops an image, or under another prior.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig
from rich.console import Console

from lt_extrap import checkpoints, cli, prior, runs
from lt_extrap.classifiers import TRAINED, data_of, put_nearest_mean, put_tau_normalized, trained_on
from lt_extrap.compose import from_hydra
from lt_extrap.config import Loading, check
from lt_extrap.config.checks import one_of
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
from lt_extrap.progress import percent, result_line
from lt_extrap.runs import Run
from lt_extrap.signals import StopSignal
from lt_extrap.train import train
from lt_extrap.trainer import build_trainer, leave_signals_to_us, numbers, processes_of, quiet, root_device


@dataclass
class EvaluateConfig:
    """What to measure.

    Attributes:
        run: folder of a run that has ended.
        classifier: `direct` (the target rows of the trained head); `retrained` or `crt` (a new head on the frozen
            backbone, trained on the target set alone, by balanced softmax or by class-balanced sampling; kept in
            <run>/retrained or <run>/crt, and trained once); `tau_normalized` (the target rows as w / |w| ** tau, no
            biases); `ncm` (the nearest mean feature of the target training images of a class).
        tau: of `tau_normalized`, at least 0; null = the best of 0, .1, .. 1 on the validation list.
        distance: of `ncm`: `cosine` or `euclidean`.
        tte: test-time ensemble: the mean logits of five crops (corners and centre) of an image whose shorter side is
            24 pixels longer than they, as in LIFT.
        weights: `selected`, the headline of results.json, or `last`.
        prior: of the test: `uniform`, or a long tail: `forward`, along that of training, or `backward`, against it.
            Adds the accuracy that is expected of images of such a prior; the other numbers stay those of the list.
        imbalance: of that tail, most frequent over least frequent class, more than 1.
        prior_known: the classifier is told the prior: its logits get log p(k), and lose the training prior where the
            loss has left it in (loss=ce: with prior=uniform that is logit adjustment after training). It changes all
            numbers.
        images: a list, `path label` a line, with the labels of the target; null = the target's test list.
        root: of the target's files, where it is not the one of the run; the paths of `images` start there too.
        output: JSON file; null = <run>/evaluation-<classifier>-<weights>[-<list>].json.
        workers: loader processes.
        trainer: arguments of lightning.Trainer; several devices share the images and give the same numbers.
    """

    run: str = MISSING
    classifier: str = "direct"
    tau: float | None = 1.0
    distance: str = "cosine"
    tte: bool = False
    prior: str = "uniform"
    imbalance: float = 50.0
    prior_known: bool = False
    weights: str = "selected"
    images: str | None = None
    root: str | None = None
    output: str | None = None
    workers: int = 2
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("classifier", self.classifier, ("direct", *TRAINED, "tau_normalized", "ncm"))
        check(self.tau is None or 0 <= self.tau < math.inf, "tau", "at least 0, or null", self.tau)
        of_tau, of_ncm = self.classifier == "tau_normalized", self.classifier == "ncm"
        check(of_tau or self.tau == 1, "tau", "1 without classifier=tau_normalized", self.tau)
        one_of("distance", self.distance, ("cosine", "euclidean"))
        check(of_ncm or self.distance == "cosine", "distance", "cosine without classifier=ncm", self.distance)
        one_of("prior", self.prior, prior.SHAPES)
        check(1 < self.imbalance < math.inf, "imbalance", "more than 1", self.imbalance)
        check(
            self.prior != "uniform" or self.imbalance == 50,
            "imbalance",
            "50 with prior=uniform, which has none",
            self.imbalance,
        )
        check(
            not (self.prior_known and (of_tau or of_ncm)),
            "prior_known",
            f"false with classifier={self.classifier}, whose logits are no logarithms of probabilities",
            True,
        )
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
    if config.classifier in TRAINED:
        make, name = TRAINED[config.classifier]
        folder = run.folder / name
        if processes.count == 1:
            train(make(run, root=config.root), folder)
        elif not (folder / runs.RESULTS).is_file():
            raise ConfigError(
                "one device to train the new head",
                f"{config.trainer}",
                "run this once with trainer.devices=1; what it trained can be measured on several",
            )
        run = runs.load(folder)
    elif processes.count > 1 and (config.classifier == "ncm" or config.tau is None):
        raise ConfigError(
            "one device for classifier=ncm, and for a tau that is picked",
            f"{config.trainer}",
            "set trainer.devices=1",
        )
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
    device = root_device(config.trainer)
    told: dict[str, float | str] = {}
    if config.classifier == "tau_normalized":
        told = put_tau_normalized(module, run, target, tau=config.tau, loading=loading, device=device)
    elif config.classifier == "ncm":
        told = put_nearest_mean(module, run, target, distance=config.distance, loading=loading, device=device)
    share = prior.shares(target.classes.counts, shape=config.prior, imbalance=config.imbalance)
    if config.prior_known:
        tau = prior.trained_tau(run.config.loss)
        counts = trained_on(run, target).counts[: len(target.classes)] if tau != 1 else target.classes.counts
        known = prior.KnownPrior(module.measured.head, share, counts, tau=tau)
        if bool((known.offset == known.offset[0]).all()):
            raise ConfigError(
                "a prior that changes the logits, for prior_known=true",
                "prior=uniform, which those of this run are for",
                "set prior=forward or backward",
            )
        module.measured.register_module("head", known)
    data = data_of(run, target, None, module, loading, tte=config.tte)
    # The precision of the run: another one would give other numbers under the same name.
    options = {"precision": run.config.trainer.get("precision", "32-true"), **config.trainer}
    processes.begin({"evaluate": dataclasses.asdict(config)}, None)
    own = {"logger": False, "enable_progress_bar": False, "plugins": environment(), "strategy": processes.strategy}
    with quiet():
        trainer = build_trainer(options, own)
        leave_signals_to_us(trainer)
        measured = numbers(trainer.test(module, data, verbose=False)[0], "test")
    results: dict[str, Any] = {
        "run": str(run.folder),
        "classifier": config.classifier,
        "weights": config.weights,
        "images": config.images or run.config.target.test,
        "tte": config.tte,
        **told,
        "test": measured,
    }
    if config.prior != "uniform" or config.prior_known:
        results["prior"] = {
            "shape": config.prior,
            "imbalance": config.imbalance if config.prior != "uniform" else 1.0,
            "known": config.prior_known,
            "acc": prior.expected_accuracy(module.per_class.accuracy.cpu().numpy(), share),
        }
    if processes.first:
        output = Path(config.output) if config.output else Path(config.run) / _file_name(config)
        runs.write_json(output, results)
        console = Console()
        line = result_line(measured, config.weights, str(output), target.untested)
        console.print(line, highlight=False, soft_wrap=True)
        if config.classifier == "tau_normalized" and config.tau is None:
            print(f"tau {told['tau']}: the best on the validation list")
        if "prior" in results:
            of_prior = f"{config.prior} prior, imbalance {results['prior']['imbalance']:g}"
            knows = ", known to the classifier" if config.prior_known else ""
            print(f"expected over images of a {of_prior}{knows}: {percent(results['prior']['acc'])}")
        before = run.results["test" if config.weights == "selected" else "last"]
        same = config.classifier in ("direct", *TRAINED) and not config.tte and not config.prior_known
        if same and not config.images:
            why = " (another test list)" if "target.test" in changed else ""
            of = run.folder / runs.RESULTS
            print(f"the numbers of {of}" if before == measured else f"not those of {of}{why}: {before}")
    return results


def _file_name(config: EvaluateConfig) -> str:
    """Of the results: what was asked for beside the run."""
    parts = ["evaluation", config.classifier, config.weights]
    if config.classifier == "tau_normalized":
        parts.insert(2, "tau+val" if config.tau is None else f"tau+{config.tau:g}")
    if config.distance != "cosine":
        parts.insert(2, config.distance)
    parts += ["tte"] * config.tte
    parts += [f"{config.prior}+{config.imbalance:g}"] * (config.prior != "uniform")
    parts += ["prior_known"] * config.prior_known
    parts += [Path(config.images).stem] if config.images else []
    return "-".join(parts) + ".json"


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
