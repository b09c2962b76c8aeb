"""A server on this machine that behaves as hosts of the web do at their worst, and what has to become of each request.

`BEHAVIOURS` maps the path of each to the kind of failure that it ends in, None where it is an image. Hosts are named
`*.example`; what is known of a host alone (its robots.txt, its addresses) goes by `ROBOTS` and `ADDRESSES`.
"""

import asyncio
import csv
import gzip
import io
import json
import os
import socket
import ssl
import struct
import threading
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import trustme
from PIL import Image

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
TICK = 0.02  # seconds between the bytes of a drip
HOME = ip_address("127.0.0.1")


@cache
def picture(kind: str = "JPEG", seed: int = 0, edge: int = 96, **options) -> bytes:
    """A picture of noise over a gradient: nothing that is blank, and no two seeds alike."""
    rows, columns = np.mgrid[0:edge, 0:edge] * (255 / edge)
    noise = np.random.default_rng(seed).integers(0, 60, (edge, edge, 3))
    pixels = np.clip(np.stack([rows, columns, 255 - rows], -1) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def bomb(edge: int = 12_000) -> bytes:
    """A PNG of some kilobytes that is 144 megapixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((edge // 8 + 1) * edge), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body>" + b"<p>Please log in.</p>" * 40
NOT_IMAGES = {
    "page.jpg": PAGE,
    "page-with-mark.jpg": b"\xef\xbb\xbf\r\n <HTML>" + PAGE,
    "nothing.jpg": b"",
    "json.jpg": json.dumps({"error": "not found"}).encode(),
    "svg.jpg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "text.jpg": b"Too many requests. Come back later.",
    "pdf.jpg": b"%PDF-1.7 " + bytes(600),
    "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0 " + bytes(600),
    "tiff.jpg": b"II*\0" + bytes(600),
    "icon.jpg": b"\0\0\1\0\1\0" + bytes(600),
    "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(600),
    "video.jpg": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(600),
    "zip.jpg": b"PK\3\4" + bytes(600),
    "program.jpg": b"\x7fELF" + bytes(600),
    "noise.jpg": b"\x93\x01" * 400,
    "camera.jpg": b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + b"x" * 600,
}
IMAGES = {
    "jpeg": picture(),
    "png": picture("PNG"),
    "webp": picture("WEBP"),
    "gif": picture("GIF"),
    "avif": picture("AVIF"),
    "bmp": picture("BMP"),
}
# What begins as an image: whether it is one, only a decoder can tell.
TRAPS = {
    "cut.jpg": picture()[: len(picture()) // 2],
    "cut.png": picture("PNG")[: len(picture("PNG")) // 2],
    "144-megapixels.png": bomb(),
    "page-behind-a-mark.jpg": b"\xff\xd8\xff\xe0" + PAGE,
    "damaged.png": picture("PNG")[:60] + bytes(40) + picture("PNG")[100:],
}


@dataclass
class Visit:
    """A request, and the connection that it came by."""

    server: "HostileServer"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str
    target: str
    headers: Mapping[str, str]
    before: int  # requests for the same before it
    close: bool = False

    async def send(self, content: bytes) -> None:
        self.server.sent[self.target] += len(content)
        self.writer.write(content)
        await self.writer.drain()

    async def head(self, status: int, *headers: tuple[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} So", *(f"{name}: {value}" for name, value in headers)]
        await self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    async def answer(self, status: int = 200, body: bytes = b"", *headers: tuple[str, str]) -> None:
        length = [] if status in (204, 304) else [("Content-Length", str(len(body)))]
        await self.head(status, *headers, *length)
        await self.send(body)

    async def image(self, *headers: tuple[str, str]) -> None:
        await self.answer(200, picture(), ("Content-Type", "image/jpeg"), *headers)

    async def redirect(self, to: str, status: int = 302) -> None:
        await self.answer(status, PAGE, ("Location", to.replace("{port}", str(self.server.port))))

    async def forever(self, content: bytes, pause: float = TICK) -> None:
        while not self.left():
            await self.send(content)
            await asyncio.sleep(pause)

    async def until_left(self) -> None:
        while not self.left():
            await asyncio.sleep(TICK)

    def left(self) -> bool:
        return self.reader.at_eof() or self.writer.is_closing()

    def garble(self) -> None:
        """Send what is not of TLS, past the TLS that there may be."""
        os.write(self.writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x00\x30" + b"z" * 48)
        self.close = True

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.close = True


Behaviour = Callable[[Visit], Awaitable[None]]
_HANDLERS: dict[str, Behaviour] = {}
BEHAVIOURS: dict[str, str | None] = {}
HASTY = set[str]()  # those that only a deadline ends


def _behaves(path: str, ends: str | None, *, hasty: bool = False):
    def register(handler: Behaviour) -> Behaviour:
        BEHAVIOURS[path], _HANDLERS[path] = ends, handler
        if hasty:
            HASTY.add(path)
        return handler

    return register


# --- images ---------------------------------------------------------------------------------------------------------
def _sends(path: str, ends: str | None, status: int, body: bytes, *headers: tuple[str, str]) -> None:
    _behaves(path, ends)(lambda visit: visit.answer(status, body, *headers))


for _kind, _content in IMAGES.items():
    _sends(f"image/{_kind}", None, 200, _content, ("Content-Type", "text/html"))
for _name, _content in TRAPS.items():
    _sends(f"trap/{_name}", None, 200, _content, ("Content-Type", "image/jpeg"))
for _name, _content in NOT_IMAGES.items():
    _sends(f"other/{_name}", "not_image", 200, _content, ("Content-Type", "image/jpeg"))
_sends("ä b/Größe 50%.jpg", None, 200, picture())
_sends("query.jpg?size=big&name=a%20b&x=[1]", None, 200, picture())

# --- statuses -------------------------------------------------------------------------------------------------------
for _status, _ends in {
    201: "http_2xx",
    204: "http_2xx",
    206: "http_2xx",
    300: "redirects",
    304: "redirects",
    401: "http_4xx",
    403: "http_4xx",
    404: "http_404",
    410: "http_404",
    418: "http_4xx",
    451: "http_4xx",
    500: "http_5xx",
    502: "http_5xx",
    503: "http_5xx",
    599: "http_5xx",
    700: "protocol",
}.items():
    _sends(f"status/{_status}.jpg", _ends, _status, b"" if _status in (204, 304) else picture())


@_behaves("status/500-once.jpg", None)
async def _(visit):
    await (visit.image() if visit.before else visit.answer(500, PAGE))


# --- slow and endless -----------------------------------------------------------------------------------------------
@_behaves("slow/silence.jpg", "timeout", hasty=True)
async def _(visit):
    await visit.until_left()


@_behaves("slow/drip-of-headers.jpg", "timeout", hasty=True)
async def _(visit):
    await visit.send(b"HTTP/1.1 200 So\r\nX-Long: ")
    await visit.forever(b"a")


@_behaves("slow/drip-of-body.jpg", "slow", hasty=True)
async def _(visit):
    await visit.head(200, ("Content-Length", "90000"))
    await visit.forever(b"\xff\xd8\xff\xe0")


@_behaves("slow/steady-for-ever.jpg", "timeout", hasty=True)
async def _(visit):
    await visit.head(200)
    await visit.send(picture())
    await visit.forever(bytes(500))


@_behaves("slow/silence-in-the-middle.jpg", "timeout", hasty=True)
async def _(visit):
    await visit.head(200, ("Content-Length", "90000"))
    await visit.send(picture()[:1000])
    await visit.until_left()


@_behaves("large/endless-chunks.jpg", "large")
async def _(visit):
    await visit.head(200, ("Transfer-Encoding", "chunked"))
    await visit.send(b"%x\r\n%s\r\n" % (len(picture()), picture()))
    await visit.forever(b"4000\r\n" + bytes(0x4000) + b"\r\n", 0)


@_behaves("large/in-crumbs.jpg", "slow")
async def _(visit):
    await visit.head(200, ("Transfer-Encoding", "chunked"))
    await visit.send(b"".join(b"1\r\n%c\r\n" % byte for byte in picture()) + b"0\r\n\r\n")


@_behaves("large/without-a-length.jpg", "large")
async def _(visit):
    await visit.head(200)
    await visit.send(picture())
    await visit.forever(bytes(0x4000), 0)


@_behaves("large/by-its-own-word.jpg", "large")
async def _(visit):
    await visit.head(200, ("Content-Length", str(10**13)))
    await visit.send(picture())
    await visit.forever(bytes(0x400))


@_behaves("large/gzip-bomb.jpg", "not_image")
async def _(visit):
    body = gzip.compress(bytes(20_000_000), 6)
    await visit.answer(200, body, ("Content-Encoding", "gzip"), ("Content-Type", "image/jpeg"))


_sends("large/gzip.jpg", "not_image", 200, gzip.compress(picture()), ("Content-Encoding", "gzip"))


# --- lies and breaks ------------------------------------------------------------------------------------------------
@_behaves("broken/longer-than-it-is.jpg", "truncated")
async def _(visit):
    await visit.head(200, ("Content-Length", str(2 * len(picture()))))
    await visit.send(picture())
    visit.close = True


@_behaves("broken/shorter-than-it-is.jpg", None)  # a cut image, which the decoder finds
async def _(visit):
    await visit.head(200, ("Content-Length", str(len(picture()) // 2)))
    await visit.send(picture())


@_behaves("broken/two-answers-to-one-request.jpg", None)
async def _(visit):
    await visit.image()
    await visit.answer(200, NOT_IMAGES["pdf.jpg"])


@_behaves("broken/an-answer-too-much.jpg", None)  # as some servers send 408 to a connection before they end it
async def _(visit):
    await visit.image()
    await asyncio.sleep(0.05)
    await visit.answer(408, PAGE)


@_behaves("broken/no-last-chunk.jpg", "truncated")
async def _(visit):
    await visit.head(200, ("Transfer-Encoding", "chunked"))
    await visit.send(b"%x\r\n%s\r\n" % (len(picture()), picture()))
    visit.close = True


@_behaves("broken/chunks-of-no-size.jpg", "truncated")
async def _(visit):
    await visit.head(200, ("Transfer-Encoding", "chunked"))
    await visit.send(b"%x\r\n%s\r\nzz\r\n" % (len(picture()), picture()))
    visit.close = True


@_behaves("broken/cut-once.jpg", None)
async def _(visit):
    if visit.before:
        return await visit.image()
    await visit.head(200, ("Content-Length", str(len(picture()))))
    await visit.send(picture()[:700])
    visit.close = True
    return None


@_behaves("broken/reset.jpg", "connect")
async def _(visit):
    visit.reset()


@_behaves("broken/reset-when-idle.jpg", None)  # as load balancers do
async def _(visit):
    await visit.image()
    await asyncio.sleep(0.05)
    visit.reset()


@_behaves("broken/reset-once.jpg", None)
async def _(visit):
    await visit.image() if visit.before else visit.reset()


@_behaves("broken/no-answer-once.jpg", None)
async def _(visit):
    if visit.before:
        await visit.image()
    else:
        visit.close = True


@_behaves("broken/reset-in-the-middle.jpg", "truncated")
async def _(visit):
    await visit.head(200, ("Content-Length", "90000"))
    await visit.send(picture())
    await asyncio.sleep(0.1)
    visit.reset()


@_behaves("broken/no-answer.jpg", "protocol")
async def _(visit):
    visit.close = True


@_behaves("broken/no-http.jpg", "protocol")
async def _(visit):
    await visit.send(b"SSH-2.0-OpenSSH_9.9\r\n")
    visit.close = True


@_behaves("broken/the-image-alone.jpg", "protocol")
async def _(visit):
    await visit.send(picture())
    visit.close = True


@_behaves("broken/huge-header.jpg", "protocol")
async def _(visit):
    await visit.send(b"HTTP/1.1 200 So\r\nX-Long: ")
    await visit.forever(b"a" * 0x4000, 0)


@_behaves("broken/informed-ten-times.jpg", None)
async def _(visit):
    await visit.send(HINT * 10)
    await visit.image()


@_behaves("broken/informed-too-often.jpg", "protocol")
async def _(visit):
    await visit.send(HINT * 11)
    await visit.image()


@_behaves("broken/informed-for-ever.jpg", "protocol")
async def _(visit):
    await visit.forever(HINT)


@_behaves("broken/informed-at-once.jpg", "protocol")
async def _(visit):
    await visit.forever(HINT * 10_000, 0)


@_behaves("broken/two-lengths.jpg", "protocol")
async def _(visit):
    await visit.head(200, ("Content-Length", "10"), ("Content-Length", "9999"))
    await visit.send(picture())


@_behaves("broken/negative-length.jpg", "protocol")
async def _(visit):
    await visit.head(200, ("Content-Length", "-5"))
    await visit.send(picture())


@_behaves("broken/garbled.jpg", "protocol")
async def _(visit):
    visit.garble()


@_behaves("broken/garbled-in-the-middle.jpg", "truncated")
async def _(visit):
    await visit.head(200, ("Content-Length", "90000"))
    await visit.send(picture())
    visit.garble()


# --- redirects ------------------------------------------------------------------------------------------------------
def _redirects(path: str, ends: str | None, to: str, status: int = 302) -> None:
    _behaves(path, ends)(lambda visit: visit.redirect(to, status))


for _status in (301, 302, 303, 307, 308):
    _redirects(f"to/image-{_status}.jpg", None, "/image/jpeg", _status)
for _step in range(1, 8):  # /to/chain-5.jpg is five redirects from an image
    _redirects(f"to/chain-{_step}.jpg", None if _step <= 5 else "redirects", f"chain-{_step - 1}.jpg")
_redirects("to/chain-0.jpg", None, "../image/jpeg")
BEHAVIOURS["to/chain-5.jpg"] = "redirects"  # chain-0 is a redirect too
_redirects("to/itself.jpg", "redirects", "itself.jpg")
_redirects("to/circle-a.jpg", "redirects", "circle-b.jpg")
_redirects("to/circle-b.jpg", "redirects", "circle-a.jpg")
_redirects("to/page.jpg", "not_image", "/login?next=photo.jpg")
_redirects("to/placeholder.jpg", "placeholder", "/images/photo_unavailable.png")
_redirects("to/front.jpg", "placeholder", "/")
_redirects("to/file.jpg", "scheme", "file:///etc/passwd")
_redirects("to/ftp.jpg", "scheme", "ftp://files.example/photo.jpg")
_redirects("to/gopher.jpg", "scheme", "gopher://127.0.0.1:25/_HELO")
_redirects("to/data.jpg", "scheme", "data:image/png;base64,AAAA")
_redirects("to/script.jpg", "scheme", "javascript:alert(1)")
_redirects("to/mail-port.jpg", "url", "http://photos.example:25/photo.jpg")
_redirects("to/shell-port.jpg", "url", "http://127.0.0.1:22/")
_redirects("to/user.jpg", "url", "http://photos.example@127.0.0.1/")
_redirects("to/backslash.jpg", "url", "http://127.0.0.1\\@photos.example/")
_redirects("to/bracket.jpg", "url", "http://[::1/photo.jpg")
_redirects("to/gone.jpg", "http_404", "/status/410.jpg")
_redirects("to/another-host.jpg", None, "//b.example:{port}/image/jpeg")
_sends("login", "not_image", 200, PAGE)
_sends("images/photo_unavailable.png", None, 200, picture("PNG"))
_sends("", "not_image", 200, PAGE)


@_behaves("to/nowhere.jpg", "redirects")
async def _(visit):
    await visit.answer(302, PAGE)


@_behaves("to/two-places.jpg", "redirects")
async def _(visit):
    await visit.answer(302, PAGE, ("Location", "/image/jpeg"), ("Location", "/image/png"))


# --- waiting --------------------------------------------------------------------------------------------------------
@_behaves("wait/429.jpg", "http_429")
async def _(visit):
    await visit.answer(429, PAGE)


@_behaves("wait/once.jpg", None)
async def _(visit):
    await (visit.image() if visit.before else visit.answer(429, PAGE, ("Retry-After", "0.1")))


@_behaves("wait/once-until.jpg", None)
async def _(visit):
    if visit.before:
        return await visit.image()
    date = datetime(2001, 1, 1, tzinfo=UTC)  # the host's clock counts, however wrong it goes
    until = format_datetime(date + timedelta(seconds=1), usegmt=True)
    return await visit.answer(503, PAGE, ("Date", format_datetime(date, usegmt=True)), ("Retry-After", until))


@_behaves("wait/once-for-no-time.jpg", None)
async def _(visit):
    await (visit.image() if visit.before else visit.answer(503, PAGE, ("Retry-After", "soon")))


@_behaves("wait/a-day.jpg", "postponed")
async def _(visit):
    await visit.answer(429, PAGE, ("Retry-After", "86400"))


@_behaves("wait/until-2500.jpg", "postponed")
async def _(visit):
    await visit.answer(503, PAGE, ("Retry-After", "Mon, 01 Mar 2500 00:00:00 GMT"))


@_behaves("wait/for-ever.jpg", "postponed")
async def _(visit):
    await visit.answer(503, PAGE, ("Retry-After", "9" * 400))


# --- opt-outs -------------------------------------------------------------------------------------------------------
SAID = {
    "noai": "opt_out",
    "noimageai": "opt_out",
    "noml": "opt_out",
    "NoIndex": "opt_out",
    "noimageindex": "opt_out",
    "none": "opt_out",
    "noai, max-image-preview:large": "opt_out",
    "max-image-preview: large, noai": "opt_out",
    "noindex, unavailable_after: 25 Jun 2030 15:00:00 PST": "opt_out",
    "unavailable_after: Sunday, 06-Nov-94 08:49:37 GMT, noindex": "opt_out",
    "*: noai": "opt_out",
    "lt-extrap: noindex": "opt_out",
    "googlebot: nofollow, lt-extrap: noai": "opt_out",
    "all": None,
    "nofollow, noarchive": None,
    "max-image-preview:large": None,
    "googlebot: noindex": None,
    "googlebot: noindex, nofollow, none": None,
    "otherbot/2.0: noai": None,
    "unavailable_after: 25 Jun 2030 15:00:00 PST": None,
}
for _said, _ends in SAID.items():
    _sends(f"says/{quote(_said, safe='')}.jpg", _ends, 200, picture(), ("X-Robots-Tag", _said))
_sends("says/two.jpg", "opt_out", 200, picture(), ("X-Robots-Tag", "nofollow"), ("x-robots-tag", "noai"))
_sends("says/tdm.jpg", "opt_out", 200, picture(), ("TDM-Reservation", "1"))
_sends("says/no-tdm.jpg", None, 200, picture(), ("TDM-Reservation", "0"))
_sends("says/use.jpg", "opt_out", 200, picture(), ("Content-Usage", "search=y, train-ai=n"))
_sends("says/bots.jpg", "opt_out", 200, picture(), ("Content-Usage", "bots=n"))
_sends("says/any-use.jpg", None, 200, picture(), ("Content-Usage", "bots=n, train-ai=y"))
_sends("says/on-the-way.jpg", "opt_out", 302, PAGE, ("Location", "/image/jpeg"), ("X-Robots-Tag", "noai"))
_sends("says/cookie.jpg", None, 200, picture(), ("Set-Cookie", "who=you; Domain=example; Path=/"))


# --- robots.txt, by host --------------------------------------------------------------------------------------------
async def _endless_robots(visit: Visit) -> None:
    await visit.head(200)
    await visit.send(b"User-agent: *\nDisallow: /image/\n")
    await visit.forever(b"# more\n" * 3000, 0)


async def _crumbs_of_robots(visit: Visit) -> None:
    await visit.head(200, ("Transfer-Encoding", "chunked"))
    await visit.send(b"1\r\n#\r\n" * 4000 + b"0\r\n\r\n")


async def _dripping_robots(visit: Visit) -> None:
    await visit.head(200)
    await visit.forever(b"#")


def _many_rules() -> bytes:
    """What would be 27 million rules, were each copied to each robot that it is for."""
    robots = b"".join(b"User-agent: lt-extrap%d\n" % number for number in range(3000))
    return robots + b"".join(b"Disallow: /%d\n" % number for number in range(9000))


def _text(text: str | bytes) -> Behaviour:
    body = text.encode() if isinstance(text, str) else text
    return lambda visit: visit.answer(200, body, ("Content-Type", "text/plain"))


def _coded(coding: str, body: bytes, status: int = 200) -> Behaviour:
    return lambda visit: visit.answer(status, body, ("Content-Type", "text/plain"), ("Content-Encoding", coding))


_FORBIDS = b"User-agent: *\nDisallow: /\n"
# Host: what it answers, and what becomes of /image/jpeg there.
ROBOTS: dict[str, tuple[Behaviour, str | None]] = {
    "forbids.example": (_text("User-agent: *\nDisallow: /image/\n"), "robots"),
    "forbids-us.example": (_text("User-agent: LT-Extrap/1.0\nDisallow: /\n\nUser-agent: *\nAllow: /\n"), "robots"),
    "forbids-others.example": (_text("User-agent: GPTBot\nUser-agent: lt\nDisallow: /\n"), None),
    "allows-us.example": (_text("User-agent: *\nDisallow: /\nUser-agent: lt-extrap\nDisallow: /private\n"), None),
    "longest-counts.example": (_text("User-agent: *\nDisallow: /image/\nAllow: /image/j*g$\n"), None),
    "has-a-mark.example": (_text(b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /\r\n"), "robots"),
    "reserves.example": (_text("User-agent: *\nAllow: /\nContent-Usage: /image/ train-ai=n\n"), "opt_out"),
    "signals.example": (_text("User-agent: *\nContent-Signal: search=yes,ai-train=no\nAllow: /\n"), "opt_out"),
    "robots-404.example": (lambda visit: visit.answer(404, PAGE), None),
    "robots-403.example": (lambda visit: visit.answer(403, PAGE), None),
    "robots-429.example": (lambda visit: visit.answer(429, PAGE), "robots"),
    "robots-500.example": (lambda visit: visit.answer(500, PAGE), "robots"),
    "robots-page.example": (lambda visit: visit.answer(200, PAGE), None),
    "robots-moved.example": (lambda visit: visit.redirect("//forbids.example:{port}/robots.txt", 301), "robots"),
    "robots-circle.example": (lambda visit: visit.redirect("/robots.txt", 301), "robots"),
    "robots-private.example": (lambda visit: visit.redirect("http://10.0.0.1/robots.txt"), "robots"),
    "robots-endless.example": (_endless_robots, "robots"),
    "robots-of-many.example": (_text(_many_rules()), None),
    "robots-crumbs.example": (_crumbs_of_robots, "robots"),
    "robots-noise.example": (_text(bytes(range(256)) * 900), None),
    "robots-gzip.example": (_coded("gzip", gzip.compress(_FORBIDS)), "robots"),
    "robots-x-gzip.example": (_coded("identity, X-GZIP", gzip.compress(_FORBIDS)), "robots"),
    "robots-gzip-bomb.example": (_coded("gzip", gzip.compress(bytes(20_000_000), 6)), "robots"),
    "robots-br.example": (_coded("br", b"\x0b\x0d\x80" + _FORBIDS + b"\x03"), "robots"),
    "robots-identity.example": (_coded("Identity", _FORBIDS.replace(b"/", b"/private")), None),
    "robots-404-gzip.example": (_coded("gzip", gzip.compress(PAGE), 404), None),
    "robots-drip.example": (_dripping_robots, "robots"),
}
HASTY.add("robots-drip.example")

# --- addresses, by host: what each look-up of a name finds, the last one for good ------------------------------------
ADDRESSES: dict[str, list[list[str]]] = {
    "private.example": [["192.168.1.1"]],
    "metadata.example": [["169.254.169.254"]],
    "mixed.example": [["127.0.0.1", "10.0.0.1"]],
    "mapped.example": [["::ffff:10.0.0.1"]],
    "nat64.example": [["64:ff9b::7f00:1"]],
    "empty.example": [[]],
    "rebinding.example": [["127.0.0.1"], ["10.0.0.1"]],
}


@dataclass
class Names:
    """A resolver of the names of this server, and of no other."""

    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str) -> Sequence[IPv4Address | IPv6Address]:
        self.asked.append(host)
        if host == "never.example":
            await asyncio.sleep(3600)
        if not host.endswith(".example") or host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = ADDRESSES.get(host, [[str(HOME)]])
        return [ip_address(found) for found in answers[min(self.asked.count(host), len(answers)) - 1]]


class HostileServer:
    """The server, in a thread of its own while it is entered.

    Args:
        photos: a folder of images with a photos.json, which are served below /photos/.
        tls: certificates, by what is wrong with them; "" = nothing.

    Attributes:
        port: of http.
        tls_ports: of https, by what is wrong with its certificate.
        asked: host, target and time of each request, in their order.
        sent: bytes of each target.
        most: requests to a host at a time; to all of them, at `all`.
    """

    def __init__(self, photos: Path | None = None, tls: Mapping[str, ssl.SSLContext] | None = None) -> None:
        self.photos, self._tls = photos, dict(tls or {})
        self.port, self.tls_ports = 0, dict[str, int]()
        self.asked: list[tuple[str, str, float]] = []
        self.headers: list[Mapping[str, str]] = []
        self.sent: dict[str, int] = defaultdict(int)
        self.now: dict[str, int] = defaultdict(int)
        self.most: dict[str, int] = defaultdict(int)
        self._started = threading.Event()

    @property
    def ports(self) -> frozenset[int]:
        return frozenset([self.port, *self.tls_ports.values()])

    def url(self, path: str, host: str = "photos.example") -> str:
        return f"http://{host}:{self.port}/{path}"

    def captions(self) -> list[tuple[str, str]]:
        """The address and a caption of each photo."""
        listed = json.loads((self.photos / "photos.json").read_text())
        return [(self.url(f"photos/{entry['file']}"), f"A photo of a {entry['name']}") for entry in listed]

    def write_captions(self, file: Path) -> None:
        """A table of the photos, as image-text data sets have."""
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows([("url", "caption"), *self.captions()])

    def count(self, target: str, host: str | None = None) -> int:
        return sum(asked == target and host in (None, at) for at, asked, _ in self.asked)

    def __enter__(self) -> "HostileServer":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop, self._talks = asyncio.Event(), set[asyncio.Task]()
        servers = [await asyncio.start_server(self._talk, str(HOME), 0, backlog=1024)]
        self.port = servers[0].sockets[0].getsockname()[1]
        for name, context in self._tls.items():
            servers.append(await asyncio.start_server(self._talk, str(HOME), 0, ssl=context))
            self.tls_ports[name] = servers[-1].sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._talks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                while await self._visit(reader, writer):
                    pass
        finally:
            self._talks.discard(task)
            writer.close()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        target, host = request.split(" ")[1], headers["host"].partition(":")[0]
        before = self.count(target, host)
        self.asked.append((host, target, self._loop.time()))
        self.headers.append(headers)
        for name in (host, "all"):
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
        visit = Visit(self, reader, writer, host, target, headers, before)
        try:
            await self._handler(host, target)(visit)
        finally:
            self.now[host] -= 1
            self.now["all"] -= 1
        return not visit.close

    def _handler(self, host: str, target: str) -> Behaviour:
        path = unquote(target).removeprefix("/")
        if path == "robots.txt":
            return ROBOTS[host][0] if host in ROBOTS else _missing
        if path.startswith("photos/") and self.photos is not None:
            file = self.photos / Path(path).name
            return (lambda visit: visit.answer(200, file.read_bytes())) if file.is_file() else _missing
        if path.startswith("numbered/"):  # as many different images as anybody wants
            number = int(path.removeprefix("numbered/").removesuffix(".jpg"))
            return lambda visit: visit.answer(200, picture(seed=number % 100) + b"%d" % number)
        if path.startswith("leads/"):
            return lambda visit: visit.redirect(path.removeprefix("leads/"))
        if path.startswith("held/"):

            async def held(visit: Visit) -> None:
                await asyncio.sleep(2 * TICK)
                await visit.image()

            return held
        return _named().get(path) or _named().get(path.partition("?")[0]) or _missing


@cache
def _named() -> dict[str, Behaviour]:
    return {unquote(name): handler for name, handler in _HANDLERS.items()}


async def _missing(visit: Visit) -> None:
    await visit.answer(404, PAGE)


def certificates() -> tuple[ssl.SSLContext, dict[str, ssl.SSLContext]]:
    """Whom a client is to trust, and the certificates of servers by what is wrong with them."""
    authority, stranger = trustme.CA(), trustme.CA()
    past = datetime(2020, 1, 1, tzinfo=UTC)
    issued = {
        "": authority.issue_cert("photos.example"),
        "expired": authority.issue_cert("photos.example", not_after=past),
        "of-another": authority.issue_cert("others.example"),
        "of-a-stranger": stranger.issue_cert("photos.example"),
    }
    contexts = {}
    for name, certificate in issued.items():
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(contexts[name])
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusted)
    return trusted, contexts
