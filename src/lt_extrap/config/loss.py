"""The node `loss`."""

import math
from dataclasses import dataclass

from lt_extrap.config.checks import check, one_of


@dataclass
class Loss:
    """Cross entropy.

    Attributes:
        smoothing: label smoothing, 0..1.
        smoothing_over: `all` columns or the `targets` only.
    """

    smoothing: float = 0.0
    smoothing_over: str = "all"

    def __post_init__(self) -> None:
        check(0 <= self.smoothing < 1, "loss.smoothing", "in 0 <= smoothing < 1", self.smoothing)
        one_of("loss.smoothing_over", self.smoothing_over, ("all", "targets"))


@dataclass
class Balanced(Loss):
    """Balanced softmax (Eq. 2; with auxiliary classes Eq. 3).

    Attributes:
        tau: scale of the log prior, at least 0. Logit adjustment (Menon et al. 2021) at tau is this loss: its prior is
            n_j / n, and -tau log n, the same for all classes, leaves the softmax.
        bce: a question of yes or no a class, the prior in its log odds (Bal-BCE of LiVT), in place of one softmax.
    """

    tau: float = 1.0
    bce: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.tau >= 0, "loss.tau", "at least 0", self.tau)


@dataclass
class Silencing(Balanced):
    """Neighbor silencing (Eq. 4).

    Attributes:
        lambda_s: weight of the classes of a neighbor pair in each other's denominator, 0..1; with `bce`, of each
            other's "no" (`model/bce.py`).
        silence: whose images silence: `pair` (both, the paper), `target_only`, `aux_only`, `none`.
        lambda_aux_aux: weight of all other auxiliary classes for an auxiliary image, 0..1.
        mixing: `exact` (a mixed image silences by both labels) or `released` (as the paper's code does;
            a hard mask, so it wants lambda_s 0).
    """

    lambda_s: float = 0.1
    silence: str = "pair"
    lambda_aux_aux: float = 1.0
    mixing: str = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.lambda_s <= 1, "loss.lambda_s", "in 0..1", self.lambda_s)
        check(0 <= self.lambda_aux_aux <= 1, "loss.lambda_aux_aux", "in 0..1", self.lambda_aux_aux)
        one_of("loss.silence", self.silence, ("pair", "target_only", "aux_only", "none"))
        one_of("loss.mixing", self.mixing, ("exact", "released"))
        check(
            self.mixing == "exact" or self.lambda_s == 0,
            "loss.lambda_s",
            "0 with loss.mixing=released, which masks",
            self.lambda_s,
        )
        check(
            self.mixing == "exact" or not self.bce,
            "loss.mixing",
            "exact with loss.bce=true: the released code has no such mode",
            self.mixing,
        )


@dataclass
class Focal(Loss):
    """Focal loss (Lin et al. 2017) over a softmax.

    Attributes:
        gamma: how much less what is recognised counts, at least 0; 0 is cross entropy.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.gamma < math.inf, "loss.gamma", "at least 0", self.gamma)


@dataclass
class ClassBalanced(Focal):
    """Class-balanced loss (Cui et al. 2019): each class is weighed by its effective number of images.

    Attributes:
        beta: 0 <= beta < 1: 0 weighs all alike, towards 1 by 1 / n.
        gamma: of the focal loss that is weighed; 0, cross entropy.
        reweight_from: share of the budget, 0 <= share < 1, before which all classes weigh alike (deferred re-weighting:
            0.8 in Cao et al. 2019); 0 = they never do.
    """

    gamma: float = 0.0
    beta: float = 0.9999
    reweight_from: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_reweighting(self.beta, self.reweight_from)


@dataclass
class Ldam:
    """LDAM (Cao et al. 2019): margins of the label's cosine, larger for rarer classes; for heads of cosines.

    The paper's s is head.scale. There is no smoothing: it would want a margin for each label that shares it.

    Attributes:
        max_margin: of the rarest class, a difference of cosines, 0..2.
        beta: of the class weights (see `ClassBalanced`).
        reweight_from: share of the budget from which classes are weighed, 0 <= share < 1 (the paper's LDAM-DRW: 0.8);
            null = never.
    """

    max_margin: float = 0.5
    beta: float = 0.9999
    reweight_from: float | None = 0.8

    def __post_init__(self) -> None:
        check(0 <= self.max_margin <= 2, "loss.max_margin", "in 0..2", self.max_margin)
        _check_reweighting(self.beta, self.reweight_from)


def _check_reweighting(beta: float, begins: float | None) -> None:
    check(0 <= beta < 1, "loss.beta", "in 0 <= beta < 1", beta)
    check(begins is None or 0 <= begins < 1, "loss.reweight_from", "in 0 <= reweight_from < 1", begins)
