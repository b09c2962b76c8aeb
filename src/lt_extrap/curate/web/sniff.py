"""What a file is, by its first bytes: names and headers say anything."""

import re

ENOUGH = 512  # bytes that are looked at

_HTML = re.compile(rb"<(?:!doctype html|html|head|body|script|meta|title|!--)", re.IGNORECASE)
_IMAGES = (
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("gif", re.compile(rb"GIF8[79]a")),
    ("avif", re.compile(rb"....ftyp(?:avi[fs]|mi(?:f1|af)....(?:....)*?avi[fs])", re.DOTALL)),
    ("bmp", re.compile(rb"BM.{4}\0\0\0\0.{3}\0", re.DOTALL)),
)
# What is often sent in an image's stead: told, so that the reasons say what went wrong.
_OTHERS = (
    ("HTML", re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?" + _HTML.pattern, re.IGNORECASE)),
    ("SVG", re.compile(rb".*<svg[\s>]", re.IGNORECASE | re.DOTALL)),
    ("XML", re.compile(rb"\s*<\?xml", re.IGNORECASE)),
    ("JSON", re.compile(rb"\s*[{\[]")),
    ("compressed (gzip), though the file as it is was asked for", re.compile(rb"\x1f\x8b")),
    ("PDF", re.compile(rb"%PDF")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*")),
    ("icon", re.compile(rb"\x00\x00[\x01\x02]\x00")),
    ("HEIF or video", re.compile(rb"....ftyp", re.DOTALL)),
    ("video", re.compile(rb"\x1aE\xdf\xa3|RIFF....AVI ", re.DOTALL)),
    ("archive", re.compile(rb"PK\x03\x04|Rar!|7z\xbc\xaf")),
    ("program", re.compile(rb"MZ|\x7fELF|#!")),
)


def image_kind(start: bytes) -> str | None:
    """Which kind of image a file begins as: jpeg, png, webp, gif, avif or bmp; None where it is none of these."""
    return next((kind for kind, pattern in _IMAGES if pattern.match(start)), None)


def other_kind(start: bytes) -> str:
    """What a file is that begins as no image, for people."""
    if not start:
        return "nothing"
    start = start.removeprefix(b"\xef\xbb\xbf")
    named = next((kind for kind, pattern in _OTHERS if pattern.match(start)), None)
    if named is not None:
        return named
    return "text" if re.fullmatch(rb"[\t\r\n\x20-\x7e]*", start) else "of no known kind"
