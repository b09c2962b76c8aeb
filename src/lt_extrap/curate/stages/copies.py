"""Find near-copies of the images of the target set, and of stored images among one another."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from lt_extrap.curate.curation import Curation
from lt_extrap.curate.near_copies import HOW, Look, Pictures, copies_of, groups
from lt_extrap.curate.stages.features import SPLITS, feature_rows, open_features, owner
from lt_extrap.errors import RunError

STORED = "stored"  # the split, in the table `copy`, of copies among stored images
# A row an image: its hash if copies of it were not looked for with this mark, else NULL.
_NEW = """
SELECT CASE WHEN c.mark IS NOT ? THEN i.sha256 END FROM image i LEFT JOIN compared c USING (sha256) ORDER BY i.sha256
"""
_VERSION = 1  # of the search: raise it when it finds others


def find(curation: Curation) -> None:
    """The stage `copies`. Copies of target images are looked for among new images, copies of one another among all."""
    state, options, mark = curation.state, curation.config.filter.near_copies, _mark(curation)
    with state.transaction():
        state.set("copies_by", json.dumps({"filter.near_copies": asdict(options)}))
    new = [i for i, (sha256,) in enumerate(state.rows(_NEW, mark)) if sha256 is not None]
    if not new:
        return
    images = list(state.rows("SELECT sha256, content, thumbnail, deviation FROM image ORDER BY sha256"))
    stored = _pictures(curation, [row[1:] for row in images], [row[0] for row in images])
    looked_at = stored.of_rows(np.array(new))
    rows = list[tuple[str, str, str, str]]()
    for split in SPLITS:
        originals = list(
            state.rows(
                "SELECT place, content, thumbnail, deviation FROM reference WHERE split = ? AND reason IS NULL "
                "ORDER BY place",
                split,
            )
        )
        if not originals:
            continue
        owners = [owner(split, row[0]) for row in originals]
        copies = copies_of(
            looked_at,
            _pictures(curation, [row[1:] for row in originals], owners),
            agree=options.overlap,
            cosine=options.cosine,
            nearest=options.nearest,
        )
        rows += [
            (images[new[i]][0], split, originals[int(copies.original[i])][0], HOW[int(copies.how[i])])
            for i in np.flatnonzero(copies.original >= 0).tolist()
        ]
        curation.stop.answer()
    leader = groups(stored, agree=options.overlap, cosine=options.cosine, nearest=options.nearest)
    together = np.flatnonzero(np.bincount(leader, minlength=len(images))[leader] > 1)
    rows += [(images[i][0], STORED, images[int(leader[i])][0], "") for i in together.tolist()]
    hashes = [(images[i][0],) for i in new]
    with state.transaction():
        state.write("DELETE FROM copy WHERE sha256 = ?", hashes)
        state.write("DELETE FROM copy WHERE split = ?", [(STORED,)])
        state.write("INSERT INTO copy VALUES (?, ?, ?, ?)", rows)
        state.write("REPLACE INTO compared VALUES (?, ?)", [(*sha256, mark) for sha256 in hashes])


def found_with(curation: Curation) -> str:
    """What copies were looked for with: the images of the target set, their features, and options.

    Raises:
        RunError: images came, or these changed, since they were looked for.
    """
    mark = _mark(curation)
    if new := sum(sha256 is not None for (sha256,) in curation.state.rows(_NEW, mark)):
        raise RunError(
            "near-copies of all images that are stored, by these filter.near_copies",
            f"{new:,} images that were not looked at, or by other options",
            "run do=features and do=copies first, or do=run for all stages",
        )
    return mark


def _mark(curation: Curation) -> str:
    """Of all that the copies of an image depend on, beside itself."""
    state = curation.state
    mark = hashlib.sha256(f"{_VERSION} {state.setting('model')} {curation.config.filter.near_copies}".encode())
    for row in state.rows("SELECT split, place FROM reference WHERE reason IS NULL ORDER BY split, place"):
        mark.update("\0".join((*row, "")).encode("utf-8", "surrogateescape"))
    return mark.hexdigest()


def _pictures(curation: Curation, looks: Sequence[tuple[bytes, bytes, float]], owners: Sequence[str]) -> Pictures:
    features = open_features(curation)
    return Pictures.of([Look(*look) for look in looks], features[feature_rows(curation, owners)])
