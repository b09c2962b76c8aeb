"""Brave's image search: https://api-dashboard.search.brave.com/app/documentation/image-search."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from lt_extrap.config.curate_source import BraveSource
from lt_extrap.curate.records import Candidate, Refused, Sought
from lt_extrap.curate.sources.said import caption, line
from lt_extrap.curate.sources.web import Hit, Web
from lt_extrap.curate.web.agent import agent
from lt_extrap.curate.web.api import Answer, Api, Limits

KEY = "BRAVE_API_KEY"
_LETTERS, _WORDS, _IMAGES = 400, 50, 200  # at most, of a question and of its answer


class Brave(Web[BraveSource]):
    """Images of the whole web, by the titles of their pages; nothing is known of their licences."""

    name = "brave"
    notes: tuple[str, ...] = (
        "brave: one paid request a class ($5 for 1,000 in 2026), and one more for each class without images",
        "brave: it tells no licences: whether these images may be used is for you to find out",
    )

    @cached_property
    def api(self) -> Api:
        """With a key, at most ten requests a second."""
        return Api(
            self.name,
            self.config.api,
            Limits(0.1),
            agent(self.contact),
            secret={"X-Subscription-Token": self.key(KEY, "a key of Brave's search API")},
            refused=f"look at {KEY}, and at what its plan allows",
            pause=self.pause,
        )

    def pages(self, sought: Sought) -> Iterator[Sequence[Hit]]:
        """One page; nothing of it is offered if it answers another question, or if Brave finds the question unsafe."""
        question = " ".join(line(sought.query or sought.name).split()[:_WORDS])[:_LETTERS]
        answer = self.api.get(
            "/images/search",
            {
                "q": question,
                "count": _IMAGES,
                "search_lang": self.config.language,
                "safesearch": "strict",
                "spellcheck": 0,
            },
        )
        query, extra = answer["query"], answer.get("extra")
        altered = query.get("altered")
        unsafe = extra is not None and extra["might_be_offensive"].truth()
        other = altered is not None and altered.text().casefold() != question.casefold()
        reason = "unsafe" if unsafe else "another question was answered" if other else None
        yield [partial(_candidate, hit, reason) for hit in answer["results"].items()]


def _candidate(hit: Answer, reason: str | None) -> Candidate | Refused:
    """An image, and the title of its page."""
    place = hit["properties"]["url"].address()
    if reason is not None:
        return Refused(place, reason)
    return Candidate(place, caption(hit["title"].text()), url=place, page=hit["url"].address())
