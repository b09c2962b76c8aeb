"""Nearest class mean: a classifier without a head of its own."""

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F


class NearestMean(nn.Module):
    """How near features are to the mean feature of each class (Kang et al. 2020, Section 4.1).

    In float32 whatever the autocast. Its softmax means nothing, and so does a calibration error of it.

    Args:
        means: of each class; kept, not trained.
        distance: `cosine`, the logits being cosines; or `euclidean`, squared distances with a minus.
    """

    means: Tensor

    def __init__(self, means: Float32[Tensor, "classes dim"], *, distance: str) -> None:
        super().__init__()
        self.register_buffer("means", F.normalize(means, dim=1) if distance == "cosine" else means)
        self.distance = distance

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float32[Tensor, "batch classes"]:
        """Logits: the nearest mean has the highest."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            if self.distance == "cosine":
                return F.linear(F.normalize(features, dim=1), self.means)
            # Not by products: those would cancel most of their digits.
            return -torch.cdist(features, self.means, compute_mode="donot_use_mm_for_euclid_dist").square()
