"""Pictures without what cameras and programs write beside the pixels: where, when, by whom, and smaller copies."""

import io
import re
import struct
import warnings
from collections.abc import Iterator

from PIL import Image

from lt_extrap.data.decode import FORMATS, MAX_PIXELS, decode_rgb, orientation_of
from lt_extrap.data.shrink import QUALITY

_AFTER_PIXELS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # what ends the compressed pixels of a scan
_APP0, _APP2, _APP14, _START_OF_SCAN, _END = 0xE0, 0xE2, 0xEE, 0xDA, 0xD9
_FOR_PEOPLE = frozenset({*range(0xE0, 0xF0), 0xFE})  # applications' segments, and comments
_FOR_DECODERS = frozenset({*range(0xC0, 0xD0), _START_OF_SCAN, 0xDB, 0xDC, 0xDD}) - {0xC8}

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNKS = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP sBIT pHYs".split())
_WEBP = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ICCP"})
_MOVING, _PROFILE, _ALPHA = 0x02, 0x20, 0x10  # flags of VP8X


class _Unknown(Exception):
    """A file that is not as its format has it, or of another format."""


def without_metadata(place: str, content: bytes) -> bytes:
    """A picture without metadata, comments, previews, and whatever follows its end; colour profiles stay.

    JPEG, PNG and WebP keep their pixels bit for bit. A picture that its metadata turn is encoded again, upright, as
    JPEG; so are other formats, moving pictures, and files that are not as their format has it.

    Args:
        place: of the file, for messages.
        content: of the file.

    Returns:
        A file: of the same content always the same, and the very content where there is nothing to leave out.

    Raises:
        UnreadableImage: it had to be decoded, and is none.
    """
    try:
        bare = b"".join(_parts(content))
    except (_Unknown, struct.error):
        return _encoded(place, content)
    if bare == content:
        return content
    return bare if _is_upright(content) else _encoded(place, content)


def _parts(content: bytes) -> Iterator[bytes]:
    if content.startswith(b"\xff\xd8\xff"):
        return _of_jpeg(content)
    if content.startswith(_PNG):
        return _of_png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _of_webp(content)
    raise _Unknown


def _of_jpeg(content: bytes) -> Iterator[bytes]:
    yield content[:2]
    at = 2
    while True:
        mark, marker = struct.unpack_from(">BB", content, at)
        if mark == marker == 0xFF:  # fill
            at += 1
            continue
        if mark == 0xFF and marker == _END:
            yield content[at : at + 2]
            return
        (length,) = struct.unpack_from(">H", content, at + 2)
        end = at + 2 + length
        if mark != 0xFF or length < 2 or end > len(content):
            raise _Unknown
        if marker in _FOR_DECODERS:
            if marker == _START_OF_SCAN:
                found = _AFTER_PIXELS.search(content, end)
                if found is None:
                    raise _Unknown
                end = found.start()
            yield content[at:end]
        elif marker in _FOR_PEOPLE:
            yield _said_to_decoders(marker, content[at:end])
        else:
            raise _Unknown
        at = end


def _said_to_decoders(marker: int, segment: bytes) -> bytes:
    """What an application's segment says of the pixels."""
    if marker == _APP0 and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
        return b"\xff\xe0\0\x10" + segment[4:16] + b"\0\0"  # of no preview
    if marker == _APP14 and segment[4:9] == b"Adobe" and len(segment) >= 16:
        return b"\xff\xee\0\x0e" + segment[4:16]
    return segment if marker == _APP2 and segment[4:16] == b"ICC_PROFILE\0" else b""


def _of_png(content: bytes) -> Iterator[bytes]:
    yield _PNG
    at = len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content) or (kind[:1].isupper() and kind not in _CHUNKS):
            raise _Unknown
        if kind in _CHUNKS:
            yield content[at:end]
        if kind == b"IEND":
            return
        at = end


def _of_webp(content: bytes) -> Iterator[bytes]:
    (size,) = struct.unpack_from("<I", content, 4)
    if size + 8 > len(content):
        raise _Unknown
    kept, at = list[bytes](), 12
    while at < size + 8:
        kind, length = struct.unpack_from("<4sI", content, at)
        end = at + 8 + length + length % 2
        if end > size + 8:
            raise _Unknown
        if kind == b"VP8X":
            (flags,) = struct.unpack_from("<I", content, at + 8)
            if flags & _MOVING:
                raise _Unknown
            kept.append(content[at : at + 8] + struct.pack("<I", flags & (_PROFILE | _ALPHA)) + content[at + 12 : end])
        elif kind in _WEBP:
            kept.append(content[at:end])
        at = end
    body = b"WEBP" + b"".join(kept)
    yield b"RIFF" + struct.pack("<I", len(body)) + body


def _is_upright(content: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                # A PNG is decoded for it; one that is too large for that is refused by whoever decodes the picture.
                return image.width * image.height > MAX_PIXELS or orientation_of(image) == 1
    except Exception:  # hostile bytes make Pillow raise almost anything: whether it is an image, decoding tells
        return True


def _encoded(place: str, content: bytes) -> bytes:
    file = io.BytesIO()
    decode_rgb(place, data=content).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
