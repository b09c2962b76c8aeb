"""Remove images for good: from the state, the store and the sets; they do not come back."""

import shutil

from lt_extrap.config.curate import Forgotten
from lt_extrap.curate.curation import GALLERY, IMAGES, SET, Curation
from lt_extrap.curate.stages.export import EXTRA
from lt_extrap.curate.state import FORGOTTEN


def forget(curation: Curation, named: Forgotten) -> int:
    """Remove the images that are named; the stage `images` does not store them again, whoever offers them.

    Args:
        curation: whose.
        named: which.

    Returns:
        How many stored images were removed.
    """
    state, removed = curation.state, 0
    with state.transaction():
        values = [(kind, value) for kind, value in vars(named).items() if value]
        state.write("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", values)
    gone = list(state.rows(f"SELECT sha256, name FROM image WHERE sha256 IN ({_forgotten_images()})"))
    if gone:  # a set that lacks images of its manifest is none: it is written again
        for written in (SET, f"{SET}.new", f"{SET}.old", GALLERY):  # .new and .old: of a start that was killed
            shutil.rmtree(curation.folder / written, ignore_errors=True)
    for _, name in gone:  # before their rows: the same command goes on where it was killed
        for folder in (curation.folder, curation.folder / EXTRA):
            (folder / IMAGES / name).unlink(missing_ok=True)
        removed += 1
    hashes = [(sha256,) for sha256, _ in gone]
    with state.transaction():
        # What it looked like is forgotten too; that it was here is not, or the source would offer it again.
        state.write("INSERT OR IGNORE INTO forgotten VALUES ('sha256', ?)", hashes)
        for table in ("selection", "copy", "compared", "verdict", "image"):
            state.write(f"DELETE FROM {table} WHERE sha256 = ?", hashes)
        state.write("DELETE FROM feature WHERE owner = ?", hashes)
        state.write(
            f"UPDATE candidate SET reason = '{FORGOTTEN}', sha256 = NULL, caption = NULL, page = NULL WHERE sha256 = ?",
            hashes,
        )
    return removed


def _forgotten_images() -> str:
    kinds = " UNION ".join(
        f"SELECT c.sha256 FROM candidate c JOIN forgotten f ON f.kind = '{kind}' AND f.value = c.{kind}"
        for kind in ("url", "creator", "sha256")
    )
    return f"SELECT sha256 FROM ({kinds}) WHERE sha256 IS NOT NULL"
