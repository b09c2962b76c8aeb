"""Nothing but pixels is kept of a picture's file, and of the pixels all."""

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lt_extrap.curate.picture_file import without_metadata
from lt_extrap.data.decode import UnreadableImage, decode_rgb, image_size

SECRET = b"52.5163 N, 13.3777 E, taken by J. Doe"
ROWS, COLUMNS = np.mgrid[0:24, 0:36] * 5
PIXELS = np.stack([ROWS, COLUMNS, 200 - ROWS], -1).astype(np.uint8) + np.random.default_rng(0).integers(
    0, 9, (24, 36, 3), np.uint8
)
KEPT = ("JPEG", "progressive", "CMYK", "PNG", "WEBP", "lossless WEBP", "transparent PNG", "transparent WEBP")
ENCODED = ("GIF", "BMP", "AVIF", "TIFF", "moving WEBP", "moving GIF")


def exif(orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[0x0112], made[0x010E], made[0x8825] = orientation, SECRET.decode(), {1: "N", 2: (52.0, 30.0, 58.7)}
    return made


def picture(kind: str, **options) -> bytes:
    image, (word, _, name) = Image.fromarray(PIXELS), kind.rpartition(" ")
    if word == "transparent":
        image.putalpha(Image.fromarray(PIXELS[..., 0]))
    if word == "moving":
        options |= {"save_all": True, "append_images": [Image.fromarray(PIXELS[::-1])]}
    if name == "CMYK":
        image = image.convert("CMYK")
    if name == "progressive":
        options["progressive"] = True
    if word == "lossless":
        options["lossless"] = True
    file = io.BytesIO()
    image.save(file, {"progressive": "JPEG", "CMYK": "JPEG"}.get(name, name), **options)
    return file.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(decode_rgb("a", data=content))


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def in_many_places(content: bytes) -> bytes:
    """A file that says it wherever its format has a place for it, and behind its end."""
    if content[:2] == b"\xff\xd8":
        preview = b"JFIF\0\1\1\0\0\1\0\1\4\3" + SECRET[:36]
        said = [(0xE0, preview), (0xE0, b"JFXX\0\x13" + SECRET), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET)]
        said += [(0xE2, b"MPF\0" + SECRET), (0xED, b"Photoshop 3.0\0" + SECRET), (0xEF, SECRET), (0xFE, SECRET)]
        content = content[:2] + b"".join(segment(*each) for each in said) + b"\xff" + content[2:]
        return content[:-2] + segment(0xFE, SECRET) + content[-2:] + SECRET
    if content[1:4] == b"PNG":
        said = [(b"tEXt", b"Author\0" + SECRET), (b"zTXt", b"Place\0\0" + zlib.compress(SECRET)), (b"prVt", SECRET)]
        said += [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + SECRET), (b"tIME", b"\x07\xe8\1\1\1\1\1")]
        return content[:33] + b"".join(chunk(*each) for each in said) + content[33:] + SECRET
    if content[8:12] == b"WEBP":
        said = struct.pack("<4sI", b"XMP ", len(SECRET)) + SECRET + bytes(len(SECRET) % 2)
        said += struct.pack("<4sI", b"priv", len(SECRET)) + SECRET + bytes(len(SECRET) % 2)
        return content[:4] + struct.pack("<I", len(content) - 8 + len(said)) + content[8:] + said + SECRET
    return content + SECRET


@pytest.mark.parametrize("kind", KEPT)
def test_the_pixels_are_kept_bit_for_bit_and_nothing_else_is(kind):
    content = in_many_places(picture(kind, exif=exif(), icc_profile=b"a profile"))
    assert SECRET in content
    bare = without_metadata("a", content)
    assert SECRET[:20] not in bare
    assert zlib.compress(SECRET)[2:20] not in bare
    with Image.open(io.BytesIO(bare)) as image:
        assert dict(image.getexif()) == {}
        assert not set(image.info) & {
            "exif",
            "xmp",
            "comment",
            "photoshop",
            "mp",
            "Author",
            "Place",
            "XML:com.adobe.xmp",
        }
        assert image.info["icc_profile"] == b"a profile"
        assert image.format == kind.rpartition(" ")[2].replace("progressive", "JPEG").replace("CMYK", "JPEG")
    assert np.array_equal(pixels(bare), pixels(content))
    assert without_metadata("a", bare) == bare


@pytest.mark.parametrize("kind", KEPT)
def test_a_file_without_metadata_is_that_file(kind):
    content = picture(kind)
    assert without_metadata("a", content) is content


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_what_metadata_turn_is_turned(kind, orientation):
    content = picture(kind, exif=exif(orientation))
    bare = without_metadata("a", content)
    assert SECRET not in bare
    assert Image.open(io.BytesIO(bare)).size == ((36, 24) if orientation == 3 else (24, 36))
    assert np.abs(pixels(bare).astype(int) - pixels(content)).mean() < 4  # by the encoder
    assert without_metadata("a", bare) == bare == without_metadata("a", content)


@pytest.mark.parametrize("kind", ENCODED)
def test_other_formats_are_encoded_again(kind):
    said = {"AVIF": {"exif": exif()}, "moving WEBP": {"exif": exif()}, "TIFF": {"description": SECRET.decode()}}
    content = picture(kind, **said.get(kind, {}))
    content += b"" if kind in said else SECRET
    bare = without_metadata("a", content)
    assert SECRET in content
    assert bare.startswith(b"\xff\xd8\xff")
    assert SECRET not in bare
    assert pixels(bare).shape == PIXELS.shape
    assert without_metadata("a", bare) == bare


def test_of_a_moving_png_the_first_picture_is_kept():
    content = picture("moving PNG")
    bare = without_metadata("a", content)
    assert np.array_equal(pixels(bare), PIXELS)
    assert len(bare) < len(content)


def test_the_first_of_two_pictures_in_one_file_is_kept():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])])
    bare = without_metadata("a", file.getvalue())
    assert Image.open(io.BytesIO(bare)).format == "JPEG"
    assert np.array_equal(pixels(bare), pixels(file.getvalue()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_file_that_ends_anywhere_is_a_picture_or_none(kind):
    content = in_many_places(picture(kind, exif=exif()))
    for end in range(0, len(content), 7 if kind == "JPEG" else 41):
        is_picture_or_none(content[:end])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*KEPT, *ENCODED]), st.data())
def test_lengths_that_lie_and_bytes_that_are_wrong_are_a_picture_or_none(kind, data):
    content = bytearray(in_many_places(picture(kind)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content) - 5, data.draw(st.sampled_from([60, 700, len(content)])))))
        wrong = st.sampled_from([b"\0", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xd9", b"\xff\xda", b"\x80\0"])
        patch = data.draw(wrong | st.binary(min_size=1, max_size=4))
        content[at : at + len(patch)] = patch
    is_picture_or_none(bytes(content))


def is_picture_or_none(content: bytes) -> None:
    try:
        width, height = image_size("a", data=content)
        if width * height > 1e6:  # which takes long to decode, and is made smaller before
            return
        bare = without_metadata("a", content)
    except UnreadableImage:
        return
    with suppress(UnreadableImage):  # parts in order, of which there is no picture
        assert without_metadata("a", bare) == bare
