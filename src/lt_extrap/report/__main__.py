"""What finished runs say: `python -m lt_extrap.report runs=runs/demo [output=report]`.

Reads run.json and results.json of every folder below `runs`; a row is what differs in more than the seed. Without
`output` it prints a table; with it it writes a page and its tables, with intervals, significance, what could be found.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config import check
from lt_extrap.errors import RunError
from lt_extrap.paths import conf_dir
from lt_extrap.runs import RESULTS, RUN, write_table
from lt_extrap.table import find_runs, groups_of, markdown, read_rows, row_name, tabulate


@dataclass
class ReportConfig:
    """What to report.

    Attributes:
        runs: folder that holds run folders, at any depth.
        baseline: the row that the others of its folder are compared with, by seed; null = the component+baseline of
            the same other overrides, or the shortest one.
        weights: `test`: the selected weights, the headline; `last`: the last ones.
        output: folder for report.html, report.md and each table as CSV and LaTeX; null = print the table alone.
        csv: also write the table to this file; null = do not.
        figure: also draw the rows into this file, png, svg or pdf; null = do not.
    """

    runs: str = "runs"
    baseline: str | None = None
    weights: str = "test"
    output: str | None = None
    csv: str | None = None
    figure: str | None = None

    def __post_init__(self) -> None:
        check(self.weights in ("test", "last"), "weights", "test or last", self.weights)
        if self.figure is not None:
            from lt_extrap.figure import FORMATS  # matplotlib takes most of a second

            known = Path(self.figure).suffix in FORMATS
            check(known, "figure", "a file whose name ends in " + ", ".join(FORMATS), self.figure)


ConfigStore.instance().store(group="schema", name="report", node=ReportConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="report")
def task(config: DictConfig) -> None:
    """Hydra's entry: print the table and the folders it comes from."""
    options: ReportConfig = from_hydra(config)
    root = Path(options.runs)
    ended, pretrainings, others = find_runs(root)
    if not ended:
        raise RunError(
            f"finished runs below {root}",
            f"no folder with {RUN} and {RESULTS} of a classifier"
            + (f"; {len(pretrainings)} of pretrainings, which have no accuracy" if pretrainings else "")
            + (f"; {len(others)} that have not ended" if others else ""),
            "train first, or give runs=...",
        )
    rows = read_rows((row_name(run, root), run) for run in ended)
    table = tabulate(rows, baseline=options.baseline, weights=options.weights)
    if options.csv:
        write_table(Path(options.csv), table[0], table[1:])
    if options.figure:
        from lt_extrap.figure import draw, save

        save(draw(rows, options.weights), Path(options.figure))
    print(markdown(table))
    groups = groups_of(rows, options.baseline)
    for folder, common in dict.fromkeys((group.rows[0].group, group.common()) for group in groups):
        if common:
            print("\n" + (f"{folder}: " if folder else "") + common)
    for group in groups:
        for row in group.unpaired():
            print(f"\nno difference of {row.title}: it shares no seed with the baseline")
    print("\n" + "\n".join(map(str, ended)))
    if pretrainings:
        print(f"\npretrainings, not in the table ({len(pretrainings)}):\n" + "\n".join(map(str, pretrainings)))
    if others:
        print(f"\nnot ended, and not in the table ({len(others)}):\n" + "\n".join(map(str, others)))
    if options.output:
        from lt_extrap.report.document import make_report, write_report

        report = make_report(
            rows,
            title=f"Runs of {root.resolve().name}",
            unfinished=others,
            baseline=options.baseline,
            weights=options.weights,
        )
        print(f"\nlook at it: {write_report(report, Path(options.output)).resolve()}")


def main() -> None:
    """The command."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word, as it ends other commands
    cli.run(task)


if __name__ == "__main__":
    main()
