"""What a class is predicted to gain from its neighbors, from nothing but counts and similarities.

A class gains where its neighbors, each image weighed by their similarity, show much more of what such things look like
than its own images do:

    score_c = log2((n_c + sum_j s_cj m_j) / n_c)

n_c are the training images that class c really has (those of target.extra_per_class too), m_j the images of its
neighbor j that an epoch shows, s_cj their similarity: how often the neighbors double the images of the class. Nothing
in it is fitted, and no result of a run goes into it.
"""

import numpy as np
from jaxtyping import Float64, Int64

from lt_extrap.studies.diagnose.known_neighbors import Neighbors

FORMULA = "log2((n + sum of s*m over its neighbors) / n)"


def predicted_gains(counts: Int64[np.ndarray, " target"], neighbors: Neighbors) -> Float64[np.ndarray, " target"]:
    """The score of each class, at least 0: larger where more is to be gained; NaN for a class without images.

    Where no pair has a similarity, all have 1; a pair without one among others has the mean of the others.
    """
    similarity = neighbors.similarity
    unknown = np.isnan(similarity)
    similarity = np.where(unknown, 1.0 if unknown.all() else np.nanmean(similarity), similarity)
    shown = similarity.clip(0, 1) * neighbors.images[neighbors.pairs[:, 1]]
    more = np.bincount(neighbors.pairs[:, 0], weights=shown, minlength=len(counts))
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.log2((counts + more) / counts)
    return np.where(counts > 0, score, np.nan)
