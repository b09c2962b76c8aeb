"""A multirun from its jobs to its table and figure: no failed job ends it, and none hides."""

import hashlib
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Optional

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lt_extrap.cli import disk
from lt_extrap.errors import ConfigError, LtExtrapError
from lt_extrap.processes import started_together
from lt_extrap.refusals import told
from lt_extrap.run_name import UNSAFE, row_name, run_folder
from lt_extrap.runs import is_pretraining, read_json, write_json, write_table
from lt_extrap.signals import StopSignal
from lt_extrap.table import markdown, read_rows, tabulate

_log = logging.getLogger(__name__)


def run(task: Callable[[], Any]) -> None:
    """Run a function that `hydra.main` made; if that was a multirun, tell how it ended, also when it was stopped.

    Ends the process with status 1 if a job failed.
    """
    Sweep.begun = None
    with StopSignal().listening():
        try:
            task()
        finally:
            whole = Sweep.begun is None or Sweep.begun.conclude()
    if not whole:
        sys.exit(1)


def check_alone() -> None:
    """Let a sweep be begun once: processes that were started together would each run all of its jobs.

    Raises:
        ConfigError: torchrun or srun has started several.
    """
    if started_together():
        raise ConfigError(
            "a sweep by one process, whose jobs start what they need",
            "several, started by torchrun or srun",
            "start the sweep without them (trainer.devices=2 for jobs of two devices), or let Slurm have a job each "
            "(hydra/launcher=submitit_slurm)",
        )


class Sweep(Callback):
    """What Hydra calls back in a multirun (hydra.callbacks in conf/train.yaml).

    Of a single run that was refused it takes away the folder, which is empty.

    Jobs may run in other processes, to which Hydra pickles this object: each leaves a file that says what became
    of it.

    Attributes:
        begun: the multirun of this process, for `run`: Hydra makes this object and hands it to nobody.
    """

    begun: ClassVar[Optional["Sweep"]] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Find out what is going to run, and make a folder for what becomes of it."""
        overrides = _overrides(config)
        if any(override.key_or_group == "sweep" and override.is_sweep_override() for override in overrides):
            # Hydra makes a warning of an Exception in a callback; this one ends the process.
            sys.exit(
                str(ConfigError("one sweep a command", "several values of `sweep`", "give each a command of its own"))
            )
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records = Path(tempfile.mkdtemp(prefix=".sweep-", dir=self.folder))
        # Another sweeper than Hydra's own decides as it goes.
        own = config.hydra.sweeper._target_ == BasicSweeperConf._target_
        self.jobs = BasicSweeper.split_arguments(overrides, None)[0] if own else []
        last = {override.get_key_element(): override for override in overrides}
        self.keys = [key for key, override in last.items() if override.is_sweep_override()]
        self.name = _name([key for key in self.keys if key != "seed"] or ["seed"], self.jobs)
        Sweep.begun = self

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write down that the job has begun."""
        if _trains(config):
            self._write(config, "stopped")  # unless we hear of it again

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write down what became of the job, and tell Hydra of no failure."""
        if config.hydra.mode is RunMode.RUN and job_return.status is not JobStatus.COMPLETED:
            with suppress(OSError):  # what was refused leaves no trace of the folder that Hydra made
                Path(config.hydra.runtime.output_dir).rmdir()
        if not _trains(config):
            return
        if job_return.status is JobStatus.COMPLETED:
            self._write(config, "finished")
            return
        error = job_return._return_value  # the property would raise it, and print all overrides once more
        known = _known(error)
        said = str(known or f"{type(error).__name__}: {error}")
        _log.error(said, exc_info=None if known else error)
        self._write(config, "failed", reason=" ".join(said.split()))
        # Hydra would tell of the first failure only, and begin no further batch of jobs.
        job_return.status, job_return.return_value = JobStatus.COMPLETED, math.nan

    def conclude(self) -> bool:
        """Print what became of each job; and if none is missing, the table of the finished runs, and draw it.

        Returns:
            Whether all jobs have finished.
        """
        records = {int(file.stem): read_json(file) for file in self.records.glob("*.json")}
        shutil.rmtree(self.records)
        if not records:
            return True  # refused before the first job, in words of its own
        jobs = [records.get(i, {"overrides": job, "status": "not begun"}) for i, job in enumerate(self.jobs)]
        jobs += [records[i] for i in sorted(records) if i >= len(self.jobs)]
        statuses = [job["status"] for job in jobs]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
        print(f"\nsweep of {len(jobs)} jobs: {counts}")
        for job in jobs:
            folder = [_shown(job["folder"])] if "folder" in job else []
            print("  ".join([f"  {job['status']:9}", *self._swept(job["overrides"]), *folder]))
            if "reason" in job:
                print(f"{'':13}{job['reason']}")
        finished = [job for job in jobs if job["status"] == "finished"]
        if finished and set(statuses) <= {"finished", "failed"}:
            self._report(finished)
        if len(finished) == len(jobs):
            return True
        mend = "mend what failed, and " if "failed" in statuses else ""
        print(f"to do: {mend}run the same command again: finished runs return at once, interrupted ones go on")
        return False

    def _report(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        runs = {Path(job["folder"]): self._row(job["overrides"]) for job in jobs}
        if any(is_pretraining(run) for run in runs):
            return  # no accuracies to compare
        from lt_extrap.figure import draw, save  # matplotlib takes most of a second

        root = Path(os.path.commonpath([run.parent for run in runs]))
        rows = read_rows(((run.parent / name).relative_to(root).as_posix(), run) for run, name in runs.items())
        table = tabulate(rows)
        text, file = markdown(table), self.folder / self.name
        file.with_name(f"{self.name}.md").write_text(text + "\n", encoding="utf-8")
        write_table(file.with_name(f"{self.name}.csv"), table[0], table[1:])
        save(draw(rows), file.with_name(f"{self.name}.png"))
        print(f"\n{text}\n\ntable and figure: {_shown(file)}.md, .csv and .png")

    def _swept(self, job: Sequence[str]) -> list[str]:
        """What this job has for itself."""
        return [word for word in job if word.partition("=")[0] in self.keys]

    def _row(self, job: Sequence[str]) -> str:
        """The row of a job in the sweep's table: the swept values, for folder names may be cut."""
        words = [word for word in self._swept(job) if not word.startswith("seed=")] or job
        return row_name(words) or "default"

    def _write(self, config: DictConfig, status: str, **more: str) -> None:
        job = {"overrides": list(config.hydra.overrides.task), "folder": config.hydra.runtime.output_dir}
        write_json(self.records / f"{config.hydra.job.num}.json", job | {"status": status} | more)


def _trains(config: DictConfig) -> bool:
    """Whether a job leaves something to tell of: one of a multirun, and no plan."""
    return config.hydra.mode is RunMode.MULTIRUN and config.do == "train"


def _overrides(config: DictConfig) -> list[Override]:
    """What Hydra's sweeper expands: the parameters of the sweep's file, then the command line, which wins."""
    parameters = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    return parser.parse_overrides(parameters + list(config.hydra.overrides.task))


def _name(keys: Iterable[str], jobs: Iterable[Sequence[str]]) -> str:
    """The name of a sweep's table and figure: its keys, and six digits that no sweep of other runs has."""
    # run_folder leaves out what stands in the folder above, and is given the seed.
    more = ("experiment=", "name=", "seed=")
    runs = sorted(" ".join([run_folder(job, 0), *(word for word in job if word.startswith(more))]) for job in jobs)
    digits = hashlib.sha256("\n".join(runs).encode()).hexdigest()[:6]
    return UNSAFE.sub(".", "-".join(["sweep", *keys]))[:80] + f"-{digits}"


def _known(error: Exception) -> LtExtrapError | None:
    """The error in our words, if it is a mistake of the user's or a full disk."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return error if isinstance(error, LtExtrapError) else told(error)
    return disk(error) if isinstance(error, OSError) else None


def _shown(path: str | Path) -> str:
    """A path as short as it can be said here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)
