"""How a curation made its set: what its stages were told, and what became of all that was found."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from lt_extrap.config.curate import CURATE_OPTIONS
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.funnel import funnel
from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED, State
from lt_extrap.curate.web.failure import kind_of
from lt_extrap.data.stored.schema import Comparison, Fate, Provenance

# What the stages were told, as they keep it: options by their keys in a command.
_TOLD = ("proposed_by", "asked_by", "features_by", "copies_by", "selected_by")
_DOWNLOADED = "downloaded_by"
_SPLITS = ("test", "val", "train")


def add_policies(state: State, policies: Iterable[Mapping[str, bool]]) -> None:
    """Add to the policies by which images were downloaded; within a transaction."""
    known = {json.dumps(policy, sort_keys=True) for policy in (*policies_of(state), *policies)}
    state.set(_DOWNLOADED, json.dumps([json.loads(policy) for policy in sorted(known)]))


def policies_of(state: State) -> list[dict[str, bool]]:
    """The policies by which images were downloaded, each once: keys `robots` and `opt_out`."""
    found: list[dict[str, bool]] = json.loads(state.setting(_DOWNLOADED) or "[]")
    return found


def option_name(group: str, options: object) -> str:
    """The name of an option of a group of conf/, such as `wordnet` of `proposer`."""
    return next(name for name, kind in CURATE_OPTIONS[group].items() if type(options) is kind)


def provenance(curation: Curation) -> Provenance:
    """What the card of the set says of its making."""
    state = curation.state
    settings: dict[str, str] = {}
    for stage in _TOLD:
        settings |= dict(_flat(json.loads(state.setting(stage) or "{}")))
    for key in ("robots", "opt_out"):
        if values := sorted({policy[key] for policy in policies_of(state)}):
            settings[f"download.{key}"] = ", ".join(map(_shown, values))
    found = funnel(state, auxiliary_only=True)
    fates = [
        *(Fate("neighbors", reason, shot, count) for (reason, shot), count in sorted(found.refused.items())),
        *(Fate(*of, count) for of, count in sorted(found.counts.items(), key=str)),
    ]
    left_out = state.rows(
        "SELECT reason, sum(count) FROM left_out JOIN sought USING (key) WHERE used AND source = ? "
        "AND key NOT LIKE 'target:%' GROUP BY 1 ORDER BY 1",
        state.setting("source"),
    )
    notes = (state.setting("proposed_note"), state.setting("features_note"))
    return Provenance(
        settings=settings,
        fates=fates,
        left_out=dict(left_out),
        failures=dict(sorted(_failures(state).items())),
        compared=[of for split in _SPLITS if (of := _comparison(state, split)).images or of.unread],
        notes=[f"{note}." for note in notes if note],
    )


def _failures(state: State) -> Counter[str]:
    """How many candidates could not be read: downloads by their kinds, all others together."""
    counts = Counter[str]()
    for reason, count in state.rows(
        "SELECT reason, count(*) FROM offered WHERE reason NOT IN (?, ?) AND key NOT LIKE 'target:%' GROUP BY 1",
        FORGOTTEN,
        NOT_NEEDED,
    ):
        counts[kind_of(reason) or "no readable image"] += count
    return counts


def _comparison(state: State, split: str) -> Comparison:
    of_split = "SELECT count(*) FROM reference WHERE split = ? AND reason IS"
    return Comparison(split, state.one(f"{of_split} NULL", split), state.one(f"{of_split} NOT NULL", split))


def _flat(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Options by their whole keys, without those that are null or empty."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        elif value is not None and value not in ("", []):
            yield f"{above}{name}", _shown(value)


def _shown(value: Any) -> str:
    """A value as a command has it; of paths the last part, of addresses neither who asks nor what follows the path."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if "://" in value:
        parts = urlsplit(value)
        value = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    elif value.startswith(("/", "~", ".")):
        value = value.rstrip("/").rpartition("/")[2]
    return value if value.isprintable() and value.strip() else ascii(value)
