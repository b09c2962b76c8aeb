"""Take in the verdicts that a person gave in the gallery: a file that anybody may have written."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from lt_extrap.curate.curation import TARGET, Curation
from lt_extrap.curate.verdicts import WHOLE, Verdict
from lt_extrap.errors import DataError, some

FORMAT = "lt_extrap verdicts 1"
LARGEST = 256 * 2**20  # bytes of a file: more than a million verdicts
_FIELDS = frozenset(("class", "image", "verdict"))
_LONGEST = 1000  # letters of a key
_HASH = re.compile("[0-9a-f]{64}")


class Said(NamedTuple):
    """A line of the file.

    Attributes:
        key: of the class.
        sha256: of the image; `WHOLE` = the class.
        verdict: None takes an earlier one back.
    """

    key: str
    sha256: str
    verdict: Verdict | None


def review(curation: Curation, file: Path) -> None:
    """Take in a file of verdicts; what it does not name stays as it was said before.

    Args:
        curation: whose.
        file: as the gallery saves it.

    Raises:
        DataError: the file is none of these, or is of another target, or knows nothing that this curation has.
    """
    state = curation.state
    said = read_verdicts(file, target_id(curation))
    known = {(key, WHOLE) for table in ("sought", "refused") for (key,) in state.rows(f"SELECT key FROM {table}")}
    known = {(key, whole) for key, whole in known if not key.startswith(TARGET)}
    known |= set(state.rows("SELECT DISTINCT key, sha256 FROM candidate WHERE sha256 IS NOT NULL"))
    unknown = [
        repr(one.key if one.sha256 == WHOLE else f"{one.key}/{one.sha256}") for one in said if one[:2] not in known
    ]
    if said and len(unknown) == len(said):
        raise DataError("verdicts on what this curation has", f"none of it: {some(unknown)}", "give another review=")
    before = {(key, sha256): verdict for key, sha256, verdict in state.rows("SELECT * FROM verdict")}
    new = [one for one in said if one[:2] in known and before.get(one[:2]) != one.verdict]
    with state.transaction():
        state.write(
            "REPLACE INTO verdict VALUES (?, ?, ?)",
            [(one.key, one.sha256, str(one.verdict)) for one in new if one.verdict is not None],
        )
        state.write("DELETE FROM verdict WHERE key = ? AND sha256 = ?", [one[:2] for one in new if one.verdict is None])
    print(f"verdicts: {len(new):,} new of {len(said):,}; {state.one('SELECT count(*) FROM verdict'):,} in all")
    if unknown:
        print(f"on what this curation does not have, {len(unknown):,}: {some(unknown)}")


def target_id(curation: Curation) -> str:
    """What tells the target of a curation from another one."""
    return hashlib.sha256((curation.state.setting("target") or "").encode()).hexdigest()[:16]


def read_verdicts(file: Path, target: str) -> list[Said]:
    """The verdicts of a file.

    Args:
        file: of JSON.
        target: of which it has to be, by `target_id`.

    Raises:
        DataError: it cannot be read, is too large, has another form, or is of another target.
    """

    def refuse(found: str) -> DataError:
        return DataError("a file of verdicts, as the gallery saves it", f"{file}: {found}", "give it as review=")

    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise refuse(f"more than {LARGEST // 2**20} MB")
        found = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise refuse(str(error) or type(error).__name__) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise refuse(f"no {FORMAT!r} in it")
    if other := sorted(found.keys() ^ {"format", "target", "verdicts"}):
        raise refuse(f"unknown or missing: {some([repr(key) for key in other])}")
    if found["target"] != target:
        raise DataError("verdicts on this target", f"{file}: those on another one", "give the target= of the gallery")
    if not isinstance(found["verdicts"], list):
        raise refuse("verdicts that are no list")
    said: dict[tuple[str, str], Said] = {}
    for number, entry in enumerate(found["verdicts"], 1):
        one = _said(entry)
        if one is None:
            raise refuse(f"verdict {number} is none: {json.dumps(entry)[:200]}")
        if said.setdefault(one[:2], one) != one:
            raise refuse(f"verdict {number} is another one on the same: {json.dumps(entry)[:200]}")
    return list(said.values())


def _said(entry: Any) -> Said | None:
    """A line; None where it is none."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        return None
    key, image, verdict = entry["class"], entry["image"], entry["verdict"]
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST or not key.isprintable():
        return None
    if image is not None and not (isinstance(image, str) and _HASH.fullmatch(image)):
        return None
    if verdict is not None and verdict not in tuple(Verdict):
        return None
    return Said(key, WHOLE if image is None else image, None if verdict is None else Verdict(verdict))
