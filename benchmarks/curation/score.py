"""A curated set against the truth: what is kept of what should be, and what is caught of what was planted."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeVar

from rich.table import Table

from benchmarks.curation.outcome import Dropped, Outcome
from benchmarks.curation.truth import Planted
from lt_extrap.errors import DataError
from lt_extrap.model.shots import Shot

# Reasons of curation, by what they say of an image.
LEAKED = frozenset({"copy_of_train", "copy_of_val", "copy_of_test"})
PLACEHOLDER = frozenset({"placeholder"})
SUSPECT = frozenset({"suspect"})
OVER_CAP = frozenset({"more_than_asked"})  # such an image has passed every filter
BEFORE_PIXELS = frozenset({"candidates", "images"})  # stages after which no rule has seen the picture

KEPT, UNSEEN = Dropped("kept", ""), Dropped("unseen", "")
_Z = NormalDist().inv_cdf(0.975)
Key = TypeVar("Key", str, tuple[str, str])


@dataclass(frozen=True)
class Share:
    """A part of a number of images, with Wilson's 95 % interval."""

    part: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high; 0 and 1 of no image."""
        if not self.of:
            return 0.0, 1.0
        share, spread = self.part / self.of, _Z * _Z / self.of
        middle = (share + spread / 2) / (1 + spread)
        half = (share * (1 - share) * spread + spread * spread / 4) ** 0.5 / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        if not self.of:
            return "-"
        low, high = self.interval
        return f"{self.part:,} of {self.of:,} = {100 * self.part / self.of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

    def json(self) -> dict[str, float | int | None]:
        """For a file."""
        low, high = self.interval
        value = self.part / self.of if self.of else None
        return {"part": self.part, "of": self.of, "value": value, "low": low, "high": high}


def share(of: Iterable[bool]) -> Share:
    """How many are true."""
    answers = list(of)
    return Share(sum(answers), len(answers))


@dataclass(frozen=True)
class Score:
    """How good a curation is. All is of images that it has looked at, those of classes that were proposed.

    An image is accepted if it is kept or would be if there were room.

    Attributes:
        kept: images of the set.
        precision: accepted images that should be.
        right_picture: accepted images that show the class that they are accepted for.
        recall: images that should be accepted and are, themselves or by a duplicate.
        shots: likewise, by the group of the nearest target.
        whats: accepted images, by what they are.
        kinds: accepted images, by (what, kind), of what has kinds.
        kept_out: leaks that are not accepted, by (kind, split).
        told: leaks whose picture was looked at and that were dropped as copies, by (kind, split).
        false_alarms: clean images that were dropped as copies of an image of the target set.
        alarms: their places, to look at them.
        placeholders_told: placeholders that were dropped as such.
        suspects: images accepted of each planted suspect class.
        suspected: classes some image of which was dropped as of a suspect class.
        reasons: how often each (stage, reason) dropped what.
    """

    kept: int
    precision: Share
    right_picture: Share
    recall: Share
    shots: Mapping[Shot, Share]
    whats: Mapping[str, Share]
    kinds: Mapping[tuple[str, str], Share]
    kept_out: Mapping[tuple[str, str], Share]
    told: Mapping[tuple[str, str], Share]
    false_alarms: Share
    alarms: tuple[str, ...]
    placeholders_told: Share
    suspects: Mapping[str, Share]
    suspected: tuple[str, ...]
    reasons: Mapping[str, Counter[Dropped]]

    def json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "kept": self.kept,
            "precision": self.precision.json(),
            "right_picture": self.right_picture.json(),
            "recall": self.recall.json(),
            "shots": {str(shot): value.json() for shot, value in self.shots.items()},
            "accepted": {what: value.json() for what, value in self.whats.items()},
            "accepted_kinds": _by_two(self.kinds),
            "leaks_kept_out": _by_two(self.kept_out),
            "leaks_told": _by_two(self.told),
            "false_alarms": {**self.false_alarms.json(), "places": list(self.alarms)},
            "placeholders_told": self.placeholders_told.json(),
            "suspects_accepted": {name: value.json() for name, value in self.suspects.items()},
            "suspected": list(self.suspected),
            "dropped": {
                what: {f"{stage}: {reason}": count for (stage, reason), count in sorted(counts.items())}
                for what, counts in self.reasons.items()
            },
        }

    def table(self) -> Table:
        """For people."""
        table = Table("of the images looked at", "how many", title=f"{self.kept:,} images kept")
        table.add_row("accepted, and should be", str(self.precision))
        table.add_row("accepted, with the right picture", str(self.right_picture))
        table.add_row("should be accepted, and are", str(self.recall))
        for shot, value in self.shots.items():
            table.add_row(f"  near the {shot}-shot classes", str(value))
        table.add_section()
        for what, value in self.whats.items():
            table.add_row(f"{what}, accepted", str(value))
            for (of, kind), part in self.kinds.items():
                if of == what and what != "leak":
                    table.add_row(f"  {kind}", str(part))
        table.add_section()
        for kind in dict.fromkeys(kind for kind, _ in self.kept_out):
            for title, values in (("kept out", self.kept_out), ("told as copies", self.told)):
                found = [part for (of, _), part in values.items() if of == kind]
                table.add_row(
                    f"leak, {kind}: {title}", str(Share(sum(p.part for p in found), sum(p.of for p in found)))
                )
        table.add_row("clean, told as copies", str(self.false_alarms))
        table.add_section()
        table.add_row("placeholders told", str(self.placeholders_told))
        for name, value in self.suspects.items():
            told = "suspected" if name in self.suspected else "not suspected"
            table.add_row(f"suspect class {name} ({told}), accepted", str(value))
        innocent = [name for name in self.suspected if name not in self.suspects]
        table.add_row("other classes suspected", f"{len(innocent)}: {', '.join(innocent)}" if innocent else "0")
        return table


def score(truth: Sequence[Planted], outcome: Outcome) -> Score:
    """Score what a curation made of a pool.

    Raises:
        DataError: an image of the set is not of the pool.
    """
    became = _verdicts(truth, outcome)
    seen = [row for row in truth if became[row.place] != UNSEEN]
    accepted = {row.place for row in seen if _passed(became[row.place])}
    right = _right(seen, accepted)
    # An image is accepted if one of its duplicates is, in the class that both are of.
    stand_ins = {_picture(row) for row in seen if row.place in accepted}
    wanted = [row for row in seen if row.keep]
    leaks = [row for row in seen if row.what == "leak"]
    looked_at = [row for row in leaks if became[row.place].stage not in BEFORE_PIXELS]
    clean = [row for row in seen if row.what in ("clean", "odd format")]
    placeholders = [row for row in seen if row.what == "placeholder"]
    reasons = defaultdict[str, Counter[Dropped]](Counter)
    for row in seen:
        if became[row.place] != KEPT:
            reasons[row.what][became[row.place]] += 1

    def is_accepted(row: Planted) -> bool:
        return row.place in accepted

    def is_leaked(row: Planted) -> bool:
        return became[row.place].reason in LEAKED

    return Score(
        kept=len(outcome.kept),
        precision=Share(len(right), len(accepted)),
        right_picture=share(row.shows == row.folder for row in seen if row.place in accepted),
        recall=share(_picture(row) in stand_ins for row in wanted),
        shots={
            shot: share(_picture(row) in stand_ins for row in wanted if row.shot == shot)
            for shot in Shot
            if any(row.shot == shot for row in wanted)
        },
        whats=_shares(seen, lambda row: row.what, is_accepted),
        kinds=_shares([row for row in seen if row.kind], lambda row: (row.what, str(row.kind)), is_accepted),
        kept_out=_shares(leaks, lambda row: (str(row.kind), str(row.split)), lambda row: not is_accepted(row)),
        told=_shares(looked_at, lambda row: (str(row.kind), str(row.split)), is_leaked),
        false_alarms=share(map(is_leaked, clean)),
        alarms=tuple(row.place for row in clean if is_leaked(row)),
        placeholders_told=share(became[row.place].reason in PLACEHOLDER for row in placeholders),
        suspects=_shares([row for row in seen if row.what == "suspect"], lambda row: row.folder, is_accepted),
        suspected=tuple(sorted({row.folder for row in seen if became[row.place].reason in SUSPECT})),
        reasons=reasons,
    )


def _verdicts(truth: Sequence[Planted], outcome: Outcome) -> dict[str, Dropped]:
    """What became of each image, by place. Of equal files of a class one is kept, that which should be if one is."""
    became = {row.place: outcome.dropped.get(row.place, UNSEEN) for row in truth}
    files = defaultdict[tuple[str, str], list[Planted]](list)
    for row in truth:
        files[row.folder, row.sha256].append(row)
    if strange := sorted(outcome.kept - files.keys()):
        raise DataError(
            "a set of images of this pool",
            f"{len(strange)} that are not, such as {strange[0][1]} of the class {strange[0][0]}",
            "score a set against the pool that it was curated from, its files stored as they were",
        )
    for file in outcome.kept:
        first, *others = sorted(files[file], key=lambda row: (not row.keep, row.place))
        became[first.place] = KEPT
        became.update((row.place, Dropped("images", "same file")) for row in others)
    return became


def _passed(became: Dropped) -> bool:
    return became == KEPT or became.reason in OVER_CAP


def _picture(row: Planted) -> tuple[str, str]:
    """The same of an image and its duplicates within its class."""
    return row.folder, row.twin or row.place


def _right(seen: Sequence[Planted], accepted: set[str]) -> set[str]:
    """The accepted images that should be: one of each picture, itself or a duplicate."""
    found = dict[tuple[str, str], str]()
    for row in sorted(seen, key=lambda row: (not row.keep, row.place)):
        if row.place in accepted and (row.keep or row.what == "duplicate"):
            found.setdefault(_picture(row), row.place)
    return set(found.values())


def _shares(
    rows: Sequence[Planted], key: Callable[[Planted], Key], is_part: Callable[[Planted], bool]
) -> dict[Key, Share]:
    """The share of each key, sorted."""
    of: dict[Key, list[bool]] = {}
    for row in rows:
        of.setdefault(key(row), []).append(is_part(row))
    return {name: share(of[name]) for name in sorted(of)}


def _by_two(shares: Mapping[tuple[str, str], Share]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for (one, other), value in shares.items():
        found.setdefault(one, {})[other] = value.json()
    return found
