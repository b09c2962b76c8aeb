"""Look whether all that is stored is as it was written."""

import hashlib

from lt_extrap.bar import Bar
from lt_extrap.curate.curation import IMAGES, SET, Curation
from lt_extrap.data.stored.reader import Finding
from lt_extrap.data.stored.verifier import verify as verify_set
from lt_extrap.errors import some


def verify(curation: Curation) -> int:
    """Hash every stored image again, and read the set.

    Returns:
        The exit status: 0, or 3 where something is wrong.
    """
    wrong, known = list[str](), set[str]()
    rows = list(curation.state.rows("SELECT sha256, name FROM image ORDER BY sha256"))
    root = curation.folder / IMAGES
    with Bar("images") as bar:
        for number, (sha256, name) in enumerate(rows, 1):
            known.add(name)
            try:
                with (root / name).open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                        wrong.append(f"{name}: another content")
            except OSError as error:
                wrong.append(f"{name}: {error.strerror}")
            bar.show(number, len(rows))
            curation.stop.answer()
    unknown = sorted(
        name for file in root.rglob("*") if file.is_file() and (name := str(file.relative_to(root))) not in known
    )
    if unknown:  # of a start that was killed, or of what is not ours
        print(f"{len(unknown):,} files in {root} that no row knows: {some(unknown, 3)}")
    folder = curation.folder / SET
    if folder.is_dir():
        found = list[Finding]()
        verify_set(folder, found.append, hashes=True)
        wrong += [f"{SET}/{finding}" for finding in found]
    if wrong:
        print(f"{len(wrong):,} wrong: {some(wrong, 10)}")
        return 3
    print(f"nothing is wrong: {len(rows):,} images as they were written")
    return 0
