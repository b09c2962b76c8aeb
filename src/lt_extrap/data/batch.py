"""What a loader delivers."""

from typing import NamedTuple

from jaxtyping import Float32, Int64, UInt8
from torch import Tensor


class Batch(NamedTuple):
    """A batch as the loader delivers it.

    Attributes:
        images: values 0..255; erased, mixed and normalised on the device. Of the test-time ensemble five of each; with
            data.features_once their features.
        label: classifier columns.
        sample: positions in the list, which name an image in messages.
        unreadable: "path: reason" of the images that are missing here.
    """

    images: (
        UInt8[Tensor, "batch 3 height width"] | UInt8[Tensor, "batch 5 3 height width"] | Float32[Tensor, "batch dim"]
    )
    label: Int64[Tensor, " batch"]
    sample: Int64[Tensor, " batch"]
    unreadable: list[str]
