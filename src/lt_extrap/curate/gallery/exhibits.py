"""What the gallery shows of a curation, as its tables have it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from lt_extrap.curate.curation import TARGET, Curation
from lt_extrap.curate.gallery.thumbnails import thumbnail_of, thumbnail_of_reference
from lt_extrap.curate.name_rules import Reason
from lt_extrap.curate.records import Sought, TargetClass
from lt_extrap.curate.stages.copies import STORED
from lt_extrap.curate.stages.selection import BAND
from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED
from lt_extrap.curate.verdicts import Verdict, of_classes, of_images
from lt_extrap.errors import RunError

OWN = 8  # training images shown of a target class

Zone = Literal["above", "inside", "below", "nowhere"]
_ZONES: tuple[Zone, ...] = ("above", "inside", "below", "nowhere")

# One row an image of a class: of the candidates that it comes from, SQLite takes the columns of the least.
_PICTURES = """
SELECT s.sha256, s.reason, s.because, s.cosines, i.name, i.width, i.height, c.caption, c.place, c.page, c.creator,
       c.licence, c.licence_url, min(c.position)
FROM selection s JOIN image i USING (sha256) JOIN offered c USING (key, sha256)
WHERE s.key = ? AND c.form IS NOT NULL GROUP BY s.sha256
"""
_UNSEEN = f"""
SELECT key, CASE WHEN form IS NULL THEN 'caption' WHEN reason IN ('{FORGOTTEN}', '{NOT_NEEDED}') THEN reason
                 WHEN reason IS NOT NULL THEN 'unreadable' ELSE 'to do' END, count(*)
FROM offered o WHERE form IS NULL OR sha256 IS NULL
    OR NOT EXISTS (SELECT 1 FROM selection s WHERE s.key = o.key AND s.sha256 = o.sha256)
GROUP BY 1, 2 ORDER BY 1, 2
"""
_OWN = """
SELECT label, place, content FROM (
    SELECT label, place, content, row_number() OVER (PARTITION BY label ORDER BY place) AS n FROM reference
    WHERE split = 'train' AND reason IS NULL)
WHERE n <= ? ORDER BY label, n
"""
_LEAKS = """
SELECT c.split, c.of, c.how, r.label, r.content, s.key, s.sha256
FROM copy c JOIN selection s USING (sha256) JOIN sought o ON o.key = s.key AND o.used
JOIN reference r ON r.split = c.split AND r.place = c.of
WHERE c.split != ?
ORDER BY CASE c.split WHEN 'test' THEN 0 WHEN 'val' THEN 1 ELSE 2 END, s.key, s.sha256
"""


@dataclass(frozen=True)
class Picture:
    """An image of a class.

    Attributes:
        key: of the class.
        sha256: of the stored file.
        file: its name below images/.
        reason: why it is dropped; None = kept.
        because: more of the reason.
        cosine: to the target on whose page it is; None where there is none.
        cosines: to all targets of its class, by label.
        zone: where that is beside the band.
        verdict: of a person.
        place, caption, page, creator, licence, licence_url: as of a candidate.
    """

    key: str
    sha256: str
    file: str
    width: int
    height: int
    reason: str | None
    because: str | None
    cosine: float | None
    cosines: dict[int, float]
    zone: Zone
    verdict: Verdict | None
    place: str
    caption: str | None
    page: str | None
    creator: str | None
    licence: str | None
    licence_url: str | None

    @property
    def thumbnail(self) -> str:
        """Its file in the gallery."""
        return thumbnail_of(self.file)

    @property
    def final(self) -> bool:
        """Whether no verdict keeps it."""
        return self.reason is not None and self.reason.startswith("copy_of_")


@dataclass(frozen=True)
class Strip:
    """A class beside a target.

    Attributes:
        sought: the class.
        rank, similarity: as of a pair; None for what is nobody's neighbor, or the target itself.
        also: the other targets that it is a neighbor of.
        verdict: of a person.
        whole: its images, by falling cosine, those without last.
        pictures: those on this page.
        unseen: candidates without a picture here, by reason.
        continued: whether its first pictures are on the page before.
    """

    sought: Sought
    rank: int | None
    similarity: float | None
    also: tuple[TargetClass, ...]
    verdict: Verdict | None
    whole: Sequence[Picture]
    pictures: Sequence[Picture]
    unseen: dict[str, int]
    continued: bool = False

    @property
    def own(self) -> bool:
        """Whether it is of further images of the target itself."""
        return self.sought.key.startswith(TARGET)

    @property
    def kept(self) -> int:
        """Images that are kept."""
        return sum(picture.reason is None for picture in self.whole)

    @property
    def suspect(self) -> str | None:
        """Which target it may be, as the selection told it."""
        return next((picture.because for picture in self.whole if picture.reason == "suspect"), None)

    @property
    def licences(self) -> list[tuple[str, int]]:
        """Of the kept images, the most frequent first; '' where none is known."""
        counts = Counter(picture.licence or "" for picture in self.whole if picture.reason is None)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


class Leak(NamedTuple):
    """A near-copy of an image of the target set.

    Attributes:
        picture: the copy.
        name: of its class.
        split, place, target, thumbnail: of the image of the target set; `target` is its class.
        how: it was found.
    """

    picture: Picture
    name: str
    split: str
    place: str
    target: TargetClass
    thumbnail: str
    how: str


@dataclass
class RefusedName:
    """A class that was proposed and is no neighbor.

    Attributes:
        key, name: of it.
        reason: of the name rules.
        clash: the target that it clashes with.
        targets: those that it was proposed for.
        verdict: of a person.
    """

    key: str
    name: str
    reason: str
    clash: TargetClass | None
    targets: list[TargetClass] = field(default_factory=list)
    verdict: Verdict | None = None

    @property
    def open(self) -> bool:
        """Whether a person's verdict changes it."""
        return self.reason in (Reason.NEAR_SYNONYM, Reason.REVIEWED)


class Numbers(NamedTuple):
    """Of the classes on a target's page: their images that are kept, and all of them."""

    kept: int
    pictures: int


class Exhibits:
    """What there is to see.

    Args:
        curation: whose.

    Raises:
        RunError: nothing was selected yet, or by a version that did not write the band down.
    """

    def __init__(self, curation: Curation) -> None:
        self._state = curation.state
        band = self._state.setting(BAND)
        if band is None:
            raise RunError("a selection to look at", "none yet, or one of an older version", "run do=selection first")
        self.bands: list[tuple[float, float]] = [(low, high) for low, high in json.loads(band)]
        self.targets = curation.targets()
        self.sought = {sought.key: sought for sought in curation.sought()}
        self._of_classes, self._of_images = of_classes(self._state), of_images(self._state)
        self._unseen = dict[str, dict[str, int]]()
        for key, reason, count in self._state.rows(_UNSEEN):
            self._unseen.setdefault(key, {})[reason] = count
        self._pairs = {target.label: list[tuple[str, int, float | None]]() for target in self.targets}
        self._parents = dict[str, list[TargetClass]]()
        for label, key, rank, similarity in self._state.rows(
            "SELECT target, key, rank, similarity FROM pair ORDER BY target, rank"
        ):
            self._pairs[label].append((key, rank, similarity))
            self._parents.setdefault(key, []).append(self.targets[label])

    @property
    def verdicts(self) -> int:
        """How many there are."""
        return len(self._of_classes) + len(self._of_images)

    @property
    def verdict_mark(self) -> str:
        """What tells these verdicts from others."""
        rows = list(self._state.rows("SELECT * FROM verdict ORDER BY key, sha256"))
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]

    @cached_property
    def own(self) -> dict[int, list[tuple[str, str]]]:
        """Thumbnails and places of the first training images of each target, by label."""
        found = {target.label: list[tuple[str, str]]() for target in self.targets}
        for label, place, content in self._state.rows(_OWN, OWN):
            found[label].append((thumbnail_of_reference(content), place))
        return found

    @property
    def random(self) -> int:
        """Classes that are nobody's neighbor."""
        return sum(key not in self._parents and not key.startswith(TARGET) for key in self.sought)

    def files(self) -> set[str]:
        """The names of all stored images that are shown."""
        return {
            name
            for (name,) in self._state.rows("SELECT name FROM image WHERE sha256 IN (SELECT sha256 FROM selection)")
        }

    @cached_property
    def _counts(self) -> dict[str, tuple[int, int]]:
        """Images of each class that are kept, and all."""
        rows = self._state.rows("SELECT key, sum(reason IS NULL), count(*) FROM selection GROUP BY key")
        return {key: (kept, pictures) for key, kept, pictures in rows}

    def numbers(self, label: int) -> Numbers:
        """Of the classes on a target's page."""
        counts = [self._counts.get(key, (0, 0)) for key in self._keys(label)]
        return Numbers(sum(kept for kept, _ in counts), sum(pictures for _, pictures in counts))

    def neighbors(self, label: int) -> list[Sought]:
        """The neighbors of a target, nearest first."""
        return [self.sought[key] for key, _, _ in self._pairs[label]]

    def strips(self, label: int) -> Iterator[Strip]:
        """The classes on a target's page: further images of its own first, then its neighbors, nearest first."""
        near = {key: (rank, similarity) for key, rank, similarity in self._pairs[label]}
        for key in self._keys(label):
            also = tuple(other for other in self._parents.get(key, ()) if other.label != label)
            rank, similarity = near.get(key, (None, None))
            yield self._strip(self.sought[key], label, rank, similarity, also)

    def nobodys(self) -> Iterator[Strip]:
        """The classes that are nobody's neighbor."""
        for key, sought in self.sought.items():
            if key not in self._parents and not key.startswith(TARGET):
                yield self._strip(sought, None, None, None, ())

    def suspects(self) -> list[tuple[Sought, str, list[TargetClass]]]:
        """Classes that may be a target, which one, and on whose pages they are."""
        rows = self._state.rows(
            "SELECT key, min(because) FROM selection JOIN sought USING (key) WHERE used AND reason = 'suspect' "
            "GROUP BY key"
        )
        return [(self.sought[key], of, self._parents.get(key, [])) for key, of in rows]

    def leaks(self) -> Iterator[Leak]:
        """Near-copies of images of the target set: of test images first."""
        pictures: dict[str, Picture] = {}
        last = None
        for split, of, how, label, content, key, sha256 in self._state.rows(_LEAKS, STORED):
            if key != last:
                pictures, last = {picture.sha256: picture for picture in self._pictures(key, None)}, key
            if (picture := pictures.get(sha256)) is not None:
                name = self.sought[key].name
                yield Leak(picture, name, split, of, self.targets[label], thumbnail_of_reference(content), how)

    def refused(self) -> list[RefusedName]:
        """Proposed classes that are no neighbors: those on which a person decides first."""
        found: dict[str, RefusedName] = {}
        for target, key, name, reason, clash in self._state.rows(
            "SELECT target, key, name, reason, clash FROM refused ORDER BY name, key, target"
        ):
            one = found.setdefault(
                key,
                RefusedName(
                    key, name, reason, None if clash is None else self.targets[clash], verdict=self._of_classes.get(key)
                ),
            )
            if target >= 0:
                one.targets.append(self.targets[target])
        order = (Reason.NEAR_SYNONYM, Reason.REVIEWED, *(reason for reason in Reason))
        return sorted(found.values(), key=lambda one: order.index(Reason(one.reason)))

    def licences(self) -> list[tuple[str, int]]:
        """Of all kept images, the most frequent first; '' where none is known."""
        return list(
            self._state.rows(
                "SELECT licence, count(*) FROM (SELECT coalesce(c.licence, '') AS licence, min(c.position) "
                "FROM selection s JOIN offered c USING (key, sha256) WHERE s.reason IS NULL AND c.form IS NOT NULL "
                "GROUP BY s.key, s.sha256) GROUP BY 1 ORDER BY 2 DESC, 1"
            )
        )

    def reasons(self) -> list[tuple[str | None, int]]:
        """Why images are dropped, None = kept, and how many."""
        return list(
            self._state.rows(
                "SELECT reason, count(*) FROM selection JOIN sought USING (key) WHERE used "
                "GROUP BY 1 ORDER BY 2 DESC, 1"
            )
        )

    def _keys(self, label: int) -> list[str]:
        own = f"{TARGET}{label}"
        return [*([own] if own in self.sought else []), *(key for key, _, _ in self._pairs[label])]

    def _strip(
        self,
        sought: Sought,
        label: int | None,
        rank: int | None,
        similarity: float | None,
        also: tuple[TargetClass, ...],
    ) -> Strip:
        pictures = sorted(
            self._pictures(sought.key, label),
            key=lambda picture: (_ZONES.index(picture.zone), -(picture.cosine or 0.0), picture.sha256),
        )
        verdict = self._of_classes.get(sought.key)
        return Strip(sought, rank, similarity, also, verdict, pictures, pictures, self._unseen.get(sought.key, {}))

    def _pictures(self, key: str, label: int | None) -> Iterator[Picture]:
        for sha256, reason, because, values, file, width, height, caption, place, *said, _ in self._state.rows(
            _PICTURES, key
        ):
            page, creator, licence, licence_url = said
            cosines = {int(of): value for of, value in json.loads(values).items()}
            cosine = None if label is None else cosines.get(label)
            zone: Zone = "nowhere" if cosine is None or label is None else self._zone(cosine, label)
            yield Picture(
                key=key,
                sha256=sha256,
                file=file,
                width=width,
                height=height,
                reason=reason,
                because=because,
                cosine=cosine,
                cosines=cosines,
                zone=zone,
                verdict=self._of_images.get((key, sha256)),
                place=place,
                caption=caption,
                page=page,
                creator=creator,
                licence=licence,
                licence_url=licence_url,
            )

    def _zone(self, cosine: float, label: int) -> Zone:
        low, high = self.bands[label]
        return "below" if not cosine > low else "inside" if cosine < high else "above"
