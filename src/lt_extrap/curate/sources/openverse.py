"""Openverse, which finds works under open licences: https://api.openverse.org/v1/."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from lt_extrap.config.curate_source import OpenverseSource
from lt_extrap.curate.licences import name as licence_name
from lt_extrap.curate.records import Candidate, Refused, Sought
from lt_extrap.curate.sources.said import caption, line
from lt_extrap.curate.sources.web import Hit, Web, phrase
from lt_extrap.curate.web.agent import agent
from lt_extrap.curate.web.api import Answer, Api, Limits
from lt_extrap.errors import ConfigError

TOKEN = "OPENVERSE_TOKEN"
_WITHOUT_TOKEN = 20  # images a page


class Openverse(Web[OpenverseSource]):
    """Openverse: at most 240 works a class; what it marks as sensitive is left out."""

    name = "openverse"
    notes: tuple[str, ...] = (
        f"openverse: 200 requests a day without a token in ${TOKEN}, 10,000 with one; 240 works a class",
    )

    @cached_property
    def api(self) -> Api:
        """20 requests a minute, with a token 100."""
        token = self.key(TOKEN, "a token of Openverse") if TOKEN in os.environ else None
        if token is None and self.config.page_size > _WITHOUT_TOKEN:
            raise ConfigError(
                f"source.page_size of at most {_WITHOUT_TOKEN} without a token",
                str(self.config.page_size),
                f"export {TOKEN}=<it>, or lower source.page_size",
            )
        return Api(
            self.name,
            self.config.api,
            Limits(3.0 if token is None else 0.6),
            agent(self.contact),
            secret={} if token is None else {"Authorization": f"Bearer {token}"},
            refused=f"look at {TOKEN}: tokens end after hours; the same command goes on",
            pause=self.pause,
        )

    def pages(self, sought: Sought) -> Iterator[Sequence[Hit]]:
        """Pages of `page_size` works."""
        licences = {} if self.config.licences is None else {"license": ",".join(self.config.licences)}
        page = 1
        while True:
            answer = self.api.get(
                "/images/",
                {
                    "q": phrase(sought, 200),
                    "page": page,
                    "page_size": self.config.page_size,
                    "mature": "false",
                    "filter_dead": "true",
                    **licences,
                },
            )
            last = answer["page_count"].whole()
            yield [partial(_candidate, hit) for hit in answer["results"].items()]
            if page >= last:
                return
            page += 1


def _candidate(hit: Answer) -> Candidate | Refused:
    """A work; its tags are part of what is said of it."""
    place = hit["url"].address()
    if hit["mature"].truth():
        return Refused(place, "unsafe")
    tags = hit.get("tags")
    version = hit["license_version"].text_or_none()
    address = hit.get("license_url")
    return Candidate(
        place=place,
        caption=caption(hit["title"].text_or_none(), *(tag["name"].text() for tag in (tags.items() if tags else ()))),
        url=place,
        page=hit["foreign_landing_url"].address(),
        creator=line(hit["creator"].text_or_none() or "") or None,
        licence=licence_name(line(hit["license"].text()), line(version or "")),
        licence_url=None if address is None else address.address(),
    )
