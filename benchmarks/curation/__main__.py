"""Curation on real photographs of which everything is known: `python -m benchmarks.curation all runs/curation`.

    plant   write two pools of photographs of `$LT_EXTRAP_DATA/tiny_imagenet` with noisy captions, planted leaks, junk,
            placeholders, duplicates and classes that are a target in truth (plant.py)
    curate  `python -m lt_extrap.curate` on both; what stands behind the folder are further overrides
    score   what was kept and caught against the truth, with intervals, and the time a stage (score.py)
    all     these three, and the commands that train on what was kept

Everything is written below the folder: pools/, curated/, and score.json.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.curation.outcome import EXTRA, SET, read_outcome, read_seconds
from benchmarks.curation.photographs import tiny_imagenet
from benchmarks.curation.plant import Amounts, write_pools
from benchmarks.curation.score import score
from benchmarks.curation.truth import CAPTIONS, IMAGES, read_truth
from lt_extrap.compose import configure
from lt_extrap.data.target import load_classes
from lt_extrap.errors import LtExtrapError
from lt_extrap.files import write_whole

TARGET = "tiny_imagenet_lt"
POOLS = {  # what is asked of each
    "neighbors": ("proposer=wordnet", "proposer.within=true"),
    "target": ("what=target", "extra_shots=[many,medium,few]"),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curation")
    parser.add_argument("do", choices=("plant", "curate", "score", "all"))
    parser.add_argument("folder", type=Path, help="where everything is written")
    parser.add_argument("overrides", nargs="*", help="of the curation, such as filter.gate=calibrated")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    try:
        if arguments.do in ("plant", "all"):
            plant(folder)
        if arguments.do in ("curate", "all"):
            for pool in POOLS:
                curate(folder, pool, arguments.overrides)
        if arguments.do in ("score", "all"):
            show(folder)
    except LtExtrapError as error:
        sys.exit(str(error))
    if arguments.do == "all":
        print("\n".join(["", "what it is worth, beside the hand-made list, 3 seeds each:", *trainings(folder)]))


def plant(folder: Path) -> None:
    """Write the pools."""
    write_pools(tiny_imagenet(), Amounts(), folder / "pools")
    for pool in POOLS:
        print(f"{pool}: {len(read_truth(folder / 'pools' / pool)):,} images in {folder / 'pools' / pool}")


def curate(folder: Path, pool: str, overrides: Sequence[str]) -> None:
    """Curate a pool in a process of its own; its messages are its own too.

    Raises:
        SystemExit: with its status, where that is not 0.
    """
    done = subprocess.run([sys.executable, "-m", "lt_extrap.curate", *arguments_of(folder, pool), *overrides])
    if done.returncode:
        sys.exit(done.returncode)


def arguments_of(folder: Path, pool: str) -> list[str]:
    """The overrides with which a pool is curated."""
    return [
        f"target={TARGET}",
        "source=folders",
        f"source.root={folder / 'pools' / pool / IMAGES}",
        f"source.captions={folder / 'pools' / pool / CAPTIONS}",
        "features=efficientnet_lite0",
        f"folder={folder / 'curated' / pool}",
        *POOLS[pool],
    ]


def show(folder: Path) -> None:
    """Print the score of both pools, and write it to score.json."""
    ids = load_classes(configure(f"target={TARGET}").target).ids
    console, found = Console(), {}
    for pool in POOLS:
        curated = folder / "curated" / pool
        truth, seconds = read_truth(folder / "pools" / pool), read_seconds(curated)
        scored = score(truth, read_outcome(curated, pool, ids))
        console.print(f"\n[bold]{pool}[/bold]", scored.table())
        console.print("seconds a stage:", ", ".join(f"{stage} {taken:,.0f}" for stage, taken in seconds.items()))
        found[pool] = {**scored.json(), "seconds": seconds}
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / "score.json", lambda file: file.write(text.encode()))
    print(f"written to {folder / 'score.json'}")


def trainings(folder: Path) -> list[str]:
    """The commands that train on what was kept, on the hand-made list, and on nothing more."""
    command = f"python -m lt_extrap.train -m experiment={TARGET} seed=0,1,2"
    neighbors = f"target.neighbors.folder={folder / 'curated' / 'neighbors' / SET}"
    lists = "target.neighbors.train=null target.neighbors.names=null target.neighbors.pairs=null"
    extra = folder / "curated" / "target" / EXTRA / "extra.txt"
    return [
        f"{command} component=baseline,silencing",
        f"{command} component=silencing name={TARGET}_curated {neighbors} {lists}",
        f"{command} component=target_extra name={TARGET}_curated target.extra={extra}",
    ]


if __name__ == "__main__":
    main()
