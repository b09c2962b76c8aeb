"""The node `loss`."""

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
        tau: scale of the log prior, at least 0.
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
