"""Wikimedia Commons, by the search of its API: https://www.mediawiki.org/wiki/API:Search."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from lt_extrap.config.curate_source import CommonsSource
from lt_extrap.curate.caption_rule import without_html
from lt_extrap.curate.records import Candidate, Refused, Sought
from lt_extrap.curate.sources.said import address, caption, line
from lt_extrap.curate.sources.web import Hit, Web, phrase
from lt_extrap.curate.web.agent import agent
from lt_extrap.curate.web.api import Answer, Api, Limits
from lt_extrap.errors import ConfigError, DataError

_PER_PAGE = 50
_TITLE = re.compile(r"File:(.*?)(\.\w{3,4})?", re.DOTALL)
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif")
_ASKED = "ImageDescription|ObjectName|Artist|LicenseShortName|LicenseUrl|Categories"
_OF_HOUSEKEEPING = re.compile(
    r"(CC|PD|GFDL|FAL|Licen[cs]e|Self-published|Author|Taken with|Uploaded|Files|Images (from|by|with|uploaded)|Media|"
    r"Photographs by|Pages|All |Quality|Featured|Valued|Wiki|Flickr|Creative Commons|Artworks with)",
)
_AGAIN = ("maxlag", "ratelimited", "readonly", "internal_api_error", "cirrussearch-")  # beginnings of codes


class Commons(Web[CommonsSource]):
    """Wikimedia Commons: thumbnails at the addresses that its API returns, since it serves no others."""

    name = "commons"
    notes: tuple[str, ...] = (
        "commons: 200 requests a minute, of 50 images each",
        "commons: it has no safe search; its captions and the filters decide alone",
    )

    @cached_property
    def api(self) -> Api:
        """At most 200 requests a minute, for who says whom to write to."""
        if self.contact is None:
            raise ConfigError(
                "download.contact, without which Wikimedia answers hardly anybody",
                "none",
                "give download.contact=<your mail address or page>, or set LT_EXTRAP_CONTACT",
            )
        remedy = "look at download.contact: it has to be yours, and to be reached"
        limits, called = Limits(0.3), agent(self.contact)
        return Api(self.name, self.config.api, limits, called, refused=remedy, busy=_busy, pause=self.pause)

    def pages(self, sought: Sought) -> Iterator[Sequence[Hit]]:
        """Fifty files a page; the API lists them in no order, with the place of each."""
        further: dict[str, str | int] = {"gsroffset": 0}
        while True:
            answer = self.api.get(
                "",
                {
                    "action": "query",
                    "format": "json",
                    "formatversion": 2,
                    "maxlag": 5,
                    "generator": "search",
                    "gsrnamespace": 6,
                    "gsrsearch": f"filetype:bitmap {phrase(sought, 250)}",
                    "gsrlimit": _PER_PAGE,
                    "prop": "imageinfo",
                    "iiprop": "url|mime|user|extmetadata",
                    "iiurlwidth": self.config.width,
                    "iiextmetadatalanguage": "en",
                    "iiextmetadatafilter": _ASKED,
                    **further,
                },
            )
            if (error := answer.get("error")) is not None:
                raise DataError(
                    f"{self.name}: an answer of {self.config.api}",
                    f"the error {error['code'].text()}: {error['info'].text()}",
                    "look at source.api; if it is right, the API has changed",
                )
            more = answer.get("continue")
            if (found := answer.get("query")) is None:
                answer["batchcomplete"].truth()  # how it says that there is nothing
                return
            whole = answer.get("batchcomplete") is not None  # else what lacks here comes with the next answer
            hits = sorted(found["pages"].items(), key=lambda hit: hit["index"].whole())
            yield [partial(_candidate, hit) for hit in hits if whole or hit.get("imageinfo") is not None]
            if more is None:
                return
            further = {key: value for key, value in more.value.items() if isinstance(value, str | int)}


def _candidate(hit: Answer) -> Candidate | Refused:
    """A file, with what is said of it in English."""
    info = hit["imageinfo"].first()
    said = {}
    for key in _ASKED.split("|"):
        if (found := info["extmetadata"].get(key)) is not None:
            said[key] = " ".join(line(without_html(_text(found["value"]))).split())
    user = info.get("user")
    title = _TITLE.fullmatch(hit["title"].text())
    categories = said.get("Categories", "").split("|")
    place = info.get("thumburl") or (info["url"] if info["mime"].text() in _SHOWN else None)
    if place is None:
        return Refused(info["url"].address(), "no thumbnail")
    return Candidate(
        place=place.address(),
        caption=caption(
            (title[1] if title else hit["title"].text()).replace("_", " "),
            said.get("ObjectName"),
            said.get("ImageDescription"),
            *(category for category in categories if not _OF_HOUSEKEEPING.match(category)),
        ),
        url=place.address(),
        page=info["descriptionurl"].address(),
        creator=said.get("Artist") or (user and line(user.text())) or None,
        licence=said.get("LicenseShortName") or None,
        licence_url=address(re.sub("^//", "https://", said.get("LicenseUrl", ""))),
    )


def _text(value: Answer) -> str:
    """Some values are numbers."""
    return str(value.value) if isinstance(value.value, int | float) else value.text()


def _busy(answer: Answer) -> str | None:
    """Errors that come with status 200 and pass by."""
    error = answer.get("error")
    if error is None or not error["code"].text().startswith(_AGAIN):
        return None
    return f"{error['code'].text()}: {error['info'].text()}"
