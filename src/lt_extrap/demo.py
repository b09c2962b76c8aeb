"""The whole path on images that this machine draws: `python -m lt_extrap.demo`, which `make demo` runs.

Trains the baseline, curates auxiliary classes from a pool in which faults are planted, trains the method on what was
kept, and tells what became of the faults and what the method gains. Each step is a command, which is printed.
"""

import csv
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from lt_extrap import cli
from lt_extrap.compose import configure
from lt_extrap.data.target import TargetSet, load_target
from lt_extrap.errors import RunError
from lt_extrap.files import write_whole_folder
from lt_extrap.run_name import run_folder

RUNS, CURATION = Path("runs/demo"), Path("runs/demo_curation")
POOL, CONF, CURATED = CURATION / "pool", CURATION / "conf", CURATION / "curated"
WORLD = "world.txt"  # in the pool: which world it was drawn for
EACH = 20  # of every fault
_GOOD = "pictures of the class they are offered for"


def demo(more: Sequence[str] = ()) -> int:
    """Do all of it below the current folder; what is there already is not done again.

    Args:
        more: further overrides of training; those of the target go to the curation too.

    Returns:
        The exit status of the first command that fails, else 0.

    Raises:
        RunError: the pool that is there was drawn for another world.
    """
    target = load_target(configure("experiment=demo", *more).target)
    write_whole_folder(POOL, lambda folder: write_pool(target, folder))
    if not (POOL / WORLD).is_file() or (POOL / WORLD).read_text() != _world(target):
        raise RunError(
            "the pool of this world",
            f"that of another in {POOL}",
            f"begin in an empty folder, or remove {CURATION}",
        )
    write_whole_folder(CONF, _write_conf)
    of_target = [word for word in more if word.startswith("target.")]
    words = ("experiment=demo", "component=baseline", *more)
    baseline = ("lt_extrap.train", *words)
    curate = (
        "lt_extrap.curate",
        "target=embedded",
        "proposer=file",
        f"proposer.file={POOL / 'neighbors.json'}",
        "names.use_wordnet=false",  # it has no creatures
        f"source.root={POOL}",
        "source.captions=captions.csv",
        "features=run",
        f"features.run={RUNS / run_folder(words, seed=0)}",
        "filter.suspects=keep",  # a net that was trained on these targets takes every third neighbor for one of them
        f"folder={CURATED}",
        *of_target,
    )
    silencing = ("lt_extrap.train", f"--config-dir={CONF}", "experiment=demo", "component=silencing", "target=curated")
    for command in (baseline, curate, (*silencing, *more), ("lt_extrap.report", f"runs={RUNS}")):
        print(f"$ python -m {shlex.join(command)}", flush=True)
        if status := run_command(command):
            return status
        if command is curate:
            Console(width=None if sys.stdout.isatty() else 120).print(faults(POOL, CURATED))
    return 0


def run_command(words: Sequence[str]) -> int:
    """Run a module until it ends, and return its status; Ctrl-C, which both hear, is the module's to answer."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # or it would be killed while it saves its state
    try:
        return subprocess.run([sys.executable, "-m", *words]).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def write_pool(target: TargetSet, folder: Path) -> None:
    """Write a pool as it might be downloaded: a folder a neighbor class, with faults.

        <class>/<number>.png    pictures of the class, and what was planted
        captions.csv            path, caption
        neighbors.json          the neighbors of each target class, as `proposer=file` reads them
        truth.csv               path, what: what each picture is, which no curation reads
        world.txt               which world it was drawn for

    Args:
        target: the embedded world.
        folder: where to.
    """
    world = target.place.root
    tables = json.loads((world / "classes.json").read_text())
    neighbors, strangers = ([entry["name"] for entry in tables[key]] for key in ("aux_neighbor", "aux_random"))
    ranks = json.loads((world / "neighbor_ranks.json").read_text())["ranks"]
    listed = {
        target.classes.ids[label]: [neighbors[other] for other, _ in ranked] for label, ranked in enumerate(ranks)
    }
    (folder / "neighbors.json").write_text(json.dumps(listed, indent=1) + "\n")
    (folder / WORLD).write_text(_world(target))
    rows = list[tuple[str, str, str]]()

    def put(name: str, file: str, what: str, caption: str | None = None) -> Path:
        path = folder / name.replace(" ", "_") / file
        path.parent.mkdir(exist_ok=True)
        rows.append((str(path.relative_to(folder)), f"a photograph of the {caption or name}", what))
        return path

    def drawn(name: str, number: int) -> Path:
        return world / "images" / name.replace(" ", "_") / f"{number:04d}.png"

    for name in neighbors:
        for file in sorted((world / "images" / name.replace(" ", "_")).iterdir()):
            shutil.copy(file, put(name, file.name, _GOOD))
    for n in range(EACH):
        name, stranger = neighbors[n % len(neighbors)], strangers[n % len(strangers)]
        place = n * (len(target.test) // EACH)  # of one class after the other
        nearest = neighbors[ranks[int(target.test.labels[place])][0][0]]
        with Image.open(world / target.test.path(place)) as test:
            test.save(put(nearest, f"again_{n}.jpg", "test images, saved again as JPEG"), quality=80)
            ImageOps.mirror(test).save(put(nearest, f"mirrored_{n}.png", "test images, mirrored"))
        with Image.open(drawn(name, 0)) as first:
            first.save(put(name, f"twice_{n}.jpg", "second copies, where one of two may be kept"), quality=80)
        shutil.copy(drawn(stranger, 0), put(name, f"stranger_{n}.png", "pictures of a class of another family"))
        caption = put(name, f"caption_{n}.png", "pictures whose caption names another class", stranger)
        shutil.copy(drawn(stranger, 1), caption)
        put(name, f"page_{n}.jpg", "web pages named .jpg").write_text("<html>not found</html>")
        Image.new("RGB", (32, 32), (n, 99, 99)).save(put(name, f"blank_{n}.png", "pictures of one colour"))
    for table, head, columns in (("captions", ("path", "caption"), (0, 1)), ("truth", ("path", "what"), (0, 2))):
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows((head, *([row[column] for column in columns] for row in rows)))


def faults(pool: Path, curated: Path) -> Table:
    """What is in the pool, and how much of it the curation kept."""
    with (curated / "dropped.jsonl").open(encoding="utf-8") as lines:
        dropped = {json.loads(line)["place"] for line in lines}
    table = Table("in the pool", "offered", "kept")
    for column in table.columns[1:]:
        column.justify = "right"
    with (pool / "truth.csv").open(newline="", encoding="utf-8") as rows:
        truth = {row["path"]: row["what"] for row in csv.DictReader(rows)}
    for what in dict.fromkeys(truth.values()):
        offered = [path for path, is_a in truth.items() if is_a == what]
        table.add_row(what, f"{len(offered):,}", f"{sum(path not in dropped for path in offered):,}")
    return table


def _world(target: TargetSet) -> str:
    """The name of its folder in the cache, which is a hash of what it is drawn by."""
    return target.place.root.name


def _write_conf(folder: Path) -> None:
    """The embedded world with the curated set, as an option of its own: `--config-dir=<folder> target=curated`."""
    (folder / "target").mkdir()
    option = f"""# the embedded world, with the auxiliary classes of {CURATED}
defaults: [embedded, _self_]
neighbors: {{folder: {json.dumps(str((CURATED / "set").absolute()))}, train: null, names: null, pairs: null}}
"""
    (folder / "target" / "curated.yaml").write_text(option, encoding="utf-8")


def main() -> None:
    """The command."""
    cli.run(lambda: sys.exit(demo(sys.argv[1:])))


if __name__ == "__main__":
    main()
