"""Near-copies: of validation and test images, which would spoil a measurement, of training images, of one another.

Three searches name pairs: the same pixels, perceptual hashes that are near (mirrored too), features that are near. A
pair of the last two is a copy only where the pictures agree (`overlap`), so that two photographs of one breed, whose
features may be as near as those of a copy, are none.

Measured by `LT_EXTRAP_DATA=<folder> python -m benchmarks.near_copies recall`, with efficientnet_lite0, on copies of
200 test images of Tiny ImageNet and of 140 photographs, among 3,140 originals. Found of both, in percent, with
features / by pictures alone:

    saved again (JPEG quality 50 or 20), halved, mirrored, gray    100 / 100
    watermarked, half opaque (text over most of the width)         100 / 99
    watermarked, opaque                                             98 / 91
    cropped by a tenth, at the centre                              100 / 43
    cropped by a tenth, anywhere or at one side                    100 / 13
    cropped by a tenth, mirrored and saved again                   100 / 13
    cropped by a fifth, anywhere                                    99 / 0

False alarms: 2 of 6,065 other images of the same classes and 2 of 21,000 of other classes with features; none by
pictures alone. Of other features (DINOv2, CLIP) `COSINE` has not been measured.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8, UInt64
from PIL import Image

from lt_extrap.curate.nearest import near
from lt_extrap.curate.overlap import overlap
from lt_extrap.data.decode import EncodedImage
from lt_extrap.data.duplicates import SIDE, Thumbnails, mirrored, near_pairs, perceptual_hash

BLANK = 3.0  # standard deviation of gray values below which a picture shows nothing
OVERLAP = 0.75  # of the pictures of copies
COSINE = 0.6  # of features that are near enough to look at the pictures
NEAREST = 3  # originals of an image that are looked at, by features
_VERIFIED = 4096  # pairs looked at together
_GRAYS = np.arange(256.0)

How = Literal["pixels", "hash", "features"]
HOW: tuple[How, ...] = ("pixels", "hash", "features")


class Look(NamedTuple):
    """What is compared of a picture.

    Attributes:
        content: sha256 of its size and its gray pixels, which are those of a smaller picture where a JPEG has one.
        thumbnail: gray, 32 x 32 bytes.
        deviation: standard deviation of its gray values, 0..127.5.
    """

    content: bytes
    thumbnail: bytes
    deviation: float


def look(image: EncodedImage) -> Look:
    """Look at an image of a file.

    Raises:
        UnreadableImage: it cannot be decoded.
    """
    return look_at(image.gray(draft=2 * SIDE), image.width, image.height)


def look_at(image: Image.Image, width: int, height: int) -> Look:
    """Look at a decoded image, that of a picture of this size."""
    gray = image if image.mode == "L" else image.convert("L")
    content = hashlib.sha256(f"{width} {height}\n".encode())
    content.update(gray.tobytes())
    thumbnail = gray.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0).tobytes()
    counts = np.array(gray.histogram(), float)
    mean, square = _GRAYS @ counts / counts.sum(), _GRAYS**2 @ counts / counts.sum()
    return Look(content.digest(), thumbnail, float(np.sqrt(max(square - mean**2, 0.0))))


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images, a row each; arrays may be memory-mapped.

    Attributes:
        content: sha256 of size and pixels.
        thumbnails: of 32 x 32 gray values.
        features: raw ones, of one extractor; None: pictures are compared by pixels and hashes alone, which see few
            of the copies that were cropped.
    """

    content: UInt8[np.ndarray, "images 32"]
    thumbnails: Thumbnails
    features: Float[np.ndarray, "images dim"] | None = None

    def __len__(self) -> int:
        return len(self.content)

    @classmethod
    def of(cls, looks: list[Look], features: Float[np.ndarray, "images dim"] | None = None) -> "Pictures":
        """Images that were looked at, in order."""
        content = np.frombuffer(b"".join(look.content for look in looks), np.uint8).reshape(-1, 32)
        thumbnails = np.frombuffer(b"".join(look.thumbnail for look in looks), np.uint8).reshape(-1, SIDE, SIDE)
        return cls(content, thumbnails, features)

    def of_rows(self, rows: Int64[np.ndarray, " rows"]) -> "Pictures":
        """Some of the images."""
        features = None if self.features is None else self.features[rows]
        return Pictures(self.content[rows], self.thumbnails[rows], features)


class Copies(NamedTuple):
    """Which images are copies of which.

    Attributes:
        original: row of the original; -1: it is no copy.
        how: position in HOW of the first search that found it; -1: none.
        agreement: of the pictures; 1 where the pixels are the same, NaN where it is no copy.
    """

    original: Int64[np.ndarray, " images"]
    how: Int64[np.ndarray, " images"]
    agreement: Float32[np.ndarray, " images"]


def copies_of(
    images: Pictures,
    originals: Pictures,
    *,
    agree: float = OVERLAP,
    cosine: float = COSINE,
    nearest: int = NEAREST,
) -> Copies:
    """Which images are near-copies of originals. What is said of an image depends on no other image.

    Args:
        images: candidates.
        originals: validation and test images, or training images.
        agree: least agreement of the pictures of copies, 0..1.
        cosine: least cosine of features whose pictures are compared, 0.05..1.
        nearest: originals whose pictures are compared with that of an image, by features.
    """
    found = Copies(np.full(len(images), -1), np.full(len(images), -1), np.full(len(images), np.nan, np.float32))
    row, original = _same(images.content, originals.content)
    found.original[row], found.how[row], found.agreement[row] = original, 0, 1
    for how, pairs in _suspected(images, originals, cosine, nearest, itself=False):
        pairs = pairs[found.how[pairs[:, 0]] != 0]
        agreement = overlap(images.thumbnails[pairs[:, 0]], originals.thumbnails[pairs[:, 1]])
        order = np.lexsort((pairs[:, 1], -agreement))
        for place in order[agreement[order] >= agree].tolist():
            i, j = pairs[place].tolist()
            better = -found.agreement[i], found.original[i]
            if found.how[i] < 0 or (found.how[i] == how and (-agreement[place], j) < better):
                found.original[i], found.how[i], found.agreement[i] = j, how, agreement[place]
    return found


def groups(
    images: Pictures, *, agree: float = OVERLAP, cosine: float = COSINE, nearest: int = NEAREST
) -> Int64[np.ndarray, " images"]:
    """The first row of the group of near-copies that each image is in; its own where it is alone.

    Copies of copies are one group. Which images are together depends on no order; the first is the first by row.
    """
    leader = np.arange(len(images))
    _, first, content = np.unique(_keys(images.content), return_index=True, return_inverse=True)
    leader = first[content]
    unique = np.flatnonzero(leader == np.arange(len(images)))
    once = images.of_rows(unique)
    forest = _Forest(len(unique))
    for _, pairs in _suspected(once, once, cosine, nearest, itself=True):
        pairs = pairs[[forest.root(i) != forest.root(j) for i, j in pairs.tolist()]]
        agreement = overlap(once.thumbnails[pairs[:, 0]], once.thumbnails[pairs[:, 1]])
        for i, j in pairs[agreement >= agree].tolist():
            forest.join(i, j)
    roots = np.array([forest.root(i) for i in range(len(unique))], np.int64)
    of_content = np.empty(len(images), np.int64)
    of_content[unique] = unique[roots]
    return np.asarray(of_content[leader])


class _Forest:
    """Sets that are joined; the root of each is its smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, i: int) -> int:
        while (parent := self._parent[i]) != i:
            self._parent[i] = self._parent[parent]
            i = parent
        return i

    def join(self, i: int, j: int) -> None:
        low, high = sorted((self.root(i), self.root(j)))
        self._parent[high] = low


def _suspected(
    images: Pictures, originals: Pictures, cosine: float, nearest: int, *, itself: bool
) -> Iterator[tuple[int, Int64[np.ndarray, "pairs 2"]]]:
    """Pairs whose pictures are to be compared, and which search named them (its position in HOW)."""
    shows = _shows(images.thumbnails), _shows(originals.thumbnails)
    hashes, others = _hashes(images.thumbnails), _hashes(originals.thumbnails)
    rows, columns = (np.flatnonzero(shown) for shown in shows)
    sides = others[columns], mirrored(others[columns])
    blocks = [block for side in sides for block in near_pairs(hashes[rows], side, itself=itself)]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *blocks])
    codes = np.unique(pairs[:, 0] * len(columns) + pairs[:, 1])  # a pair comes once for each band that is near
    for start in range(0, len(codes), _VERIFIED):
        i, j = np.divmod(codes[start : start + _VERIFIED], len(columns))
        yield 1, np.stack([rows[i], columns[j]], axis=1)
    if images.features is not None and originals.features is not None:
        found = near(images.features, originals.features, at_least=cosine, most=nearest, itself=itself)
        for block, _ in found:
            i, j = block.T
            block = block[shows[0][i] & shows[1][j]]
            for start in range(0, len(block), _VERIFIED):
                yield 2, block[start : start + _VERIFIED]


def _same(
    one: UInt8[np.ndarray, "_ 32"], other: UInt8[np.ndarray, "_ 32"]
) -> tuple[Int64[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
    """Rows of one that are in the other, and the first row of it where each is."""
    keys, first = np.unique(_keys(other), return_index=True)
    if not len(keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    wanted = _keys(one)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = np.flatnonzero(keys[place] == wanted)
    return found, first[place[found]]


def _keys(content: UInt8[np.ndarray, "_ 32"]) -> np.ndarray:
    # Hexadecimal: numpy takes zero bytes at the end of a string for none.
    return np.array([row.tobytes().hex() for row in content], "S64")


def _hashes(thumbnails: Thumbnails) -> UInt64[np.ndarray, " images"]:
    blocks = [perceptual_hash(thumbnails[start : start + _VERIFIED]) for start in range(0, len(thumbnails), _VERIFIED)]
    return np.concatenate([np.empty(0, np.uint64), *blocks])


def _shows(thumbnails: Thumbnails) -> Bool[np.ndarray, " images"]:
    """Whether thumbnails show something: blank ones agree with whatever is blank."""
    blocks = [
        thumbnails[start : start + _VERIFIED].reshape(-1, SIDE * SIDE).std(axis=1) >= BLANK
        for start in range(0, len(thumbnails), _VERIFIED)
    ]
    return np.concatenate([np.empty(0, bool), *blocks])
