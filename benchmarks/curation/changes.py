"""What is done to a photograph before it is planted: copies that leaks are made of, odd formats, and junk."""

import io
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps

Change = Callable[[Image.Image, np.random.Generator], bytes]  # from a picture to a file

HUGE = 12_000  # pixels a side: 144 megapixels, in a few kB


def _saved(picture: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def _quality(quality: int) -> Change:
    return lambda picture, rng: _saved(picture, quality=quality)


def _halved(picture: Image.Image, rng: np.random.Generator) -> bytes:
    half = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)), Image.Resampling.BICUBIC)
    return _saved(half.resize(picture.size, Image.Resampling.BICUBIC), quality=90)


def _cropped(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """Nine tenths of both sides, somewhere."""
    width, height = round(0.9 * picture.width), round(0.9 * picture.height)
    left = int(rng.integers(picture.width - width + 1))
    upper = int(rng.integers(picture.height - height + 1))
    return _saved(picture.crop((left, upper, left + width, upper + height)), quality=90)


def _watermarked(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """White words, half transparent, from one edge to the other."""
    words = str(rng.choice(["(c) stock photo", "SAMPLE IMAGE", "www.example.org"]))
    size = 2 * picture.width / len(words)
    layer = Image.new("RGBA", picture.size)
    place = (picture.width / 2, float(rng.uniform(0.3, 0.7)) * picture.height)
    ImageDraw.Draw(layer).text(place, words, (255, 255, 255, 160), ImageFont.load_default(size), anchor="mm")
    return _saved(Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB"), quality=90)


LEAKS: dict[str, Change | None] = {  # None: the file as it is
    "same file": None,
    "JPEG 70": _quality(70),
    "JPEG 30": _quality(30),
    "halved": _halved,
    "cropped": _cropped,
    "mirrored": lambda picture, rng: _saved(ImageOps.mirror(picture), quality=90),
    "watermarked": _watermarked,
    "gray": lambda picture, rng: _saved(ImageOps.grayscale(picture), quality=90),
}

COPIES: dict[str, Change | None] = {"same file": None, "JPEG 70": _quality(70), "halved": _halved}


def _sixteen_bits(picture: Image.Image, rng: np.random.Generator) -> bytes:
    values = np.asarray(ImageOps.grayscale(picture), np.uint16) * 257
    return _saved(Image.fromarray(values), "PNG")


def _turned(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """Lying on its side in the file, and upright by its EXIF orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return _saved(picture.transpose(Image.Transpose.ROTATE_90), quality=90, exif=exif)


def _transparent(picture: Image.Image, rng: np.random.Generator) -> bytes:
    """The picture in a clear frame whose hidden pixels are red."""
    width, height = picture.size
    frame = Image.new("RGBA", (width + width // 8, height + height // 8), (255, 0, 0, 0))
    frame.paste(picture, (width // 16, height // 16))
    return _saved(frame, "PNG")


def _animated(picture: Image.Image, rng: np.random.Generator) -> bytes:
    black = Image.new("RGB", picture.size)
    return _saved(picture, "GIF", save_all=True, append_images=[black, black])


FORMATS: dict[str, Change | None] = {
    "16-bit gray PNG": _sixteen_bits,
    "CMYK": lambda picture, rng: _saved(picture.convert("CMYK"), quality=90),
    "EXIF-rotated": _turned,
    "transparent PNG": _transparent,
    "animated GIF": _animated,
}


def _blank(picture: Image.Image, rng: np.random.Generator) -> bytes:
    return _saved(Image.new("RGB", picture.size, tuple(rng.integers(256, size=3).tolist())), quality=90)


def _noise(picture: Image.Image, rng: np.random.Generator) -> bytes:
    values = rng.integers(256, size=(picture.height, picture.width, 3), dtype=np.uint8)
    return _saved(Image.fromarray(values), quality=90)


def _html(picture: Image.Image, rng: np.random.Generator) -> bytes:
    page = f"<!DOCTYPE html><title>Not found</title><p>Nothing is here. Request {rng.integers(1 << 62)}.\n"
    return page.encode()


def _cut(picture: Image.Image, rng: np.random.Generator) -> bytes:
    whole = _saved(picture, quality=90)
    return whole[: len(whole) * 2 // 3]


def _huge(picture: Image.Image, rng: np.random.Generator) -> bytes:
    return _saved(Image.new("1", (HUGE, HUGE + int(rng.integers(1000)))), "PNG")


JUNK: dict[str, Change | None] = {
    "blank": _blank,
    "noise": _noise,
    "HTML": _html,
    "cut": _cut,
    "one pixel": lambda picture, rng: _saved(picture.resize((1, 1)), quality=90),
    "144 megapixels": _huge,
}


def _placeholder(quality: int) -> Change:
    def change(picture: Image.Image, rng: np.random.Generator) -> bytes:
        """One picture, whatever the photograph."""
        drawn = Image.new("RGB", (130, 100), (224, 224, 224))
        pen = ImageDraw.Draw(drawn)
        pen.rectangle((45, 15, 85, 50), outline=(120, 120, 120), width=3)
        pen.line((45, 15, 85, 50), (120, 120, 120), 3)
        pen.text((65, 75), "no longer available", (90, 90, 90), ImageFont.load_default(12), anchor="mm")
        return _saved(drawn, quality=quality)

    return change


# The second is for a rule that looks at more than the hash of the file.
PLACEHOLDERS: dict[str, Change | None] = {
    "same file": _placeholder(90),
    "saved again": lambda picture, rng: _placeholder(int(rng.integers(40, 90)))(picture, rng),
}

EXTENSIONS = {"16-bit gray PNG": ".png", "transparent PNG": ".png", "144 megapixels": ".png", "animated GIF": ".gif"}
