"""Write down the target classes, and a form for what names do not tell; refuse a folder of other ones."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from lt_extrap.curate.curation import Curation
from lt_extrap.curate.records import TargetClass
from lt_extrap.curate.state import State
from lt_extrap.curate.targets import form, target_classes
from lt_extrap.data.place import find_place
from lt_extrap.data.target import target_files
from lt_extrap.errors import DataError, RunError
from lt_extrap.files import write_whole

FORM = "classes.csv"


def collect(curation: Curation) -> None:
    """The stage `targets`.

    Raises:
        RunError: as of `require`.
        DataError: the target set is not what it should be; its images are looked for.
    """
    state, files = curation.state, curation.target.files
    found = _identity(curation, files)
    _require(curation, found)
    targets = target_classes(curation.config.target, curation.wordnet, curation.described)
    with state.transaction():
        state.set("target", json.dumps(found))
        keep(state, targets)
    file, wordnet = curation.folder / FORM, curation.wordnet
    if wordnet is not None and not file.exists():  # or what was filled in would be lost
        content = form(targets, wordnet)
        write_whole(file, lambda opened: opened.write(content))


def require(curation: Curation) -> None:
    """Refuse a folder whose curation is of another target; no image is looked for.

    Raises:
        RunError: it has other classes, or other lists of images.
    """
    target = curation.config.target
    if curation.state.setting("target") is not None:
        _require(curation, _identity(curation, target_files(target, find_place(target))))


def _identity(curation: Curation, lists: Mapping[str, Path]) -> dict[str, str]:
    """What tells a target from another one, by its keys in a command."""
    wanted = curation.config.target
    files = {key: _hash(file) for key, file in sorted(lists.items())}
    for key in ("samples_per_class", "label_order"):  # which change what is trained on, and the numbers of classes
        files[key] = str(getattr(wanted, key, None))
    files |= {key: str(value) for key in ("reshuffle", "extra_per_class") if (value := getattr(wanted, key))}
    return files


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise DataError(
            f"a list of the target in {file}", error.strerror or str(error), "give the target= of this curation"
        ) from error


def _require(curation: Curation, files: Mapping[str, str]) -> None:
    before = curation.state.setting("target")
    if before is not None and before != json.dumps(files):
        old = json.loads(before)
        changed = [f"target.{key}" for key in sorted(old.keys() | files.keys()) if old.get(key) != files.get(key)]
        raise RunError(
            f"the target whose curation is in {curation.folder}",
            f"another {', '.join(changed)}",
            "give this target another folder=: copies are looked for among the images of one target",
        )


def keep(state: State, targets: Iterable[TargetClass]) -> None:
    """Write the target classes, in place of those before; within a transaction."""
    state.write("DELETE FROM target")
    state.write(
        "INSERT INTO target VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                found.label,
                found.id,
                found.name,
                json.dumps(found.spellings, ensure_ascii=False),
                found.wnid,
                found.gloss,
                found.images,
                str(found.shot),
            )
            for found in targets
        ],
    )
