"""The mean feature of each class, over its training images as evaluation shows them."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from lt_extrap.data.batch import Batch
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.model.backbones import NormalisedBackbone
from lt_extrap.module import ExtrapolationModule


def features(
    backbone: NormalisedBackbone, batches: Iterable[Batch], *, device: torch.device, skip_unreadable: bool = False
) -> Iterator[tuple[Float32[Tensor, "batch dim"], Int64[Tensor, " batch"]]]:
    """Features of images in evaluation, and their labels, batch by batch, on the CPU.

    Args:
        backbone: in the end on the device and in the mode that it was.
        batches: of images.
        device: that computes, in float32.
        skip_unreadable: leave out images that cannot be read.

    Raises:
        DataError: an image cannot be read.
    """
    before, mode = backbone.mean.device, backbone.training
    backbone.to(device).eval()
    try:
        for batch in batches:
            if batch.unreadable and not skip_unreadable:
                raise DataError("images that can be read", batch.unreadable[0], "replace the file")
            if len(batch.label):
                with torch.inference_mode():
                    of_batch = backbone(batch.images.to(device).float()).float().cpu()
                yield of_batch, batch.label
    finally:
        backbone.to(before).train(mode)


def class_means(
    backbone: NormalisedBackbone,
    batches: Iterable[Batch],
    *,
    classes: int,
    device: torch.device,
    skip_unreadable: bool = False,
) -> Float32[Tensor, "classes dim"]:
    """Mean features of the images of each label 0..classes-1.

    In float32, summed in float64: neither the order of images nor their batches change more than the last digits.

    Args:
        backbone: left on its device and in its mode.
        batches: every training image once.
        classes: how many there are.
        device: that computes.
        skip_unreadable: leave out images that cannot be read.

    Raises:
        ConfigError: a class has no image.
        DataError: an image cannot be read.
    """
    sums = torch.zeros(classes, backbone.dim, dtype=torch.float64)
    counts = torch.zeros(classes, dtype=torch.int64)
    for of_batch, label in features(backbone, batches, device=device, skip_unreadable=skip_unreadable):
        sums.index_add_(0, label, of_batch.double())
        counts += torch.bincount(label, minlength=classes)
    if (empty := (counts == 0).nonzero().flatten()).numel():
        raise ConfigError(
            "a training image of every class, for its mean feature",
            f"none of {len(empty)} classes, column {int(empty[0])} first",
            "leave the class out, or choose a head and a classifier that need no means",
        )
    return (sums / counts[:, None]).float()


def start_from_means(module: ExtrapolationModule, means: Float[Tensor, "classes dim"]) -> None:
    """Let the class weights of a head start as means, of length 1; those of the average over steps too."""
    rows = torch.nn.functional.normalize(means, dim=1)
    with torch.no_grad():
        for classifier in (module.model, module.measured):
            classifier.head.weight.copy_(rows)
