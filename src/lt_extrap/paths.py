"""Where things live: two environment variables and no more."""

import os
from pathlib import Path

from lt_extrap.errors import ConfigError

DATA_VARIABLE = "LT_EXTRAP_DATA"
CACHE_VARIABLE = "LT_EXTRAP_CACHE"


def conf_dir() -> Path:
    """The checkout's conf/ if we run from one, else the copy inside the wheel.

    Raises:
        ConfigError: neither is there.
    """
    package = Path(__file__).resolve().parent
    candidates = (package.parents[1] / "conf", package / "conf")
    for candidate in candidates:
        if (candidate / "train.yaml").is_file():
            return candidate
    raise ConfigError(
        "the configuration folder with train.yaml",
        f"neither {candidates[0]} nor {candidates[1]}",
        "install the package again (pip install -e . from a checkout, or the wheel)",
    )


def data_root(folder: str) -> Path:
    """`$LT_EXTRAP_DATA/<folder>`: the root that holds a folder for each data set.

    Raises:
        ConfigError: the variable is not set.
    """
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        raise ConfigError(
            f"the folder of the data set {folder!r}",
            f"no target.root, and the environment variable {DATA_VARIABLE} is not set",
            f"set {DATA_VARIABLE} to the folder that holds {folder}/, "
            "or give target.root=<its path> to commands that have it",
        )
    return Path(root).expanduser().resolve() / folder


def cache_dir() -> Path:
    """`$LT_EXTRAP_CACHE`, or ~/.cache/lt_extrap: unpacked archives and generated images, all made again if lost."""
    root = os.environ.get(CACHE_VARIABLE)
    return Path(root).expanduser().resolve() if root else Path.home() / ".cache" / "lt_extrap"
