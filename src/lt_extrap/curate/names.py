"""Names as they are compared with one another and looked for in captions."""

import re
import unicodedata
from functools import lru_cache

_DASHES = dict.fromkeys(map(ord, "_-\u2010\u2011\u2012\u2013\u2014\u2015/\n\r\t\xa0"), " ")
_MARKS = re.compile(r"['\u2019\u02bc]s\b|['\u2019\u02bc\"\u201c\u201d.]")
_SPELLINGS = (("gray", "grey"), ("colored", "coloured"), ("color", "colour"), ("aeroplane", "airplane"))


def normal(text: str) -> str:
    """A text in the letters in which names are compared.

    Case, accents, possessive 's, quotation marks and full stops are left out; hyphens, underscores, slashes and blanks
    of any kind are one blank; British and American spellings of a few words are one.
    """
    letters = text.casefold()
    if not text.isascii():
        letters = unicodedata.normalize("NFKD", text).casefold()
        letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    letters = _MARKS.sub("", letters.translate(_DASHES))
    for one, other in _SPELLINGS:
        letters = letters.replace(other, one)
    return unicodedata.normalize("NFC", " ".join(letters.split()))


@lru_cache(maxsize=100_000)
def forms(name: str) -> frozenset[str]:
    """What a name may look like in a normal text: itself, its regular plural or singular, each also without blanks."""
    words = normal(name)
    found = {words, *_numbers(words)}
    return frozenset(form for words in found for form in (words, words.replace(" ", "")) if form)


def _numbers(words: str) -> set[str]:
    """The regular plurals of a name, and its singular if it is one."""
    if len(words) < 3 or not words[-1].isascii() or not words[-1].isalpha():
        return set()
    found = {words + "s"}
    if words.endswith(("s", "x", "z", "ch", "sh", "o")):
        found.add(words + "es")
    if words.endswith("y") and words[-2] not in "aeiou":
        found.add(words[:-1] + "ies")
    if words.endswith("fe"):
        found.add(words[:-2] + "ves")
    elif words.endswith("f"):
        found.add(words[:-1] + "ves")
    if words.endswith("ies") and len(words) > 4:
        found.add(words[:-3] + "y")
    if words.endswith("es") and words[:-2].endswith(("s", "x", "z", "ch", "sh", "o")):
        found.add(words[:-2])
    if words.endswith("s") and not words.endswith(("ss", "us", "is")) and len(words) > 3:
        found.add(words[:-1])
    return found
