"""iNaturalist: photographs of species, by the observations of its API: https://api.inaturalist.org/v1/docs/."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from lt_extrap.config.curate_source import INaturalistSource
from lt_extrap.curate.licences import code, name
from lt_extrap.curate.names import forms, normal
from lt_extrap.curate.records import Candidate, Refused, Sought
from lt_extrap.curate.sources.said import caption, line
from lt_extrap.curate.sources.web import Hit, Web
from lt_extrap.curate.web.agent import agent
from lt_extrap.curate.web.api import Answer, Api, Limits

_PER_PAGE = 200
_SPELLINGS = 3  # that are looked up, at most
_LICENCES = ("cc0", "by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd")
_SQUARE = re.compile(r"/square(\.\w+)(\?.*)?$")  # 75 pixels; medium has 500


class INaturalist(Web[INaturalistSource]):
    """Observations of the species or genus that has one of the spellings of a class; one photograph of each."""

    name = "inaturalist"
    notes: tuple[str, ...] = (
        "inaturalist: 60 requests a minute and 10,000 a day; two or more of them a class",
        "inaturalist: only classes that are a species or a genus, by their scientific or their English name",
    )
    control = Sought("name:mallard", "Anas platyrhynchos", ("Anas platyrhynchos",))

    @cached_property
    def api(self) -> Api:
        """At most one request a second."""
        return Api(self.name, self.config.api, Limits(1.0, 10_000), agent(self.contact), pause=self.pause)

    def pages(self, sought: Sought) -> Iterator[Sequence[Hit]]:
        """Pages of 200 observations, the newest first."""
        if (taxon := self._taxon(sought)) is None:
            return
        wanted = [licence for licence in _LICENCES if licence in (self.config.licences or _LICENCES)]
        further: dict[str, str | int] = {}
        while True:
            answer = self.api.get(
                "/observations",
                {
                    "taxon_id": taxon,
                    "photos": "true",
                    "photo_license": ",".join(licence if licence == "cc0" else f"cc-{licence}" for licence in wanted),
                    "quality_grade": "research" if self.config.quality == "research" else "research,needs_id,casual",
                    "order_by": "id",
                    "order": "desc",
                    "per_page": _PER_PAGE,
                    **further,
                },
            )
            found = answer["results"].items()
            yield [partial(_candidate, hit, sought.name) for hit in found]
            if len(found) < _PER_PAGE:
                return
            further = {"id_below": min(hit["id"].whole() for hit in found)}

    def _taxon(self, sought: Sought) -> int | None:
        """The species or genus that is called as a class is; of several the first."""
        for spelling in sought.spellings[:_SPELLINGS]:
            answer = self.api.get("/taxa", {"q": line(spelling), "rank": "species,genus", "per_page": 5})
            for taxon in answer["results"].items():
                common = taxon.get("preferred_common_name")
                names = (taxon["name"], taxon.get("matched_term"), common)
                if any(found is not None and normal(found.text()) in forms(spelling) for found in names):
                    return taxon["id"].whole()
        return None


def _candidate(hit: Answer, sought: str) -> Candidate | Refused:
    """The first photograph of an observation, which is of the class that was asked for."""
    photo, taxon = hit["photos"].first(), hit["taxon"]
    page, square = hit["uri"].address(), photo["url"].address()
    place, changed = _SQUARE.subn(r"/medium\1", square)
    if not changed:
        raise photo["url"].changed("an address that ends with /square.<ending>")
    licence = photo["license_code"].text_or_none()
    if licence is None:
        return Refused(place, "licence: none")
    flags = photo.get("flags")
    if flags is not None and flags.items():
        return Refused(place, "flagged by people")
    common = taxon.get("preferred_common_name")
    known = code(licence, None)
    return Candidate(
        place=place,
        caption=caption(sought, None if common is None else common.text(), taxon["name"].text()),
        url=place,
        page=page,
        creator=line(photo["attribution"].text()) or None,
        licence=line(licence) if known is None else name(known),
    )
