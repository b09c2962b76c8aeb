"""Features laid out in a plane, for the eye."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from lt_extrap.errors import ConfigError
from lt_extrap.keys import Stream, generator, hash64

_FEWEST = 4  # different points for which UMAP means something


class Plane(NamedTuple):
    """Points of a picture.

    Attributes:
        points: finite.
        how: they came about, for the axis.
        notice: what a reader has to know, or None.
    """

    points: Float64[np.ndarray, "images 2"]
    how: str
    notice: str | None = None


def lay_out(x: Float64[np.ndarray, "images dim"], *, method: str, neighbors: int, most: int, seed: int) -> Plane:
    """Lay features out.

    UMAP (McInnes et al., arXiv 1802.03426) starts from the principal components, on one thread: the same features and
    seed give the same points. Of fewer than four different points it is the principal components.

    Args:
        x: features of length 1, on which UMAP's Euclidean neighbors are those by cosine.
        method: `umap` or `pca`.
        neighbors: UMAP's n_neighbors.
        most: as many neighbors as the points allow; `neighbors` is lowered to that.
        seed: of UMAP.

    Raises:
        ConfigError: umap-learn is not installed.
    """
    if len(x) == 0:
        return Plane(np.empty((0, 2)), "no images", "no images")
    start = principal(x, 2)[0]
    different = len(np.unique(x.round(6), axis=0))
    if method == "pca" or different < _FEWEST:
        few = f"{len(x)} points, {different} of them different, are too few for UMAP: principal components instead"
        return Plane(start, "principal components", few if method == "umap" else None)
    lowered = max(2, min(neighbors, most, len(x) - 1))
    notice = f"UMAP's neighbors lowered from {neighbors} to {lowered}: {len(x)} points" if lowered < neighbors else None
    # Equal points start apart, and none on a line: UMAP scales each axis by what it covers.
    rng = generator(Stream.EMBED, seed, len(x))
    start = 10 * start / max(np.abs(start).max(), 1e-12) + rng.normal(scale=0.01, size=start.shape)
    points = _umap(x, start, lowered, int(hash64(Stream.EMBED, seed)) >> 32)
    return Plane(points.astype(np.float64), f"UMAP, {lowered} neighbors", notice)


def _umap(
    x: Float64[np.ndarray, "images dim"], start: Float64[np.ndarray, "images 2"], neighbors: int, state: int
) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)  # for a network that is not used
        try:
            from umap import UMAP
        except ModuleNotFoundError as error:
            raise ConfigError(
                "umap-learn, for projection=umap", str(error), "pip install 'lt-extrap[studies]', or projection=pca"
            ) from error
        layout = UMAP(n_neighbors=neighbors, init=start.astype(np.float32), random_state=state, n_jobs=1)
        points: np.ndarray = layout.fit_transform(x.astype(np.float32))
    return points


def principal(
    x: Float64[np.ndarray, "points dim"], count: int
) -> tuple[Float64[np.ndarray, "points {count}"], Float64[np.ndarray, " {count}"]]:
    """The first principal components, and the share of the variance that each has.

    An axis points to where its largest loading is positive, so that pictures repeat. What has no variance is 0.
    """
    centred = x - x.mean(axis=0)
    _, deviations, axes = np.linalg.svd(centred, full_matrices=False)
    values, axes = deviations[:count] ** 2, axes[:count]
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], 1) < 0, -1, 1)
    axes = axes * (values > 1e-12 * float((x**2).sum()))[:, None]  # what is left is rounding
    total = float((centred**2).sum())
    scores, shares = np.zeros((len(x), count)), np.zeros(count)
    scores[:, : len(values)] = centred @ axes.T
    shares[: len(values)] = values / total if total > 0 else 0
    return scores, shares
