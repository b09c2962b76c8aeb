"""The embedded world: labelled pictures of invented creatures, drawn from a seed. No file is shipped.

A *family* has a body plan, a palette and a motif. Half of its traits are marks, by which its *members* differ;
the other half are moods, which vary from image to image. Which traits are which is the family's own: hue may
tell one badax from another and mean nothing among the defep. A few images of one member cannot tell marks from moods; images
of its relatives can. Pose, light, background, clutter and occlusion vary everywhere in the same way.

The target classes are members of some families, with a long tail of training images. Further members of the
same families are the neighbor classes, so that "neighbor" is literally true; members of other families are the
random classes. How many families the target classes span is the granularity.
"""

import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from lt_extrap.errors import ConfigError, DataError
from lt_extrap.keys import Stream, generator

FORMAT = 1  # of the written folder; raise it when the pictures or the files change

TRAITS = ("hue", "marking hue", "head hue", "spacing", "angle", "width") + (
    "motif", "weave", "outline", "girth", "tail", "spines"
)  # fmt: skip
LEVELS = 8  # so many consecutive members cover the range of each trait evenly
WAVES = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2), (2, 1), (1, 2), (2, -1), (1, -2))
HARMONICS = (1, 2, 3, 4, 5)
JITTER = 0.15  # how much of a mood's variation a mark has
GOLDEN = 0.618034  # steps of this part of a turn never come close to each other soon
UNIFORMS = 96  # random numbers of an image

# Coprime counts: the n-th name takes the n-th word of each list, cyclically, and no name comes twice.
ONSETS = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo")
CODAS = ("dax", "fep", "gul", "kin", "lop", "mur", "pim", "vex", "zil")
RANKS = ("common", "dwarf", "eastern", "greater", "lesser", "northern", "royal", "southern")
PLACES = ("cave", "cliff", "dune", "fern", "frost", "marsh", "moss", "reed", "river")

Plane = Float32[np.ndarray, "images height width"]  # a lone value an image has height = width = 1
Planes = Float32[np.ndarray, "images 3 height width"]


@dataclass(frozen=True)
class Creature:
    """A class of the world: member `member` of family `family`, both from 0."""

    family: int
    member: int

    @property
    def family_name(self) -> str:
        return ONSETS[self.family % len(ONSETS)] + CODAS[self.family % len(CODAS)]

    @property
    def name(self) -> str:
        # Shifted by family, so that equal words never mean equal traits.
        word = self.member + 5 * self.family
        return f"{RANKS[word % len(RANKS)]} {PLACES[word % len(PLACES)]} {self.family_name}"


@dataclass(frozen=True)
class World:
    """What the embedded world holds. Everything in it is a function of these fields.

    Args:
        families: families that the target classes span, 1 (all alike) to 63; the granularity.
        classes: target classes, spread evenly over the families in an order drawn from the seed.
        neighbors_per_family: auxiliary members added to each of these families.
        random_classes: auxiliary classes from as many other families.
        largest: training images of the first target class.
        smallest: training images of the last target class; exponential profile between.
        val_per_class: validation images of a target class.
        test_per_class: test images of a target class.
        auxiliary_images: images of an auxiliary class.
        extra_images: further training images of a target class, for the `target_extra` control.
        image_size: height and width in pixels.
        seed: of everything.

    Raises:
        ConfigError: a field out of its range.
    """

    families: int = 8
    classes: int = 40
    neighbors_per_family: int = 5
    random_classes: int = 40
    largest: int = 300
    smallest: int = 5
    val_per_class: int = 20
    test_per_class: int = 50
    auxiliary_images: int = 60
    extra_images: int = 30
    image_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        members = len(RANKS) * len(PLACES)
        ranges = {
            "families": (1, len(ONSETS) * len(CODAS) // 2),
            "classes": (max(2, self.families), members * self.families),
            "neighbors_per_family": (0, members - self._members),
            "random_classes": (0, members * self.families),
            "largest": (1, 10_000),
            "smallest": (1, self.largest),
            "val_per_class": (0, 10_000),
            "test_per_class": (1, 10_000),
            "auxiliary_images": (1, 10_000),
            "extra_images": (0, 10_000),
            "image_size": (16, 256),
            "seed": (0, 2**63 - 1),
        }
        for field, (low, high) in ranges.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise ConfigError(
                    f"an embedded world with {field} in {low}..{high}",
                    f"{field} = {value}",
                    f"choose {field} in that range (its end may depend on the fields before it)",
                )

    @property
    def _members(self) -> int:
        return -(-self.classes // self.families)

    @property
    def targets(self) -> list[Creature]:
        """The target classes, by label."""
        places = generator(Stream.WORLD, self.seed, 0).permutation(self.classes).tolist()
        return [Creature(place % self.families, place // self.families) for place in places]

    @property
    def neighbors(self) -> list[Creature]:
        """The neighbor classes, by auxiliary id."""
        ids = range(self.families * self.neighbors_per_family)
        return [Creature(i % self.families, self._members + i // self.families) for i in ids]

    @property
    def randoms(self) -> list[Creature]:
        """The random classes, by auxiliary id."""
        return [
            Creature(self.families + i % self.families, i // self.families) for i in range(self.random_classes)
        ]

    @property
    def counts(self) -> list[int]:
        """Training images of each target class, largest first."""
        ratio = self.smallest / self.largest
        return [round(self.largest * ratio ** (k / (self.classes - 1))) for k in range(self.classes)]


@dataclass(frozen=True)
class _Plan:
    """What the members of a family share. Lengths are in units of half a picture, angles in radians."""

    hue: float
    palette: tuple[float, float]  # hue of the markings and of the head, relative to `hue`
    body: tuple[float, float]  # half axes
    head: tuple[float, float]  # radius, height
    tail: tuple[float, float, float]  # length, spread, fork
    spines: tuple[float, float, float]  # number, length, direction
    spacing: float
    angle: float
    motif: Float32[np.ndarray, "3 waves"]  # amplitudes, and how the traits "motif" and "weave" change them
    outline: Float32[np.ndarray, "2 cos_sin harmonics"]  # of the body, and how the trait "outline" changes it
    marks: Bool[np.ndarray, " traits"]


def _plan(seed: int, family: int) -> _Plan:
    first_hue = float(generator(Stream.WORLD, seed, 1).random())
    rng = generator(Stream.WORLD, seed, 2, family)
    u = rng.random(15).tolist()
    motif = rng.standard_normal((3, len(WAVES))) / np.hypot(*np.transpose(WAVES))
    motif *= np.where(rng.random(len(WAVES)) < 0.5, 1.0, 0.1)
    outline = rng.standard_normal((2, 2, len(HARMONICS))) / HARMONICS
    motif /= np.sqrt((motif**2).sum(-1, keepdims=True) / 2)
    outline /= np.sqrt((outline**2).sum((-2, -1), keepdims=True) / 2)
    return _Plan(
        hue=first_hue + GOLDEN * family,
        palette=(0.3 + 0.4 * u[0], 0.3 + 0.4 * u[1]),
        body=(0.54 + 0.14 * u[2], 0.32 + 0.2 * u[3]),
        head=(0.16 + 0.1 * u[4], -0.1 + 0.4 * u[5]),
        tail=(0.3 + 0.25 * u[6], 0.35 * u[7], 0.7 * u[8]),
        spines=(5 + 5 * u[9], 0.2 + 0.32 * u[10], 2 * np.pi * u[11]),
        spacing=0.55 + 0.2 * u[12],
        angle=np.pi * u[13],
        motif=motif.astype(np.float32),
        outline=outline.astype(np.float32),
        marks=rng.permutation(len(TRAITS)) < len(TRAITS) // 2,
    )


def _marks(seed: int, creature: Creature) -> Float32[np.ndarray, " traits"]:
    """The member's own value of each trait, -0.5..0.5; 0 for a mood."""
    block, place = divmod(creature.member, LEVELS)
    rng = generator(Stream.WORLD, seed, 3, creature.family, block)
    levels = rng.permuted(np.tile(np.arange(LEVELS), (len(TRAITS), 1)), axis=1)[:, place]
    values = (levels + rng.random((len(TRAITS), LEVELS))[:, place]) / LEVELS - 0.5
    return np.where(_plan(seed, creature.family).marks, values, 0).astype(np.float32)


class _Draws:
    """The random numbers of some images of a creature, handed out in order: a row an image."""

    def __init__(self, world: World, creature: Creature, images: Sequence[int]) -> None:
        key = (world.seed, 4, creature.family, creature.member)
        rngs = [generator(Stream.WORLD, *key, image) for image in images]
        self._uniform = np.stack([rng.random(UNIFORMS, dtype=np.float32) for rng in rngs])
        self._rngs = rngs
        self._used = 0

    def uniform(self, low: float, high: float) -> Plane:
        self._used += 1
        return (low + (high - low) * self._uniform[:, self._used - 1])[:, None, None]

    def noise(self, channels: int, cells: int) -> Planes:
        shape = (channels, cells, cells)
        return np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in self._rngs])


def _colour(hue: Plane, saturation: Plane, value: Plane) -> Planes:
    """Red, green and blue of a hue (in turns), each a raised cosine of it: the same way from every hue."""
    shift = np.arange(3, dtype=np.float32)[:, None, None] / 3
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * (hue[:, None] - shift))
    return value[:, None] * (1 - saturation[:, None] * (1 - wave))


def _cover(canvas: Planes, cover: Plane, colour: "Planes | np.float32") -> None:
    """Lay a colour over the canvas, in place, where `cover` is 1."""
    canvas += cover[:, None] * (colour - canvas)


def _enlarged(noise: Planes, size: int) -> Planes:
    """Noise on few cells, interpolated to the size of a picture."""
    cells = noise.shape[-1]
    at = np.linspace(0, cells - 1, size, dtype=np.float32)[:, None]
    weights = np.maximum(0, 1 - np.abs(at - np.arange(cells, dtype=np.float32)))
    return weights @ noise @ weights.T


def render(world: World, creature: Creature, images: Sequence[int]) -> UInt8[np.ndarray, "images size size 3"]:
    """Draw images of a creature: each a function of (seed, creature, its number in `images`) and of the size."""
    axis = (np.arange(world.image_size, dtype=np.float32) + 0.5) / world.image_size * 2 - 1
    across, up = axis[None, None, :], -axis[None, :, None]
    draws = _Draws(world, creature, images)
    canvas = _background(draws, world.image_size)
    for _ in range(4):
        _clutter(canvas, across, up, draws)
    _creature(canvas, across, up, draws, _plan(world.seed, creature.family), _marks(world.seed, creature))
    _clutter(canvas, across, up, draws)
    turn = draws.uniform(0, 2 * np.pi)
    light = draws.uniform(0.7, 1.15) * (1 + draws.uniform(0, 0.3) * (across * np.cos(turn) + up * np.sin(turn)))
    cast = np.stack([draws.uniform(0.85, 1.12) for _ in range(3)], axis=1)
    grain = draws.uniform(0.01, 0.05)[:, None] * draws.noise(1, world.image_size)
    canvas = canvas * light[:, None] * cast + grain
    return (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)


def _background(draws: _Draws, size: int) -> Planes:
    colour = _colour(draws.uniform(0, 1), draws.uniform(0.05, 0.6), draws.uniform(0.25, 0.9))
    coarse = draws.uniform(0.03, 0.16)[:, None] * _enlarged(draws.noise(3, 4), size)
    return colour + coarse + draws.uniform(0, 0.12)[:, None] * _enlarged(draws.noise(3, 9), size)


def _clutter(canvas: Planes, across: Plane, up: Plane, draws: _Draws) -> None:
    """An ellipse of any colour, anywhere."""
    x, y = across - draws.uniform(-1, 1), up - draws.uniform(-1, 1)
    turn, width, height = draws.uniform(0, np.pi), draws.uniform(0.1, 0.45), draws.uniform(0.05, 0.3)
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    distance = (np.hypot(x / width, y / height) - 1) * height
    colour = _colour(draws.uniform(0, 1), draws.uniform(0.2, 0.8), draws.uniform(0.3, 1))
    _cover(canvas, (0.5 - distance * canvas.shape[-1] / 2).clip(0, 1), colour)


def _creature(
    canvas: Planes,
    across: Plane,
    up: Plane,
    draws: _Draws,
    plan: _Plan,
    marks: Float32[np.ndarray, " traits"],
) -> None:
    """A creature that looks along +x or, mirrored, -x: tail, spines, body, markings, head, eye."""
    trait = {
        name: marks[i] + draws.uniform(-0.5, 0.5) * (JITTER if plan.marks[i] else 1)
        for i, name in enumerate(TRAITS)
    }
    mirror, scale, stretch = np.sign(draws.uniform(-1, 1)), draws.uniform(0.62, 0.95), draws.uniform(0.88, 1.14)
    x, y = (across - draws.uniform(-0.22, 0.22)) * mirror / scale, (up - draws.uniform(-0.22, 0.22)) / scale
    turn = draws.uniform(-0.6, 0.6)
    x, y = (x * np.cos(turn) + y * np.sin(turn)) * stretch, (y * np.cos(turn) - x * np.sin(turn)) / stretch
    pixel = 2 / canvas.shape[-1] / scale  # an edge is a pixel wide

    def inside(distance: Plane) -> Plane:
        return (0.5 - distance / pixel).clip(0, 1)

    saturation, value = draws.uniform(0.5, 0.9), draws.uniform(0.65, 1)
    hues = [0.2 * trait["hue"], *(h + 0.25 * trait[t] for h, t in zip(plan.palette, TRAITS[1:3], strict=True))]
    hues = [plan.hue + hue + draws.uniform(-0.03, 0.03) for hue in hues]
    skin, marking, face = (_colour(hue, saturation, value * v) for hue, v in zip(hues, (1, 0.75, 1), strict=True))

    length, height = plan.body[0], plan.body[1] * np.exp(0.4 * trait["girth"])
    tail, spread, fork = plan.tail
    tail = tail + 0.3 * trait["tail"]
    along = -(x + 0.8 * length) / tail
    half = 0.08 + spread * along.clip(0, 1)
    notch = 1 - fork * (1 - np.abs(y) / half).clip(0, 1)
    _cover(canvas, inside(np.maximum(np.abs(y) - half, np.maximum(-along, along - notch) * tail)), marking)

    phase, radius = np.arctan2(y / height, x / length), np.hypot(x / length, y / height)
    cos, sin = (0.13 * base + 0.2 * trait["outline"][..., None] * change for base, change in zip(*plan.outline))
    reach = 1 + sum(
        cos[..., i] * np.cos(k * phase) + sin[..., i] * np.sin(k * phase) for i, k in enumerate(HARMONICS)
    )
    number, spine, direction = plan.spines
    turns = (phase - direction) / (2 * np.pi) * np.round(number + 4 * trait["spines"])
    saw = 2 * np.abs(turns % 1 - 0.5) - 0.3
    where = (0.5 + 2 * np.cos(phase - direction)).clip(0, 1)
    _cover(canvas, inside((radius - reach - spine * where * saw) * height), 0.55 * skin)
    body = inside((radius - reach) * height)
    _cover(canvas, body, skin)

    frequency = 2 * np.pi / plan.spacing * np.exp(-0.7 * trait["spacing"])
    angle = plan.angle + trait["angle"]
    g = frequency * (x * np.cos(angle) + y * np.sin(angle)) + draws.uniform(0, 2 * np.pi)
    h = frequency * (y * np.cos(angle) - x * np.sin(angle)) + draws.uniform(0, 2 * np.pi)
    amplitudes = [a + 1.4 * (trait["motif"] * b + trait["weave"] * c) for a, b, c in plan.motif.T]
    norm = np.sqrt(sum(a**2 for a in amplitudes) / 2)
    motif = sum(
        a / norm * np.cos(i * g + j * h + 2.4 * k)
        for k, (a, (i, j)) in enumerate(zip(amplitudes, WAVES, strict=True))
    )
    _cover(canvas, body * (0.5 + (motif + trait["width"]) / (1.3 * frequency * pixel)).clip(0, 1), marking)

    size, lift = plan.head
    x, y = x - 0.9 * length * (1 + cos.sum(-1)), y - lift
    _cover(canvas, inside(np.hypot(x, y) - size), face)
    _cover(canvas, inside(np.hypot(x - 0.3 * size, y - 0.25 * size) - 0.07), np.float32(0.05))
