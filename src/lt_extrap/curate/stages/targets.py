"""Write down the target classes, and a form for what names do not tell; refuse a folder of other ones."""

import hashlib
import json
from collections.abc import Iterable

from lt_extrap.curate.curation import Curation
from lt_extrap.curate.records import TargetClass
from lt_extrap.curate.state import State
from lt_extrap.curate.targets import form, target_classes
from lt_extrap.errors import RunError
from lt_extrap.files import write_whole

FORM = "classes.csv"


def collect(curation: Curation) -> None:
    """The stage `targets`.

    Raises:
        RunError: the folder's curation is of another target: other classes, or other lists of images.
    """
    state, target, wanted = curation.state, curation.target, curation.config.target
    files = {key: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for key, file in sorted(target.files.items())}
    for key in ("samples_per_class", "label_order"):  # which change what is trained on, and the numbers of classes
        files[key] = str(getattr(wanted, key, None))
    files |= {key: str(value) for key in ("reshuffle", "extra_per_class") if (value := getattr(wanted, key))}
    found, before = json.dumps(files), state.setting("target")
    if before is not None and before != found:
        old = json.loads(before)
        changed = [f"target.{key}" for key in sorted(old.keys() | files.keys()) if old.get(key) != files.get(key)]
        raise RunError(
            f"the target whose curation is in {curation.folder}",
            f"another {', '.join(changed)}",
            "give this target another folder=: copies are looked for among the images of one target",
        )
    targets = target_classes(curation.config.target, curation.wordnet, curation.described)
    with state.transaction():
        state.set("target", found)
        keep(state, targets)
    file, wordnet = curation.folder / FORM, curation.wordnet
    if wordnet is not None and not file.exists():  # or what was filled in would be lost
        content = form(targets, wordnet)
        write_whole(file, lambda opened: opened.write(content))


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
