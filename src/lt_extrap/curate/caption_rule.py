"""Does a caption speak of a class? One of the class's spellings has to occur in it as a word sequence."""

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from lt_extrap.curate.names import forms, normal

# Letters of scripts without blanks between words, or with endings hung onto them: each is a word, so that a sequence of
# words is any part of a text.
_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"  # CJK
)
_MARKED = "\u0900-\u0963\u0966-\u0dff"  # Indian scripts, whose vowel signs are no letters to Python
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:[{_MARKED}]+[^\W{_UNSPACED}]*)*|[^\w\s]")
_TAG = re.compile(r"<[/!]?[a-zA-Z-][^<>]*>")


def plain(caption: str) -> str:
    """A caption in the letters in which names are looked for (see `names.normal`), without HTML."""
    return normal(without_html(caption))


def without_html(text: str) -> str:
    """A text without tags, and with the letters that entities stand for."""
    return _TAG.sub(" ", html.unescape(text)) if "&" in text or "<" in text else text


def words_of(text: str) -> list[str]:
    """The words of a normal text; every sign, and every letter of a script without blanks, is one of its own."""
    return _WORD.findall(text)


class CaptionRule:
    """The rule that decides which captions are of a class.

    Case, accents, hyphens, plurals and the like do not matter (see `names.forms`). A match that lies inside a longer
    known name does not count, unless that is a spelling of the class too: a sea lion is no lion.

    Args:
        known: names of all classes, target and auxiliary, in any spelling.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = _Phrases(form for name in known for form in forms(name))

    def match(self, spellings: Sequence[str], caption: str) -> str | None:
        """The first form of a spelling that a caption has, in normal letters, the longest at its place; None without.

        Args:
            spellings: of the class.
            caption: as it was found, perhaps with HTML.
        """
        own = _phrases_of(tuple(spellings))
        text = plain(caption)
        words = [(word.start(), word.end(), word[0]) for word in _WORD.finditer(text)]
        ends = {end for _, end, _ in words}
        for start, _, word in words:
            for end in own.ends(text, start, word):
                if end in ends and not self._inside_longer(text, words, ends, start, end):
                    return text[start:end]
        return None

    def _inside_longer(
        self, text: str, words: Sequence[tuple[int, int, str]], ends: set[int], start: int, end: int
    ) -> bool:
        for other, _, word in words:
            if other > start:
                return False
            for longest in self._known.ends(text, other, word):  # the longest first
                if longest in ends:
                    if longest >= end and longest - other > end - start:
                        return True
                    break
        return False


class _Phrases:
    """Word sequences, found by their first word: a look into a text costs the same for a hundred and for a million."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = frozenset(phrases)
        lengths: dict[str, set[int]] = defaultdict(set)
        for phrase in self._phrases:
            first = _WORD.match(phrase)
            assert first is not None  # a form is not empty, and does not begin with a blank
            lengths[first[0]].add(len(phrase))
        self._lengths = {word: tuple(sorted(found, reverse=True)) for word, found in lengths.items()}

    def ends(self, text: str, start: int, word: str) -> Iterator[int]:
        """Where phrases end that begin at a word of a text, the longest first; perhaps within a word."""
        for length in self._lengths.get(word, ()):
            if text[start : start + length] in self._phrases:
                yield start + length


@lru_cache(maxsize=1_000)
def _phrases_of(spellings: tuple[str, ...]) -> _Phrases:
    return _Phrases(form for name in spellings for form in forms(name))
