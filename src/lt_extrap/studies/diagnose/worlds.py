"""Embedded worlds with and without neighbors, trained where they have not been."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch

from lt_extrap.bar import Bar
from lt_extrap.compose import configure
from lt_extrap.studies.diagnose.measured import BASELINE, METHOD
from lt_extrap.train import train

LOG = "train.txt"


class Job(NamedTuple):
    """A run: its overrides and its folder."""

    overrides: tuple[str, ...]
    folder: Path


def jobs(folder: Path, worlds: int, seeds: int, overrides: Sequence[str] = ()) -> Iterator[Job]:
    """The runs of so many worlds: all worlds with the first seed, then with the next.

    Args:
        folder: above `world+<number>/component+<row>-seed+<seed>`.
        worlds: target.world.seed = 0, 1, ...
        seeds: of the runs of each world.
        overrides: more of them, for all runs.
    """
    for seed in range(seeds):
        for world in range(worlds):
            for row in (BASELINE, METHOD):
                words = ("experiment=embedded_worlds", f"component={row}", f"target.world.seed={world}", f"seed={seed}")
                yield Job((*words, *overrides), folder / f"world+{world}" / f"component+{row}-seed+{seed}")


def train_all(all_jobs: Sequence[Job], workers: int) -> None:
    """Train what has not ended, a thread a process; what each run says goes to `train.txt` in its folder.

    Args:
        all_jobs: the runs.
        workers: processes side by side; 0 = this one.

    Raises:
        LtExtrapError: of a run; those under way end first, the rest is not begun.
    """
    with Bar("runs") as bar:
        if workers == 0:
            for done, job in enumerate(all_jobs, start=1):
                _train(job)
                bar.show(done, len(all_jobs))
            return
        # Not forked: torch has threads already.
        with ProcessPoolExecutor(workers, get_context("spawn"), partial(torch.set_num_threads, 1)) as pool:
            try:
                futures = [pool.submit(_train, job) for job in all_jobs]
                for done, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    bar.show(done, len(all_jobs))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _train(job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / LOG).open("a", encoding="utf-8") as log, redirect_stdout(log):
        train(configure(*job.overrides), job.folder)
