"""What is kept of an image: bytes, hashes, thumbnail; in place of what is none, the reason."""

import hashlib
import io
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_extrap.curate.stages import images
from lt_extrap.curate.stages.images import prepare
from lt_extrap.data.decode import UnreadableImage


def encoded(pixels, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def prepared(content, longest_edge=512):
    return prepare("a place", read=lambda place: content, longest_edge=longest_edge)


def test_a_small_image_keeps_its_bytes(pixels):
    content = encoded(pixels)
    found = prepared(content)
    assert (found.content, found.width, found.height) == (content, 60, 40)
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.name == f"{found.sha256[:2]}/{found.sha256}.png"
    assert len(found.look.thumbnail) == 32 * 32


@pytest.mark.parametrize("longest_edge", [512, None])
def test_a_small_image_loses_its_metadata(pixels, longest_edge):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    content = encoded(pixels, exif=exif)
    found = prepared(content, longest_edge)
    assert found.content == encoded(pixels)
    assert found.original == hashlib.sha256(content).hexdigest()
    assert found.sha256 == hashlib.sha256(found.content).hexdigest()


def test_a_large_image_is_stored_smaller(pixels):
    found = prepared(encoded(np.kron(pixels, np.ones((2, 2, 1), np.uint8))), longest_edge=64)
    assert (found.width, found.height) == (64, 43)
    assert found.name.endswith(".jpg")


def test_files_of_the_same_pixels_share_a_hash_of_them(pixels):
    one, other = prepared(encoded(pixels)), prepared(encoded(pixels, compress_level=1))
    assert one.sha256 != other.sha256
    assert one.look.content == other.look.content != prepared(encoded(pixels[::-1])).look.content
    tall, wide = np.zeros((4, 9, 3), np.uint8), np.zeros((9, 4, 3), np.uint8)
    assert prepared(encoded(tall)).look.content != prepared(encoded(wide)).look.content


def test_a_blank_has_no_deviation():
    assert prepared(encoded(np.full((40, 40, 3), 200, np.uint8))).look.deviation == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"<html>", "not an image"), (b"", "not an image"), (b"\xff\xd8\xff\xe0 cut", "")],
)
def test_what_is_no_image_is_a_reason(content, reason):
    found = prepared(content)
    assert isinstance(found, str)
    assert reason in found


def test_what_cannot_be_read_is_a_reason():
    def read(place):
        raise UnreadableImage(place, "half of \udcff a character")

    assert prepare("a", read=read, longest_edge=None) == r"half of \udcff a character"


def test_a_process_that_is_forked_from_one_that_has_written_files_writes_too(pixels, tmp_path):
    images._written(tmp_path, [prepared(encoded(pixels))])
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # which ends one that waits for threads of its parent
        images._written(tmp_path, [other := prepared(encoded(pixels[::-1]))])
        os._exit(not (tmp_path / other.name).is_file())
    assert os.waitpid(child, 0)[1] == 0


def test_what_there_is_no_memory_for_may_be_decoded_another_time():
    content = encoded(np.zeros((6000, 6000), np.uint8))
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 20_000_000, before[1]))
    try:
        assert prepared(content) is None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert prepared(content).width == 512
