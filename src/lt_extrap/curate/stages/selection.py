"""Decide which images are kept, from what the stages before have found; nothing is read or computed again."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from lt_extrap.config.curate_filter import CalibratedGate
from lt_extrap.curate.curation import TARGET, Curation
from lt_extrap.curate.gates import Band, calibrated_band, fixed_band, gate
from lt_extrap.curate.placeholders import blank, placeholders
from lt_extrap.curate.prototypes import Features, cosines, prototypes
from lt_extrap.curate.stages.copies import STORED, found_with
from lt_extrap.curate.stages.features import feature_rows, open_features, owner
from lt_extrap.curate.suspects import gather, suspects, threshold
from lt_extrap.curate.verdicts import Verdict, of_classes, of_images
from lt_extrap.errors import RunError
from lt_extrap.keys import Stream, hash64

_VERSION = 1  # of the rules: raise it when they choose others
_OFFERED = (
    "SELECT key, sha256, min(position) FROM offered WHERE form IS NOT NULL AND sha256 IS NOT NULL "
    "GROUP BY key, sha256 ORDER BY key, sha256"
)
# The order of the splits in which a copy is told: what is measured on first.
_COPIES = {"test": "copy_of_test", "val": "copy_of_val", "train": "copy_of_train"}
# What a person who keeps an image overrules: never that it is a copy of another one.
_OVERRULED = frozenset(("small", "blank", "placeholder", "cosine", "suspect"))
BAND = "band"  # the setting: [low, high] of each target, as the last selection had them


def select(curation: Curation) -> None:
    """The stage `selection`: whole, in one transaction.

    Raises:
        RunError: images came since the stages before were run.
    """
    state, options = curation.state, curation.config.filter
    made_of, choices = _made_of(curation, found_with(curation)), _choices(curation)
    group = dict(state.rows("SELECT sha256, of FROM copy WHERE split = ?", STORED))
    judge(choices, of_images(state), group)
    _drop_pictures(curation, choices, group)
    drop_copies(choices, _copies(curation))
    training = _training(curation)
    band = _band(curation, training)
    _drop_by_cosine(curation, choices, training, band)
    drop_duplicates(choices, group)
    if options.suspects == "drop":
        _drop_suspects(curation, choices, training)
    cap(choices, curation.config.images_per_class, curation.config.seed)
    with state.transaction():
        state.set("selected_by", json.dumps(_options(curation)))
        state.set("selected_of", made_of)
        state.set(BAND, json.dumps(np.stack(band, axis=1).round(6).tolist()))
        state.write("DELETE FROM selection")
        state.write(
            "INSERT INTO selection VALUES (?, ?, ?, ?, ?)",
            [
                (
                    choice.key,
                    choice.sha256,
                    choice.reason,
                    choice.because,
                    json.dumps({str(label): value for label, value in sorted(choice.cosines.items())}),
                )
                for choice in choices
            ],
        )


def require(curation: Curation) -> None:
    """Refuse a selection that is not of these options, or not of what the stages before have found.

    Raises:
        RunError: it is not.
    """
    before, now = json.loads(curation.state.setting("selected_by") or "null"), _options(curation)
    if before is not None and before != now:
        other = [
            f"{key}={now.get(key)}, not {before.get(key)}" for key in now | before if now.get(key) != before.get(key)
        ]
        raise RunError(
            "the options of the last selection",
            ", ".join(other),
            "give those again, or run do=selection with these first",
        )
    if curation.state.setting("selected_of") != _made_of(curation, found_with(curation)):
        raise RunError("a selection of the images that there are", "an older one, or none", "run do=selection first")


def _options(curation: Curation) -> dict[str, object]:
    """What decides on images, beside what the stages before have found; by its key in a command."""
    config = curation.config
    options = {f"filter.{key}": value for key, value in asdict(config.filter).items() if key != "near_copies"}
    gate = "calibrated" if isinstance(config.filter, CalibratedGate) else "fixed"
    return {"filter": gate, **options, "images_per_class": config.images_per_class, "seed": config.seed}


def _made_of(curation: Curation, copies: str) -> str:
    mark = hashlib.sha256(f"{_VERSION} {copies}".encode())
    pairs, copies_of = "SELECT target, key FROM pair ORDER BY target, key", "SELECT * FROM copy ORDER BY sha256, split"
    verdicts = "SELECT * FROM verdict ORDER BY key, sha256"
    for query in (_OFFERED, pairs, copies_of, verdicts):
        for row in curation.state.rows(query):
            mark.update(repr(row).encode())
    return mark.hexdigest()


@dataclass
class Choice:
    """An image that a class may keep.

    Attributes:
        key: of the class.
        sha256: of the image.
        place: in the order of the source, 0 = its best.
        reason: why it is dropped; None as long as it is not.
        because: more of the reason.
        cosines: to the prototypes of the class's targets, by label.
        wanted: a person keeps it.
    """

    key: str
    sha256: str
    place: int
    reason: str | None = None
    because: str | None = None
    cosines: dict[int, float] = field(default_factory=dict)
    wanted: bool = False

    def drop(self, reason: str, because: str | None = None) -> None:
        """Drop it, if it has not been dropped for something else, and no person who keeps it knows better."""
        if self.reason is None and not (self.wanted and reason in _OVERRULED):
            self.reason, self.because = reason, because


def cap(choices: Sequence[Choice], most: int, seed: int) -> None:
    """Drop all but so many of the kept images of each class.

    What a person keeps comes first. Which of the others is a function of (seed, image): images that are added later
    push out only as many as they are.
    """
    kept = defaultdict[str, list[Choice]](list)
    for choice in choices:
        if choice.reason is None:
            kept[choice.key].append(choice)
    for of_class in kept.values():
        numbers = np.array([int(choice.sha256[:15], 16) for choice in of_class], np.int64)
        draws = np.asarray(hash64(Stream.CURATE, seed, numbers))
        order = sorted(range(len(of_class)), key=lambda i: (not of_class[i].wanted, int(draws[i]), of_class[i].sha256))
        for i in order[most:]:
            of_class[i].drop("more_than_asked")


def judge(choices: Sequence[Choice], verdicts: Mapping[tuple[str, str], Verdict], group: Mapping[str, str]) -> None:
    """Drop what a person dropped, and its near-copies in the same class; mark what a person keeps.

    Args:
        choices: all images.
        verdicts: by class and image.
        group: what near-copies share, by image; an image without is a copy of none.
    """
    gone: dict[tuple[str, str], str] = {}
    for (key, sha256), said in verdicts.items():  # also on what is not offered any more
        if said is Verdict.DROP:
            gone.setdefault((key, group.get(sha256, sha256)), sha256)
    for choice in choices:
        verdict = verdicts.get((choice.key, choice.sha256))
        choice.wanted = verdict is Verdict.KEEP
        first = gone.get((choice.key, group.get(choice.sha256, choice.sha256)))
        if first is not None and not choice.wanted:
            choice.drop("reviewed", None if verdict is Verdict.DROP else f"a near-copy of {first}")


def drop_copies(choices: Sequence[Choice], copies: Mapping[tuple[str, str], str]) -> None:
    """Drop what is a near-copy of an image of the target set.

    Args:
        choices: all images.
        copies: place of the image of the target set, by (image, split).
    """
    for choice in choices:
        for split, reason in _COPIES.items():
            if (of := copies.get((choice.sha256, split))) is not None:
                choice.drop(reason, of)


def drop_duplicates(choices: Sequence[Choice], group: Mapping[str, str]) -> None:
    """Of near-copies of one another keep a person's choice, then the nearest to a target, then the source's best.

    Args:
        choices: all images.
        group: what near-copies share, by image; an image without is a copy of none.
    """
    alive = [choice for choice in choices if choice.reason is None]
    alive.sort(key=lambda c: (not c.wanted, -max(c.cosines.values(), default=0.0), c.key, c.place, c.sha256))
    kept: dict[str, Choice] = {}
    for choice in alive:
        first = kept.setdefault(group.get(choice.sha256, choice.sha256), choice)
        if first is not choice:
            reason = "duplicate" if first.key == choice.key else "duplicate_of_another_class"
            choice.drop(reason, f"{first.key}/{first.sha256}")


def _choices(curation: Curation) -> list[Choice]:
    """Every image of every class whose images are looked for, by class and image."""
    return [Choice(key, sha256, place) for key, sha256, place in curation.state.rows(_OFFERED)]


def _drop_pictures(curation: Curation, choices: Sequence[Choice], group: Mapping[str, str]) -> None:
    """Drop what is too small, shows nothing, or stands for no class."""
    looks = {
        sha256: (min(width, height), deviation)
        for sha256, width, height, deviation in curation.state.rows(
            "SELECT sha256, width, height, deviation FROM image"
        )
    }
    parents = defaultdict[str, set[int]](set)
    for target, key in curation.state.rows("SELECT target, key FROM pair"):
        parents[key].add(target)
    images = sorted({choice.sha256 for choice in choices})
    number, keys = {name: i for i, name in enumerate(images)}, sorted({choice.key for choice in choices})
    place_of = {key: i for i, key in enumerate(keys)}
    leaders = {name: i for i, name in enumerate(sorted({group.get(name, name) for name in images}))}
    standing = placeholders(
        np.array([leaders[group.get(name, name)] for name in images], np.int64),
        [(number[choice.sha256], place_of[choice.key]) for choice in choices],
        {i: frozenset(parents[key]) for i, key in enumerate(keys)},
        classes=curation.config.filter.placeholders.classes,
        times=curation.config.filter.placeholders.times,
    )
    blanks = blank(np.array([looks[name][1] for name in images]))
    for choice in choices:
        if looks[choice.sha256][0] < curation.config.filter.shortest_edge:
            choice.drop("small")
        elif blanks[number[choice.sha256]]:
            choice.drop("blank")
        elif standing[number[choice.sha256]]:
            choice.drop("placeholder")


def _copies(curation: Curation) -> dict[tuple[str, str], str]:
    return {
        (sha256, split): of
        for sha256, split, of in curation.state.rows("SELECT sha256, split, of FROM copy WHERE split != ?", STORED)
    }


class _Training(NamedTuple):
    """The training images of the target classes: raw features, labels, and the number of classes."""

    features: Features
    labels: Int64[np.ndarray, " images"]
    classes: int


def _training(curation: Curation) -> _Training:
    images = list(
        curation.state.rows(
            "SELECT place, label FROM reference WHERE split = 'train' AND reason IS NULL ORDER BY place"
        )
    )
    rows = feature_rows(curation, [owner("train", place) for place, _ in images])
    labels = np.array([label for _, label in images], np.int64)
    return _Training(open_features(curation)[rows], labels, len(curation.targets()))


def _band(curation: Curation, training: _Training) -> Band:
    options = curation.config.filter
    if isinstance(options, CalibratedGate):
        return calibrated_band(*training, low=options.quantile_low, high=options.quantile_high)
    return fixed_band(training.classes, options.gamma_low, options.gamma_high)


def _drop_by_cosine(curation: Curation, choices: Sequence[Choice], training: _Training, band: Band) -> None:
    """Drop what is not in the band of a parent; of a class that is nobody's neighbor nothing."""
    parents = defaultdict[str, list[int]](list)
    for target, key in curation.state.rows("SELECT target, key FROM pair ORDER BY target"):
        parents[key].append(target)
    of_choice = [
        (i, parent)
        for i, choice in enumerate(choices)
        for parent in ([int(choice.key.removeprefix(TARGET))] if choice.key.startswith(TARGET) else parents[choice.key])
    ]
    if not of_choice:
        return
    pairs = np.array(of_choice, np.int64)
    rows = feature_rows(curation, [choice.sha256 for choice in choices])
    values = cosines(open_features(curation), prototypes(*training), rows[pairs[:, 0]], pairs[:, 1])
    for (i, parent), value in zip(of_choice, values.tolist(), strict=True):
        if value == value:  # what has no direction has no cosine
            choices[i].cosines[parent] = round(value, 4)
    passed = gate(values, pairs[:, 0], pairs[:, 1], band, len(choices)).kept
    for i in sorted({i for i, _ in of_choice}):
        if not passed[i]:
            best = max(choices[i].cosines.values(), default=None)
            choices[i].drop("cosine", None if best is None else f"{best:.3f}")


def _drop_suspects(curation: Curation, choices: Sequence[Choice], training: _Training) -> None:
    """Drop classes that may be a target under another name."""
    alive = [choice for choice in choices if choice.reason is None and not choice.key.startswith(TARGET)]
    keys = sorted({choice.key for choice in alive})
    number = {key: i for i, key in enumerate(keys)}
    if not keys:
        return
    rows = feature_rows(curation, [choice.sha256 for choice in alive])
    of = np.array([number[choice.key] for choice in alive], np.int64)
    names = {target.label: f"{target.name} ({target.id})" for target in curation.targets()}
    asked, targets = curation.config.filter.likeness, gather(*training)
    likeness = threshold(targets, likeness=asked)
    if likeness > asked:
        print(f"suspect classes: from a likeness of {likeness:.3f} on: some targets are as alike as that")
    found = suspects(gather(open_features(curation)[rows], of, len(keys)), targets, likeness=likeness)
    suspected = {keys[suspect.auxiliary]: f"{names[suspect.target]}, {suspect.likeness:.3f}" for suspect in found}
    cleared = {key for key, verdict in of_classes(curation.state).items() if verdict is Verdict.KEEP}
    for choice in alive:
        if choice.key in suspected and choice.key not in cleared:
            choice.drop("suspect", suspected[choice.key])
