"""A curation by several machines: each asks for and reads the classes of its shard, and one brings them together.

Neighbors are chosen for all targets at once, and a caption is read by the names of all classes: both are done whole in
each shard, in seconds. From candidates to images a class depends on no other.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from lt_extrap.config.curate import SHARED, Forgotten
from lt_extrap.curate.curation import IMAGES, Curation
from lt_extrap.curate.forget import forget
from lt_extrap.curate.llm.calls import CALL, KEEP_CALL
from lt_extrap.curate.provenance import add_policies, policies_of
from lt_extrap.curate.records import Sought
from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED, STATE, State
from lt_extrap.errors import RunError, some
from lt_extrap.files import alone_in, link_or_copy

SHARDS = "shards"

_CHOICE = ("SELECT * FROM target ORDER BY label", "SELECT * FROM sought WHERE used ORDER BY key")
# What is forgotten stays so.
_TAKE = """
INSERT OR IGNORE INTO candidate (key, source, place, position, caption, url, page, creator, licence, licence_url,
    form, ruled, reason, sha256, original) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_TAKEN = """
SELECT key, source, place, position, caption, url, page, creator, licence, licence_url, form, ruled, reason, sha256,
    original
FROM candidate WHERE source = ? ORDER BY key, position
"""


def folder_of(folder: Path, shard: int, shards: int) -> Path:
    """The folder of a shard, in that of its curation."""
    return folder / SHARDS / f"{shard}_of_{shards}"


def states(folder: Path) -> Iterator[Path]:
    """The folders of all shards of a curation that have a state."""
    return (file.parent for file in sorted((folder / SHARDS).glob(f"*/{STATE}")))


def part(sought: Sequence[Sought], shard: int | None, shards: int) -> list[Sought]:
    """The classes of a shard: by their keys, so that a class stays where it is when others come or go."""
    return [
        wanted
        for wanted in sought
        if shard is None or int(hashlib.sha256(wanted.key.encode()).hexdigest(), 16) % shards == shard
    ]


def remember(curation: Curation, whole: Path) -> None:
    """Let a shard know what its curation has forgotten, and was told by a person or a language model."""
    if (whole / STATE).is_file():
        with State(whole) as state, curation.state.transaction():
            known = state.rows("SELECT kind, value FROM forgotten")
            curation.state.write("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", known)
            curation.state.write("DELETE FROM verdict")
            curation.state.write("INSERT INTO verdict VALUES (?, ?, ?)", state.rows("SELECT * FROM verdict"))
            curation.state.write(KEEP_CALL, state.rows(f"SELECT {', '.join(CALL)} FROM llm_call ORDER BY id"))


def forget_in_all(curation: Curation) -> None:
    """Remove what a curation has forgotten from all of its shards.

    Raises:
        RunError: another process is in one of them.
    """
    for folder in states(curation.folder):
        with alone_in(folder, "a shard", "wait until it is done; the same command goes on"), State(folder) as state:
            shard = Curation(curation.config, folder, state, curation.stop)
            remember(shard, curation.folder)
            forget(shard, Forgotten())


def merge(curation: Curation) -> None:
    """Take in what all shards have: then the candidates and images are those that one machine would have.

    The stages `targets` and `neighbors` have been run.

    Raises:
        RunError: a shard is not done, or was made by other words than this command's.
    """
    shards = curation.config.shards
    folders = [folder_of(curation.folder, shard, shards) for shard in range(shards)]
    for shard, folder in enumerate(folders):
        if not (folder / STATE).is_file():
            raise RunError(f"{shards} shards", f"no state in {folder}", f"run shard={shard} shards={shards}")
    forget_in_all(curation)
    with ExitStack() as stack:
        opened = list[State]()
        for shard, folder in enumerate(folders):
            stack.enter_context(alone_in(folder, f"shard {shard}", "wait until it is done"))
            opened.append(stack.enter_context(State(folder)))
            _check(curation, opened[-1], shard)
        for folder, state in zip(folders, opened, strict=True):
            _take_files(folder, curation.folder, state)
            with curation.state.transaction():
                _take_rows(curation, state)
                add_policies(curation.state, policies_of(state))
            curation.stop.answer()
    with curation.state.transaction():
        _settle(curation)


def _check(curation: Curation, state: State, shard: int) -> None:
    config = curation.config
    again = f"run shard={shard} shards={config.shards} with the words of this command"
    wanted = {
        "target": curation.state.setting("target"),
        "source": curation.source_id,
        "candidates_per_class": str(config.candidates_per_class),
        "longest_edge": str(config.longest_edge),
    }
    other = [key for key, value in wanted.items() if state.setting(key) not in (None, value)]
    for query in _CHOICE:
        if list(state.rows(query)) != list(curation.state.rows(query)):
            other.append("neighbors")
    if other:
        raise RunError(f"shard {shard} by the words of this command", f"another {some(other)}", again)
    asked = dict(state.rows("SELECT key, asked FROM search WHERE source = ?", curation.source_id))
    mine = part(curation.sought(), shard, config.shards)
    lacking = sum(asked.get(wanted.key, 0) < config.candidates_per_class for wanted in mine)
    unread = state.one(
        "SELECT count(*) FROM offered WHERE ruled IS NULL OR (form IS NOT NULL AND sha256 IS NULL AND reason IS NULL)"
    )
    if lacking or unread:
        found = f"{lacking:,} classes that were not asked for, {unread:,} candidates that were not looked at"
        raise RunError(f"shard {shard} to be done ({', '.join(SHARED)})", found, again)


def _take_files(folder: Path, whole: Path, state: State) -> None:
    """Before the rows that name them: a file that no row knows is harmless."""
    for (name,) in state.rows("SELECT name FROM image ORDER BY name"):
        file = whole / IMAGES / name
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(folder / IMAGES / name, file)


def _take_rows(curation: Curation, state: State) -> None:
    """All of a shard, in place of what was known of its classes."""
    into, source = curation.state, curation.source_id
    into.write("INSERT OR IGNORE INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?)", state.rows("SELECT * FROM image"))
    into.write(
        f"DELETE FROM candidate WHERE source = ? AND key = ? AND reason IS NOT '{FORGOTTEN}'",
        state.rows("SELECT source, key FROM search WHERE source = ?", source),
    )
    into.write(_TAKE, state.rows(_TAKEN, source))
    into.write(
        "DELETE FROM left_out WHERE source = ? AND key = ?",
        state.rows("SELECT source, key FROM search WHERE source = ?", source),
    )
    into.write(
        "INSERT INTO left_out VALUES (?, ?, ?, ?)", state.rows("SELECT * FROM left_out WHERE source = ?", source)
    )
    into.write("REPLACE INTO search VALUES (?, ?, ?, ?)", state.rows("SELECT * FROM search WHERE source = ?", source))


def _settle(curation: Curation) -> None:
    """What became of a place in one shard became of it everywhere: one machine would have read it once."""
    same = "FROM candidate d WHERE d.place = candidate.place AND d.source = candidate.source AND "
    stored = same + "d.sha256 IS NOT NULL"
    failed = same + f"d.reason IS NOT NULL AND d.reason NOT IN ('{FORGOTTEN}', '{NOT_NEEDED}')"
    curation.state.write(
        "UPDATE candidate SET reason = NULL, "
        f"(sha256, original) = (SELECT d.sha256, d.original {stored} ORDER BY d.sha256 LIMIT 1) "
        f"WHERE source = ? AND sha256 IS NULL AND reason IS NOT '{FORGOTTEN}' AND EXISTS (SELECT 1 {stored})",
        [(curation.source_id,)],
    )
    curation.state.write(
        f"UPDATE candidate SET reason = (SELECT min(d.reason) {failed}) WHERE source = ? AND sha256 IS NULL "
        f"AND (reason IS NULL OR reason = '{NOT_NEEDED}') AND EXISTS (SELECT 1 {failed})",
        [(curation.source_id,)],
    )
