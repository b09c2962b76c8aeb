"""Find near-copies of the images of the target set, and of stored images among one another."""

import hashlib
from collections.abc import Sequence

import numpy as np

from lt_extrap.curate.curation import Curation
from lt_extrap.curate.near_copies import HOW, Look, Pictures, copies_of, groups
from lt_extrap.curate.stages.features import SPLITS, feature_rows, open_features, owner

STORED = "stored"  # the split, in the table `copy`, of copies among stored images
_VERSION = 1  # of the search: raise it when it finds others


def find(curation: Curation) -> None:
    """The stage `copies`: whole, where any image is new."""
    state = curation.state
    images = list(state.rows("SELECT sha256, content, thumbnail, deviation FROM image ORDER BY sha256"))
    options = curation.config.filter.near_copies
    mark = hashlib.sha256(f"{_VERSION} {state.setting('model')} {options}".encode())
    for sha256, *_ in images:
        mark.update(sha256.encode())
    for row in state.rows("SELECT split, place FROM reference ORDER BY split, place"):
        mark.update("\0".join(row).encode("utf-8", "surrogateescape"))
    if state.setting("copies") == mark.hexdigest():
        return
    stored = _pictures(curation, [row[1:] for row in images], [row[0] for row in images])
    rows = list[tuple[str, str, str, str]]()
    for split in SPLITS:
        originals = list(
            state.rows(
                "SELECT place, content, thumbnail, deviation FROM reference WHERE split = ? AND reason IS NULL "
                "ORDER BY place",
                split,
            )
        )
        if not originals or not images:
            continue
        owners = [owner(split, row[0]) for row in originals]
        found = copies_of(
            stored,
            _pictures(curation, [row[1:] for row in originals], owners),
            agree=options.overlap,
            cosine=options.cosine,
            nearest=options.nearest,
        )
        rows += [
            (images[i][0], split, originals[int(found.original[i])][0], HOW[int(found.how[i])])
            for i in np.flatnonzero(found.original >= 0).tolist()
        ]
        curation.stop.answer()
    leader = (
        groups(stored, agree=options.overlap, cosine=options.cosine, nearest=options.nearest)
        if images
        else np.empty(0, np.int64)
    )
    together = np.flatnonzero(np.bincount(leader, minlength=len(images))[leader] > 1)
    rows += [(images[i][0], STORED, images[int(leader[i])][0], "") for i in together.tolist()]
    with state.transaction():
        state.write("DELETE FROM copy")
        state.write("INSERT INTO copy VALUES (?, ?, ?, ?)", rows)
        state.set("copies", mark.hexdigest())


def _pictures(curation: Curation, looks: Sequence[tuple[bytes, bytes, float]], owners: Sequence[str]) -> Pictures:
    features = open_features(curation)
    return Pictures.of([Look(*look) for look in looks], features[feature_rows(curation, owners)])
