"""Names as they are compared with one another and looked for in captions."""

import re
import unicodedata
from functools import lru_cache

_DASHES: dict[int, str] = {
    **dict.fromkeys(map(ord, "_-\u2010\u2011\u2012\u2013\u2014\u2015/\n\r\t\xa0"), " "),
    ord("&"): " and ",
}
_MARKS = re.compile(r"['\u2019\u02bc]s\b|['\u2019\u02bc\"\u201c\u201d.]")
_STOP = re.compile(r"\.(?=\w\w)")  # St.Bernard, lion.jpg; but U.S.
_SPELLINGS = (("gray", "grey"), ("colored", "coloured"), ("color", "colour"), ("aeroplane", "airplane"))
_IRREGULAR = (  # endings; what is made of them wrongly (humen) is a form that no caption has
    ("man", "men"),
    ("mouse", "mice"),
    ("louse", "lice"),
    ("goose", "geese"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("child", "children"),
    ("person", "people"),
)


def normal(text: str) -> str:
    """A text in the letters in which names are compared.

    Case, accents, possessive 's, quotation marks, full stops and what is not seen (soft hyphens) are left out; hyphens,
    underscores, slashes, full stops within a word and blanks of any kind are one blank; & is `and`; British and
    American spellings of a few words are one.
    """
    if text.isascii():
        letters = text.lower()
    else:
        letters = unicodedata.normalize("NFKD", text).casefold()
        letters = "".join(
            letter for letter in letters if not unicodedata.combining(letter) and unicodedata.category(letter) != "Cf"
        )
    letters = letters.translate(_DASHES)
    if "." in letters:
        letters = _STOP.sub(" ", letters)
    letters = _MARKS.sub("", letters)
    for one, other in _SPELLINGS:
        letters = letters.replace(other, one)
    letters = " ".join(letters.split())
    return letters if text.isascii() else unicodedata.normalize("NFC", letters)


@lru_cache(maxsize=100_000)
def forms(name: str) -> frozenset[str]:
    """What a name may look like in a normal text: itself, its plural or singular, each also without blanks."""
    words = normal(name)
    found = {words, *_numbers(words)}
    head, of, rest = words.partition(" of ")
    found |= {number + of + rest for number in _numbers(head)} if of else set()  # birds of paradise
    return frozenset(form for words in found for form in (words, words.replace(" ", "")) if form)


def _numbers(words: str) -> set[str]:
    """The plurals of a name, and its singular if it is one."""
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
    if words.endswith("us") and len(words) > 5:  # cacti
        found.add(words[:-2] + "i")
    if words.endswith("ies") and len(words) > 4:
        found.add(words[:-3] + "y")
    if words.endswith("ves") and len(words) > 4:
        found |= {words[:-3] + "f", words[:-3] + "fe"}
    if words.endswith("es") and words[:-2].endswith(("s", "x", "z", "ch", "sh", "o")):
        found.add(words[:-2])
    if words.endswith("s") and not words.endswith(("ss", "us", "is")) and len(words) > 3:
        found.add(words[:-1])
    for one, many in _IRREGULAR:
        if words.endswith(one):
            found.add(words.removesuffix(one) + many)
        elif words.endswith(many):
            found.add(words.removesuffix(many) + one)
    return found
