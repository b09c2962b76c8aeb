"""Creatures: the labelled pictures of the embedded world, drawn from a seed.

A *family* has a body plan, a palette and a motif. Half of its traits are marks, by which its *members* differ; the
other half are moods, which vary from image to image. Which traits are which is the family's own: hue may tell one
badax from another and mean nothing among the defep. A few images of one member cannot tell marks from moods; images
of its relatives can. Pose, light, background, clutter and occlusion vary in the same way everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from lt_extrap.keys import Stream, generator

# Coprime counts: the n-th name takes the n-th word of each list, cyclically, and no name comes twice.
ONSETS = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo")
CODAS = ("dax", "fep", "gul", "kin", "lop", "mur", "pim", "vex", "zil")
RANKS = ("common", "dwarf", "eastern", "greater", "lesser", "northern", "royal", "southern")
PLACES = ("cave", "cliff", "dune", "fern", "frost", "marsh", "moss", "reed", "river")
FAMILIES = len(ONSETS) * len(CODAS) // 2  # the other half is for random classes
MEMBERS = len(RANKS) * len(PLACES)  # of a family

TRAITS = ("hue", "marking", "face", "spacing", "angle", "width", "motif", "weave", "outline", "girth", "tail", "spines")
LEVELS = 8  # so many members in a row cover the range of each trait evenly
JITTER = 0.15  # what a mark varies from image to image, as a part of what a mood does
WAVES = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2), (2, 1), (1, 2), (2, -1), (1, -2))
HARMONICS = (1, 2, 3, 4, 5)
GOLDEN = 0.618034  # steps of this part of a turn stay apart, however many there are
UNIFORMS = 96  # random numbers of an image, its noise aside

Traits = Float32[np.ndarray, " traits"]
Plane = Float32[np.ndarray, "#images #height #width"]  # a value an image has height = width = 1
Planes = Float32[np.ndarray, "#images 3 #height #width"]


@dataclass(frozen=True)
class Creature:
    """A class: the `member` of a `family`, both counted from 0.

    Attributes:
        family: which names it.
        member: of it.
        distance: how far it has moved from its family towards another, 0..1: there it looks like one of those.
        other: that family.
    """

    family: int
    member: int
    distance: float = 0.0
    other: int = 0

    @property
    def family_name(self) -> str:
        """Such as "badax"; no two of the first 126 families share one."""
        return ONSETS[self.family % len(ONSETS)] + CODAS[self.family % len(CODAS)]

    @property
    def name(self) -> str:
        """Such as "lesser dune badax"; no two of the first 72 members share one."""
        word = self.member + 5 * self.family  # shifted, so that the same words in two families mean nothing
        return f"{RANKS[word % len(RANKS)]} {PLACES[word % len(PLACES)]} {self.family_name}"


def similarity(one: Creature, other: Creature, *, seed: int) -> float:
    """How alike two members of a family are, in 0..1: 1 minus the root mean square difference of their marks.

    It is taken of what they are in their family, and falls to 0 as one of them moves to the other end of its way.
    """
    marks = [_marks(seed, replace(creature, distance=0.0)) for creature in (one, other)]
    alike = 1 - float(np.sqrt(np.square(marks[0] - marks[1]).sum() / _plan_of(seed, one.family).marks.sum()))
    return alike * (1 - abs(one.distance - other.distance))


@dataclass(frozen=True)
class _Plan:
    """What the members of a family share. Lengths are in units of half a picture, angles in radians."""

    hue: float
    palette: tuple[float, float]  # hue of the markings and of the head, beyond `hue`
    body: tuple[float, float]  # half axes
    head: tuple[float, float]  # radius, height
    tail: tuple[float, float, float]  # length, spread, fork
    spines: tuple[float, float, float]  # number, length, direction
    spacing: float
    angle: float
    motif: Float32[np.ndarray, "3 waves"]  # amplitudes, and how the traits "motif" and "weave" change them
    outline: Float32[np.ndarray, "2 2 harmonics"]  # cosines and sines, and how the trait "outline" changes them
    marks: Bool[np.ndarray, " traits"]  # the other traits are moods


def _plan(seed: int, creature: Creature) -> _Plan:
    """What it is drawn by: every number on the way from its family to the other, and so many of the other's marks."""
    own = _plan_of(seed, creature.family)
    if creature.distance == 0:
        return own
    other, distance = _plan_of(seed, creature.other), creature.distance

    def between(one: Any, another: Any, turn: float | None = None) -> Any:
        way = another - one
        return one + distance * (way if turn is None else way - turn * round(way / turn))  # the short way round

    def all_between(one: tuple[float, ...], another: tuple[float, ...]) -> Any:
        return tuple(map(between, one, another))

    rng, marks = generator(Stream.WORLD, seed, 5, creature.family), own.marks.copy()
    for there in (False, True):  # as many marks become moods as moods become marks
        moving = rng.permutation(np.flatnonzero((own.marks != other.marks) & (other.marks == there)))
        marks[moving[: round(distance * len(moving))]] = there
    return _Plan(
        hue=between(own.hue, other.hue, 1.0),
        palette=all_between(own.palette, other.palette),
        body=all_between(own.body, other.body),
        head=all_between(own.head, other.head),
        tail=all_between(own.tail, other.tail),
        spines=(*all_between(own.spines[:2], other.spines[:2]), between(own.spines[2], other.spines[2], 2 * np.pi)),
        spacing=between(own.spacing, other.spacing),
        angle=between(own.angle, other.angle, np.pi),
        motif=_even(between(own.motif, other.motif), axes=(-1,)),
        outline=_even(between(own.outline, other.outline), axes=(-2, -1)),
        marks=marks,
    )


def _even(waves: Float[np.ndarray, "*sizes"], axes: tuple[int, ...]) -> Float32[np.ndarray, "*sizes"]:
    """Amplitudes of waves whose sum has a mean square of 1."""
    scaled = waves / np.sqrt(np.square(waves).sum(axes, keepdims=True) / 2)
    even: Float32[np.ndarray, "*sizes"] = scaled.astype(np.float32)
    return even


def _plan_of(seed: int, family: int) -> _Plan:
    first_hue = float(generator(Stream.WORLD, seed, 1).random())
    rng = generator(Stream.WORLD, seed, 2, family)
    u = rng.random(14).tolist()
    motif = rng.standard_normal((3, len(WAVES))) / np.hypot(*np.transpose(WAVES))
    motif *= np.where(rng.random(len(WAVES)) < 0.5, 1, 0.1)
    outline = rng.standard_normal((2, 2, len(HARMONICS))) / HARMONICS
    return _Plan(
        hue=first_hue + GOLDEN * family,
        palette=(0.3 + 0.4 * u[0], 0.3 + 0.4 * u[1]),
        body=(0.54 + 0.14 * u[2], 0.32 + 0.2 * u[3]),
        head=(0.16 + 0.1 * u[4], -0.1 + 0.4 * u[5]),
        tail=(0.3 + 0.25 * u[6], 0.35 * u[7], 0.7 * u[8]),
        spines=(5 + 5 * u[9], 0.2 + 0.32 * u[10], 2 * np.pi * u[11]),
        spacing=0.55 + 0.2 * u[12],
        angle=np.pi * u[13],
        motif=_even(motif, axes=(-1,)),
        outline=_even(outline, axes=(-2, -1)),
        marks=rng.permutation(len(TRAITS)) < len(TRAITS) // 2,
    )


def _marks(seed: int, creature: Creature) -> Traits:
    """The member's own value of each trait, -0.5..0.5; 0 for a mood."""
    block, place = divmod(creature.member, LEVELS)
    rng = generator(Stream.WORLD, seed, 3, creature.family, block)
    levels = rng.permuted(np.tile(np.arange(LEVELS), (len(TRAITS), 1)), axis=1)
    values = ((levels + rng.random(levels.shape)) / LEVELS - 0.5)[:, place]
    return np.where(_plan(seed, creature).marks, values, 0).astype(np.float32)


class _Draws:
    """The random numbers of some images of a creature, handed out in order, a row an image."""

    def __init__(self, seed: int, creature: Creature, images: Sequence[int]) -> None:
        key = (seed, 4, creature.family, creature.member)
        self._generators = [generator(Stream.WORLD, *key, image) for image in images]
        self._uniforms = iter(np.stack([rng.random(UNIFORMS, dtype=np.float32) for rng in self._generators], axis=1))

    def uniform(self, low: float | int, high: float | int) -> Plane:
        values: Plane = low + (high - low) * next(self._uniforms)[:, None, None]
        return values

    def noise(self, channels: int, cells: int) -> Float32[np.ndarray, "images channels cells cells"]:
        shape = (channels, cells, cells)
        return np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in self._generators])


def render(
    creature: Creature, images: Sequence[int], *, size: int, seed: int
) -> UInt8[np.ndarray, "images size size 3"]:
    """Draw images of a creature. Each is a function of the seed, the size, the creature and its number.

    Args:
        creature: the class.
        images: numbers of at least one image, from 0.
        size: height and width, pixels.
        seed: of the world.
    """
    draws = _Draws(seed, creature, images)
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    across, up = axis[None, None, :], -axis[None, :, None]
    canvas = _background(draws, size)
    for _ in range(4):
        _clutter(canvas, across, up, draws)
    _creature(canvas, across, up, draws, _plan(seed, creature), _marks(seed, creature))
    _clutter(canvas, across, up, draws)
    turn = draws.uniform(0, 2 * np.pi)
    light = draws.uniform(0.7, 1.15) * (1 + draws.uniform(0, 0.3) * (across * np.cos(turn) + up * np.sin(turn)))
    cast = np.stack([draws.uniform(0.85, 1.12) for _ in range(3)], axis=1)
    grain = draws.uniform(0.01, 0.04)[:, None] * draws.noise(1, size)
    canvas = canvas * light[:, None] * cast + grain
    pixels: UInt8[np.ndarray, "images 3 size size"] = (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def _colour(hue: Plane, saturation: Plane, value: Plane) -> Planes:
    """Red, green and blue, each a raised cosine of the hue (in turns): all hues are equally far from the next."""
    shift = np.arange(3, dtype=np.float32)[:, None, None] / 3
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * (hue[:, None] - shift))
    colour: Planes = value[:, None] * (1 - saturation[:, None] * (1 - wave))
    return colour


def _cover(canvas: Planes, where: Plane, colour: Planes) -> None:
    """Lay a colour over the canvas, in place; `where` is 1 inside, 0 outside, between on the edge."""
    canvas += where[:, None] * (colour - canvas)


def _background(draws: _Draws, size: int) -> Planes:
    """A colour with coarse and fine clouds."""
    background = _colour(draws.uniform(0, 1), draws.uniform(0.05, 0.6), draws.uniform(0.25, 0.9))
    for cells, low, high in ((4, 0.03, 0.16), (9, 0.0, 0.12)):
        at = np.linspace(0, cells - 1, size)[:, None]
        weights = np.maximum(0, 1 - np.abs(at - np.arange(cells))).astype(np.float32)
        clouds = weights @ draws.noise(3, cells) @ weights.T
        background = background + draws.uniform(low, high)[:, None] * clouds
    return background


def _clutter(canvas: Planes, across: Plane, up: Plane, draws: _Draws) -> None:
    """An ellipse of any colour, anywhere."""
    x, y = across - draws.uniform(-1, 1), up - draws.uniform(-1, 1)
    turn, width, height = draws.uniform(0, np.pi), draws.uniform(0.1, 0.4), draws.uniform(0.05, 0.25)
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    distance = (np.hypot(x / width, y / height) - 1) * height
    colour = _colour(draws.uniform(0, 1), draws.uniform(0.2, 0.8), draws.uniform(0.3, 1))
    _cover(canvas, (0.5 - distance * canvas.shape[-1] / 2).clip(0, 1), colour)


def _creature(canvas: Planes, across: Plane, up: Plane, draws: _Draws, plan: _Plan, marks: Traits) -> None:
    """A creature that looks along x or, mirrored, along -x: tail, spines, body, markings, head, eye."""
    trait = {
        name: mark + draws.uniform(-0.5, 0.5) * (JITTER if is_mark else 1)
        for name, mark, is_mark in zip(TRAITS, marks, plan.marks, strict=True)
    }
    mirror, scale, stretch = np.copysign(1, draws.uniform(-1, 1)), draws.uniform(0.75, 1), draws.uniform(0.9, 1.12)
    x, y = (across - draws.uniform(-0.16, 0.16)) * mirror / scale, (up - draws.uniform(-0.16, 0.16)) / scale
    turn = draws.uniform(-0.5, 0.5)
    x, y = (x * np.cos(turn) + y * np.sin(turn)) * stretch, (y * np.cos(turn) - x * np.sin(turn)) / stretch
    pixel = 2 / canvas.shape[-1] / scale

    def inside(distance: Plane) -> Plane:  # the edge is a pixel wide, which saves drawing at a higher resolution
        where: Plane = (0.5 - distance / pixel).clip(0, 1)
        return where

    saturation, value = draws.uniform(0.5, 0.9), draws.uniform(0.65, 1)

    def paint(hue: Plane, shade: float) -> Planes:
        return _colour(plan.hue + hue + draws.uniform(-0.03, 0.03), saturation, value * shade)

    skin = paint(0.2 * trait["hue"], 1.0)
    marking = paint(plan.palette[0] + 0.25 * trait["marking"], 0.75)
    face = paint(plan.palette[1] + 0.25 * trait["face"], 1.0)

    length, height = plan.body[0], plan.body[1] * np.exp(0.4 * trait["girth"])
    tail, spread, fork = plan.tail
    reach = tail + 0.3 * trait["tail"]
    along = -(x + 0.8 * length) / reach  # 0 at the body, 1 at the tip
    half = 0.08 + spread * along.clip(0, 1)
    tip = 1 - fork * (1 - np.abs(y) / half).clip(0, 1)
    _cover(canvas, inside(np.maximum(np.abs(y) - half, np.maximum(-along, along - tip) * reach)), marking)

    angle, radius = np.arctan2(y / height, x / length), np.hypot(x / length, y / height)
    base, change = plan.outline
    cosines, sines = (0.13 * b + 0.2 * trait["outline"][..., None] * c for b, c in zip(base, change, strict=True))
    edge = 1 + sum(
        cosines[..., i] * np.cos(k * angle) + sines[..., i] * np.sin(k * angle) for i, k in enumerate(HARMONICS)
    )
    number, size, direction = plan.spines
    saw = np.abs((angle - direction) / (2 * np.pi) * np.round(number + 4 * trait["spines"]) % 1 - 0.5)
    spines = size * (0.5 + 2 * np.cos(angle - direction)).clip(0, 1) * (2 * saw - 0.3)
    _cover(canvas, inside((radius - edge - spines) * height), 0.55 * skin)
    body = inside((radius - edge) * height)
    _cover(canvas, body, skin)

    frequency = 2 * np.pi / plan.spacing * np.exp(-0.7 * trait["spacing"])
    turn = plan.angle + trait["angle"]
    g = frequency * (x * np.cos(turn) + y * np.sin(turn)) + draws.uniform(0, 2 * np.pi)
    h = frequency * (y * np.cos(turn) - x * np.sin(turn)) + draws.uniform(0, 2 * np.pi)
    waves = [a + 1.4 * (trait["motif"] * b + trait["weave"] * c) for a, b, c in plan.motif.T]
    motif = sum(a * np.cos(i * g + j * h + 2.4 * k) for k, (a, (i, j)) in enumerate(zip(waves, WAVES, strict=True)))
    motif = motif / np.sqrt(sum(a**2 for a in waves) / 2)
    _cover(canvas, body * (0.5 + (motif + trait["width"]) / (1.3 * frequency * pixel)).clip(0, 1), marking)

    size, lift = plan.head
    x, y = x - 0.9 * length * (1 + cosines.sum(-1)), y - lift
    _cover(canvas, inside(np.hypot(x, y) - size), face)
    eye = np.full((1, 3, 1, 1), 0.05, dtype=np.float32)
    _cover(canvas, inside(np.hypot(x - 0.3 * size, y - 0.25 * size) - 0.07), eye)
