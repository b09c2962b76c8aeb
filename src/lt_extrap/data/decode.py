"""Files to RGB images: upright, over white, 8 bits, the same for training, evaluation and prediction."""

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

# JPEG first: it is what nearly every file is. No format that runs a program or nests another file.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 100_000_000  # of an image that is decoded
_Pixels = UInt8[np.ndarray, "rows columns colors"]
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)  # width and height change places
_SHRINKS = (1, 2, 4, 8)  # parts of its size at which a JPEG can be decoded
_MOST_SCANS = 100  # of a progressive JPEG: most have 11 at most; each is of all pixels, and some bytes make one
_BETWEEN_SCANS = 32_768  # bytes; what looks like the beginning of a scan is in twice as many of what else is in a file
_JPEG = ("JPEG", "MPO")  # several JPEGs in one file, of which the first counts


class UnreadableImage(Exception):
    """A file that is missing, cut, not an image, or too large. The data set reports it and goes on."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)  # the args, so that it survives pickling between processes
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NoMemory(UnreadableImage):
    """A file for whose pixels there was no memory: another time it may be decoded."""


def decode_rgb(
    path: str | Path, *, data: bytes | None = None, draft: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode the first frame of a JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF or PPM file.

    The EXIF orientation is applied; palette, grey and CMYK become RGB; transparent pixels show white;
    16-bit grey is scaled to 8 bits. Colour profiles are ignored, as the published data pipelines do.

    Args:
        path: the file.
        data: its content, where it has been read already.
        draft: decode a JPEG at 1/2, 1/4 or 1/8 of its size, the smallest at which no side is shorter than this. It
            is faster; the whole stream is read all the same, so a cut file is found.
        max_pixels: limit of width x height, checked before pixels are decoded: 17 kB of PNG can be 144
            megapixels.

    Raises:
        UnreadableImage: with the path and a reason.
    """
    data = read_bytes(path) if data is None else data
    return EncodedImage(path, data, max_pixels=max_pixels).rgb(draft=draft)


def read_bytes(path: str | Path) -> bytes:
    """The content of a file.

    Raises:
        UnreadableImage: with the path and a reason.
    """
    with _reasons(path):
        _refuse_pipe(path)
        with open(path, "rb") as file:  # noqa: PTH123 (of every image)
            return file.read()


class EncodedImage:
    """An image whose file has been read; the pixels of a JPEG are decoded when they are asked for.

    Args:
        path: the file, for messages.
        data: its content.
        max_pixels: limit of width x height.

    Attributes:
        format: as Pillow has it, such as JPEG.
        width, height: of the upright image, pixels.

    Raises:
        UnreadableImage: with the path and a reason.
    """

    def __init__(self, path: str | Path, data: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
        self.path, self._data = path, data
        self._decoded: Image.Image | None = None
        with _reasons(path):
            self._image = image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > max_pixels:
                raise UnreadableImage(path, f"{image.width} x {image.height} pixels, limit {max_pixels}")
            self.format = str(image.format)
            if self.format in _JPEG:
                scans = data.count(b"\xff\xda") if "progressive" in image.info else 1
                if scans > _MOST_SCANS + len(data) // _BETWEEN_SCANS:
                    raise UnreadableImage(path, f"a JPEG of {scans} scans, limit {_MOST_SCANS}")
                self._orientation = orientation_of(image)
                self._stored = image.size
                turned = self._orientation in _TURNED
                self.width, self.height = reversed(image.size) if turned else image.size
            else:  # which of the two edges is the width, some formats know only then
                self._decoded = self._decode()
                self.width, self.height = self._decoded.size

    def rgb(self, *, draft: int | None = None) -> Image.Image:
        """The whole image; `draft` as in `decode_rgb`. To be asked for once."""
        if self._decoded is not None:
            return self._decoded
        with _reasons(self.path):
            if draft:
                self._image.draft(None, (draft, draft))
            return self._decode()

    def gray(self, *, draft: int) -> Image.Image:
        """The whole image in gray; of a JPEG its luma, without the time that its colors take. To be asked for once.

        Args:
            draft: as in `decode_rgb`.

        Raises:
            UnreadableImage: with the path and a reason.
        """
        if self._decoded is None and self._image.mode in ("RGB", "L"):
            shrink = max(by for by in _SHRINKS if by == 1 or min(self._stored) >= by * draft)
            try:
                luma = Image.fromarray(self._jpeg(shrink, "GRAY")[..., 0])
                return _upright(luma, orientation=self._orientation)
            except ValueError:  # as in `crop`
                pass
        return self.rgb(draft=draft).convert("L")

    def _decode(self) -> Image.Image:
        with self._image as image:
            image.load()
            return _upright(_rgb(image), orientation=orientation_of(image))

    def crop(self, box: tuple[int, int, int, int], *, shrink: int = 1) -> _Pixels:
        """The pixels of a box, which may not be written to. To be asked for once.

        Args:
            box: left, upper, right, lower in pixels of the upright image.
            shrink: 1, 2, 4 or 8: a file that can be decoded at that part of its size is, where the box is whole
                pixels of that size.

        Raises:
            UnreadableImage: with the path and a reason.
        """
        if self._decoded is None and self._image.mode == "RGB":
            edges = (*box, *self._stored) if self._orientation != 1 else box  # or a turned image begins within a pixel
            shrink = 1 if any(edge % shrink for edge in edges) else shrink
            try:
                pixels = self._jpeg(shrink, "RGB")
                if self._orientation in _UPRIGHT:
                    pixels = np.asarray(_upright(Image.fromarray(pixels), orientation=self._orientation))
            except ValueError:  # it is damaged: one library, Pillow, says which files can be read
                pixels, shrink = np.asarray(self.rgb()), 1
        else:
            pixels, shrink = np.asarray(self.rgb()), 1
        left, upper, right, lower = (edge // shrink for edge in box)
        return pixels[upper:lower, left:right]

    def _jpeg(self, shrink: int, colors: Literal["RGB", "GRAY"]) -> _Pixels:
        """The pixels that Pillow decodes, as they are stored, in less time."""
        width, height = (-(-edge // shrink) for edge in self._stored)
        pixels: _Pixels = simplejpeg.decode_jpeg(
            self._data, colors, min_width=width, min_height=height, min_factor=shrink
        )
        return pixels


@contextmanager
def _reasons(path: str | Path) -> Iterator[None]:
    """Whatever a decoder raises, as an UnreadableImage; none of what it warns of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata
            yield
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(path, f"not an image of a known format ({', '.join(FORMATS)})") from error
    except MemoryError as error:
        raise NoMemory(path, "no memory to decode it") from error
    except Exception as error:  # hostile bytes make decoders raise almost anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImage(path, reason) from error


def image_size(path: str | Path, *, data: bytes | None = None) -> tuple[int, int]:
    """Width and height as the file's header has them; no pixel is decoded.

    Args:
        path: the file.
        data: its content, where it has been read already.

    Raises:
        UnreadableImage: with the path and a reason.
    """
    with _reasons(path):
        if data is None:
            _refuse_pipe(path)
        with Image.open(path if data is None else io.BytesIO(data), formats=FORMATS) as image:
            return image.size


def _refuse_pipe(path: str | Path) -> None:
    """Opening a pipe would wait for a writer, for ever."""
    mode = os.stat(path).st_mode  # noqa: PTH116 (of every image)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UnreadableImage(path, "not a file (a pipe or a device)")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 if the block is damaged, which is no reason to lose the picture."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as above: SyntaxError, struct.error, ...
        return 1


def _upright(image: Image.Image, *, orientation: int) -> Image.Image:
    image.info.clear()  # or a reader further down would turn the image again
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.has_transparency_data:
        canvas = Image.new("RGB", image.size, "white")
        rgba = image.convert("RGBA")
        canvas.paste(rgba, mask=rgba)
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by value, where Pillow's own conversion clips at 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values of no known range: {values.min()} to {values.max()}, mode {image.mode}")
    white = values == image.info.get("transparency", -1)
    return Image.fromarray(np.where(white, 255, (values.astype(np.uint32) + 128) // 257).astype(np.uint8))
