"""The node `data`: how images reach the device."""

from dataclasses import dataclass
from typing import Literal

from lt_extrap.config.checks import check, one_of
from lt_extrap.machine import cores

_MOST_WORKERS = 16  # of a device, by themselves: each takes memory, and seconds at the start


@dataclass
class Loading:
    """How images reach the device.

    Attributes:
        workers: loader processes of each device; 0 = in the training process; null = a core each, but one, at most 16.
            They change no result. Resident images are decoded by them at the start, and need none afterwards.
        prefetch: batches that each worker prepares ahead; null = torch's own number, 2.
        resident: decode all images once and keep them on the device as bytes, cropped and resized there to the same
            pixels. The images of a list have one size then, and all of them take at most half of the GPU's free
            memory, or of the machine's.
        features_once: compute the features of each image once, at the start, and train the head on them: of a backbone
            that is frozen (recipe.freeze=all, or features_from) and a recipe without augmentation (recipe=probe). The
            same numbers up to rounding, an epoch in seconds; they stay on the device, 4 bytes a value.
        on_unreadable: `error` (stop and name the file) or `skip`: a training image that is not there is left out of
            the set, before the prior is counted; one that cannot be read is left out of its batch, named once and
            counted. Validation and test images are never skipped, and shots are those of the whole list.
    """

    workers: int | None = None
    prefetch: int | None = None
    resident: bool = False
    features_once: bool = False
    on_unreadable: str = "error"

    def __post_init__(self) -> None:
        check(self.workers is None or self.workers >= 0, "data.workers", "at least 0, or null", self.workers)
        check(self.prefetch is None or self.prefetch >= 1, "data.prefetch", "at least 1, or null", self.prefetch)
        check(
            self.prefetch is None or (self.workers != 0 and not self.resident),
            "data.prefetch",
            "null where no worker could prepare a batch: with data.workers=0 and with data.resident=true",
            self.prefetch,
        )
        one_of("data.on_unreadable", self.on_unreadable, ("error", "skip"))

    def workers_of(self, processes: int) -> int:
        """Loader processes of each of so many training processes of this machine."""
        return min(max(1, cores(processes) - 1), _MOST_WORKERS) if self.workers is None else self.workers

    @property
    def missing(self) -> Literal["refuse", "skip"]:
        """What becomes of training images that are not there."""
        return "skip" if self.on_unreadable == "skip" else "refuse"
