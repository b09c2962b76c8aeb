"""Smaller copies of large images."""

import io

from PIL import Image

from lt_extrap.data.decode import decode_rgb, image_size

QUALITY = 92  # of a JPEG that is made of a larger image


def shrunk(path: str, content: bytes, longest_edge: int) -> bytes:
    """An image whose longest edge is at most so many pixels: as it is, or resized, upright, as JPEG.

    Raises:
        UnreadableImage: it is none.
    """
    if max(image_size(path, data=content)) <= longest_edge:
        return content
    # A JPEG is decoded at a smaller size first, of which all pixels are averages; the filter sees two and more of each.
    image = decode_rgb(path, data=content, draft=2 * longest_edge)
    scale = longest_edge / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(shown, "JPEG", quality=QUALITY)
    return shown.getvalue()
