import pytest
from hostile import IMAGES, NOT_IMAGES, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_extrap.curate.web.sniff import image_kind, other_kind


@pytest.mark.parametrize("kind", IMAGES)
def test_images_are_told_by_their_beginning(kind):
    assert image_kind(IMAGES[kind][:512]) == kind
    assert image_kind(picture("AVIF" if kind == "avif" else kind, seed=1, edge=7)[:512]) == kind


TOLD = {
    "page.jpg": "HTML",
    "page-with-mark.jpg": "HTML",
    "nothing.jpg": "nothing",
    "json.jpg": "JSON",
    "svg.jpg": "SVG",
    "text.jpg": "text",
    "pdf.jpg": "PDF",
    "eps.jpg": "PostScript",
    "tiff.jpg": "TIFF",
    "icon.jpg": "icon",
    "heic.jpg": "HEIF or video",
    "video.jpg": "HEIF or video",
    "zip.jpg": "archive",
    "program.jpg": "program",
    "noise.jpg": "of no known kind",
    "camera.jpg": "text",
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_what_is_no_image_is_named(name):
    start = NOT_IMAGES[name][:512]
    assert image_kind(start) is None
    assert other_kind(start) == TOLD[name]


def test_avif_is_told_by_its_compatible_brands_too():
    assert image_kind(b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif" + bytes(400)) == "avif"
    assert image_kind(b"\0\0\0\x20ftypmif1\0\0\0\0mif1heic" + bytes(400)) is None


@settings(max_examples=30)
@given(st.binary(max_size=512))
def test_any_bytes_are_something(start):
    assert image_kind(start) or other_kind(start)
