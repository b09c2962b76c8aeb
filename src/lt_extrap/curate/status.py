"""How far a curation is: what became of every candidate, and how to train on what there is."""

import json
import sys

from rich.console import Console

from lt_extrap.config.curate import SHARED, STAGES
from lt_extrap.config.curate_proposer import WordNetNeighbors
from lt_extrap.curate.curation import SET, Curation
from lt_extrap.curate.funnel import funnel, lonely, short, unread
from lt_extrap.curate.shards import part
from lt_extrap.curate.stages import export, targets
from lt_extrap.data.stored.reader import read_header
from lt_extrap.errors import some
from lt_extrap.files import write_whole
from lt_extrap.page import override

INCOMPLETE, NOTHING = 3, 4  # exit status
STATUS = "status.json"
_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def status_of(curation: Curation) -> int:
    """Print it and write it down.

    Returns:
        The exit status: 0, or 3 where something is to do, or 4 where nothing was kept.
    """
    found, state = funnel(curation.state), curation.state
    left_out = list(
        state.rows(
            "SELECT reason, sum(count) FROM left_out JOIN sought USING (key) WHERE used AND source = ? "
            "GROUP BY 1 ORDER BY 2 DESC, 1",
            state.setting("source"),
        )
    )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(found.table())
    for reason, count in left_out:
        print(f"left out by the source, {count:,}: {reason}")
    for reason, count in unread(state):
        print(f"unreadable, {count:,}: {reason}")
    for split, reason, count in state.rows(
        "SELECT split, reason, count(*) FROM reference WHERE reason IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    ):
        images, them = ("image", "it") if count == 1 else ("images", "them")
        print(
            f"{count:,} {_SPLITS[split]} {images} could not be read, so no copies of {them} were looked for: {reason} "
            f"(do=retry reads {them} again)"
        )
    if alone := lonely(curation):
        print(f"without a neighbor: {len(alone)} target classes: {some([name for name, _ in alone], 10)}")
        unknown = sum(not known for _, known in alone)
        if unknown and isinstance(curation.config.proposer, WordNetNeighbors):
            file = curation.folder / targets.FORM
            print(f"no one synset has the name of {unknown} of them: {file} has what they may mean;")
            print("fill in its column wnid, and give it as names.classes=")
    lacking = short(curation) if curation.config.shard is None else []
    if lacking:
        print(f"fewer images than asked for: {len(lacking)} classes: {some(lacking, 3)}")
    status = {
        "stages": json.loads(state.setting("seconds") or "{}"),
        "candidates": [
            {"stage": stage, "reason": reason, "shot": shot, "count": count}
            for (stage, reason, shot), count in sorted(found.counts.items(), key=str)
        ],
        "refused": [
            {"reason": reason, "shot": shot, "count": count}
            for (reason, shot), count in sorted(found.refused.items(), key=str)
        ],
        "left_out": [{"reason": reason, "count": count} for reason, count in left_out],
        "without_neighbors": [name for name, _ in alone],
        "short": lacking,
    }
    text = json.dumps(status, indent=1, ensure_ascii=False) + "\n"
    write_whole(curation.folder / STATUS, lambda file: file.write(text.encode()))
    shard, of = curation.config.shard, curation.config.shards
    if unasked := _unasked(curation):
        print(f"{unasked}: the same command goes on")
        return INCOMPLETE
    if to_do := found.to_do(STAGES if shard is None else SHARED):
        print(f"{to_do:,} candidates to do: the same command goes on")
        return INCOMPLETE
    if shard is not None:
        print(f"shard {shard} of {of} is done; when all are: the same words with do=merge shards={of}")
        return 0
    if not found.kept:
        print("nothing was kept: the reasons are in the table above")
        if not found.read:
            print("no image of these classes was found: is it the right source, and does it have their names?")
        elif found.suspected > found.read / 2:
            print(
                "most of it as suspect: these features may not tell classes apart (filter.suspects=keep, or features=)"
            )
        return NOTHING
    _tell(curation)
    return 0


def _unasked(curation: Curation) -> str | None:
    """What a source was not asked for yet: it is not the source then that has nothing."""
    state, config = curation.state, curation.config
    if "candidates" not in json.loads(state.setting("seconds") or "{}"):
        return "no source was asked for images yet"
    asked = {key for (key,) in state.rows("SELECT key FROM search WHERE source = ?", state.setting("source"))}
    unasked = sum(wanted.key not in asked for wanted in part(curation.sought(), config.shard, config.shards))
    return f"{unasked:,} classes to ask the source for" if unasked else None


def _tell(curation: Curation) -> None:
    """Say how to train on what there is."""
    if (folder := curation.folder / SET).is_dir():
        target, paired = curation.config.target, read_header(folder).pairs > 0  # whatever this command's proposer is
        node, files = ("neighbors", target.neighbors) if paired else ("random", target.random)
        words = [
            override(f"target.{node}.folder", folder.resolve()),
            *(f"target.{node}.{key}=null" for key in (*files.lists(), *(() if paired else ("neighbors_per_class",)))),
        ]
        print(f"train on it by: {' '.join(words)}")
    if (extra := curation.folder / export.EXTRA / export.EXTRA_LIST).is_file():
        with extra.open("rb") as lines:
            words = [override("target.extra", extra.resolve()), f"auxiliary.images_per_epoch={sum(1 for _ in lines)}"]
        shots = ",".join(curation.config.extra_shots)
        print(
            f"train on further target images by: component=target_extra {' '.join(words)} 'auxiliary.shots=[{shots}]'"
        )
