"""The names in what a language model says: as JSON, cut, in prose, numbered, bulleted or between commas.

Formats that were asked for are not kept by every server and model, so that nothing is believed before it is read.
"""

import ast
import html
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from lt_extrap.curate.names import normal

MOST = 100  # names of a reply
_LETTERS, _WORDS = 60, 7  # of a name, at most: what is longer is a sentence
_KEYS = ("neighbors", "neighbours", "categories", "classes", "names", "items", "list", "response", "answer")
_NAME_KEYS = ("name", "category", "class", "label", "neighbor", "title")

_THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)>.*?(</\1>|$)", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r".*</(think|thinking|reasoning|thought)>", re.DOTALL | re.IGNORECASE)
_BREAK = re.compile(r"<\s*(br|/?li|/?p|/?[ou]l|/?div|/?tr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_FENCE = re.compile(r"```[^\n`]*\n?(.*?)(?:```|$)", re.DOTALL)
_QUERY = re.compile(r"^[ \t]*query[ \t]*:", re.IGNORECASE | re.MULTILINE)
_RESPONSE = re.compile(
    r"^[ \t]*(?:\*\*)?(?:response|answer|output|a)(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*", re.IGNORECASE | re.MULTILINE
)
_TRAILING = re.compile(r",(\s*[\]}])")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
# A number is one of a list if a sign or blanks part it from the name: "1957 Chevrolet Bel Air" and "3D printer" have none.
_MARK = re.compile(
    r"^[ \t>]*(?:[-*+\u2022\u2023\u25cf\u25cb\u25aa\u25e6\u2043\u2219\u00b7\u2013\u2014][ \t]+|[\u2022\u2023\u25cf\u25cb\u25aa\u25e6]|\(?\d{1,3}[.):\]][ \t]*(?!\d)|\(?[a-zA-Z][.)][ \t]+|\[\d{1,3}\][ \t]*)"
)
_NOTE = re.compile(r"^(.*\w.*?)\s*[(\uff08]([^()\uff08\uff09]*)[)\uff09]$")
_EXPLAINED = re.compile(r"\s+[-\u2013\u2014\u2192]+\s+|\s*:\s+|\s*=\s+")
_AROUND = " \t\r\n\"'`*_\u201c\u201d\u2018\u2019\u00ab\u00bb"
_REFUSAL = re.compile(
    r"^\W*(i['\u2019]?m (sorry|unable|not able|afraid)|i am (sorry|unable|not able|afraid)|sorry[,.!]|my apologies|i apologi[sz]e|i (can['\u2019]?t|cannot|can not|"
    r"won['\u2019]?t|do not|don['\u2019]?t|could not|couldn['\u2019]?t)\b|as an? (ai|language model)|unfortunately\b|"
    r"we['\u2019]?re sorry|i have no\b|there (are|is) no\b|no (response|answer|such|categor|result|match))",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"^\W*(n/?a|none|null|unknown|nil|undefined|string|etc\.?|and so on|\.{3}|here (are|is)\b.*|here['\u2019]s\b.*|sure\b.*|certainly\b.*|of course\b.*|"
    r"(i|we|you|let me|let us|let['\u2019]s|these|this|they|please|note|note that|hope)\b.*\b(is|are|am|was|have|can|will|want|hope|think|know|me)\b.*)\W*$",
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
    if not text or _REFUSAL.match(text):
        return Names((), not cut)
    found = _from_json(text)
    whole = not cut and (found is None or found[1])
    listed = found[0] if found is not None else _from_prose(text, cut=cut)
    names: dict[str, Name] = {}
    for entry in listed:
        if (name := _name(entry)) is not None:
            names.setdefault(normal(f"{name.name} {name.note or ''}"), name)
    return Names(tuple(names.values())[:MOST], whole)


def _answer(text: str) -> str:
    """A reply without what the model thought before it, without HTML, and without questions that it asked itself."""
    text = _THOUGHT_END.sub("", _THOUGHT.sub("", text))  # templates of chats may begin the thought themselves
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", text)))
    parts = [part for part in _QUERY.split(text) if part.strip()]
    text = parts[0] if parts else ""
    marks = list(_RESPONSE.finditer(text))
    return (text[marks[0].end() :] if marks else text).strip()


def _from_json(text: str) -> tuple[list[str], bool] | None:
    """The names of the first list in JSON, and whether it is whole; None where there is none."""
    for fenced in (*_FENCE.findall(text), text):
        for start in (match.start() for match in re.finditer(r"[\[{]", fenced)):
            block = _TRAILING.sub(r"\1", fenced[start:])
            value = _decoded(block)
            listed = list(_texts(value)) if value is not None else []
            if listed:
                return listed, True
        if (opened := re.search(r'\[\s*(?=["{])', fenced)) is not None:  # a list that nobody closes
            return list(_pieces(fenced[opened.end() :])), False
    return None


def _decoded(block: str) -> Any:
    """The value at the beginning of a text, as JSON or as Python writes it; None where there is none."""
    try:
        return json.JSONDecoder().raw_decode(block)[0]
    except (ValueError, RecursionError):
        end = block.find("]")
        try:
            return ast.literal_eval(block[: end + 1]) if block.startswith("[") and 0 < end < 10_000 else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None


def _texts(value: Any) -> Iterator[str]:
    """The names in a value: of a list, or of the list that an object has under its likeliest key."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                yield item
            elif isinstance(item, dict):
                named = {str(key).lower(): text for key, text in item.items() if isinstance(text, str)}
                yield next((named[key] for key in _NAME_KEYS if key in named), next(iter(named.values()), ""))
    elif isinstance(value, dict):
        keys = {str(key).lower(): key for key in value}
        order = [keys[key] for key in _KEYS if key in keys] + [key for key in value if str(key).lower() not in _KEYS]
        for key in order:
            inner = value[key]
            if isinstance(inner, str) and str(key).lower() in _KEYS:
                found = list(_from_prose(inner))
            else:
                found = list(_texts(inner))
            if found:
                yield from found
                return
        if value and all(str(key).isdecimal() and isinstance(text, str) for key, text in value.items()):
            yield from value.values()


def _pieces(text: str) -> Iterator[str]:
    """The whole texts of a list in JSON that was cut; of objects, their names."""
    keyed = "{" in text
    for match in _STRING.finditer(text):
        key = text[match.end() :].lstrip().startswith(":")
        before = re.search(r'"(\w+)"\s*:\s*$', text[: match.start()])
        if key or (keyed and (before is None or before[1].lower() not in _NAME_KEYS)):
            continue
        try:
            yield str(json.loads(match[0]))
        except ValueError:
            continue


def _from_prose(text: str, *, cut: bool = False) -> Iterator[str]:
    """The items of a list in a text: lines with marks, else the line with most commas, else all lines."""
    lines = [line.strip() for line in _FENCE.sub(r"\1", text).splitlines()]
    lines = [line for line in lines if line.strip("-*_=# ")]
    marked = [line[match.end() :] for line in lines if (match := _MARK.match(line))]
    if marked and not (len(marked) == 1 and marked[0].count(",") >= 2):
        items = [_EXPLAINED.split(line)[0] if _MARK.match(line) is None else line for line in marked]
        items = [_before_explanation(item) for item in items]
    else:
        lines = marked or lines
        if (listed := max(lines, key=_separators, default="")) and _separators(listed) >= 2:
            items = _between_commas(listed)
        elif len(lines) == 1:
            items = _between_commas(lines[0])
        else:
            items = [_before_explanation(line) for line in lines if not line.endswith(":")]
    yield from items[:-1] if cut else items


def _separators(line: str) -> int:
    return line.count(",") + line.count(";") + line.count("\u3001")


def _between_commas(line: str) -> list[str]:
    """The items of a line, without what leads to them ("Sure, here are some: ...") and the word before the last."""
    head, colon, rest = line.rpartition(": ")
    line = rest if colon and not head.endswith(("http", "https")) else line
    parts = re.split(r"\s*[,;\u3001]\s*(?![^()]*\))", line)
    if len(parts) > 1:
        parts[-1] = re.sub(r"^(?:and|or|und|et|y)\s+", "", parts[-1].strip())
        if len(parts) == 2 and " and " in parts[-1]:
            return parts
    return parts


def _before_explanation(item: str) -> str:
    """A name without what is said of it after a dash or a colon."""
    return _EXPLAINED.split(item.strip(), maxsplit=1)[0]


def _name(entry: str) -> Name | None:
    """A name as it was listed; None where it is none."""
    line = " ".join(entry.split())
    line = line[match.end() :] if (match := _MARK.match(line)) else line
    line = line.strip(_AROUND).rstrip(".,;:!?").strip(_AROUND)
    note = None
    if match := _NOTE.match(line):
        line, note = match[1].strip(_AROUND), match[2].strip(_AROUND) or None
    if not line.isprintable() or not any(letter.isalpha() for letter in line) or not normal(line):
        return None
    if len(line) > _LETTERS or len(line.split()) > _WORDS or _REFUSAL.match(line) or _NO_NAME.match(line):
        return None
    if set(line) & set("{}[]<>=\\|"):
        return None
    return Name(line, note)
