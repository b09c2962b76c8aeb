"""All randomness is a function of keys: nothing here, and nothing that uses it, has a state.

A draw is named by a stream and by integers such as (seed, epoch, index). Two runs that share a key share
the draw, whatever else differs between them; a resumed run equals a straight one.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Int64, UInt64


class Stream(IntEnum):
    """What a draw is for. Part of every key, so that equal numbers never make two draws equal."""

    BACKBONE = 1  # (seed)
    HEAD_TARGET = 2  # (seed)
    HEAD_AUXILIARY = 3  # (seed)
    DRAW = 4  # (seed, epoch, class, how many are drawn so far): which images of a capped class an epoch shows
    ORDER = 5  # (seed, epoch, class, place in the class): where in the epoch an image stands
    AUGMENT = 6  # (seed, epoch, sample)
    MIX = 7  # (seed, step, rank)
    FORWARD = 8  # (seed, step, rank): dropout and drop path
    PERMUTE = 9  # (seed, attempt): which wrong pairs the permuted control has
    WORLD = 10  # (seed, ...): the embedded world
    SUBSET = 11  # (seed, ...): which images and classes of a larger data set a target has
    ERASE = 12  # (seed, epoch, sample): which box of an image is noise
    CURATE = 13  # (seed, image): which images of an auxiliary class a curation keeps
    RESHUFFLE = 14  # (number, ...): which classes are the tail
    DIAGNOSE = 16  # (seed, ...): which images a diagnosis looks at, what a bootstrap draws
    RESAMPLE = 17  # (seed): classes, images and seeds of a bootstrap, signs of a test
    EMBED = 18  # (seed, points): where the points of a picture of features start; (seed): UMAP's own draws
    MASK = 19  # (seed, epoch, sample, patch): which patches of an image a pretraining hides
    DECODER = 20  # (seed): initial weights of what fills them in
    ADAPTER = 23  # (seed)


def generator(stream: Stream, *key: int) -> np.random.Generator:
    """A fresh NumPy generator for one key (about 10 microseconds). Keys are non-negative."""
    return np.random.default_rng([int(stream), *key])


def torch_seed(stream: Stream, *key: int) -> int:
    """A seed in 0..2**63-1 for a torch generator."""
    return int(hash64(stream, *key)) >> 1


def hash64(
    stream: Stream, *key: "int | np.integer | Int64[np.ndarray, ' items']"
) -> "np.uint64 | UInt64[np.ndarray, ' items']":
    """Hash each key to 64 uniform bits (the finaliser of SplitMix64, Steele et al. 2014, a round a part).

    Parts may be arrays, which broadcast: a million keys cost a few milliseconds, where a generator for each
    would cost ten seconds.
    """
    state: np.uint64 | UInt64[np.ndarray, " items"] = np.uint64(stream)
    with np.errstate(over="ignore"):  # arithmetic is modulo 2**64 by design
        for part in key:
            state = _mix(state + np.uint64(0x9E3779B97F4A7C15) + np.asarray(part).astype(np.uint64))
    return state


def _mix(
    x: "np.uint64 | UInt64[np.ndarray, ' items']",
) -> "np.uint64 | UInt64[np.ndarray, ' items']":
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
