"""Look at features: `python -m lt_extrap.studies.features baseline=runs/<name>/<run> ours=runs/<name>/<run>`.

Figures 2 and 6 of the paper for two finished runs of one target, with numbers beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig

from lt_extrap import cli
from lt_extrap.compose import from_hydra
from lt_extrap.config import check
from lt_extrap.figure import FORMATS, save
from lt_extrap.files import write_whole
from lt_extrap.paths import conf_dir
from lt_extrap.studies.features import pictures
from lt_extrap.studies.features.opened import OpenedRun
from lt_extrap.studies.features.study import Row, Study, save_rows, study
from lt_extrap.table import markdown

_READ = """\
Features have length 1, and each class counts alike. silhouette (cosine, -1..1): higher is better. within/between
(scatter): lower is better. alignment (0..4): lower is tighter. uniformity (-8..0): lower is more spread. Alignment is
also low where all images fall on one point, so read it beside uniformity. Training images were seen by the trained
networks: what generalises is in the other rows. A pair that was chosen because the baseline confuses it favours the
other run: the rows of the whole group do not. One pair of runs is one draw: seeds differ too.
"""


@dataclass
class FeaturesConfig:
    """What to look at.

    Attributes:
        baseline: folder of a finished run; its confusions choose the pair, and its start is the first panel.
        ours: folder of another one of the same target, with auxiliary classes as a rule.
        pair: ids or names of two target classes; null = the head and the tail class of which the baseline takes most
            test images for each other.
        weights: `selected`, the headline of results.json, or `last`.
        projection: `umap`, which wants the extra `studies`, or `pca`.
        neighbors: UMAP's n_neighbors, at least 2; lowered where there are fewer points.
        seed: of UMAP; the same seed gives the same picture.
        auxiliary: most neighbor classes of each of the pair in the last panel, 0..4.
        tokens: tail images of which the patch tokens are shown; 0 = no such picture.
        output: folder; null = <ours>/features.
        format: of the pictures, png, svg or pdf.
        root: of the target's files, where it is not the one of the runs.
        workers: loader processes.
    """

    baseline: str = MISSING
    ours: str = MISSING
    pair: list[str] | None = None
    weights: str = "selected"
    projection: str = "umap"
    neighbors: int = 15
    seed: int = 0
    auxiliary: int = 2
    tokens: int = 8
    output: str | None = None
    format: str = "png"
    root: str | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        check(self.pair is None or len(self.pair) == 2, "pair", "two classes: 'pair=[<class>,<class>]'", self.pair)
        check(self.weights in ("selected", "last"), "weights", "selected or last", self.weights)
        check(self.projection in ("umap", "pca"), "projection", "umap or pca", self.projection)
        check(self.neighbors >= 2, "neighbors", "at least 2", self.neighbors)
        check(self.seed >= 0, "seed", "at least 0", self.seed)
        most = pictures.MOST_AUXILIARY
        check(0 <= self.auxiliary <= most, "auxiliary", f"in 0..{most}: there are no more shapes", self.auxiliary)
        check(self.tokens >= 0, "tokens", "at least 0", self.tokens)
        check(f".{self.format}" in FORMATS, "format", "one of " + ", ".join(f[1:] for f in FORMATS), self.format)
        check(self.workers >= 0, "workers", "at least 0", self.workers)


def look(config: FeaturesConfig) -> Study:
    """Do the study and write pair.<format>, tokens.<format>, numbers.csv and numbers.md.

    Raises:
        LtExtrapError: see `study`.
    """
    baseline, ours = (
        OpenedRun.open(Path(folder), weights=config.weights, root=config.root, workers=config.workers)
        for folder in (config.baseline, config.ours)
    )
    found = study(
        baseline,
        ours,
        pair=config.pair,
        method=config.projection,
        neighbors=config.neighbors,
        auxiliary=config.auxiliary,
        tokens=config.tokens,
        seed=config.seed,
    )
    folder = Path(config.output) if config.output else Path(config.ours) / "features"
    save(pictures.panels(found), folder / f"pair.{config.format}")
    if found.colored is not None:
        save(pictures.tokens(found.colored), folder / f"tokens.{config.format}")
    save_rows(found.rows, folder / "numbers.csv")
    told = text(found, config)
    write_whole(folder / "numbers.md", lambda file: file.write(told.encode()))
    return found


def text(found: Study, config: FeaturesConfig) -> str:
    """The numbers as Markdown, with what a reader has to know."""
    about = f"{found.about}.\n\n"
    of = f"- baseline: `{config.baseline}`\n- ours: `{config.ours}`\n"
    notices = "".join(f"- {notice}\n" for notice in found.notices)
    return f"{about}{markdown(_table(found.rows))}\n\n{_READ}\n{of}{notices}"


def _table(rows: Sequence[Row]) -> list[list[str]]:
    header = ["classes", "images", "features", "count", "silhouette", "within/between", "alignment", "uniformity"]
    return [header] + [
        [
            *(row.classes, row.images, row.features, f"{row.count:,}"),
            *("-" if value != value else f"{value:.3f}" for value in row.measures),
        ]
        for row in rows
    ]


ConfigStore.instance().store(group="schema/studies", name="features", node=FeaturesConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="studies/features")
def task(composed: DictConfig) -> None:
    """Hydra's entry: print the numbers and where the pictures are."""
    config: FeaturesConfig = from_hydra(composed)
    print(text(look(config), config))
    print(config.output or Path(config.ours) / "features")


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
