"""A pool of images with planted faults, and the command that curates it, in a process of its own."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import command
from command import Command
from conftest import SMALL
from lt_extrap.compose import configure, configure_command
from lt_extrap.config.curate import CurateConfig
from lt_extrap.curate.__main__ import main
from lt_extrap.data.target import load_target
from lt_extrap.train import train

WORLD = tuple(word for word in SMALL if word.startswith("target.world"))


def make(folder: Path, cache: Path) -> Path:
    """A pool with planted faults, a list of neighbors, and the baseline whose features are used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        target = load_target(configure(*SMALL).target)
        train(configure(*SMALL, "component=baseline"), folder / "run")
    root = target.place.root
    names = json.loads((root / "classes.json").read_text())
    ranks = json.loads((root / "neighbor_ranks.json").read_text())["ranks"]
    neighbors = [entry["name"] for entry in names["aux_neighbor"]]
    for name in neighbors:
        shutil.copytree(root / "images" / name.replace(" ", "_"), folder / "pool" / name.replace(" ", "_"))
    file = {target.classes.ids[label]: [neighbors[aux] for aux, _ in row] for label, row in enumerate(ranks)}
    (folder / "neighbors.json").write_text(json.dumps(file))
    first = folder / "pool" / neighbors[0].replace(" ", "_")
    test = Image.open(target.place.images.path / target.test.path(0)).convert("RGB")
    test.save(first / "leak.jpg", quality=80)
    test.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(first / "leak_mirrored.png")
    Image.fromarray(np.full((24, 24, 3), 99, np.uint8)).save(first / "blank.png")
    (first / "page.jpg").write_text("<html>no image</html>")
    shutil.copy(first / "0001.png", first / "again.png")
    return folder


def words(made: Path, folder: Path, *more: str) -> list[str]:
    return [
        "target=embedded",
        *WORLD,
        "names.use_wordnet=false",
        "proposer=file",
        f"proposer.file={made / 'neighbors.json'}",
        "source=folders",
        f"source.root={made / 'pool'}",
        "features=run",
        f"features.run={made / 'run'}",
        "filter=fixed",
        "filter.gamma_low=-1",
        "filter.gamma_high=1",
        "filter.shortest_edge=8",
        "filter.suspects=keep",
        "filter.near_copies.nearest=1",  # drawn animals are all near by features: seconds of pictures to look at
        "workers=0",
        f"folder={folder}",
        *more,
    ]


def config(made: Path, folder: Path, *more: str) -> CurateConfig:
    found = configure_command("curate", *words(made, folder, *more))
    assert isinstance(found, CurateConfig)
    return found


def bytes_of(folder: Path) -> dict[str, str]:
    """The hash of each file of the set, and of what was dropped."""
    files = [*(folder / "set").rglob("*"), folder / "dropped.jsonl"]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()
    }


def begin(log: Path, *argv: str) -> Command:
    """Begin the real command with these words."""
    return command.begin(main, *argv, log=log)
