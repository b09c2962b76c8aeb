"""The classifier: a backbone and a head over target and auxiliary classes."""

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lt_extrap.model.backbones import NormalisedBackbone
from lt_extrap.model.heads import AnyHead


class Classifier(nn.Module):
    """Images -> logits of `classes` columns: target classes first, auxiliary classes after them.

    Args:
        backbone: images -> features.
        head: features -> logits.
    """

    def __init__(self, backbone: NormalisedBackbone, head: AnyHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"]
        | UInt8[Tensor, "batch 3 height width"]
        | Float[Tensor, "batch dim"],
    ) -> Float[Tensor, "batch classes"]:
        """Logits of images whose values are 0..255, or of features that are there already (data.features_once)."""
        logits: Tensor
        if images.ndim == 2:
            logits = self.head(images)
            return logits
        logits = self.head(self.backbone(images.float()))
        return logits

    def direct(self, num_target: int) -> "Classifier":
        """The paper's direct classifier (Section 3.2): the same weights without the auxiliary rows.

        Shares the backbone and the target rows with this classifier; nothing is copied.
        """
        return Classifier(self.backbone, self.head.first(num_target))
