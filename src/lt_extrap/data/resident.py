"""Images that stay on the device as bytes, cropped and resized there, a batch at once, to the loader's pixels."""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_extrap.data.decode import UnreadableImage, decode_rgb
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.loader import leave_signals
from lt_extrap.data.store import ImageStore
from lt_extrap.data.transforms import SMALLER, Resampler, Transform, View
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.keys import Stream, generator
from lt_extrap.machine import memory
from lt_extrap.model.preprocessing import Interpolation

_CHUNK = 256  # images decoded between two copies to the device
_PATIENCE = 10.0  # seconds without a word
# Images resized at once, which take 20 times their bytes for a while: on a CPU those stay in its cache.
_SLICE = {"cpu": 32, "cuda": 512}
_PILLOW_BITS, _TORCH_BITS = 22, 15  # of a weight; torch's are signed numbers of 16 bits


def room(device: torch.device, processes: int) -> int:
    """Bytes that resident images may take: half of a GPU's free memory, or of a process's share of the machine's.

    Args:
        device: of this process.
        processes: that train on this machine, each with its own copy.

    Raises:
        ConfigError: a device without 64-bit arithmetic, or whose memory cannot be asked for.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    if device.type == "cpu":
        return memory() // (2 * processes)
    raise ConfigError("a CPU or a CUDA device for data.resident=true", str(device), "set data.resident=false")


class ResidentImages(Dataset[tuple[tuple[int, View], int, int] | UnreadableImage]):
    """The images of an index, decoded once; asked for by (epoch, position) they say what is to be seen of them.

    An item is ((position, view), label, position), the view drawn with the key of `ImageDataset`; or the reason why
    its file could not be read. A draw takes about 20 microseconds on the CPU, most of them for its generator.

    Args:
        index: paths and labels.
        images: what has them.
        transform: draws the views, and says the size and the filter of the output.
        seed: of the views.
        device: where the images stay.
        workers: processes that decode; 0 = this one.
        room: bytes that they may take.

    Attributes:
        pixels: row i is image i, zeros where its file could not be read.
        unreadable: by position.

    Raises:
        ConfigError: they take more than `room`, or are four times as large as what is shown of them.
        DataError: they are not all of one size, or none of them can be read.
    """

    pixels: UInt8[Tensor, "images 3 height width"]

    def __init__(
        self,
        index: SampleIndex,
        images: ImageStore,
        transform: Transform,
        seed: int,
        *,
        device: torch.device,
        workers: int,
        room: int,
    ) -> None:
        self.index, self.transform, self.seed = index, transform, seed
        self.unreadable: dict[int, UnreadableImage] = {}
        self.pixels = self._decode(_Files(index, images), device, workers, room)
        edge, least = min(self.pixels.shape[2:]), SMALLER * transform.size
        if transform.resampler == "torch" and edge >= least:
            raise ConfigError(
                f"resident images of less than {least} pixels for recipe.image_size={transform.size}",
                f"images of {edge} pixels, of which the loader decodes some at a part of their size",
                "keep smaller copies of the images, or set data.resident=false",
            )

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: tuple[int, int]) -> tuple[tuple[int, View], int, int] | UnreadableImage:
        epoch, sample = key
        if sample in self.unreadable:
            return self.unreadable[sample]
        height, width = self.pixels.shape[2:]
        view = self.transform.draw(width, height, generator(Stream.AUGMENT, self.seed, epoch, sample))
        return (sample, view), int(self.index.labels[sample]), sample

    def render(
        self, shown: Sequence[tuple[int, View]]
    ) -> UInt8[Tensor, "{len(shown)} 3 {self.transform.size} {self.transform.size}"]:
        """Show views of images, on their device."""
        device = self.pixels.device
        rows = np.array([(sample, *view.box, view.flip, *view.shift) for sample, view in shown], dtype=np.float64)
        # In one copy that is not waited for: a GPU may still be at the step before.
        told = torch.from_numpy(rows).to(device, non_blocking=True)
        images = self.pixels.index_select(0, told[:, 0].long())
        boxes, flip, shift = told[:, 1:5].float(), told[:, 5].bool(), told[:, 6:].long()
        slices = zip(
            *(torch.split(tensor, _SLICE[device.type]) for tensor in (images, boxes, flip, shift)), strict=True
        )
        how = self.transform
        return torch.cat(
            [resize(*part, size=how.size, interpolation=how.interpolation, resampler=how.resampler) for part in slices]
        )

    def _decode(
        self, files: "_Files", device: torch.device, workers: int, room: int
    ) -> UInt8[Tensor, "images 3 height width"]:
        loader = DataLoader(
            files, batch_size=_CHUNK, num_workers=workers, collate_fn=list, worker_init_fn=leave_signals
        )
        pixels, first, done, said = torch.empty(0), "", 0, time.monotonic()
        for chunk in loader:
            for position, image in enumerate(chunk, done):
                if isinstance(image, UnreadableImage):
                    self.unreadable[position] = image
                elif not first:
                    first, size = files.path(position), image.shape
                    pixels = _allocate(len(files), size, device, room)
                elif image.shape != size:
                    raise DataError(
                        "images of one size for data.resident=true",
                        f"{first} has {_pixels(size)}, {files.path(position)} has {_pixels(image.shape)}",
                        "resize the images of that list to one size, or set data.resident=false",
                    )
            read = {at: image for at, image in enumerate(chunk, done) if not isinstance(image, UnreadableImage)}
            if read:
                here = torch.from_numpy(np.stack(list(read.values()))).to(device)
                pixels[torch.tensor(list(read), device=device)] = here.permute(0, 3, 1, 2)
            done += len(chunk)
            if time.monotonic() - said > _PATIENCE:
                said = time.monotonic()
                print(f"decoded {done:,} of {len(files):,} images")
        if not first:
            raise DataError(
                "images that can be read", f"none of {len(files)}: {self.unreadable[0]}", "replace the files"
            )
        return pixels


class _Files(Dataset["UInt8[np.ndarray, 'height width 3'] | UnreadableImage"]):
    """The files of an index, decoded."""

    def __init__(self, index: SampleIndex, images: ImageStore) -> None:
        self.index, self.images = index, images

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, sample: int) -> "UInt8[np.ndarray, 'height width 3'] | UnreadableImage":
        try:
            return np.asarray(decode_rgb(self.path(sample), data=self.images.read(self.index.path(sample))))
        except UnreadableImage as error:
            return error

    def path(self, sample: int) -> str:
        return self.images.where(self.index.path(sample))


def _allocate(images: int, size: tuple[int, ...], device: torch.device, room: int) -> Tensor:
    height, width = size[:2]
    bytes_wanted = images * 3 * height * width
    if bytes_wanted > room:
        raise ConfigError(
            f"resident images of at most {room:,} bytes: half of what {device} offers, less the lists before",
            f"{images:,} images of {_pixels(size)}: {bytes_wanted:,} bytes",
            "set data.resident=false, or keep smaller copies of the images",
        )
    return torch.zeros(images, 3, height, width, dtype=torch.uint8, device=device)


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]} pixels"


def resize(
    images: UInt8[Tensor, "batch 3 height width"],
    boxes: Float32[Tensor, "batch 4"],
    flip: Bool[Tensor, " batch"],
    shift: Int64[Tensor, "batch 2"],
    *,
    size: int,
    interpolation: Interpolation,
    resampler: Resampler,
) -> UInt8[Tensor, "batch 3 {size} {size}"]:
    """Resize a box of each image to a square, and mirror some: the bytes that the transforms give, of Pillow or torch.

    Their resampling is separable and linear: rows first, then columns, with weights of so many bits, each pass rounded
    to bytes. Here a pass is a product of matrices of whole numbers, in 64-bit floats that hold their sums exactly: in
    any order of summation, and so on any device.

    Args:
        images: the sources.
        boxes: left, upper, right, lower in source pixels, within the image; whole numbers for torch, which crops first.
        flip: which are mirrored, left to right.
        shift: output pixels to the right and down, after all else; what it uncovers is black.
        size: edge of the square, pixels.
        interpolation: the filter.
        resampler: whose bytes.
    """
    batch, _, height, width = images.shape
    columns, lines = (torch.arange(size, device=images.device) - shift[:, :, None]).unbind(1)
    columns = torch.where(flip[:, None], size - 1 - columns, columns)
    across = _weights(boxes[:, 0], boxes[:, 2], width, columns, interpolation, resampler)
    down = _weights(boxes[:, 1], boxes[:, 3], height, lines, interpolation, resampler)
    # Rows of one image stand under each other, its three channels side by side: no product needs a copy.
    rows = images.transpose(1, 2).to(torch.float64, memory_format=torch.contiguous_format)
    rows = _bytes(rows.view(batch, height * 3, width) @ across.transpose(1, 2))
    square = _bytes(down @ rows.view(batch, height, 3 * size)).to(torch.uint8)
    return square.view(batch, size, 3, size).transpose(1, 2).contiguous()


def _weights(
    begin: Float32[Tensor, " batch"],
    end: Float32[Tensor, " batch"],
    length: int,
    places: Int64[Tensor, "batch size"],
    interpolation: Interpolation,
    resampler: Resampler,
) -> Float64[Tensor, "batch size {length}"]:
    """Weight of each of `length` source pixels in the output pixels at some places, in whole parts of a power of two.

    Pillow's filter reaches beyond the box as far as the image does, and torch's as far as the box. A place outside of
    the output has no weights.
    """
    size = places.shape[1]
    scale = ((end - begin).double() / size)[:, None, None]
    wide = scale.clamp(min=1.0)  # an antialiased filter is as wide as an output pixel
    first, last = (begin, end) if resampler == "torch" else (torch.zeros_like(begin), torch.full_like(end, length))
    # From the beginning of the box on: far from 0, a sum would be rounded otherwise.
    origin = begin.double() if resampler == "torch" else torch.zeros_like(begin).double()
    center = (begin.double() - origin)[:, None, None] + (places[:, :, None] + 0.5) * scale
    support = 2 if interpolation == "bicubic" else 1
    taps = torch.arange(2 * math.ceil(support * max(1.0, length / size)) + 1, device=begin.device)
    source = (center - support * wide + 0.5).floor() + taps
    weight = _filter((source - center + 0.5) * (1.0 / wide), interpolation)
    source += origin[:, None, None]
    weight.masked_fill_((source < first[:, None, None]) | (source >= last[:, None, None]), 0.0)
    weight = weight / weight.sum(dim=2, keepdim=True)
    parts = 2.0**_PILLOW_BITS if resampler == "pillow" else _torch_parts(weight)
    weight *= parts
    weight = (weight + torch.where(weight < 0, -0.5, 0.5)).trunc_() / parts
    weight.masked_fill_(((places < 0) | (places >= size))[:, :, None], 0.0)
    matrix = torch.zeros(*places.shape, length, dtype=torch.float64, device=begin.device)
    return matrix.scatter_add_(2, source.clamp_(0, length - 1).long(), weight)


def _torch_parts(weight: Float64[Tensor, "batch size taps"]) -> Float64[Tensor, "batch 1 1"]:
    """In how many parts torch counts the weights of an image: of at most 22 bits, such that the largest has 15."""
    parts = 2.0 ** torch.arange(1, _PILLOW_BITS + 1, dtype=torch.float64, device=weight.device)
    largest = weight.amax(dim=(1, 2))[:, None]
    bits = ((largest * parts + 0.5).floor() < 2**_TORCH_BITS).sum(dim=1)
    return torch.ldexp(torch.ones_like(largest), bits[:, None])[:, :, None]


def _filter(x: Float64[Tensor, "batch size taps"], interpolation: Interpolation) -> Float64[Tensor, "batch size taps"]:
    """The value of the filter at a distance, in output pixels; 0 from its support on. Bicubic is a = -1/2."""
    x = x.abs()
    if interpolation == "bilinear":
        return (1.0 - x).clamp_(min=0.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    x.clamp_(max=2.0)  # where it is 0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return torch.where(x < 1.0, near, far)


def _bytes(sums: Float64[Tensor, "batch rows columns"]) -> Float64[Tensor, "batch rows columns"]:
    """Round weighted sums of bytes to bytes."""
    return sums.add_(0.5).clamp_(0, 255).floor_()
