"""The names in what a language model says: as JSON, cut, in prose, numbered, bulleted or between commas.

Formats that were asked for are not kept by every server and model, so that nothing is believed before it is read.
"""

import ast
import html
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from string import ascii_lowercase
from typing import Any, NamedTuple
from unicodedata import category

from lt_extrap.curate.names import normal

MOST = 100  # names of a reply
_READ = 10_000  # letters of a reply that are read
_STARTS = 50  # of JSON in it that are tried
_LETTERS, _WORDS = 60, 7  # of a name, at most: what is longer is a sentence
_LISTS = ("neighbors", "neighbours", "categories", "classes", "names", "items", "list", "response", "answer")
_NAMES = ("name", "category", "class", "label", "neighbor", "title")  # keys of an object that is one item

_APOSTROPHE = "['\u2019]"
_THOUGHT = re.compile(r"<(/?)(?:think|thinking|reasoning|thought)>", re.IGNORECASE)
_BREAK = re.compile(r"<\s*(br|/?li|/?p|/?[ou]l|/?div|/?tr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\|[^<>|]{1,40}\|>(?:(?:assistant|user)\b)?")  # and those of templates of chats
_FENCE = re.compile(r"```[^\n`]*\n?(.*?)(?:```|$)", re.DOTALL)
_QUERY = re.compile(r"^[ \t]*query[ \t]*:", re.IGNORECASE | re.MULTILINE)
_RESPONSE = re.compile(r"^[ \t*]*(?:response|answer|output)[ \t*]*:[ \t*]*", re.IGNORECASE | re.MULTILINE)
_TRAILING_COMMA = re.compile(r",(\s*[\]}])")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_OPENED = re.compile(r'\[\s*(?=["{])')
_OBJECT = re.compile(r'\{\s*"[^"\n]*"\s*:')
_BULLETS = "\u2022\u2023\u25cf\u25cb\u25aa\u25e6\u2043\u2219\u00b7"
# A sign parts the number of an item from its name: "1957 Chevrolet Bel Air" and "3D printer" have none.
_MARK = re.compile(rf"[ \t>]*(?:[-*+\u2013\u2014][ \t]+|[{_BULLETS}][ \t]*|[(\[]?\d{{1,3}}[.):\]][ \t]*(?!\d))")
_NUMBER = re.compile(r"(?:^|(?<=\s))[(\[]?(\d{1,3})[.):\]]\s+")
_ROW = re.compile(r"^\|[ \t]*\d{1,3}[ \t]*\|([^|\n]*)\|.*$", re.MULTILINE)  # of a table with numbers
_LETTER_MARK = re.compile(r"[ \t(]*([a-zA-Z])[.)][ \t]+")
_SEPARATOR = re.compile(r"\s*[,;\u3001\uff0c\uff1b]\s*(?![^()]{0,99}\))")
_REMARK = re.compile(
    r"(?:[,;:]\s+|\s+[-\u2013\u2014\u2192=/]+\s+)(?![^()]{0,99}\)).*"
)  # or a synonym: "tench, Tinca tinca"
_BRACKETS = re.compile(r"[(\uff08][^()\uff08\uff09]*[)\uff09]?")
_LEAD = re.compile(r".*\b(?:are|include|includes|including|such as|like)\s+(?=\w)", re.IGNORECASE)
_AND = re.compile(r"(?:and|or)\s+(?=\w)", re.IGNORECASE)
_EXPLAINED = re.compile(r"\s+[-\u2013\u2014\u2192=]+\s+|:\s+")
_NOTE = re.compile(r"(.*\w.*?)\s*[(\uff08]([^()\uff08\uff09]*)[)\uff09]")
_ARTICLE = re.compile(r"(?:a|an|the)\s+(?=\w)", re.IGNORECASE)
_AROUND = " \t\r\n\"'`*_|[]{}\u201c\u201d\u2018\u2019\u00ab\u00bb"
_REFUSAL = re.compile(
    rf"\W*(i({_APOSTROPHE}?m| am) (sorry|unable|not able|afraid)|sorry[,.!]|my apologies|i apologi[sz]e"
    rf"|i (can{_APOSTROPHE}?t|cannot|can not|won{_APOSTROPHE}?t|do not|don{_APOSTROPHE}?t|could not|have no)\b"
    rf"|as an? (ai|language model)\b|unfortunately\b|we{_APOSTROPHE}?re sorry|there (are|is) no\b"
    r"|no (response|answer|such|categor|result|match))",
    re.IGNORECASE,
)
_TALK = re.compile(
    rf"\W*(n/?a|none|null|unknown|nil|undefined|string|etc|and so on|too|here({_APOSTROPHE}s| is| are)\b.*"
    r"|(sure|certainly|of course|okay|absolutely)\b.*|(i|we|you|it|let me|let us|these|this|they|there|please|note|and)"
    r"\b.*\b(is|are|am|was|have|can|will|want|hope|think|know|need|me)\b.*)\W*",
    re.IGNORECASE,
)


class Name(NamedTuple):
    """A class that was named.

    Attributes:
        name: without quotation marks, numbers of a list and notes.
        note: what stood in brackets after it, such as "bird of prey"; None without.
    """

    name: str
    note: str | None = None

    @property
    def key(self) -> str:
        """What tells it from others: normal letters, with those of the note."""
        return normal(self.name) + (f" ({normal(self.note)})" if self.note else "")


class Names(NamedTuple):
    """What a reply names.

    Attributes:
        names: each once, in the order of the reply.
        whole: whether the list came to its end; of one that is cut, the last, half name is left out.
    """

    names: tuple[Name, ...]
    whole: bool = True


def read(text: str, *, cut: bool = False) -> Names:
    """The names in a reply; none in one that is empty, refuses or only talks.

    Args:
        text: as the model has it.
        cut: whether its server says that it was cut.
    """
    text = _answer(text)
    text, cut = text[:_READ], cut or len(text) > _READ
    if not text or _REFUSAL.match(text):
        return Names((), not cut)
    listed, whole = _from_json(text) or (_from_prose(text), True)
    if cut and whole:
        listed, whole = listed[:-1], False
    names = dict[str, Name]()
    for name in filter(None, map(_name, listed)):
        names.setdefault(name.key, name)
    return Names(tuple(names.values())[:MOST], whole)


def _answer(text: str) -> str:
    """A reply without what the model thought before it, without HTML, and without questions that it asked itself."""
    thought = list(_THOUGHT.finditer(text))  # of which a template of chats may have written the beginning
    start = max((tag.end() for tag in thought if tag[1]), default=0)
    text = text[start : min((tag.start() for tag in thought if tag.start() >= start), default=None)]
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", text)))
    text = next((part for part in _QUERY.split(text) if part.strip()), "")
    answers = _RESPONSE.split(text, maxsplit=1)
    return answers[-1].strip()


def _from_json(text: str) -> tuple[list[str], bool] | None:
    """The names of the first list in JSON, and whether it is whole; None where there is none."""
    for part in (*_FENCE.findall(text), text):
        for start in islice(re.finditer(r"[\[{]", part), _STARTS):
            if listed := _texts(_decoded(_TRAILING_COMMA.sub(r"\1", part[start.start() :]))):
                return (listed if len(listed) > 1 else _from_prose(listed[0])), True
        if opened := _OPENED.search(part):  # and nobody closes it
            return list(_pieces(part[opened.end() :])), False
    try:
        return ([], True) if isinstance(json.loads(text), dict | list) else None  # of something else
    except (ValueError, RecursionError):
        return ([], False) if _OBJECT.match(text) else None  # its keys are no names


def _decoded(text: str) -> Any:
    """The value at the beginning of a text, as JSON or Python writes it; None where there is none."""
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text[: text.find("]") + 1]) if text.startswith(("['", "[ '")) else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _texts(value: Any) -> list[str]:
    """The names in a value: those of a list, or of the list that an object has under its likeliest key."""
    if isinstance(value, list):
        return [text for item in value if (text := _item(item))]
    if not isinstance(value, dict):
        return []
    for key in sorted(value, key=lambda key: _LISTS.index(key.lower()) if key.lower() in _LISTS else len(_LISTS)):
        inner = value[key]
        if found := _from_prose(inner) if isinstance(inner, str) and key.lower() in _LISTS else _texts(inner):
            return found
    if value and all(key.isdecimal() and isinstance(text, str) for key, text in value.items()):
        return list(value.values())
    return []


def _item(item: Any) -> str:
    """The name that an item of a list is, or has."""
    if isinstance(item, dict):
        texts = {key.lower(): text for key, text in item.items() if isinstance(text, str)}
        return next((texts[key] for key in (*_NAMES, *texts) if key in texts), "")
    return item if isinstance(item, str) else ""


def _pieces(text: str) -> Iterator[str]:
    """The whole texts of a list in JSON that was cut; of objects, their names."""
    objects = "{" in text
    for found in _STRING.finditer(text):
        before = re.search(r'"(\w+)"\s*:\s*$', text[max(0, found.start() - 40) : found.start()])
        is_key = text[found.end() : found.end() + 9].lstrip().startswith(":")
        if is_key or (objects and (before is None or before[1].lower() not in _NAMES)):
            continue
        try:
            yield str(json.loads(found[0]))
        except ValueError:
            continue


def _from_prose(text: str) -> list[str]:
    """The items of a list in a text: lines with marks, else the line with most commas, else all lines."""
    text = _ROW.sub(r"- \1", _FENCE.sub(r"\1", text))
    lines = [part for line in text.splitlines() for part in _apart(line.strip()) if part.strip("-*_=# ")]
    marked = _unmarked(lines)
    if len(marked) > 1:
        return [_EXPLAINED.split(line, maxsplit=1)[0] for line in marked]
    lines = marked or [line for line in lines if not line.endswith(":")]
    commas = max(lines, key=lambda line: len(_SEPARATOR.findall(line)), default="")
    if len(lines) == 1 or len(_SEPARATOR.findall(commas)) > 1:
        return _between_commas(commas)
    return [_EXPLAINED.split(line, maxsplit=1)[0] for line in lines]


def _apart(line: str) -> list[str]:
    """A line, or the items of a list that it has: "1. carp 2. dace"."""
    marks = list(_NUMBER.finditer(line))
    if len(marks) < 2 or any(int(mark[1]) != number for number, mark in enumerate(marks, 1)):
        return [line]
    starts = [mark.start() for mark in marks]
    return [line[start:end] for start, end in pairwise([*starts, len(line)])]


def _unmarked(lines: Sequence[str]) -> list[str]:
    """The items among lines that have a bullet, a number or the next letter before them, without it."""
    lettered = [match for line in lines if (match := _LETTER_MARK.match(line))]
    if len(lettered) > 1 and ascii_lowercase.startswith("".join(match[1] for match in lettered).lower()):
        return [match.string[match.end() :] for match in lettered]
    return [line[match.end() :] for line in lines if (match := _MARK.match(line))]


def _between_commas(line: str) -> list[str]:
    """The items of a line, without what leads to them ("Here are some: ..."); none where it begins as a sentence."""
    first, *rest = _SEPARATOR.split(line.rpartition(": ")[2])
    first = _after(_LEAD, first) if rest else first
    if _name(first) is None:
        return []
    return [first, *(_after(_AND, item) for item in rest)]


def _name(entry: str) -> Name | None:
    """A name as it was listed; None where it is none."""
    if len(entry) > 4 * _LETTERS:
        return None
    seen = (" " if letter == "_" or category(letter) == "So" else letter for letter in entry)  # So: pictures, \u2122
    line = " ".join("".join(seen).split())
    line = _bare(_after(_MARK, line))
    note = None
    if found := _NOTE.fullmatch(line):
        line, note = _bare(found[1]), _bare(found[2])
    line = _after(_ARTICLE, line)
    if not line.isprintable() or not any(map(str.isalpha, line)) or not normal(line) or normal(line) in _LISTS:
        return None
    if len(line) > _LETTERS or len(line.split()) > _WORDS or set(line) & set("{}[]<>=\\|") or '":' in line:
        return None
    if _REFUSAL.match(line) or _TALK.fullmatch(line):
        return None
    line = _bare(_BRACKETS.sub("", _REMARK.sub("", line)))
    if not normal(line):
        return None
    return Name(line, note if note and note.isprintable() and any(map(str.isalpha, note)) else None)


def _after(lead: re.Pattern[str], text: str) -> str:
    """A text without what it begins with."""
    found = lead.match(text)
    return text[found.end() :] if found else text


def _bare(text: str) -> str:
    """A text without quotation marks and the like around it, and without a stop at its end."""
    return re.sub(r"^[^\w(]+", "", text.strip(_AROUND).rstrip(".,;:!?").strip(_AROUND))
