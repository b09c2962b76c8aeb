"""Test priors that are not uniform: long tails along the training set's, or against it."""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from lt_extrap.config import Balanced, Loss
from lt_extrap.errors import ConfigError

SHAPES = ("uniform", "forward", "backward")


def shares(counts: Int64[np.ndarray, " classes"], *, shape: str, imbalance: float) -> Float64[np.ndarray, " classes"]:
    """How often a test shows each class: imbalance ** (-rank / (classes - 1)), scaled to a sum of 1.

    The exponential profile of LADE (Hong et al. 2021) and SADE (Zhang et al. 2022).

    Args:
        counts: training images, which rank the classes: most first, then by class id.
        shape: `forward`: the class with most training images is the most frequent; `backward`: the one with the fewest
            is; `uniform`: all alike.
        imbalance: most frequent over least frequent class.
    """
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    if shape == "backward":
        rank = len(counts) - 1 - rank
    weights = np.ones(len(counts)) if shape == "uniform" else imbalance ** (-rank / max(1, len(counts) - 1))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def expected_accuracy(accuracy: Float[np.ndarray, " classes"], share: Float64[np.ndarray, " classes"]) -> float | None:
    """The accuracy over images that would be expected under these shares.

    The published protocols draw a subset of the test images with such shares. Its accuracy has this expectation, and an
    error of its own, for it has few images of the rare classes; this uses all of them.

    Args:
        accuracy: of each class, 0..1; a class without test images, NaN, is left out of both.
        share: of each class.

    Returns:
        0..1; None where no class has test images.
    """
    tested = ~np.isnan(accuracy)
    return float(accuracy[tested] @ share[tested] / share[tested].sum()) if tested.any() else None


def trained_tau(loss: object) -> float:
    """How much of the training prior a loss has kept out of the logits: z = log p(x | k) + (1 - tau) log n_k.

    Raises:
        ConfigError: its logits are no logarithms of probabilities.
    """
    if isinstance(loss, Balanced) and not loss.bce:
        return loss.tau
    if type(loss) is Loss:
        return 0.0
    raise ConfigError(
        "a run with loss=balanced, silencing or ce, for prior_known=true",
        f"{type(loss).__name__}, whose logits are no logarithms of probabilities",
        "set prior_known=false",
    )


class KnownPrior(nn.Module):
    """A head whose logits are told the prior of the test: z_k + log share_k - (1 - tau) log n_k.

    Args:
        head: features -> logits, target columns first.
        share: of each target class at test.
        counts: n_k, the images of each target class that an epoch of the training showed, at least 1 where tau < 1.
        tau: of the loss (see `trained_tau`).
    """

    offset: Tensor

    def __init__(
        self,
        head: nn.Module,
        share: Float64[np.ndarray, " target"],
        counts: Int64[np.ndarray, " target"],
        *,
        tau: float,
    ) -> None:
        super().__init__()
        self.head = head
        trained = (1 - tau) * np.log(np.maximum(counts, 1)) if tau != 1 else 0.0
        self.register_buffer("offset", torch.from_numpy(np.log(share) - trained).float())

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch target"]:
        """Logits of the target classes."""
        logits: Tensor = self.head(features)
        return logits[:, : len(self.offset)].float() + self.offset
