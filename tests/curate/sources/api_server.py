"""The test kit of sources on the web: a server on this machine whose answers, of our own making, have an API's shape.

A new source gets a `Shape` here and joins `SHAPES`: all tests of test_web_sources.py are then of it too.
"""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from lt_extrap.config.curate_source import (
    BraveSource,
    CommonsSource,
    INaturalistSource,
    OpenverseSource,
    WebSource,
)
from lt_extrap.curate.sources.brave import KEY, Brave
from lt_extrap.curate.sources.commons import Commons
from lt_extrap.curate.sources.inaturalist import INaturalist
from lt_extrap.curate.sources.openverse import TOKEN, Openverse

CONTACT = "curator@example.org"
SECRET = "k3y-of-the-test"


@dataclass
class Request:
    """What was asked."""

    path: str
    params: dict[str, str]
    headers: Mapping[str, str]


@dataclass
class Reply:
    """What is answered: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Server:
    """A server under way: its address, and all that it was asked."""

    url: str
    asked: list[Request]


@contextmanager
def serving(answer: Callable[[Request], Reply]) -> Iterator[Server]:
    """A server that answers so, on a port of its own, until the end of the block."""
    asked: list[Request] = []
    failed: list[Exception] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            params = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            asked.append(Request(parts.path, params, dict(self.headers)))
            try:
                reply = answer(asked[-1])
            except Exception as error:  # of a test: it is raised where the test is
                failed.append(error)
                reply = Reply(b"", 404)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if failed:
            raise failed[0]


@dataclass(frozen=True)
class Picture:
    """An image that an API has."""

    number: int
    of: str
    licence: str = "by-sa"
    unsafe: bool = False


def pictures(of: str, count: int, first: int = 0, **more: Any) -> list[Picture]:
    return [Picture(number, of, **more) for number in range(first, first + count)]


class Shape(ABC):
    """A source, and how its API answers.

    Attributes:
        has: the pictures of each name.
    """

    per_page: int
    control: str = "dog"
    config: type[WebSource]
    source: type
    needed: tuple[str, ...]  # keys whose lack is told, at the top or in what was found
    error: ClassVar[Any]  # an error that comes with status 200
    licences = True
    unsafe: str | None = None

    def __init__(self, has: Mapping[str, list[Picture]] | None = None) -> None:
        self.has = {self.control: pictures(self.control, 3), **(has or {})}

    def __call__(self, request: Request) -> Reply:
        return Reply(self.answer(request))

    @abstractmethod
    def name_of(self, request: Request) -> str:
        """The name that is asked for."""

    @abstractmethod
    def answer(self, request: Request) -> Any:
        """The page that is asked for."""

    @abstractmethod
    def address(self, picture: Picture) -> str:
        """What the place of a picture should become."""

    def open(self, url: str, pause: Callable[[float], None], **config: Any):
        return self.source(self.config(api=url, **config), CONTACT, pause=pause)

    def found(self, request: Request, start: int) -> list[Picture]:
        return self.has.get(self.name_of(request), [])[start : start + self.per_page]


class CommonsShape(Shape):
    per_page, config, source = 50, CommonsSource, Commons
    needed = ("pages", "index", "title", "imageinfo", "extmetadata", "descriptionurl")
    error: ClassVar = {"error": {"code": "badvalue", "info": "Unrecognized value for parameter"}}

    def name_of(self, request):
        return request.params["gsrsearch"].split('"')[1]

    def answer(self, request):
        start = int(request.params["gsroffset"])
        found = self.found(request, start)
        if not found:
            return {"batchcomplete": True}
        pages = [self._page(picture, start + number) for number, picture in enumerate(found, 1)]
        whole = {"batchcomplete": True, "query": {"pages": pages[::-1]}}  # as the API has them: in no order
        end = start + self.per_page
        if end < len(self.has[self.name_of(request)]):
            whole["continue"] = {"gsroffset": end, "continue": "gsroffset||"}
        return whole

    def address(self, picture):
        return f"https://thumb.wikimedia.org/{picture.number}/500px-{picture.number}.jpg"

    def _page(self, picture, index):
        code = picture.licence.upper()
        said = {
            "ImageDescription": f'<div lang="en">A {picture.of} &amp; <b>more</b></div>',
            "ObjectName": f"{picture.of} {picture.number}",
            "Artist": '<a href="//commons.wikimedia.org/wiki/User:J">J. Doe</a>',
            "LicenseShortName": f"CC {code} 4.0",
            "LicenseUrl": f"https://creativecommons.org/licenses/{picture.licence}/4.0",
            "Categories": "CC-BY-SA-4.0|Self-published work|Fish of Europe",
        }
        info = {
            "url": f"https://upload.wikimedia.org/{picture.number}.tif",
            "thumburl": self.address(picture),
            "thumbwidth": 500,
            "thumbheight": 375,
            "mime": "image/tiff",
            "user": "Uploader",
            "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{picture.number}.tif",
            "extmetadata": {key: {"value": value, "source": "commons-desc-page"} for key, value in said.items()},
        }
        title = f"File:{picture.of.capitalize()} no_{picture.number}.tif"
        return {"pageid": 9, "ns": 6, "title": title, "index": index, "imagerepository": "local", "imageinfo": [info]}


class OpenverseShape(Shape):
    per_page, config, source = 20, OpenverseSource, Openverse
    needed = ("page_count", "results", "url", "title", "mature", "license", "license_version", "creator")
    error: ClassVar = {"detail": "Request was throttled."}
    unsafe = "unsafe"

    def name_of(self, request):
        return request.params["q"].split('"')[1]

    def answer(self, request):
        page, count = int(request.params["page"]), len(self.has.get(self.name_of(request), ()))
        return {
            "result_count": count,
            "page_count": -(-count // self.per_page),
            "page_size": self.per_page,
            "page": page,
            "results": [self._work(picture) for picture in self.found(request, (page - 1) * self.per_page)],
        }

    def address(self, picture):
        return f"https://live.staticflickr.com/{picture.number}_b.jpg"

    def _work(self, picture):
        return {
            "id": f"0000-{picture.number}",
            "title": None if picture.number % 2 else f"My {picture.of}",
            "foreign_landing_url": f"https://www.flickr.com/photos/j/{picture.number}",
            "url": self.address(picture),
            "creator": "J. Doe",
            "creator_url": "https://www.flickr.com/photos/j",
            "license": picture.licence,
            "license_version": "4.0",
            "license_url": f"https://creativecommons.org/licenses/{picture.licence}/4.0/",
            "provider": "flickr",
            "source": "flickr",
            "tags": [{"name": picture.of, "accuracy": None}, {"name": "lake", "accuracy": 0.9}],
            "mature": picture.unsafe,
            "height": 768,
            "width": None,
            "thumbnail": f"https://api.openverse.org/v1/images/0000-{picture.number}/thumb/",
        }


class BraveShape(Shape):
    per_page, config, source = 200, BraveSource, Brave
    needed = ("query", "results", "properties", "title")
    error: ClassVar = {"type": "ErrorResponse", "error": {"code": "RATE_LIMITED", "status": 429}}
    licences = False
    unsafe = "unsafe"

    def name_of(self, request):
        return request.params["q"]

    def answer(self, request):
        found = self.found(request, 0)
        return {
            "type": "images",
            "query": {"original": self.name_of(request), "altered": None, "spellcheck_off": True},
            "results": [self._result(picture) for picture in found],
            "extra": {"might_be_offensive": any(picture.unsafe for picture in found)},
        }

    def address(self, picture):
        return f"https://example.org/{picture.number}.jpg"

    def _result(self, picture):
        return {
            "type": "image_result",
            "title": f"A {picture.of}",
            "url": f"https://example.org/page/{picture.number}",
            "source": "example.org",
            "thumbnail": {"src": "https://imgs.search.brave.com/x", "width": 500, "height": 375},
            "properties": {"url": self.address(picture), "placeholder": "https://imgs.search.brave.com/y"},
            "confidence": "high",
        }


class INaturalistShape(Shape):
    per_page, config, source, control = 200, INaturalistSource, INaturalist, "Anas platyrhynchos"
    needed = ("results", "id", "photos", "taxon", "uri", "url", "license_code", "attribution")
    error: ClassVar = {"error": "Error", "status": 422}
    unsafe = "flagged by people"

    def name_of(self, request):
        if request.path.endswith("/taxa"):
            return request.params["q"]
        return dict(enumerate(self.has)).get(int(request.params["taxon_id"]), "")

    def answer(self, request):
        name = self.name_of(request)
        if request.path.endswith("/taxa"):
            other = {"id": 99, "name": "Lota lota", "rank": "species", "matched_term": f"{name} burbot"}
            if not self.has.get(name):
                return {"total_results": 1, "results": [other]}
            own = {"id": list(self.has).index(name), "name": "Tinca tinca", "rank": "species", "matched_term": name}
            return {"total_results": 2, "results": [other, own]}
        below = int(request.params.get("id_below", 10**9))
        newest = [picture for picture in self.has.get(name, ()) if 10**6 - picture.number < below][: self.per_page]
        return {"total_results": 10_000, "page": 1, "results": [self._observation(picture) for picture in newest]}

    def address(self, picture):
        return f"https://inaturalist-open-data.s3.amazonaws.com/photos/{picture.number}/medium.jpg"

    def _observation(self, picture):
        number = 10**6 - picture.number
        photo = {
            "id": number,
            "license_code": "cc0" if picture.licence == "cc0" else f"cc-{picture.licence}",
            "url": self.address(picture).replace("medium", "square"),
            "attribution": "(c) J. Doe, some rights reserved",
            "original_dimensions": {"width": 2048, "height": 1536},
            "flags": [{"flag": "spam"}] if picture.unsafe else [],
        }
        return {
            "id": number,
            "uri": f"https://www.inaturalist.org/observations/{number}",
            "quality_grade": "research",
            "taxon": {"id": 1, "name": "Tinca tinca", "preferred_common_name": "Tench"},
            "photos": [photo, photo],
        }


SHAPES = {"commons": CommonsShape, "openverse": OpenverseShape, "brave": BraveShape, "inaturalist": INaturalistShape}
KEYS = (KEY, TOKEN)
