"""Proposers side by side, by the names alone: `python -m benchmarks.proposers runs/proposers target=imagenet_lt`.

Each is asked for the neighbors of every target class, under the name rules of curation; no image is needed, of a target
its lists alone. `--with "<a proposer> <words>"`, once for each, says which are compared:

    wordnet, wordnet proposer.levels=2, file proposer.file=x.json, "my model: llm proposer.model=...", random, own

What stands before a colon and a blank is how it is called in the tables.
`random` names classes of WordNet that are dealt out to the targets: what chance does. `own` is the set that the target
comes with. Everything is written below the folder; a proposer that keeps answers (llm) is asked once.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import hydra
import numpy as np

import lt_extrap.curate.__main__  # noqa: F401 (the schema of its command)
from lt_extrap.compose import from_hydra
from lt_extrap.config import AuxiliaryFiles
from lt_extrap.config.curate import CurateConfig
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.neighbors import wanted_counts
from lt_extrap.curate.records import TargetClass
from lt_extrap.curate.stages import neighbors
from lt_extrap.curate.stages.targets import keep
from lt_extrap.curate.state import State
from lt_extrap.curate.targets import target_classes
from lt_extrap.curate.wordnet import WordNet
from lt_extrap.data.auxiliary_set import read_auxiliary_set
from lt_extrap.data.stored.schema import is_wnid
from lt_extrap.data.target import load_target
from lt_extrap.errors import LtExtrapError
from lt_extrap.files import write_whole
from lt_extrap.model.shots import Shot
from lt_extrap.paths import conf_dir
from lt_extrap.signals import StopSignal

SHOTS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)
OWN = "own"
DEFAULT = ("wordnet", "wordnet proposer.levels=2", "random")


@dataclass(frozen=True)
class Named:
    """What a proposer named.

    Attributes:
        proposer: and its words.
        neighbors: of each target that has one, by label: (key, name, wnid) of each class, nearest first.
        refused: (target, reason) of what was proposed and dropped, once for each target.
    """

    proposer: str
    neighbors: Mapping[int, tuple[tuple[str, str, str | None], ...]]
    refused: Counter[tuple[int, str]]

    @property
    def pairs(self) -> int:
        return sum(map(len, self.neighbors.values()))

    @property
    def classes(self) -> int:
        return len({key for classes in self.neighbors.values() for key, *_ in classes})

    def dropped(self) -> Counter[str]:
        """What was dropped, by reason."""
        counts = Counter[str]()
        for (_, reason), count in self.refused.items():
            counts[reason] += count
        return counts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proposers")
    parser.add_argument("folder", type=Path, help="where everything is written")
    parser.add_argument("words", nargs="+", help="for all, such as target=imagenet_lt neighbors_per_class=5")
    parser.add_argument("--with", dest="proposers", action="append", help="a proposer and its words; once for each")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    try:
        report = run(folder, arguments.words, arguments.proposers or DEFAULT)
    except LtExtrapError as error:
        sys.exit(str(error))
    for suffix, text in (("json", json.dumps(report, indent=1) + "\n"), ("md", page(report))):
        file = folder / f"proposers.{suffix}"
        write_whole(file, lambda opened, text=text: opened.write(text.encode()))
    print(page(report))
    print(f"written to {folder}")


def run(folder: Path, words: Sequence[str], proposers: Sequence[str]) -> dict[str, object]:
    """Ask each proposer, and compare what they named."""
    found, targets, wanted, wordnet = list[Named](), list[TargetClass](), np.zeros(0, np.int64), None
    for proposer in proposers:
        title, _, asked = proposer.rpartition(": ")
        own = folder / slug(asked)
        config = configure(own, words, asked)
        with State(own) as state:
            curation = Curation(config, own, state, StopSignal())
            targets, wordnet = target_classes(config.target, curation.wordnet, curation.described), curation.wordnet
            wanted = wanted_counts(targets, config.neighbors_per_class, config.sampling_ratio, config.scale)
            with state.transaction():
                keep(state, targets)
            neighbors.propose(curation)
            found.append(named(title or asked, state, wanted))
    return compared(found, targets, wanted, wordnet)


def configure(folder: Path, words: Sequence[str], proposer: str) -> CurateConfig:
    """The configuration of a curation with these words and this proposer."""
    name, *more = proposer.split()
    if not any(word.startswith("source") for word in words):
        words = [*words, "source=commons"]  # which is asked for nothing here
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        if name == OWN:
            config = from_hydra(hydra.compose("curate", [*words, "proposer=wordnet", f"folder={folder}"]))
            write_own(folder / "own.json", config)
            name, more = "file", [f"proposer.file={folder / 'own.json'}"]
        config = from_hydra(hydra.compose("curate", [*words, f"proposer={name}", *more, f"folder={folder}"]))
    assert isinstance(config, CurateConfig)
    return config


def write_own(file: Path, config: CurateConfig) -> None:
    """The set that a target comes with, as the proposer `file` reads it."""
    target = load_target(config.target)
    files: AuxiliaryFiles = config.target.neighbors
    found = read_auxiliary_set(files, target)
    assert found.pairs is not None
    lists = defaultdict[str, list[dict[str, str]]](list)
    for label, aux in found.pairs.pairs.tolist():
        known = {"wnid": found.ids[aux]} if is_wnid(found.ids[aux]) else {}
        lists[target.classes.ids[label]].append({"name": found.names[aux], **known})
    write_whole(file, lambda opened: opened.write(json.dumps(lists).encode()))


def slug(proposer: str) -> str:
    """A folder's name for a proposer and its words."""
    name = proposer.split()[0]
    return name if name == proposer else f"{name}-{hashlib.sha256(proposer.encode()).hexdigest()[:8]}"


def named(proposer: str, state: State, wanted: np.ndarray) -> Named:
    """What the stage has written down; classes that are nobody's neighbors are dealt out."""
    lists = defaultdict[int, list[tuple[str, str, str | None]]](list)
    for label, *of in state.rows(
        "SELECT target, key, name, wnid FROM pair JOIN sought USING (key) ORDER BY target, rank"
    ):
        lists[label].append((of[0], of[1], of[2]))
    if not lists:
        drawn = list(state.rows("SELECT key, name, wnid FROM sought WHERE used"))
        drawn.sort(key=lambda row: hashlib.sha256(row[0].encode()).digest())
        deal = iter(drawn)
        for label, count in enumerate(wanted.tolist()):
            lists[label] = [(key, name, wnid) for _, (key, name, wnid) in zip(range(count), deal, strict=False)]
    refused = Counter((label, reason) for label, reason in state.rows("SELECT target, reason FROM refused"))
    return Named(proposer, {label: tuple(found) for label, found in lists.items() if found}, refused)


def compared(
    found: Sequence[Named], targets: Sequence[TargetClass], wanted: np.ndarray, wordnet: WordNet | None
) -> dict[str, object]:
    """All figures of the comparison.

    Returns:
        `targets`: by group, and how many neighbors each wants; `proposers`: the figures of each (see `measured`);
        `overlap`: of two of them the shared share of all neighbors, meaned over the targets.
    """
    return {
        "targets": {shot: sum(target.shot == shot for target in targets) for shot in map(str, SHOTS)},
        "wanted": {
            str(shot): int(max((wanted[t.label] for t in targets if t.shot == shot), default=0)) for shot in SHOTS
        },
        "proposers": [measured(one, targets, wanted, wordnet) for one in found],
        "overlap": [
            {"of": [one.proposer, other.proposer], "shared": round(overlap(one, other), 4)}
            for one, other in combinations(found, 2)
        ],
    }


def measured(
    one: Named, targets: Sequence[TargetClass], wanted: np.ndarray, wordnet: WordNet | None
) -> dict[str, object]:
    """The figures of one proposer.

    Returns:
        `classes` and `pairs` that were kept; `dropped`: of all that was proposed, the share by reason; by group
        `coverage` (targets with all neighbors that they want), `without` (with none), and `distance` (mean of 1 minus
        Wu and Palmer's similarity, of those of which a synset is known: `known`).
    """
    dropped, proposed = one.dropped(), one.pairs + one.refused.total()
    groups: dict[str, list[TargetClass]] = {str(shot): [t for t in targets if t.shot == shot] for shot in SHOTS}
    groups["all"] = list(targets)
    by_group = {}
    for group, members in groups.items():
        have = [len(one.neighbors.get(target.label, ())) for target in members]
        far = [d for target in members for d in distances(target, one, wordnet) if d is not None]
        by_group[group] = {
            "coverage": share(sum(n >= wanted[t.label] for n, t in zip(have, members, strict=True)), len(members)),
            "without": sum(n == 0 for n in have),
            "distance": round(float(np.mean(far)), 4) if far else None,
            "known": share(len(far), sum(have)),
        }
    return {
        "proposer": one.proposer,
        "classes": one.classes,
        "pairs": one.pairs,
        "proposed": proposed,
        "dropped": {reason: share(count, proposed) for reason, count in sorted(dropped.items())},
        "groups": by_group,
    }


def distances(target: TargetClass, one: Named, wordnet: WordNet | None) -> Iterator[float | None]:
    """1 minus the similarity of Wu and Palmer to each neighbor; of a name with several senses to the nearest."""
    for _, name, wnid in one.neighbors.get(target.label, ()):
        senses = () if wordnet is None else (wnid,) if wnid is not None else wordnet.wnids_of(name)
        if wordnet is None or target.wnid is None or target.wnid not in wordnet:
            yield None
        else:
            known = [wordnet.similarity(target.wnid, sense) for sense in senses if sense in wordnet]
            yield 1 - max(known) if known else None


def overlap(one: Named, other: Named) -> float:
    """Of each target the share that both name of what either names, meaned over the targets that have a neighbor."""
    shares = []
    for label in one.neighbors.keys() | other.neighbors.keys():
        mine, theirs = ({key for key, *_ in of.neighbors.get(label, ())} for of in (one, other))
        shares.append(len(mine & theirs) / len(mine | theirs))
    return float(np.mean(shares)) if shares else 0.0


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def page(report: dict) -> str:
    """The report as Markdown."""
    targets, wanted = report["targets"], report["wanted"]
    groups = [group for group in targets if targets[group]]
    told = ", ".join(f"{targets[group]:,} {group}-shot targets want {wanted[group]}" for group in groups)
    cover = [
        [
            one["proposer"],
            f"{one['classes']:,}",
            f"{one['pairs']:,}",
            *(percent(one["groups"][group]["coverage"]) for group in groups),
            f"{one['groups']['all']['without']:,}",
        ]
        for one in report["proposers"]
    ]
    far = [
        [
            one["proposer"],
            *(number(one["groups"][group]["distance"]) for group in (*groups, "all")),
            percent(one["groups"]["all"]["known"]),
        ]
        for one in report["proposers"]
    ]
    reasons = sorted({reason for one in report["proposers"] for reason in one["dropped"]})
    drops = [
        [one["proposer"], f"{one['proposed']:,}", *(percent(one["dropped"].get(reason, 0.0)) for reason in reasons)]
        for one in report["proposers"]
    ]
    names = [one["proposer"] for one in report["proposers"]]
    shared = {tuple(entry["of"]): entry["shared"] for entry in report["overlap"]}
    both = [[one, *(percent(shared.get((one, other), shared.get((other, one)))) for other in names)] for one in names]
    parts = [
        f"{told} neighbors. Targets that have all of them:",
        markdown(["proposer", "classes", "pairs", *groups, "targets without any"], cover),
        "Distance to the target (1 minus the similarity of Wu and Palmer), meaned over pairs of known synsets:",
        markdown(["proposer", *groups, "all", "known"], far),
        "Dropped, of all that was proposed before there were enough:",
        markdown(["proposer", "proposed", *reasons], drops),
        "Neighbors of a target that both name, of those that either names:",
        markdown(["", *names], both),
    ]
    return "\n\n".join(parts) + "\n"


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    under = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, under, *rows))


if __name__ == "__main__":
    main()
