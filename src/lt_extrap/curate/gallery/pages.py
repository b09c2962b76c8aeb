"""Write the gallery: pages of each target class, of leaks and of names, and an index of all."""

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lt_extrap.bar import Bar
from lt_extrap.curate.curation import GALLERY, Curation
from lt_extrap.curate.gallery.exhibits import Exhibits, Picture, Strip
from lt_extrap.curate.gallery.thumbnails import THUMBNAILS, make_thumbnails, thumbnail_of
from lt_extrap.curate.gallery.words import word
from lt_extrap.curate.name_rules import Reason
from lt_extrap.curate.review import FORMAT, target_id

INDEX = "index.html"
PICTURES = 600  # of a page, at the most
_ROWS = 500  # of a table on a page
_CAPTION = 500  # letters of a caption


def write_gallery(curation: Curation) -> int:
    """Write the gallery of the last selection; thumbnails that are there stay.

    Returns:
        The exit status.

    Raises:
        RunError: nothing was selected yet.
    """
    writer = _Writer(curation, Exhibits(curation))
    writer.write()
    print(f"look at it: {(curation.folder / GALLERY / INDEX).resolve()}")
    return 0


class Sheet(NamedTuple):
    """A page of several that belong together.

    Attributes:
        name: of its file, below the gallery.
        number: 1 = the first.
        total: how many there are.
        before, behind: names of the pages beside it.
        content: strips or rows.
    """

    name: str
    number: int
    total: int
    before: str | None
    behind: str | None
    content: Sequence[Any]


def sheets(stem: str, contents: Sequence[Sequence[Any]]) -> list[Sheet]:
    """Number the pages of something; the first has its name."""
    names = [f"{stem}.html" if number == 1 else f"{stem}-{number}.html" for number in range(1, len(contents) + 1)]
    return [
        Sheet(name, i + 1, len(names), names[i - 1] if i else None, names[i + 1] if i + 1 < len(names) else None, of)
        for i, (name, of) in enumerate(zip(names, contents, strict=True))
    ]


def cut(strips: Iterable[Strip], most: int = PICTURES) -> list[list[Strip]]:
    """Strips by pages of so many pictures at the most; one that is longer is continued on the next page."""
    pages: list[list[Strip]] = [[]]
    room = most
    for strip in strips:
        if len(strip.pictures) > room and pages[-1]:
            pages.append([])
            room = most
        for start in range(0, max(1, len(strip.pictures)), most):
            if start:
                pages.append([])
                room = most
            part = strip.pictures[start : start + most]
            pages[-1].append(replace(strip, pictures=part, continued=start > 0))
            room -= max(1, len(part))
    return pages


class Axis(NamedTuple):
    """Where cosines are, in percent of a strip's width.

    Attributes:
        low, high: the cosines at its ends.
        band: of the target.
    """

    low: float
    high: float
    band: tuple[float, float]

    @classmethod
    def of(cls, cosines: Iterable[float], band: tuple[float, float]) -> "Axis":
        """The axis of a page: the same for all of its strips."""
        values = [*cosines, *(edge for edge in band if -1 < edge < 1)] or [0.0, 1.0]
        room = 0.04 * max(max(values) - min(values), 0.05)
        return cls(min(values) - room, max(values) + room, band)

    def at(self, cosine: float) -> str:
        """Where a cosine is; at an end what is beyond it."""
        share = (cosine - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"

    @property
    def bounded(self) -> bool:
        """Whether something may be above the band."""
        return self.band[1] < 1

    @property
    def width(self) -> str:
        """Of the band."""
        ends = [float(self.at(edge)[:-1]) for edge in self.band]
        return f"{ends[1] - ends[0]:.2f}%"


def linked(address: str | None) -> str | None:
    """An address of the web; None for any other, which is no link."""
    try:
        return address if address and urlsplit(address).scheme in ("http", "https") else None
    except ValueError:
        return None


def cosine(value: float | None) -> str:
    """Three digits, without the zero."""
    return "" if value is None else f"{value:.3f}".replace("0.", ".", 1)


class _Writer:
    """Writes all pages of a gallery.

    Args:
        curation: whose.
        exhibits: what there is to see.
    """

    def __init__(self, curation: Curation, exhibits: Exhibits) -> None:
        self._curation, self._exhibits = curation, exhibits
        self._folder = curation.folder / GALLERY
        self._written = set[str]()
        style, script = (
            resources.files(__package__).joinpath(f"templates/{name}") for name in ("style.css", "script.js")
        )
        self._pages = Environment(
            loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._pages.filters |= {"word": word, "linked": linked, "cosine": cosine, "thumbnail": thumbnail_of}
        self._pages.globals |= {
            "style": Markup(style.read_text(encoding="utf-8")),
            "script": Markup(script.read_text(encoding="utf-8")),
            "style_hash": _hash(style.read_text(encoding="utf-8")),
            "script_hash": _hash(script.read_text(encoding="utf-8")),
            "format": FORMAT,
            "set": curation.config.target.folder,
            "target_id": target_id(curation),
            "store": hashlib.sha256(str(curation.folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16],
            "taken_in": exhibits.verdict_mark,
            "about": self._about,
        }

    def write(self) -> None:
        """Write them, the index last, and remove older pages and thumbnails; other files are somebody's."""
        exhibits, folder = self._exhibits, self._folder
        leaks, names = list(exhibits.leaks()), exhibits.refused()
        references = {name: place for own in exhibits.own.values() for name, place in own}
        references |= {leak.thumbnail: leak.place for leak in leaks}
        stored = exhibits.files()
        make_thumbnails(self._curation, folder, stored, references)
        (folder / "classes").mkdir(exist_ok=True)
        self._classes()
        counts = {"leaks": len(leaks), "names": sum(one.open for one in names)}
        for sheet in sheets("leaks", _rows(leaks)):
            self._page("leaks.html", sheet.name, sheet=sheet, count=len(leaks), suspects=exhibits.suspects())
        for sheet in sheets("names", _rows(names)):
            near = any(one.reason == Reason.NEAR_SYNONYM for one in names)
            self._page("names.html", sheet.name, sheet=sheet, count=len(names), near=near)
        reasons = exhibits.reasons()
        self._page(
            "index.html",
            INDEX,
            exhibits=exhibits,
            counts=counts,
            licences=exhibits.licences(),
            reasons=reasons,
            total=sum(count for _, count in reasons),
            most=max((count for _, count in reasons), default=1),
        )
        known = self._written | references.keys() | {thumbnail_of(name) for name in stored}
        for file in (*folder.glob("*.html"), *folder.glob("classes/*.html"), *folder.glob(f"{THUMBNAILS}/*/*")):
            if file.relative_to(folder).as_posix() not in known:
                file.unlink()

    def _classes(self) -> None:
        """The pages of target classes, and those of classes that are nobody's neighbor."""
        exhibits, targets = self._exhibits, self._exhibits.targets
        with Bar("pages") as bar:
            for number, target in enumerate(targets):
                strips = list(exhibits.strips(target.label))
                values = [one.cosine for strip in strips for one in strip.pictures if one.cosine is not None]
                band = exhibits.bands[target.label]  # not a number for a class without training images
                beside = [targets[other] if 0 <= other < len(targets) else None for other in (number - 1, number + 1)]
                for sheet in sheets(f"classes/{target.label}", cut(strips)):
                    self._page(
                        "class.html",
                        sheet.name,
                        sheet=sheet,
                        target=target,
                        own=exhibits.own[target.label],
                        axis=None if math.isnan(sum(band)) else Axis.of(values, band),
                        beside=beside,
                    )
                bar.show(number + 1, len(targets))
                self._curation.stop.answer()
        if exhibits.random:
            for sheet in sheets("classes/random", cut(exhibits.nobodys())):
                self._page("class.html", sheet.name, sheet=sheet, target=None, own=[], axis=None, beside=[None, None])

    def _page(self, template: str, name: str, **content: Any) -> None:
        text = self._pages.get_template(template).render(root="../" * name.count("/"), **content)
        (self._folder / name).write_bytes(text.encode("utf-8", "replace"))
        self._written.add(name)

    def _about(self, picture: Picture) -> dict[str, str]:
        """What is told of a picture when it is looked at: of what is known."""
        targets, caption = self._exhibits.targets, picture.caption or ""
        known = {
            "file": picture.file,
            "why": word(picture.reason),
            "because": picture.because,
            "caption": caption if len(caption) <= _CAPTION else f"{caption[:_CAPTION]}...",
            "cosine": ", ".join(f"{cosine(value)} {targets[label].name}" for label, value in picture.cosines.items()),
            "size": f"{picture.width}\N{MULTIPLICATION SIGN}{picture.height}",
            "licence": picture.licence,
            "licencePage": linked(picture.licence_url),
            "creator": picture.creator,
            "page": linked(picture.page),
            "place": picture.place,
        }
        return {what: told for what, told in known.items() if told}


def _rows(rows: Sequence[Any]) -> list[Sequence[Any]]:
    return [rows[start : start + _ROWS] for start in range(0, max(1, len(rows)), _ROWS)]


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
