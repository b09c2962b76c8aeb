"""From class names to an auxiliary set: `python -m lt_extrap.curate target=<name> source.root=<class folders>`.

All stages by default, each where it was; `do=status` tells what became of every candidate. Exit status: 0 done, 2 a
mistake in the command, 3 not done, the same command goes on, 4 nothing was kept, 130 Ctrl-C.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from rich.console import Console

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config.curate import CURATE_OPTIONS, STAGES, CurateConfig
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.forget import forget
from lt_extrap.curate.funnel import funnel, short
from lt_extrap.curate.stages import candidates, copies, export, features, images, neighbors, selection, targets
from lt_extrap.curate.state import FORGOTTEN, STATE, State
from lt_extrap.curate.verify import verify
from lt_extrap.errors import ConfigError, LtExtrapError, some
from lt_extrap.files import alone_in, write_whole
from lt_extrap.paths import conf_dir
from lt_extrap.signals import StopSignal

INCOMPLETE, NOTHING = 3, 4  # exit status
STATUS = "status.json"

_STAGES: dict[str, Callable[[Curation], object]] = {
    "targets": targets.collect,
    "neighbors": neighbors.propose,
    "candidates": candidates.collect,
    "images": images.store,
    "features": features.compute,
    "copies": copies.find,
    "selection": selection.select,
    "export": export.write_sets,
}


def curate(config: CurateConfig) -> int:
    """Do what `config.do` says.

    Returns:
        The exit status.

    Raises:
        LtExtrapError: a target, source or folder that is not what it should be, or a disk that is full.
    """
    folder, stop = Path(config.folder), StopSignal()
    stop.patient = True
    if config.do == "status":  # also while a curation is under way
        _refuse_none(folder)
        with State(folder) as state:
            return _status(Curation(config, folder, state, stop))
    with _alone(folder), State(folder) as state, stop.listening():
        curation = Curation(config, folder, state, stop)
        if config.do == "verify":
            return verify(curation)
        if config.do == "forget":
            selection.require_options(curation)
            print(f"forgotten: {forget(curation, config.forget):,} images; the sets are written again without them")
            return _run(curation, ("selection", "export"))
        if config.do == "retry":
            _again(curation)
        return _run(curation, STAGES if config.do in ("run", "retry") else (config.do,))


def _run(curation: Curation, stages: tuple[str, ...]) -> int:
    seconds = json.loads(curation.state.setting("seconds") or "{}")
    if "features" in stages:
        # First of all: weights that are not to be had are told before hours of reading.
        print(f"features of {curation.extractor.key}", flush=True)
        if curation.extractor.note:
            print(curation.extractor.note)
    for number, stage in enumerate(stages, 1):
        began = time.monotonic()
        try:
            _STAGES[stage](curation)
        finally:
            seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - began, 2)
            with curation.state.transaction():
                curation.state.set("seconds", json.dumps(seconds))
        print(f"{number}/{len(stages)} {stage}: {time.monotonic() - began:.1f} s", flush=True)
    if stages[-1] != STAGES[-1]:
        return 0
    return _status(curation)


def _status(curation: Curation) -> int:
    """Tell what became of every candidate."""
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
    for reason, count in state.rows(
        "SELECT reason, count(*) FROM offered WHERE reason != ? GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10",
        FORGOTTEN,
    ):
        print(f"unreadable, {count:,}: {reason}")
    for split, reason, count in state.rows(
        "SELECT split, reason, count(*) FROM reference WHERE reason IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    ):
        print(f"{split} images that no copy was looked for of, {count:,}: {reason} (do=retry reads them again)")
    lacking = short(curation)
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
        "short": lacking,
    }
    text = json.dumps(status, indent=1, ensure_ascii=False) + "\n"
    write_whole(curation.folder / STATUS, lambda file: file.write(text.encode()))
    if found.to_do:
        print(f"{found.to_do:,} candidates to do: the same command goes on")
        return INCOMPLETE
    if not found.kept:
        print("nothing was kept: the reasons are in the table above")
        return NOTHING
    _tell(curation)
    return 0


def _tell(curation: Curation) -> None:
    """Say how to train on what there is."""
    if (folder := curation.folder / export.SET).is_dir():
        lists = curation.config.target.neighbors.lists()
        words = [f"target.neighbors.folder={folder.resolve()}", *(f"target.neighbors.{key}=null" for key in lists)]
        print(f"train on it by: {' '.join(words)}")
    if (extra := curation.folder / export.EXTRA / export.EXTRA_LIST).is_file():
        print(f"train on further target images by: auxiliary=target_extra target.extra={extra.resolve()}")


def _again(curation: Curation) -> None:
    """Let what failed be done again."""
    state, reasons = curation.state, curation.config.errors
    failed = sorted(
        {
            reason
            for table in ("candidate", "reference")
            for (reason,) in state.rows(f"SELECT DISTINCT reason FROM {table} WHERE reason IS NOT NULL")
        }
    )
    chosen = [r for r in failed if r != FORGOTTEN and (reasons is None or any(word in r for word in reasons))]
    if reasons is not None and not chosen:
        raise ConfigError("errors of this curation", ", ".join(reasons), f"choose of: {some(failed, 20) or 'none'}")
    with state.transaction():
        state.write("UPDATE candidate SET reason = NULL WHERE reason = ?", [(reason,) for reason in chosen])
        state.write("DELETE FROM reference WHERE reason = ?", [(reason,) for reason in chosen])
        if reasons is None:  # and the source is asked again: it may have grown
            state.write("DELETE FROM search WHERE source = ?", [(curation.source_id,)])


def _refuse_none(folder: Path) -> None:
    if not (folder / STATE).is_file():
        raise ConfigError("the folder of a curation", f"none in {folder}", "give folder=<the folder>, or begin one")


def _alone(folder: Path) -> AbstractContextManager[None]:
    return alone_in(folder, "a curation", "wait for that one, or give another folder=")


def _register() -> None:
    store = ConfigStore.instance()
    store.store(group="schema", name="curate", node=CurateConfig)
    for group, options in CURATE_OPTIONS.items():
        for name, schema in options.items():
            store.store(group=f"schema/{group}", name=name, node=schema)


_register()


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="curate")
def task(composed: DictConfig) -> None:
    """Hydra's entry."""
    if status := curate(from_hydra(composed)):
        sys.exit(status)


def main() -> None:
    """The command."""
    cli.run(task, status=_exit_status)


def _exit_status(error: LtExtrapError) -> int:
    return 2 if isinstance(error, ConfigError) else INCOMPLETE


if __name__ == "__main__":
    main()
