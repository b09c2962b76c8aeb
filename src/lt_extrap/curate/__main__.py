"""From class names to an auxiliary set: `python -m lt_extrap.curate target=<name> source.root=<class folders>`.

All stages by default, each where it was; `do=status` tells what became of every candidate. Exit status: 0 done, 2 a
mistake in the command or in what it names, 3 not done, the same command goes on, 4 nothing was kept, 130 Ctrl-C.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config.curate import CURATE_OPTIONS, SHARED, STAGES, CurateConfig
from lt_extrap.config.curate_download import Download
from lt_extrap.curate import shards
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.forget import forget
from lt_extrap.curate.gallery.pages import write_gallery
from lt_extrap.curate.restore import restore
from lt_extrap.curate.review import review
from lt_extrap.curate.stages import candidates, copies, export, features, images, neighbors, selection, targets
from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED, STATE, State
from lt_extrap.curate.status import INCOMPLETE, status_of
from lt_extrap.curate.verify import verify
from lt_extrap.curate.web.api import NoAnswer
from lt_extrap.curate.web.download import Downloader
from lt_extrap.curate.web.failure import KINDS, kind_of
from lt_extrap.errors import ConfigError, LtExtrapError, RunError, some
from lt_extrap.files import alone_in
from lt_extrap.paths import conf_dir
from lt_extrap.signals import Stopped, StopSignal

_STAGES: dict[str, Callable[[Curation], object]] = {
    "targets": targets.collect,
    "neighbors": neighbors.propose,
    "candidates": candidates.collect,
    "images": images.store,
    "merge": shards.merge,
    "features": features.compute,
    "copies": copies.find,
    "selection": selection.select,
    "export": export.write_sets,
}


def curate(config: CurateConfig, *, downloader: Callable[[Download], Downloader] = Downloader) -> int:
    """Do what `config.do` says.

    Args:
        config: of the command.
        downloader: makes what fetches images from the web.

    Returns:
        The exit status.

    Raises:
        LtExtrapError: a target, source or folder that is not what it should be, or a disk that is full.
    """
    whole, stop = Path(config.folder), StopSignal()
    folder = whole if config.shard is None else shards.folder_of(whole, config.shard, config.shards)
    stop.patient = True
    if config.do == "restore":
        with _alone(folder), stop.listening():
            return restore(config, folder, stop, downloader)
    if config.do in ("status", "retry", "verify", "forget", "gallery", "review"):
        _refuse_none(folder)
    if config.do == "status":  # also while a curation is under way
        with State(folder) as state:
            return status_of(Curation(config, folder, state, stop))
    with _alone(folder), State(folder) as state, stop.listening():
        curation = Curation(config, folder, state, stop, downloader)
        if config.do == "verify":
            return verify(curation)
        if config.do in (*STAGES, "retry", "review"):
            targets.require(curation)
        if config.do == "gallery":
            return write_gallery(curation)
        if config.do == "forget":
            print(f"forgotten: {forget(curation, config.forget):,} images; the sets are written again without them")
            shards.forget_in_all(curation)
            targets.require(curation)  # only now: to write the sets takes the target, to forget does not
            export.write_kept(curation)  # by the selection that there is: this command may name another filter
            return status_of(curation)
        if config.do == "retry":
            _again(curation)
        if config.shard is not None:
            shards.remember(curation, whole)
        if config.do == "review":
            review(curation, Path(str(config.review)).expanduser())
        if config.do in STAGES:
            _refuse_gap(state, config.do)
            return _run(curation, (config.do,))
        if config.shard is not None:
            return _run(curation, SHARED)
        return _run(curation, (*STAGES[:2], "merge", *STAGES[2:]) if config.do == "merge" else STAGES)


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
        except Stopped:
            print(f"stopped in {stage}: the same command goes on", flush=True)
            raise
        finally:
            seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - began, 2)
            with curation.state.transaction():
                curation.state.set("seconds", json.dumps(seconds))
        print(f"{number}/{len(stages)} {stage}: {time.monotonic() - began:.1f} s", flush=True)
        if stage == "candidates" and not curation.state.one("SELECT 1 FROM offered WHERE form IS NOT NULL LIMIT 1"):
            return status_of(curation)  # before hours of features of the target's images
    if stages == ("images",) and images.to_do(curation):
        return INCOMPLETE
    if len(stages) == 1 and stages[-1] != STAGES[-1]:
        return 0
    return status_of(curation)


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
    chosen = [reason for reason in failed if reason not in (FORGOTTEN, NOT_NEEDED) and _is_one_of(reason, reasons)]
    if reasons is not None and not chosen:
        raise ConfigError("errors of this curation", ", ".join(reasons), f"choose of: {some(failed, 20) or 'none'}")
    among = "reason IN (SELECT value FROM json_each(?))"  # all at once: each host may have a reason of its own
    with state.transaction():
        state.write(f"UPDATE candidate SET reason = NULL, tries = 0 WHERE {among}", [(json.dumps(chosen),)])
        state.write(f"DELETE FROM reference WHERE {among}", [(json.dumps(chosen),)])
        if reasons is None:  # and the source is asked again: it may have grown
            state.write("DELETE FROM search WHERE source = ?", [(curation.source_id,)])


def _is_one_of(reason: str, wanted: Sequence[str] | None) -> bool:
    """Whether a reason is one of these kinds, or has one of these words."""
    if wanted is None:
        return True
    return any(kind_of(reason) == word if word in KINDS else word in reason for word in wanted)


def _refuse_none(folder: Path) -> None:
    if not (folder / STATE).is_file():
        raise ConfigError("the folder of a curation", f"none in {folder}", "give folder=<the folder>, or begin one")


def _refuse_gap(state: State, stage: str) -> None:
    """A stage makes nothing of what was never begun before it, and would say that it is done."""
    begun = json.loads(state.setting("seconds") or "{}")
    if lacking := [before for before in STAGES[: STAGES.index(stage)] if before not in begun]:
        raise ConfigError(
            f"the stages before {stage}",
            f"never begun: {', '.join(lacking)}",
            f"run do={lacking[0]}, or do=run for all",
        )


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
        if HydraConfig.get().mode is RunMode.MULTIRUN:  # in which an exit would end the other jobs
            raise RunError("a job that ends with status 0", f"status {status}", "see what it said")
        sys.exit(status)


def main() -> None:
    """The command."""
    cli.run(task, status=_exit_status)


def _exit_status(error: LtExtrapError) -> int:
    return INCOMPLETE if isinstance(error, RunError | NoAnswer) else 2


if __name__ == "__main__":
    main()
