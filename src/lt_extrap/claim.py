"""Whose a run folder is: that of one configuration and its files, kept from every other."""

import platform
import secrets
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from lt_extrap.compose import kinds, to_dict
from lt_extrap.config import RunConfig
from lt_extrap.data.target import TargetSet
from lt_extrap.errors import RunError
from lt_extrap.files import alone_in, write_whole
from lt_extrap.paths import cache_dir
from lt_extrap.run_name import FREE, WEIGHT_FILES
from lt_extrap.runs import FORMAT, LISTS, RESULTS, RUN, completed, digest, leaves, read_json, record_of, write_json


def locked(folder: Path) -> AbstractContextManager[None]:
    """Keep every other process out of a run folder. The lock ends with the process, however that ends.

    Raises:
        RunError: another process has it.
    """
    return alone_in(folder, "a run folder", "wait for that one, or give this run its own name=...")


def keep_lists(folder: Path, target: TargetSet) -> None:
    """Copy lists that this machine made into `lists/` of a run folder: the cache that they are in may be emptied."""
    for path in target.files.values():
        if path.is_relative_to(cache_dir()):
            with path.open("rb") as made:
                write_whole(folder / LISTS / path.name, partial(shutil.copyfileobj, made))


@dataclass(frozen=True)
class Claim:
    """A run folder that belongs to a configuration.

    Attributes:
        id: random, and the same for all starts of the run.
        results: of the run, if it has ended.
        notes: what is not as it was at the last start, and yet no reason to refuse.
    """

    id: str
    results: dict[str, Any] | None
    notes: tuple[str, ...]


def claim(
    folder: Path,
    config: RunConfig,
    files: Mapping[str, Path],
    *,
    begun: bool,
    longest_edges: Collection[int | None] = (None,),
) -> Claim:
    """Write down what a folder's run is, or find that it is this one.

    Args:
        folder: made if it is not there.
        config: what the run is about to do.
        files: files that the result depends on, by configuration key; their hashes are kept in run.json.
        begun: the folder holds a checkpoint; without one, and without results, there is nothing to lose, and the
            folder is taken over.
        longest_edges: of the images (see `ImageStore`): smaller ones give another result.

    Raises:
        RunError: the folder holds the run of another configuration, of other files or of another version, or
            cannot be read.
    """
    identity = {
        "format": FORMAT,
        "config": to_dict(config),
        "kinds": kinds(config),
        "files": {key: digest(path) for key, path in files.items()},
        "longest_edges": sorted(longest_edges, key=lambda edge: edge or 0),
    }
    start = {"command": _command(), "commit": _commit(), "versions": _versions()}
    ended = (folder / RESULTS).is_file()
    if not ended and not begun:
        folder.mkdir(parents=True, exist_ok=True)
        run_id = secrets.token_hex(4)
        write_json(folder / RUN, {"id": run_id, **identity, "starts": [start]})
        return Claim(run_id, None, ())
    record = record_of(folder)
    changed = sorted(_differences(record, identity))
    if changed:
        raise RunError(
            f"the same run as before in {folder}",
            "; ".join(changed),
            "give the new run its own name=..., or move that folder away",
        )
    if ended:
        return Claim(record["id"], read_json(folder / RESULTS), ())
    last = record["starts"][-1]
    old, new = {"commit": last["commit"], **last["versions"]}, {"commit": _commit(), **_versions()}
    notes = tuple(f"{key} was {old.get(key)}, now {new.get(key)}" for key in new if old.get(key) != new.get(key))
    # What it leaves at its end is read back on weights from where they are now.
    config_now = {**record["config"], **_weight_places(record, identity)}
    write_json(folder / RUN, {**record, "config": config_now, "starts": [*record["starts"], start]})
    return Claim(record["id"], None, notes)


def _weight_places(record: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a configuration that name files of weights, as of this start; the content is the same."""
    places: dict[str, Any] = {}
    for key in WEIGHT_FILES & record.get("files", {}).keys() & now["files"].keys():
        group, _, name = key.rpartition(".")
        config = now["config"]
        places |= {group: {**record["config"][group], name: config[group][name]}} if group else {name: config[name]}
    return places


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    if any(before.get(key) != now[key] for key in ("config", "kinds")):  # finding defaults takes a while
        before = completed(before)
    for group in now["kinds"]:
        if before["kinds"].get(group) != now["kinds"][group]:
            yield f"{group} was {before['kinds'].get(group)}, now {now['kinds'][group]}"
    old, new = dict(leaves(before["config"])), dict(leaves(now["config"]))
    files, files_now = before.get("files", {}), now["files"]
    # Where these files are does not matter: their content is compared below.
    moved = WEIGHT_FILES & files.keys() & files_now.keys()
    for key in old.keys() | new.keys():
        if old.get(key) != new.get(key) and not FREE.fullmatch(key) and key not in moved:
            yield f"{key} was {old.get(key)}, now {new.get(key)}"
    if (edges := before.get("longest_edges", [None])) != now["longest_edges"]:
        words = [
            ", ".join("none" if edge is None else str(edge) for edge in of) for of in (edges, now["longest_edges"])
        ]
        yield f"the longest edge to which images were shrunk (lt_extrap.pack) was {words[0]}, now {words[1]}"
    others = [key for key in files.keys() | files_now.keys() if files.get(key) != files_now.get(key)]
    yield from (f"the content of {key} is another" for key in others)
    root = "target.root"  # may differ, but if the content does too it is what a reader wants to know
    if others and old.get(root) != new.get(root):
        yield f"{root} was {old.get(root)}, now {new.get(root)}"


@cache
def _commit() -> str | None:
    """The commit of the checkout that runs, with a + when its files differ; None outside of one.

    As of the first run of the process: it has its modules from then.
    """
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # or the repository is not ours, but encloses it
        return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    except (OSError, subprocess.CalledProcessError):
        return None


def _command() -> list[str] | None:
    """The words of the command that runs this job, in a multirun those of this job alone; None where none runs it."""
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    return [f"lt_extrap.{hydra.job.name}", *hydra.overrides.task]


@cache
def _versions() -> dict[str, str]:
    packages = (
        "lt-extrap",
        "torch",
        "torchvision",
        "lightning",
        "timm",
        "open-clip-torch",
        "numpy",
        "pillow",
        "hydra-core",
    )
    return {"python": platform.python_version()} | {package: version(package) for package in packages}
