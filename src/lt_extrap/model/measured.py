"""What a test set told of a classifier: of each class, of each image, and which class was taken for which."""

from typing import NamedTuple

from jaxtyping import Float32, Int64
from torch import Tensor


class PerClass(NamedTuple):
    """One number a target class."""

    accuracy: Float32[Tensor, " target"]  # 0..1; NaN for a class without test images
    support: Int64[Tensor, " target"]  # test images


class Confusions(NamedTuple):
    """The pairs of classes that occur among wrong predictions, most frequent first, then by class ids."""

    label: Int64[Tensor, " pairs"]
    predicted: Int64[Tensor, " pairs"]
    images: Int64[Tensor, " pairs"]  # at least 1


class PerImage(NamedTuple):
    """One entry a test image, in the order of their list."""

    label: Int64[Tensor, " images"]
    predicted: Int64[Tensor, " images"]  # target class
    highest: Int64[Tensor, " images"]  # column of the highest logit over target and auxiliary classes
