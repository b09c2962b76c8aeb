"""The classes of a target set, with all that is known of their names."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from lt_extrap.config import Target
from lt_extrap.curate.records import TargetClass
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.stored.schema import is_wnid
from lt_extrap.data.target import ClassTable, load_classes
from lt_extrap.errors import DataError

_COLUMNS = ("id", "name", "wnid", "gloss", "spellings", "senses")  # name and senses are for who fills in the file
_LETTER = re.compile(r"^/[a-z]/")  # that Places puts before a name
_VIEW = re.compile(r"[-/](indoor|outdoor|interior|exterior)$")  # and after it: a place seen from inside is that place


def target_classes(target: Target, wordnet: WordNet | None, file: Path | None = None) -> list[TargetClass]:
    """The classes of a target set, by label; none of its images is looked for.

    Args:
        target: the node.
        wordnet: what their names are looked up in; None = names and ids say all that is known.
        file: a CSV that knows better than names do, with the columns id and any of wnid, gloss, spellings, separated
            by "|", and senses, which nobody reads (`form`). It need not have all classes, and what it leaves empty
            stays as it is.

    Raises:
        DataError: the target set is not what it should be, or the file is not.
    """
    return described(load_classes(target), wordnet, file)


def described(classes: ClassTable, wordnet: WordNet | None, file: Path | None = None) -> list[TargetClass]:
    """What is known of classes by their ids and names, and by a file (see `target_classes`).

    The synset of a class is its id, if that is a wnid; else the only synset that has all its names, of which ImageNet's
    files have several: "tench, Tinca tinca". A name that more synsets have tells none of them: classes called crane
    have no synset unless ids or a file tell it.

    Raises:
        DataError: the file is not what it should be.
    """
    told = _read(file, classes.ids) if file is not None else {}
    found = []
    for label, shot in enumerate(classes.shots):
        id, name, row = classes.ids[label], classes.names[label], told.get(classes.ids[label], {})
        whole = _LETTER.sub("", name).replace("_", " ").strip()
        parts = tuple(_VIEW.sub("", part.strip()) for part in whole.split(","))
        wnid = row.get("wnid") or (id if is_wnid(id) else _only_synset(parts, wordnet))
        synset = wordnet[wnid] if wordnet is not None and wnid is not None and wnid in wordnet else None
        if len(parts) == 1:
            own: tuple[str, ...] = (whole, *parts)
        else:
            own = parts if wnid is not None else (whole,)  # "Rome, Italy" is one name
        if synset and is_wnid(name):
            name, own = synset.lemmas[0], ()
        spellings = (*own, *row.get("spellings", "").split("|"), *(synset.lemmas if synset else ()))
        found.append(
            TargetClass(
                label=label,
                id=id,
                name=name,
                spellings=tuple(dict.fromkeys(filter(None, map(str.strip, spellings)))),
                wnid=wnid,
                gloss=row.get("gloss") or (synset.gloss if synset else None),
                images=int(classes.counts[label]),
                shot=shot,
            )
        )
    return found


def form(targets: Sequence[TargetClass], wordnet: WordNet) -> bytes:
    """A file of these classes to fill in: what is known, and of names that tell no synset those they may mean."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for target in targets:
        meant = dict.fromkeys(wnid for spelling in target.spellings for wnid in wordnet.wnids_of(spelling))
        senses = "" if target.wnid else " | ".join(f"{wnid} {wordnet[wnid].gloss}" for wnid in meant)
        table.writerow((target.id, target.name, target.wnid or "", "", "", senses))
    return text.getvalue().encode()


def _only_synset(names: Sequence[str], wordnet: WordNet | None) -> str | None:
    """The one synset that has all of these names; None where there is none or there are several."""
    if wordnet is None or any(name.isdecimal() for name in names):  # a class called 7 is not the number
        return None
    senses = [set(wordnet.wnids_of(name)) for name in names]
    common = set.intersection(*senses)
    return common.pop() if len(common) == 1 else None


def _read(file: Path, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The rows of a file of classes by id, without what is empty."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            columns = reader.fieldnames or []
            if "id" not in columns or not set(columns) <= set(_COLUMNS):
                raise ValueError(f"the columns {', '.join(columns) or 'of an empty file'}")
            rows: dict[str, dict[str, str]] = {}
            known = set(ids)
            for row in reader:
                told = {column: value.strip() for column, value in row.items() if column and value and value.strip()}
                id = told.get("id", "")
                if None in row or id not in known or id in rows:
                    reason = "more fields than columns" if None in row else "twice" if id in rows else "no class"
                    raise ValueError(f"line {reader.line_num}, id {id!r:.80}: {reason}")
                if not is_wnid(told.get("wnid", "n00000000")):
                    raise ValueError(f"line {reader.line_num}: wnid {told['wnid']!r:.80}, not n and 8 digits")
                rows[id] = told
            return rows
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"what is known of target classes in {file}: CSV with the column id and any of {', '.join(_COLUMNS[1:])}",
            f"{type(error).__name__}: {error}",
            f"give ids of the target set ({ids[0]}, ...), each once, and spellings separated by |",
        ) from None
