import contextlib
import io
import os
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from lt_extrap.data.decode import EncodedImage, UnreadableImage, decode_rgb, image_size

RED, WHITE = (255, 0, 0), (255, 255, 255)
CORNERS = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9] * 3] * 3], np.uint8))


def pixels(path):
    image = decode_rgb(path)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.fixture
def saved(tmp_path):
    def save(image, name="image.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def noise(width=64, height=64):
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8))


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, bits=8, colour=2, body=b""):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_rgb_is_unchanged(saved, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(noise(), f"image.{suffix}", **options)
    assert np.array_equal(pixels(path), np.asarray(noise()))
    assert np.array_equal(pixels(str(path)), np.asarray(noise()))


@pytest.mark.parametrize("read", [decode_rgb, image_size])
def test_only_files_are_opened(read):  # a pipe would be waited for
    with pytest.raises(UnreadableImage, match="a pipe or a device"):
        read(os.devnull)


def test_a_jpeg_is_what_pillow_decodes(saved):
    path = saved(noise(), "image.jpg", quality=80)
    with Image.open(path) as image:
        assert np.array_equal(pixels(path), np.asarray(image))


def test_the_content_counts_and_not_the_suffix(saved):
    path = saved(noise(), "n01440764.JPEG", format="PNG")  # ImageNet has one of these
    assert np.array_equal(pixels(path), np.asarray(noise()))


# What a viewer shows of CORNERS (rows of first letters; k is the dark row) under each orientation.
SHOWN = {
    1: ["rgb", "kkk"],
    2: ["bgr", "kkk"],
    3: ["kkk", "bgr"],
    4: ["kkk", "rgb"],
    5: ["rk", "gk", "bk"],
    6: ["kr", "kg", "kb"],
    7: ["kb", "kg", "kr"],
    8: ["bk", "gk", "rk"],
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_exif_orientation(saved, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(CORNERS, f"image.{suffix}", exif=exif, **options)
    names = {(255, 0, 0): "r", (0, 255, 0): "g", (0, 0, 255): "b", (9, 9, 9): "k"}
    assert ["".join(names[tuple(p)] for p in row) for row in pixels(path).tolist()] == SHOWN[orientation]


def test_an_image_is_turned_once(saved):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decode_rgb(saved(noise(64, 32), "image.jpg", exif=exif))
    assert image.size == (32, 64)
    assert 0x0112 not in image.getexif()


def test_a_damaged_exif_block_costs_no_picture(saved):
    path = saved(noise(), exif=b"Exif\x00\x00MM\x00\x00 not a TIFF header")
    assert np.array_equal(pixels(path), np.asarray(noise()))


def test_clear_pixels_take_the_white_ground(saved):
    rgba = Image.new("RGBA", (3, 1), (255, 0, 0, 0))  # red hides under full transparency
    rgba.putpixel((1, 0), (255, 0, 0, 255))
    rgba.putpixel((2, 0), (255, 0, 0, 51))
    for name, options in (("image.png", {}), ("image.webp", {"lossless": True, "exact": True})):
        assert pixels(saved(rgba, name, **options))[0].tolist() == [[255] * 3, [255, 0, 0], [255, 204, 204]]


def test_grey_with_alpha(saved):
    image = Image.new("LA", (2, 1), (0, 0))
    image.putpixel((1, 0), (40, 255))
    assert pixels(saved(image))[0].tolist() == [[255] * 3, [40] * 3]


def test_palettes_with_and_without_transparency(saved):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    blue = [0, 0, 255]
    assert pixels(saved(image))[0].tolist() == [[255, 0, 0], blue]
    assert pixels(saved(image, transparency=0))[0].tolist() == [[255] * 3, blue]
    assert pixels(saved(image, transparency=b"\x00\xff"))[0].tolist() == [[255] * 3, blue]
    assert pixels(saved(image, "image.gif", transparency=0))[0].tolist() == [[255] * 3, blue]


def test_a_transparent_colour(saved):
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), (1, 2, 3))
    assert pixels(saved(image, transparency=(1, 2, 3)))[0].tolist() == [[255, 0, 0], [255] * 3]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_red_is_red(saved, suffix):
    red = pixels(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), f"image.{suffix}"))
    assert np.abs(red - RED).max() <= 8


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_becomes_rgb(saved, mode):
    assert pixels(saved(Image.new(mode, (2, 2), 255))).tolist() == [[[255] * 3] * 2] * 2


@pytest.mark.parametrize("name", ["image.png", "image.tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(saved, name):
    values = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    shown = pixels(saved(Image.fromarray(values), name))
    assert shown[0, :, 0].tolist() == [round(v * 255 / 65535) for v in values[0].tolist()]
    assert (shown == shown[:, :, :1]).all()


def test_16_bit_grey_with_a_transparent_value(saved):
    path = saved(Image.fromarray(np.array([[0, 1000]], np.uint16)), transparency=1000)
    assert pixels(path)[0, :, 0].tolist() == [0, 255]


def test_16_bit_grey_of_a_portable_map(tmp_path):
    path = tmp_path / "image.pgm"
    path.write_bytes(b"P5 3 1 65535\n" + struct.pack(">HHH", 0, 25700, 65535))
    assert pixels(path)[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("values", [np.array([[0, 70000]], np.int32), np.array([[-1, 0]], np.int32)])
def test_grey_of_no_known_range_is_not_guessed(saved, values):
    with pytest.raises(UnreadableImage, match="no known range"):
        decode_rgb(saved(Image.fromarray(values), "image.tif"))


def test_floating_point_grey_is_not_guessed(saved):
    with pytest.raises(UnreadableImage, match="no known range"):
        decode_rgb(saved(Image.fromarray(np.array([[0, 0.5]], np.float32)), "image.tif"))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "avif"])
def test_the_first_frame_of_an_animation(saved, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(frames[0], f"image.{suffix}", save_all=True, append_images=frames[1:], **options)
    tolerance = 2 if suffix == "avif" else 0  # which keeps colours as luma and chroma
    assert abs(pixels(path) - RED).max() <= tolerance


def test_a_stereo_photograph_of_a_phone_shows_its_first_frame(saved):
    path = saved(noise(), "image.mpo", save_all=True, append_images=[Image.new("RGB", (64, 64))], quality=95)
    single = saved(noise(), "image.jpg", quality=95)
    assert (pixels(path) == pixels(single)).all()


def test_16_bit_colour_keeps_the_high_bytes(tmp_path):
    values = np.array([[[65535, 256 * 7, 0]]], ">u2")
    body = zlib.compress(b"\0" + values.tobytes())
    data = png(1, 1, bits=16).replace(b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")), chunk(b"IDAT", body))
    (tmp_path / "image.png").write_bytes(data)
    assert pixels(tmp_path / "image.png").tolist() == [[[255, 7, 0]]]


# 144 and 900 megapixels: Pillow only warns of the first. Nothing follows the header, so that an attempt
# to decode would end in another error.
@pytest.mark.parametrize("edge", [12_000, 30_000])
def test_the_size_is_checked_before_pixels_are_decoded(tmp_path, edge):
    path = tmp_path / "image.png"
    path.write_bytes(png(edge, edge))
    with pytest.raises(UnreadableImage, match=r"limit|exceeds"):
        decode_rgb(path)


def of_many_scans(edge: int, scans: int) -> bytes:
    """A gray JPEG whose scans say in some bytes that all further coefficients are zero; each is as long to decode."""
    file = io.BytesIO()
    Image.new("L", (16, 16), 128).save(file, "JPEG", progressive=True)
    size = file.getvalue().index(b"\xff\xc2") + 5
    start = file.getvalue()[:size] + struct.pack(">HH", edge, edge) + file.getvalue()[size + 4 : -2]
    table = b"\xff\xc4\0\x14\x10\1" + bytes(15) + b"\xe0"  # one code, 0: the end of 16,384 blocks and more
    runs = -(-((edge // 8) ** 2) // 32767) * ("0" + 14 * "1")
    runs += -len(runs) % 8 * "1"
    coded = bytes(int(runs[at : at + 8], 2) for at in range(0, len(runs), 8)).replace(b"\xff", b"\xff\0")
    return start + table + scans * (b"\xff\xda\0\x08\1\1\0\1\x3f\0" + coded) + b"\xff\xd9"


@pytest.mark.parametrize("read", [decode_rgb, lambda path, data: EncodedImage(path, data).gray(draft=64)])
def test_a_file_of_some_kilobytes_does_not_take_minutes(read):
    assert read("few.jpg", data=of_many_scans(64, 50)).size == (64, 64)
    bomb = of_many_scans(64, 2000)
    assert len(bomb) < 40_000
    with pytest.raises(UnreadableImage, match=r"a JPEG of 200[0-9] scans, limit 100"):
        read("many.jpg", data=bomb)


def test_what_follows_a_picture_in_its_file_are_no_scans(saved):
    """As the films that phones write behind theirs."""
    film = np.random.default_rng(0).bytes(8_000_000)
    assert film.count(b"\xff\xda") > 100
    path = saved(noise(), "image.jpg", progressive=True)
    path.write_bytes(path.read_bytes() + film)
    assert pixels(path).shape == (64, 64, 3)


def test_a_gif_whose_frame_is_larger_than_its_screen(tmp_path):
    path = tmp_path / "image.gif"
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    path.write_bytes(screen + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x01\x44\x00;")
    with pytest.raises(UnreadableImage, match="exceeds"):
        decode_rgb(path)


def test_the_pixel_limit_is_inclusive(saved):
    path = saved(noise(10, 10))
    assert decode_rgb(path, max_pixels=100).size == (10, 10)
    with pytest.raises(UnreadableImage, match="10 x 10 pixels, limit 99"):
        decode_rgb(path, max_pixels=99)


def test_unreadable_files_are_named_with_a_reason(tmp_path, saved):
    def reason(path):
        with pytest.raises(UnreadableImage) as caught:
            decode_rgb(path)
        assert caught.value.path == path
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        return caught.value.reason

    whole = saved(noise(), "whole.jpg").read_bytes()
    cut, page, empty = tmp_path / "cut.jpg", tmp_path / "page.jpg", tmp_path / "empty.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    page.write_text("<html>404</html>")
    empty.touch()
    assert "truncated" in reason(cut)
    assert reason(page).startswith("not an image of a known format (JPEG, PNG")
    assert reason(empty) == reason(page)
    assert reason(tmp_path / "missing.jpg") == "No such file or directory"
    assert reason(tmp_path) == "Is a directory"


def test_no_format_that_runs_a_program(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        decode_rgb(path)


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableImage("a/b.jpg", "cut")))
    assert (error.path, error.reason, str(error)) == ("a/b.jpg", "cut", "a/b.jpg: cut")


FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"]


def encoded(file_format):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    noise(24, 16).save(file, file_format, exif=exif)
    return file.getvalue()


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0.5, 1),
)
def test_damaged_files_give_an_image_or_the_one_error(tmp_path_factory, file_format, changes, kept):
    data = bytearray(encoded(file_format))
    for place, value in changes:
        data[int(place**2 * len(data))] = value  # headers more often than pixels
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data[: int(kept * len(data))])
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        with contextlib.suppress(UnreadableImage):
            image = decode_rgb(path, max_pixels=10_000)
            assert image.mode == "RGB"
            assert image.width * image.height <= 10_000
            assert len(image.tobytes()) == 3 * image.width * image.height
    assert not leaked


def photo(width, height):
    """Smooth, as a photograph is, so that a JPEG of it has few errors of its own."""
    coarse = np.random.default_rng(3).integers(256, size=(7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def written(image, format="JPEG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("orientation", range(10))
def test_a_crop_is_what_pillow_decodes_of_it(orientation, subsampling):
    data = written(noise(37, 22), quality=70, subsampling=subsampling, exif=oriented(orientation))
    whole, image = np.asarray(decode_rgb("x", data=data)), EncodedImage("x", data)
    assert (image.height, image.width) == whole.shape[:2]
    box = (3, 5, 20, 18)
    assert np.array_equal(image.crop(box), whole[5:18, 3:20])


@pytest.mark.parametrize("edge", [22, 21, 11, 10, 1])
@pytest.mark.parametrize("orientation", [1, 2, 5, 6])
def test_gray_is_the_luma_that_pillow_decodes(orientation, edge):
    data = written(noise(88, 44), quality=70, exif=oriented(orientation))
    with Image.open(io.BytesIO(data)) as opened:
        opened.draft("L", (edge, edge))
        luma = ImageOps.exif_transpose(opened)
    assert luma.mode == "L"
    assert min(luma.size) == {22: 22, 21: 22, 11: 11, 10: 11, 1: 6}[edge]
    assert np.array_equal(EncodedImage("x", data).gray(draft=edge), luma)


def test_gray_of_what_is_no_jpeg_and_of_a_damaged_one():
    png = written(noise(90, 70), "PNG")
    assert np.array_equal(EncodedImage("x", png).gray(draft=8), noise(90, 70).convert("L"))
    cut = written(noise(64, 64), quality=90)[:-500]
    with pytest.raises(UnreadableImage, match="truncated"):
        EncodedImage("x", cut).gray(draft=8)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_a_crop_of_another_kind_of_image(mode):
    picture = photo(30, 20).convert(mode)
    data = written(picture, "JPEG" if mode in ("L", "CMYK") else "PNG")
    whole = np.asarray(decode_rgb("x", data=data))
    for shrink in (1, 2):
        assert np.array_equal(EncodedImage("x", data).crop((2, 4, 22, 12), shrink=shrink), whole[4:12, 2:22])


def test_the_first_of_several_pictures_counts():
    data = written(noise(16, 16), "MPO", save_all=True, append_images=[photo(16, 16)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.array_equal(EncodedImage("x", data).crop((0, 0, 16, 16)), np.asarray(decode_rgb("x", data=data)))


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_a_shrunk_crop_shows_the_same_place(orientation, shrink):
    data = written(photo(160, 96), quality=95, exif=oriented(orientation))
    box = (16, 24, 80, 64)
    whole = decode_rgb("x", data=data).crop(box).reduce(shrink)
    crop = EncodedImage("x", data).crop(box, shrink=shrink)
    assert crop.shape[:2] == (40 // shrink, 64 // shrink)
    assert np.abs(crop.astype(int) - np.asarray(whole)).mean() < 2


def test_what_would_begin_within_a_pixel_is_not_shrunk():
    odd = (15, 24, 80, 64)
    assert EncodedImage("x", written(photo(160, 96))).crop(odd, shrink=2).shape == (40, 65, 3)
    turned = written(photo(161, 96), exif=oriented(3))
    assert EncodedImage("x", turned).crop((16, 24, 80, 64), shrink=2).shape == (40, 64, 3)
    straight = written(photo(161, 97))  # the last pixel is of one column
    assert EncodedImage("x", straight).crop((16, 24, 80, 64), shrink=2).shape == (20, 32, 3)


def test_a_cut_jpeg_is_found_by_its_crop():
    data = written(noise(64, 64), quality=95)
    image = EncodedImage("cut.jpg", data[: len(data) // 2])
    with pytest.raises(UnreadableImage, match=r"cut\.jpg: .*truncated"):
        image.crop((0, 0, 8, 8))


def test_what_only_pillow_takes_is_its():
    data = written(photo(32, 32))
    odd = data[:-2] + b"junk" + data[-2:]  # stray bytes before the end
    assert np.array_equal(EncodedImage("x", odd).crop((0, 0, 32, 32), shrink=2), np.asarray(decode_rgb("x", data=odd)))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0.5, 1),
    st.booleans(),
)
def test_a_damaged_jpeg_is_the_same_to_both(changes, kept, progressive):
    data = bytearray(written(noise(40, 24), progressive=progressive, exif=oriented(6)))
    for place, value in changes:
        data[int(place * len(data))] = value
    data = bytes(data[: int(kept * len(data))])

    def whole():
        return np.asarray(decode_rgb("x", data=data, max_pixels=10_000))

    def crop():
        image = EncodedImage("x", data, max_pixels=10_000)
        return image.crop((0, 0, image.width, image.height))

    assert np.array_equal(outcome(whole), outcome(crop))


def outcome(read):
    """The pixels, or the reason why there are none."""
    try:
        return read()
    except UnreadableImage as error:
        return error.reason
