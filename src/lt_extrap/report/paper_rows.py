"""Which row of the paper a row of ours is, and on which data set and start."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from lt_extrap.paths import conf_dir
from lt_extrap.runs import RUN, read_json
from lt_extrap.table import Row

# Of each row of the paper: its component, and whether its classifier was retrained. The text of Section 4.4 has the
# classifier direct in the last row of Table 6 alone; Table 2 has the same numbers for "+ RD", "+ SD" and "+ Ours".
CELLS = {
    "Baseline": ("baseline", False),
    "+ RD": ("random", True),
    "+ SD": ("neighbors", True),
    "+ Ours": ("silencing", False),
    "+ Random Category": ("random", True),
    "+ Neighbor Category": ("neighbors", True),
    "+ Neighbor Silencing": ("silencing", True),
    "+ Direct Classifier": ("silencing", False),
    # LIFT says nothing of a retrained classifier: its rows are as they were trained.
    "LIFT": ("baseline", False),
    "LIFT, + SD": ("neighbors", False),
    "LIFT, + Ours": ("silencing", False),
}
COMPONENTS = {"baseline": "Baseline", "random": "RD", "neighbors": "SD", "silencing": "Silencing"}
NEEDED = (
    "No table of the paper stands beside these rows. That needs component=baseline, random, neighbors or silencing; "
    "ImageNet-LT, iNaturalist 2018 or Places-LT as published (target.official as it stands, without reshuffle, "
    "extra_per_class, samples_per_class and exclude); and the paper's ViT-B: ViT-B/16 from scratch or from a masked "
    "autoencoder, OpenAI's CLIP ViT-B/16 (whole, or as in LIFT), or DINOv2's ViT-B/14 with its published weights."
)
_TARGETS = ("imagenet_lt", "inat18", "places_lt")
_BACKBONE = ("kinds.backbone", "backbone.model", "backbone.weights", "backbone.tag")
_CHANGES = ("reshuffle", "extra_per_class", "samples_per_class", "exclude")
_LONGEST = 80  # a longer name is cut, and may hide what it overrides


class Start(NamedTuple):
    """What a network starts from.

    Attributes:
        name: of the paper: scratch, clip, lift or dinov2.
        weights: which they are here, in words.
    """

    name: str
    weights: str


def cell_of(row: Row) -> tuple[str, bool] | None:
    """The component of a row, by the name of its folder, and whether its classifier was retrained."""
    name, _, inner = row.short.partition(", ")
    found = re.match(r"component\+([a-z_]+)", name)
    return (found[1], inner == "retrained") if found and inner in ("", "retrained") else None


def by_cell(rows: Iterable[Row]) -> dict[tuple[str, bool], Row]:
    """The row of each cell: of several, the one that overrides least."""
    found: dict[tuple[str, bool], Row] = {}
    for row in rows:
        if (cell := cell_of(row)) and (cell not in found or len(row.name) < len(found[cell].name)):
            found[cell] = row
    return found


def is_plain(row: Row, experiment: str) -> bool:
    """Whether a row is of that experiment as it stands, by its names: nothing but weights to start from is chosen."""
    name, inner = row.short.partition(", ")[::2]
    as_it_stands = re.fullmatch(r"component\+[a-z_]+(-backbone\.weights\+[^+]*)?", name) and len(name) <= _LONGEST
    return bool(as_it_stands) and row.settings.get("name") == experiment + (f", {inner}" if inner else "")


def target_of(row: Row) -> str | None:
    """The paper's data set that all runs of a row are of.

    It is told by the figures that their lists were checked by, wherever those lie; None where nothing was checked, or
    training images are others than the published ones.
    """
    if row.settings.get("kinds.target") != "OfficialTarget":
        return None
    if any(row.settings.get(f"target.{key}") for key in _CHANGES):
        return None
    checked = [read_json(folder / RUN)["config"]["target"].get("official") for folder in row.folders.values()]
    for target in _TARGETS:
        if checked and all(figures == _official(target) for figures in checked):
            return target
    return None


def start_of(row: Row) -> Start | None:
    """The paper's start that a row has; None for any other network, and for weights that are not known to be those."""
    kind, model, weights, tag = (row.settings.get(key) for key in _BACKBONE)
    if any(key.startswith("backbone.options.") for key in row.settings):  # another network than its name says
        return None
    if row.settings.get("features_from") is not None and not row.short.endswith(", retrained"):
        return None  # the backbone is another run's
    adapter = row.settings.get("kinds.adapter", "NoAdapter")
    way = (adapter, row.settings.get("backbone.projection", True))
    file = None if weights is None else Path(str(weights)).name
    architecture, _, pretrained = str(model).partition(".")
    if kind == "OpenClip" and model in ("ViT-B-16", "ViT-B-16-quickgelu"):
        published = weights is not None and (tag == "openai" or (tag is None and file == "ViT-B-16.pt"))
        name = {("NoAdapter", True): "clip", ("AdaptFormer", False): "lift"}.get(way)
        return Start(name, _words(file, "OpenAI's weights of the hub")) if published and name else None
    if adapter != "NoAdapter":
        return None
    if kind == "Timm" and model == "vit_base_patch14_dinov2.lvd142m":
        published = file in ("hub", "dinov2_vitb14_pretrain.pth")
        return Start("dinov2", _words(file, "the published weights of the hub")) if published else None
    if kind == "Timm" and architecture == "vit_base_patch16_224" and (weights is None or pretrained == "mae"):
        return Start("scratch", _words(file, "the masked autoencoder of ImageNet-1k of the hub"))
    return None


def _words(file: str | None, of_hub: str) -> str:
    return "random weights" if file is None else of_hub if file == "hub" else file


@cache
def _official(target: str) -> Any:
    """The figures of a published set."""
    return OmegaConf.to_container(OmegaConf.load(conf_dir() / "target" / f"{target}.yaml").official)
