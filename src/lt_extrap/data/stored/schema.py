"""What a line of each file of an auxiliary set holds, and what is refused.

    set.json          format, target, made_by, and how many images, classes and pairs there are
    classes.jsonl     a class a line, by aux
    pairs.jsonl       a neighbor pair a line
    manifest.jsonl    an image a line, by aux and path
    provenance.json   how a curation made it; a set that was made otherwise has none
    README.md         its card, for people and hubs; attribution.csv: a row an image, in the order of the manifest

A record refuses what it must not hold with a ValueError that says why; readers add file and line.
"""

import math
import re
from dataclasses import dataclass, field

FORMAT = 1  # of the folder; another one is refused
HEADER, CLASSES, PAIRS, MANIFEST = "set.json", "classes.jsonl", "pairs.jsonl", "manifest.jsonl"
PROVENANCE, CARD, ATTRIBUTION = "provenance.json", "README.md", "attribution.csv"

# Also the ends of lines and paragraphs of Unicode, and halves of characters, which UTF-8 cannot spell.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_PART, _LONGEST_PATH = 255, 1024  # bytes; what comes before the path has to fit as well
_WNID = re.compile(r"n[0-9]{8}")
_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def why_unsafe(path: object) -> str | None:
    """Why a path may not be that of an image below a folder; None if it may.

    A path is `folder/.../file`: relative, no "..", no empty part, no backslash, no drive, no control character, and
    no longer than file systems take.
    """
    if type(path) is not str or not path:
        return "no text"
    if _CONTROL.search(path):
        return "a control character, or what UTF-8 cannot spell"
    if "\\" in path:
        return "a backslash"
    if path[0] == "/" or path[1:2] == ":":
        return "not relative"
    parts = path.split("/")
    if ".." in parts or "." in parts or "" in parts:
        return 'a part that is "..", "." or empty'
    if len(path.encode()) > _LONGEST_PATH or max(len(part.encode()) for part in parts) > _LONGEST_PART:
        return f"longer than {_LONGEST_PART} bytes a part or {_LONGEST_PATH} in all"
    return None


@dataclass(frozen=True)
class Header:
    """What set.json holds.

    Attributes:
        format: of the folder.
        target: name of the target set whose neighbors these are.
        made_by: program and version.
        images, classes, pairs: lines of the three files; fewer are a copy that was cut.
    """

    format: int
    target: str
    made_by: str
    images: int
    classes: int
    pairs: int

    def __post_init__(self) -> None:
        _number("format", self.format, 1)
        for name in ("images", "classes", "pairs"):
            _number(name, getattr(self, name), 0)
        _texts(self, "target", "made_by")


@dataclass(frozen=True)
class ImageRecord:
    """A line of manifest.jsonl. None where something is not known.

    Attributes:
        path: relative to the folder, or to the images folder that the user names (see `why_unsafe`).
        aux: its class.
        sha256: of the file, in hexadecimal.
        width, height: of the file, in pixels.
        caption: what the page said of it.
        source: who found it, such as a search engine.
        url, page: of the image, and where it was shown.
        creator, licence, licence_url: for attribution.csv.
        original_sha256: of the file at `url`, where this one was made of it; None where it is the same.
        cosine: similarity to each target it was proposed for, by the target's id, -1..1.
        flags: remarks of curation.
    """

    path: str
    aux: int
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    caption: str | None = None
    source: str | None = None
    url: str | None = None
    page: str | None = None
    creator: str | None = None
    licence: str | None = None
    licence_url: str | None = None
    original_sha256: str | None = None
    cosine: dict[str, float] | None = None
    flags: list[str] | None = None

    def __post_init__(self) -> None:
        if (reason := why_unsafe(self.path)) is not None:
            raise ValueError(f"the path {self.path!r:.200}: {reason}")
        _number("aux", self.aux, 0)
        for name, digits in (("sha256", self.sha256), ("original_sha256", self.original_sha256)):
            if digits is not None and (type(digits) is not str or not _SHA256.fullmatch(digits)):
                raise ValueError(f"{name} {digits!r:.100}: not 64 hexadecimal digits")
        for name, pixels in (("width", self.width), ("height", self.height)):
            if pixels is not None:
                _number(name, pixels, 1)
        _texts_or_none(self, "caption", "source", "url", "page", "creator", "licence", "licence_url")
        for name, link in (("url", self.url), ("page", self.page), ("licence_url", self.licence_url)):
            if link is not None and not link.startswith(("https://", "http://")):
                raise ValueError(f"{name} {link!r:.100}: not http:// or https://")
        if self.cosine is not None:
            if type(self.cosine) is not dict:
                raise ValueError(f"cosine {self.cosine!r:.100}: not {{target: value}}")
            for target, value in self.cosine.items():
                _text("a target of cosine", target)
                _finite(f"cosine of {target}", value, -1.001, 1.001)  # rounding of float16 features
        if self.flags is not None:
            _list_of_texts("flags", self.flags)


@dataclass(frozen=True)
class ClassRecord:
    """A line of classes.jsonl.

    Attributes:
        aux: id within the set, 0..K-1, the number of the line from 0.
        name: the class's name; not always unique.
        wnid: WordNet id, unique; None if it has none.
        spellings: accepted in a caption.
        gloss: what it is, in a sentence.
        proposer: who named it a neighbor.
    """

    aux: int
    name: str
    wnid: str | None = None
    spellings: list[str] = field(default_factory=list)
    gloss: str | None = None
    proposer: str | None = None

    def __post_init__(self) -> None:
        _number("aux", self.aux, 0)
        _texts(self, "name")
        _texts_or_none(self, "gloss", "proposer")
        if self.wnid is not None and not is_wnid(self.wnid):
            raise ValueError(f"wnid {self.wnid!r:.100}: not n and 8 digits")
        _list_of_texts("spellings", self.spellings)


@dataclass(frozen=True)
class PairRecord:
    """A line of pairs.jsonl: an auxiliary class is a neighbor of a target class.

    Attributes:
        target, target_name: id and name of the target class.
        aux: the auxiliary class.
        rank: 1 = the nearest of that target; None in a set without an order.
        similarity: None if it is not known.
    """

    target: str
    target_name: str
    aux: int
    rank: int | None = None
    similarity: float | None = None

    def __post_init__(self) -> None:
        _texts(self, "target", "target_name")
        _number("aux", self.aux, 0)
        if self.rank is not None:
            _number("rank", self.rank, 1)
        if self.similarity is not None:
            _finite("similarity", self.similarity, -math.inf, math.inf)


@dataclass(frozen=True)
class Fate:
    """What became of some candidates, or, at the stage `neighbors`, of some classes that were proposed.

    Attributes:
        stage: of curation; `kept` = they are in the set.
        reason: why they are not; None of those that are.
        shot: group of the target that their class is nearest to: many, medium, few; `-` = it is nobody's neighbor.
        count: how many they are.
    """

    stage: str
    reason: str | None
    shot: str
    count: int

    def __post_init__(self) -> None:
        _texts(self, "stage", "shot")
        _texts_or_none(self, "reason")
        _number("count", self.count, 0)


@dataclass(frozen=True)
class Comparison:
    """Images of the target set that near-copies were looked for of.

    Attributes:
        split: train, val or test.
        images: how many were compared.
        unread: how many could not be read, so that a copy of them was not found.
    """

    split: str
    images: int
    unread: int

    def __post_init__(self) -> None:
        _texts(self, "split")
        _number("images", self.images, 0)
        _number("unread", self.unread, 0)


@dataclass(frozen=True)
class Provenance:
    """What provenance.json holds: how a curation made the set. Nothing in it is of the machine that did.

    Attributes:
        settings: by their keys in a command, such as `proposer` and `filter.quantile_low`.
        fates: of all that was proposed and found.
        left_out: how many images the source found and did not offer, by reason.
        failures: how many candidates could not be read, by kind.
        compared: a split of the target set each; those that are not here were not compared.
        notes: what else a reader has to know, a sentence each.
    """

    settings: dict[str, str]
    fates: list[Fate]
    left_out: dict[str, int]
    failures: dict[str, int]
    compared: list[Comparison]
    notes: list[str]

    def __post_init__(self) -> None:
        for name in ("settings", "left_out", "failures"):
            if type(getattr(self, name)) is not dict:
                raise ValueError(f"{name} {getattr(self, name)!r:.100}: not an object")
        for key, value in self.settings.items():
            if not _KEY.fullmatch(key):
                raise ValueError(f"{key!r:.100} of settings: no key of a command")
            _text(f"{key} of settings", value)
        for name in ("left_out", "failures"):
            for reason, count in getattr(self, name).items():
                _text(f"a reason of {name}", reason)
                _number(f"{reason} of {name}", count, 0)
        _list_of_texts("notes", self.notes)


def is_wnid(value: object) -> bool:
    """Whether this is a WordNet id of a noun, such as n01440764."""
    return isinstance(value, str) and _WNID.fullmatch(value) is not None


def _text(name: str, value: object) -> None:
    # Printable texts, which are nearly all, need no search: a set has millions of texts.
    if type(value) is not str or not value.strip() or not (value.isprintable() or not _CONTROL.search(value)):
        raise ValueError(f"{name} {value!r:.100}: not a line of text")


def _texts(record: object, *names: str) -> None:
    for name in names:
        _text(name, getattr(record, name))


def _texts_or_none(record: object, *names: str) -> None:
    for name in names:
        if (value := getattr(record, name)) is not None:
            _text(name, value)


def _list_of_texts(name: str, values: object) -> None:
    if type(values) is not list:
        raise ValueError(f"{name} {values!r:.100}: not a list")
    for value in values:
        _text(f"one of {name}", value)


def _number(name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value < 2**31:
        raise ValueError(f"{name} {value!r:.100}: not a whole number in {least}..{2**31 - 1}")


def _finite(name: str, value: object, low: float, high: float) -> None:
    if type(value) not in (int, float) or not (low <= value <= high and math.isfinite(value)):  # type: ignore[operator, arg-type]
        raise ValueError(f"{name} {value!r:.100}: not a number" + (f" in {low}..{high}" if high < math.inf else ""))
