"""Which row of the paper a row of ours is, and on which data set and start."""

import re
from collections.abc import Iterable

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
}
COMPONENTS = {"baseline": "Baseline", "random": "RD", "neighbors": "SD", "silencing": "Silencing"}
_FOLDERS = {"ImageNet_LT": "imagenet_lt", "iNaturalist18": "inat18", "Places_LT": "places_lt"}


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


def target_of(row: Row) -> str | None:
    """The paper's data set that a row is of."""
    if row.settings.get("kinds.target") != "OfficialTarget":
        return None
    return _FOLDERS.get(str(row.settings.get("target.folder")))


def start_of(row: Row) -> str | None:
    """The paper's start that a row has."""
    model = str(row.settings.get("backbone.model"))
    if row.settings.get("kinds.backbone") == "OpenClip":
        return "clip"
    if row.settings.get("kinds.backbone") != "Timm":
        return None
    return "dinov2" if "dinov2" in model else "scratch" if model.startswith("vit_base_patch16") else None
