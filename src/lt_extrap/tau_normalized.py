"""The tau-normalised classifier: rows of the trained head, shortened by a power of their length."""

import copy
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lt_extrap.errors import ConfigError
from lt_extrap.model.heads import AnyHead, LinearHead
from lt_extrap.model.metrics import LongTailMetrics
from lt_extrap.model.shots import Shot

TAUS = tuple(step / 10 for step in range(11))  # among which the validation list picks


def tau_normalized(head: AnyHead, *, num_target: int, tau: float) -> LinearHead:
    """The target rows w of a head as w / |w| ** tau, without biases (Kang et al. 2020, Section 4.1, Eq. 2).

    Args:
        head: trained; not changed. A batch normalisation before its rows stays.
        num_target: how many of its rows are target classes, the first ones.
        tau: 0 leaves the rows as they are, 1 makes them of length 1.

    Raises:
        ConfigError: a head of cosines, of which no length counts.
    """
    if not isinstance(head, LinearHead):
        raise ConfigError(
            "a run with head=linear or batchnorm, for classifier=tau_normalized",
            "one of cosines, in which rows have length 1 already",
            "measure it with classifier=direct",
        )
    few = copy.deepcopy(head.first(num_target))
    with torch.no_grad():
        few.weight.div_(few.weight.norm(dim=1, keepdim=True) ** tau)
        few.bias.zero_()
    return few


def best_tau(
    head: AnyHead,
    features: Iterable[tuple[Float[Tensor, "_ dim"], Int64[Tensor, " _"]]],
    *,
    shots: Sequence[Shot],
) -> float:
    """The tau among `TAUS` with the highest accuracy, a mean over classes; of equal ones the smallest.

    Args:
        head: trained.
        features: of validation images, and their target classes.
        shots: of the target classes.
    """
    heads = {tau: tau_normalized(head, num_target=len(shots), tau=tau).eval() for tau in TAUS}
    metrics = {tau: LongTailMetrics(shots) for tau in TAUS}
    with torch.inference_mode():
        for batch, label in features:
            for tau, of_tau in heads.items():
                metrics[tau].update(of_tau(batch), label)
    return max(TAUS, key=lambda tau: float(metrics[tau].compute()["acc"]))
