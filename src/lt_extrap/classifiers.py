"""The classifiers that the features of a finished run can be measured with, beside its own."""

import torch

from lt_extrap import crt, retrained
from lt_extrap.class_means import class_means, features
from lt_extrap.config import Loading, NoAuxiliary
from lt_extrap.data.datamodule import ImageDataModule
from lt_extrap.data.target import TargetSet
from lt_extrap.data.training_set import TrainingSet, build_training_set
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.module import ExtrapolationModule
from lt_extrap.nearest_mean import NearestMean
from lt_extrap.runs import Run, files_of
from lt_extrap.tau_normalized import best_tau, tau_normalized

# Those that are trained: the run that does it, and its folder in that of the finished one.
TRAINED = {"retrained": (retrained.retrained, retrained.FOLDER), "crt": (crt.crt, crt.FOLDER)}


def put_tau_normalized(
    module: ExtrapolationModule,
    run: Run,
    target: TargetSet,
    *,
    tau: float | None,
    loading: Loading,
    device: torch.device,
) -> dict[str, float | str]:
    """Shorten the rows of the head (see `tau_normalized`).

    Args:
        module: of the run; its measured classifier is changed.
        run: that is measured.
        target: its target set.
        tau: None = the best on the validation list.
        loading: of validation images.
        device: that computes their features.

    Returns:
        What of it is to be told.

    Raises:
        ConfigError: there is no validation list to pick on, or a head of cosines.
    """
    classifier, given = module.measured, tau
    if tau is None:
        if target.val is None:
            raise ConfigError(
                "a validation list to pick tau on",
                "a target without one, and the test list is for the test",
                "set tau=<number>",
            )
        batches = data_of(run, target, None, module, loading).val_dataloader()[0]
        found = features(classifier.backbone, batches, device=device)
        tau = best_tau(classifier.head, found, shots=target.classes.shots)
    classifier.head = tau_normalized(classifier.head, num_target=len(target.classes), tau=tau)
    return {"tau": tau, "tau_of": "validation list" if given is None else "tau"}


def put_nearest_mean(
    module: ExtrapolationModule, run: Run, target: TargetSet, *, distance: str, loading: Loading, device: torch.device
) -> dict[str, float | str]:
    """Classify by the nearest class mean of the target training images (see `NearestMean`).

    Args:
        module: of the run; its measured classifier is changed.
        run: that is measured.
        target: its target set.
        distance: `cosine` or `euclidean`.
        loading: of training images.
        device: that computes their features.

    Returns:
        What of it is to be told.

    Raises:
        ConfigError: a class has no training image.
        DataError: one cannot be read.
    """
    classifier = module.measured
    alone = build_training_set(NoAuxiliary(), target, seed=run.config.seed)
    means = class_means(
        classifier.backbone,
        data_of(run, target, alone, module, loading).still_dataloader(),
        classes=len(target.classes),
        device=device,
        skip_unreadable=run.config.data.on_unreadable == "skip",
    )
    classifier.register_module("head", NearestMean(means, distance=distance))
    return {"distance": distance}


def data_of(
    run: Run,
    target: TargetSet,
    training: TrainingSet | None,
    module: ExtrapolationModule,
    loading: Loading,
    *,
    tte: bool = False,
) -> ImageDataModule:
    """Loaders as the run had them, for whatever target and training set."""
    return ImageDataModule(
        target,
        training,
        recipe=run.config.recipe,
        preprocessing=module.model.backbone.preprocessing,
        loading=loading,
        seed=run.config.seed,
        tte=tte,
    )


def trained_on(run: Run, target: TargetSet) -> TrainingSet:
    """The training set of a run.

    Raises:
        RunError: a list of its auxiliary images is another one today.
        DataError: one is not there.
    """
    config = run.config
    files = {key: file for key, file in files_of(config, target).items() if key.startswith("auxiliary.")}
    if changed := run.changed({key: file for key, file in files.items() if file.is_file()}):
        raise RunError(
            f"the auxiliary files that {run.folder} was trained on",
            f"another content of {', '.join(sorted(changed))}: its training prior would be another one",
            "give back the files that were there",
        )
    balanced = config.sampling == "balanced"
    return build_training_set(
        config.auxiliary, target, seed=config.seed, missing=config.data.missing, balanced=balanced
    )
