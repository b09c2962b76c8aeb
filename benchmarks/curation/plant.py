"""Pools of images of which everything is known, planted with what curation has to find.

A folder with two pools: `neighbors`, classes near the target set, and `target`, further images of its own classes. Each
holds

    images/<class id>/<name>    a folder a class, as of ImageNet-21k
    captions.jsonl              path and caption of each, noisy
    truth.jsonl                 what each is (truth.py), which no curation reads
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from benchmarks.curation import captions
from benchmarks.curation.changes import COPIES, EXTENSIONS, FORMATS, JUNK, LEAKS, PLACEHOLDERS, Change
from benchmarks.curation.photographs import Named, Photographs
from benchmarks.curation.truth import IMAGES, Planted, write_truth
from lt_extrap.data.decode import decode_rgb
from lt_extrap.errors import ConfigError
from lt_extrap.files import write_whole, write_whole_folder
from lt_extrap.keys import Stream, generator, hash64
from lt_extrap.model.shots import Shot

AMOUNTS = "amounts.json"
CHANGES: dict[str, dict[str, Change | None]] = {
    "leak": LEAKS,
    "duplicate": COPIES,
    "duplicate across": COPIES,
    "odd format": FORMATS,
    "junk": JUNK,
    "placeholder": PLACEHOLDERS,
}


@dataclass(frozen=True)
class Amounts:
    """How much of what is planted.

    Attributes:
        images: of each class near the target set; its others are for what is planted.
        nameless, other_name: shares of these whose caption names nothing, or another class.
        longer_name: share of these, where another class has such a name.
        label_noise: photographs of other classes, as a share of these.
        leaks, target_leaks: of each kind and each split of the target set, in either pool.
        near: leaks are among the nearest classes of their target, as many as this.
        formats, junk, duplicates: of each kind, in each pool.
        placeholders: classes that have each kind.
        suspects: classes that are a target in truth.
        suspect_images: of each.
        seed: of everything.
    """

    images: int = 150
    nameless: float = 0.1
    other_name: float = 0.05
    longer_name: float = 0.1
    label_noise: float = 0.05
    leaks: int = 40
    target_leaks: int = 10
    near: int = 3
    formats: int = 20
    junk: int = 20
    duplicates: int = 40
    placeholders: int = 40
    suspects: int = 2
    suspect_images: int = 60
    seed: int = 0


class _Draw(IntEnum):
    """What a draw is for: the first part of its key after the seed and the pool."""

    PHOTOGRAPHS = 0  # (class)
    CAPTIONS = 1  # (class)
    NOISE = 2  # (class)
    LEAKS = 3  # (split)
    PLANTED = 4  # (what)
    NAME = 5  # (class, number)
    CHANGE = 6  # (number)
    SUSPECTS = 7  # ()


@dataclass
class _Offered:
    """A class of a pool: its photographs, those that are left for what is planted, the group of the nearest target."""

    named: Named
    shows: Named
    shot: Shot | None
    photographs: list[str]
    spare: list[str]


def write_pools(photographs: Photographs, amounts: Amounts, folder: Path) -> None:
    """Write both pools; a folder that is there with the same amounts is left as it is.

    Raises:
        ConfigError: the folder holds other amounts, or there are too few photographs.
        OSError: it cannot be written, as when the disk is full.
    """

    def write(new: Path) -> None:
        for pool, planted in (("neighbors", plan_neighbors), ("target", plan_target)):
            rows = planted(photographs, amounts)
            write_truth(new / pool, list(_write_images(photographs, rows, amounts, new / pool / IMAGES)))
        write_whole(new / AMOUNTS, lambda file: file.write(json.dumps(dataclasses.asdict(amounts), indent=2).encode()))

    write_whole_folder(folder, write)
    found = json.loads((folder / AMOUNTS).read_text()) if (folder / AMOUNTS).is_file() else None
    if found != dataclasses.asdict(amounts):
        raise ConfigError("a folder that is not there yet", f"{folder} with {found}", "give another one")


def plan_neighbors(photographs: Photographs, amounts: Amounts) -> list[Planted]:
    """The pool of classes near the target set, by place.

    Raises:
        ConfigError: there are too few photographs.
    """
    suspects = _suspects(photographs, amounts)
    nearest = _nearest_targets(photographs)
    classes = []
    for position, named in enumerate(photographs.others):
        drawn = _shuffled(photographs.of_other[position], amounts.seed, 0, _Draw.PHOTOGRAPHS, position)
        shows = named
        taken = amounts.images
        if (label := suspects.get(position)) is not None:
            shows = photographs.targets[label]
            drawn, taken = _extra(photographs, amounts, label), amounts.suspect_images
            drawn = drawn[:taken]
        shot = photographs.shots[nearest[position]] if position in nearest else None
        classes.append(_Offered(named, shows, shot, drawn[:taken], drawn[taken:]))
    hosts = [
        [classes[position] for position in ranked if position not in suspects][: amounts.near]
        for ranked in photographs.nearest
    ]
    related = _related(photographs)
    pool = _Pool(0, classes, photographs, amounts)
    for position, offered in enumerate(classes):
        if position in suspects:
            pool.add_suspect(offered)
            continue
        pool.add_captioned(offered)
        strangers = [classes[i] for i in range(len(classes)) if i not in related[position] and i not in suspects]
        pool.add_noise(offered, strangers)
    pool.add_leaks(hosts, amounts.leaks)
    good = [offered for position, offered in enumerate(classes) if position not in suspects]
    pool.add_formats(good)
    pool.add_the_rest(good)
    return pool.by_place()


def plan_target(photographs: Photographs, amounts: Amounts) -> list[Planted]:
    """The pool of further images of the target classes, by place. It has no odd formats and no suspects.

    Raises:
        ConfigError: there are too few photographs.
    """
    suspects = set(_suspects(photographs, amounts).values())
    classes = []
    for label, named in enumerate(photographs.targets):
        drawn = _extra(photographs, amounts, label)[amounts.suspect_images if label in suspects else 0 :]
        classes.append(_Offered(named, named, photographs.shots[label], drawn, []))
    strangers = [
        _Offered(named, named, None, [], _shuffled(paths, amounts.seed, 1, _Draw.PHOTOGRAPHS, len(classes) + position))
        for position, (named, paths) in enumerate(zip(photographs.others, photographs.of_other, strict=True))
    ]
    pool = _Pool(1, classes, photographs, amounts)
    for label, offered in enumerate(classes):
        near = set(photographs.nearest[label])
        pool.add_captioned(offered)
        pool.add_noise(offered, [stranger for i, stranger in enumerate(strangers) if i not in near])
    pool.add_leaks([[offered] for offered in classes], amounts.target_leaks)
    pool.add_the_rest(classes)
    return pool.by_place()


class _Pool:
    """A pool while it is planned."""

    def __init__(self, number: int, classes: Sequence[_Offered], photographs: Photographs, amounts: Amounts) -> None:
        self._number, self._amounts, self._photographs = number, amounts, photographs
        self._classes = {offered.named.id: position for position, offered in enumerate(classes)}
        self._known = (*photographs.targets, *photographs.others)
        self._rows: list[Planted] = []
        self._count: Counter[int] = Counter()

    def by_place(self) -> list[Planted]:
        return sorted(self._rows, key=lambda row: row.place)

    def add_captioned(self, offered: _Offered) -> None:
        """The photographs of a class, some under captions that do not say so."""
        position, amounts = self._classes[offered.named.id], self._amounts
        rng = self._generator(_Draw.CAPTIONS, position)
        longer = captions.longer_names(offered.named, self._known)
        others = [other for other in self._known if other != offered.named]
        shares = (
            ("nameless caption", amounts.nameless),
            ("other name", amounts.other_name),
            ("longer name", amounts.longer_name if longer else 0.0),
        )
        whats = [what for what, share in shares for _ in range(round(share * len(offered.photographs)))]
        whats += ["clean"] * (len(offered.photographs) - len(whats))
        for what, path in zip(whats, offered.photographs, strict=False):
            if what == "clean":
                caption = captions.of(offered.named, rng)
            elif what == "nameless caption":
                caption = captions.nameless(rng)
            elif what == "longer name":
                caption = captions.naming(str(rng.choice(longer)), rng)
            else:
                caption = captions.of(others[int(rng.integers(len(others)))], rng)
                while captions.says(caption, offered.named):
                    caption = captions.of(others[int(rng.integers(len(others)))], rng)
            self._put(offered, what, None, path, caption, keep=what == "clean")

    def add_suspect(self, offered: _Offered) -> None:
        """The photographs of a target under the captions of a class."""
        rng = self._generator(_Draw.CAPTIONS, self._classes[offered.named.id])
        for path in offered.photographs:
            self._put(offered, "suspect", None, path, captions.of(offered.named, rng))

    def add_noise(self, offered: _Offered, strangers: Sequence[_Offered]) -> None:
        """Spare photographs of other classes under captions of this one."""
        rng = self._generator(_Draw.NOISE, self._classes[offered.named.id])
        for _ in range(round(self._amounts.label_noise * len(offered.photographs))):
            there = [stranger for stranger in strangers if stranger.spare]
            if not there:
                raise _too_few("label noise")
            stranger = there[int(rng.integers(len(there)))]
            path = stranger.spare.pop()
            self._put(offered, "label noise", None, path, captions.of(offered.named, rng), shows=stranger.shows.id)

    def add_leaks(self, hosts: Sequence[Sequence[_Offered]], each: int) -> None:
        """Copies of images of the target set, of all its classes alike.

        Args:
            hosts: the classes that may have those of each target.
            each: how many of each kind and split.
        """
        for number, (split, by_label) in enumerate(sorted(self._photographs.splits.items())):
            rng = self._generator(_Draw.LEAKS, number)
            turns = sorted(
                (turn, float(rng.random()), label, paths[place])
                for label, paths in enumerate(by_label)
                if hosts[label]
                for turn, place in enumerate(rng.permutation(len(paths)).tolist())
            )
            if len(turns) < each * len(LEAKS):
                raise _too_few(f"leaks of the split {split}")
            for i, (_, _, label, path) in enumerate(turns[: each * len(LEAKS)]):
                host = hosts[label][int(rng.integers(len(hosts[label])))]
                kind = list(LEAKS)[i % len(LEAKS)]
                shows, caption = self._photographs.targets[label].id, captions.of(host.named, rng)
                self._put(host, "leak", kind, path, caption, shows=shows, split=split)

    def add_formats(self, classes: Sequence[_Offered]) -> None:
        """Spare photographs of their class, in formats that are easily read wrong."""
        for kind, offered, rng in self._drawn("odd format", self._amounts.formats, classes):
            if not offered.spare:
                raise _too_few("odd formats")
            path = offered.spare.pop()
            self._put(offered, "odd format", kind, path, captions.of(offered.named, rng), keep=True)

    def add_the_rest(self, classes: Sequence[_Offered]) -> None:
        """Junk, placeholders and duplicates."""
        clean: dict[str, list[Planted]] = {}
        for row in self._rows:
            if row.what == "clean":
                clean.setdefault(row.folder, []).append(row)
        classes = [offered for offered in classes if offered.named.id in clean]
        for what, amount in (("junk", self._amounts.junk), ("placeholder", self._amounts.placeholders)):
            for kind, offered, rng in self._drawn(what, amount, classes):
                path = clean[offered.named.id][0].of
                self._put(offered, what, kind, path, captions.of(offered.named, rng), nothing=True)
        for what in ("duplicate", "duplicate across"):
            for kind, offered, rng in self._drawn(what, self._amounts.duplicates, classes):
                twins = clean[offered.named.id]
                twin = twins[int(rng.integers(len(twins)))]
                host = offered
                while what == "duplicate across" and host is offered:
                    host = classes[int(rng.integers(len(classes)))]
                self._put(
                    host, what, kind, twin.of, captions.of(host.named, rng), shows=offered.shows.id, twin=twin.place
                )

    def _drawn(
        self, what: str, each: int, classes: Sequence[_Offered]
    ) -> Iterator[tuple[str, _Offered, np.random.Generator]]:
        """Every kind as many times, each time for another class as long as there are others."""
        for number, kind in enumerate(CHANGES[what]):
            rng = self._generator(_Draw.PLANTED, list(CHANGES).index(what), number)
            order = rng.permutation(len(classes)).tolist()
            for i in range(each):
                yield kind, classes[order[i % len(order)]], rng

    def _put(
        self,
        offered: _Offered,
        what: str,
        kind: str | None,
        path: str,
        caption: str,
        *,
        keep: bool = False,
        shows: str | None = None,
        nothing: bool = False,
        split: str | None = None,
        twin: str | None = None,
    ) -> None:
        position = self._classes[offered.named.id]
        name = int(hash64(Stream.SUBSET, self._amounts.seed, self._number, _Draw.NAME, position, self._count[position]))
        self._count[position] += 1
        changed = kind is not None and CHANGES[what][kind] is not None
        extension = EXTENSIONS.get(str(kind), ".jpg") if changed else Path(path).suffix.lower()
        self._rows.append(
            Planted(
                place=f"{offered.named.id}/{name:016x}{extension}",
                what=what,
                kind=kind,
                keep=keep,
                shows=None if nothing else shows or offered.shows.id,
                of=path,
                split=split,
                twin=twin,
                shot=offered.shot,
                caption=caption,
            )
        )

    def _generator(self, *key: int) -> np.random.Generator:
        return generator(Stream.SUBSET, self._amounts.seed, self._number, *key)


def _write_images(
    photographs: Photographs, planted: Sequence[Planted], amounts: Amounts, folder: Path
) -> Iterator[Planted]:
    """Write the files; the rows with their hashes. What the data set itself has in both places is a leak too."""
    known = {
        hashlib.sha256(photographs.images.read(path)).digest(): split
        for split, by_label in photographs.splits.items()
        for paths in by_label
        for path in paths
    }
    for number, row in enumerate(planted):
        data = photographs.images.read(row.of)
        change = CHANGES[row.what][row.kind] if row.kind is not None else None
        if change is not None:
            picture = decode_rgb(row.of, data=data)
            data = change(picture, generator(Stream.SUBSET, amounts.seed, _Draw.CHANGE, number))
        file = folder / row.place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        digest = hashlib.sha256(data)
        if row.keep and (split := known.get(digest.digest())):
            row = dataclasses.replace(row, what="leak", kind="same file", keep=False, split=split)
        yield dataclasses.replace(row, sha256=digest.hexdigest())


def _suspects(photographs: Photographs, amounts: Amounts) -> dict[int, int]:
    """Classes that are a target in truth: the position of each, and the label. None has a name of a target."""
    found: dict[int, int] = {}
    rng = generator(Stream.SUBSET, amounts.seed, 0, _Draw.SUSPECTS)
    for label in rng.permutation(len(photographs.targets)).tolist():
        ranked = photographs.nearest[label]
        if len(found) == amounts.suspects:
            break
        if len(photographs.extra[label]) < 2 * amounts.suspect_images or not ranked or ranked[0] in found:
            continue
        named = photographs.others[ranked[0]]
        if not any(captions.says(spelling, target) for target in photographs.targets for spelling in named.spellings):
            found[ranked[0]] = label
    if len(found) < amounts.suspects:
        raise _too_few("suspect classes")
    return found


def _nearest_targets(photographs: Photographs) -> dict[int, int]:
    """For each other class the target that has it at the first rank, of several the first."""
    found: dict[int, tuple[int, int]] = {}
    for label, ranked in enumerate(photographs.nearest):
        for rank, position in enumerate(ranked):
            found[position] = min(found.get(position, (rank, label)), (rank, label))
    return {position: label for position, (_, label) in found.items()}


def _related(photographs: Photographs, most: int = 8) -> list[set[int]]:
    """For each other class those that are near a target together with it, itself among them."""
    found = [{position} for position in range(len(photographs.others))]
    for ranked in photographs.nearest:
        for position in ranked[:most]:
            found[position].update(ranked[:most])
    return found


def _extra(photographs: Photographs, amounts: Amounts, label: int) -> list[str]:
    return _shuffled(photographs.extra[label], amounts.seed, 1, _Draw.PHOTOGRAPHS, label)


def _shuffled(paths: Sequence[str], *key: int) -> list[str]:
    return [paths[i] for i in generator(Stream.SUBSET, *key).permutation(len(paths)).tolist()]


def _too_few(what: str) -> ConfigError:
    return ConfigError(f"photographs for all {what}", "too few", "plant fewer of them")
