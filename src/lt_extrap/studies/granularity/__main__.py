"""The pilot study (paper, Section 2.2, Figure 3, Finding 1): `python -m lt_extrap.studies.granularity`.

Classes are drawn from a pool out of few or many superclasses, and trained with balanced softmax at several imbalance
ratios. Does the gap between head and tail classes grow with the number of superclasses? docs/studies.md.
"""

from pathlib import Path

import hydra
from filelock import FileLock
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.errors import RunError
from lt_extrap.figure import save
from lt_extrap.files import write_whole
from lt_extrap.paths import conf_dir
from lt_extrap.runs import write_table
from lt_extrap.studies.granularity.config import GranularityConfig
from lt_extrap.studies.granularity.drawing import draw_gaps
from lt_extrap.studies.granularity.gaps import measure
from lt_extrap.studies.granularity.point import points
from lt_extrap.studies.granularity.story import HEADER, rows, story
from lt_extrap.studies.granularity.study import plan, prepare, run
from lt_extrap.studies.granularity.trend import trends


def granularity(config: GranularityConfig, folder: Path) -> None:
    """Do what `config.do` says.

    The same call goes on where a study stopped. Several processes may make it at once: each trains what no other one
    is at, and the last to end writes the table.

    Args:
        config: of the command.
        folder: of the study: its run folders, and granularity.csv, .md, .png and .svg.

    Raises:
        LtExtrapError: the configuration, the pool or a run folder is not what it should be.
        Stopped: SIGTERM or SIGINT came; the state of the run is saved.
    """
    if config.do != "report":
        study = prepare(config, folder)
        print(plan(study), flush=True)
        if config.do == "plan":
            return
        if busy := run(study):
            print(f"{len(busy)} runs are with other processes: the last of them to end writes the table")
            return
    print(report(config, folder))


def report(config: GranularityConfig, folder: Path) -> str:
    """Write table, trends, verdict and figure of the runs that have ended, and return what was written in words.

    Raises:
        RunError: no run has ended, or one is of another grid or was trained in another way.
    """
    planned = points(config.grid, config.seed)
    measured = measure(folder, planned, config.grid)
    if not measured:
        raise RunError(f"a run of the grid that has ended in {folder}", "none", "leave out do=report first")
    found = trends(measured)
    text = story(measured, found, missing=len(planned) - len(measured))
    with FileLock(folder / ".lock"):  # two processes may end at once
        write_table(folder / "granularity.csv", HEADER, rows(measured))
        write_whole(folder / "granularity.md", lambda file: file.write(text.encode()))
        figure = draw_gaps(measured)
        for ending in (".png", ".svg"):
            save(figure, folder / f"granularity{ending}")
    return f"\n{text}\ntable and figure: {folder}/granularity.md, .csv, .png and .svg"


ConfigStore.instance().store(group="schema", name="granularity", node=GranularityConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="studies/granularity")
def task(composed: DictConfig) -> None:
    """Hydra's entry."""
    config: GranularityConfig = from_hydra(composed)
    granularity(config, Path("runs") / config.name)


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
