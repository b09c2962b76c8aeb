"""The node `auxiliary`: what a run trains on beside its target set."""

import math
from dataclasses import dataclass, field

from lt_extrap.config.checks import check, one_of
from lt_extrap.config.target import AuxiliaryFiles
from lt_extrap.errors import ConfigError


@dataclass
class NoAuxiliary:
    """Target images only: the baseline."""


@dataclass
class AuxiliaryClasses(AuxiliaryFiles):
    """Auxiliary classes beside the target classes (paper, Section 3.1 and 4.2).

    Attributes:
        sampling_ratio: [many, medium, few]; a class of group g gets ceil(k * ratio_g) neighbors. null =
            1 : ceil(C_many / C_medium) : ceil(C_many / C_few) with C the number of classes of a group.
        scale: `base`: k is what ratio 1 gets; `largest`: k is what the largest ratio gets.
        samples_per_class: most images of an auxiliary class that an epoch shows, drawn afresh each epoch.
        repeat: repeat the images of smaller classes up to samples_per_class; the copies of one epoch are alike.
        permute: exchange the auxiliary classes of the pairs at random, the control for "the right pairs".
    """

    sampling_ratio: list[float] | None = None
    scale: str = "base"
    samples_per_class: int = 50
    repeat: bool = False
    permute: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train is None and self.folder is None:
            raise ConfigError(
                "auxiliary classes, for this component",
                "a target that comes without",
                "give target.neighbors.folder=<set of lt_extrap.curate> or target.neighbors.train=<list>, for "
                "component=random target.random.folder or .train; or take component=baseline",
            )
        k, ratio = self.neighbors_per_class, self.sampling_ratio
        check(
            self.pairs is not None or self.folder is not None or (k is None and not self.permute),
            "auxiliary.neighbors_per_class",
            "null for classes without pairs, of which all are used",
            k,
        )
        check(
            k is not None or (ratio is None and self.scale == "base"),
            "auxiliary.sampling_ratio and auxiliary.scale",
            "left alone when neighbors_per_class is null, which keeps every pair",
            (ratio, self.scale),
        )
        check(
            ratio is None or (len(ratio) == 3 and min(ratio) >= 0 and 0 < max(ratio) < math.inf),
            "auxiliary.sampling_ratio",
            "three numbers [many, medium, few], none negative, not all 0",
            ratio,
        )
        one_of("auxiliary.scale", self.scale, ("base", "largest"))
        check(self.samples_per_class >= 1, "auxiliary.samples_per_class", "at least 1", self.samples_per_class)


@dataclass
class TargetExtra:
    """The control that every reviewer asks for: the same budget of further *target* images of the tail.

    Attributes:
        train: list of further target images, `path label` a line.
        shots: the groups that get them.
        images_per_epoch: how many an epoch shows, drawn afresh each epoch and spread evenly over the classes;
            null = as many as an epoch would show of the classes of the auxiliary set.
        budget_list, budget_folder: the auxiliary list, or the folder of a set, whose budget is matched.
        samples_per_class: the cap under which its images are counted.
    """

    train: str | None = None
    shots: list[str] = field(default_factory=lambda: ["medium", "few"])
    images_per_epoch: int | None = None
    budget_list: str | None = None
    budget_folder: str | None = None
    samples_per_class: int = 50

    def __post_init__(self) -> None:
        if self.train is None:
            raise ConfigError(
                "further images of the target classes, for component=target_extra",
                "a target that comes without",
                "give target.extra=<list>, or take another component",
            )
        for shot in self.shots:
            one_of("auxiliary.shots", shot, ("many", "medium", "few"))
        check(len(self.shots) > 0, "auxiliary.shots", "at least one group", self.shots)
        n = self.images_per_epoch
        check(n is None or n >= 1, "auxiliary.images_per_epoch", "at least 1, or null", n)
        check(self.samples_per_class >= 1, "auxiliary.samples_per_class", "at least 1", self.samples_per_class)
        check(
            n is not None or self.budget_list is not None or self.budget_folder is not None,
            "auxiliary.images_per_epoch",
            "a number where the target has no neighbors whose budget could be matched",
            n,
        )
