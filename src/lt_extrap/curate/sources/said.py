"""What others say of images, in the form in which it is kept."""

import re

WEB = re.compile(r"https?://[^\s/]", re.IGNORECASE)
LONGEST = 10_000  # letters of a caption that count
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def line(text: str) -> str:
    """A text in one line that SQLite takes: an escape of JSON may be half a character."""
    if text.isascii() and text.isprintable():
        return text.strip()
    text = text.encode("utf-8", "replace").decode()
    return " ".join(_CONTROL.sub(" ", text).split())


def address(text: str | None) -> str | None:
    """An address on the web; None where a text is none."""
    return text if text and WEB.match(text) else None


def caption(*parts: str | None) -> str | None:
    """All that is said of an image, each thing once; None where nothing is."""
    said = (" ".join(line(part or "").split()) for part in parts)
    return " | ".join(dict.fromkeys(filter(None, said)))[:LONGEST] or None
