"""The nouns of WordNet 3.0, whose offsets are the ids of ImageNet's classes: n and 8 digits."""

import io
import os
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lt_extrap.curate.names import normal
from lt_extrap.errors import DataError

PERSON = "n00007846"  # person.n.01
_NOUNS = "data.noun"
_ARCHIVE = "wordnet.zip"  # as NLTK leaves it
_MOST_BYTES = 64 << 20  # of data.noun, which has 15 million
_VERSION = "WordNet 3.0 Copyright"
_REMEDY = (
    "apt install wordnet-base, or fetch NLTK's corpus wordnet (not wordnet31), or give the folder of WordNet 3.0's "
    "data.noun as names.wordnet or in WNHOME"
)


class Synset(NamedTuple):
    """A sense that one or more nouns have in common.

    Attributes:
        lemmas: those nouns, with blanks, the most usual first.
        gloss: what it is.
        hypernyms: wnids of what it is a kind of, or, for a synset that is an individual, what that is an instance of.
        is_instance: whether it is an individual: Lassie, Lake Superior.
    """

    lemmas: tuple[str, ...]
    gloss: str
    hypernyms: tuple[str, ...]
    is_instance: bool


class WordNet:
    """Synsets by wnid.

    Args:
        synsets: all of them.

    Raises:
        ValueError: a hypernym is not among them, or hypernyms run in a circle and never to a root.
    """

    def __init__(self, synsets: dict[str, Synset]) -> None:
        self._synsets = synsets
        below: dict[str, list[str]] = defaultdict(list)
        for wnid, synset in synsets.items():
            for hypernym in synset.hypernyms:
                below[hypernym].append(wnid)
        self._hyponyms = {wnid: tuple(wnids) for wnid, wnids in below.items()}
        self._depth = self._depths()
        if lost := below.keys() - synsets.keys():
            raise ValueError(f"no synset {min(lost)}, a hypernym of {below[min(lost)][0]}")
        if lost := synsets.keys() - self._depth.keys():
            raise ValueError(f"hypernyms of {min(lost)} that run in a circle")

    def __len__(self) -> int:
        return len(self._synsets)

    def __iter__(self) -> Iterator[str]:
        return iter(self._synsets)

    def __contains__(self, wnid: object) -> bool:
        return wnid in self._synsets

    def __getitem__(self, wnid: str) -> Synset:
        return self._synsets[wnid]

    def hyponyms(self, wnid: str) -> tuple[str, ...]:
        """The kinds of a synset, and its instances, in the order of their wnids."""
        return self._hyponyms.get(wnid, ())

    def ancestors(self, wnid: str) -> dict[str, int]:
        """All that a synset is a kind or an instance of, nearest first, with the number of steps, from 1 on."""
        return self._walk(wnid, lambda at: self._synsets[at].hypernyms)

    def descendants(self, wnid: str) -> dict[str, int]:
        """All kinds and instances of a synset, nearest first, with the number of steps, from 1 on."""
        return self._walk(wnid, self.hyponyms)

    def depth(self, wnid: str) -> int:
        """Synsets on the shortest way from the root, both included: 1 for the root, entity."""
        return self._depth[wnid]

    def similarity(self, one: str, other: str) -> float:
        """The similarity of Wu and Palmer (1994), in 0..1: how deep what two synsets have in common is.

        2 d / (steps from one + steps from the other + 2 d), d the depth of the common ancestor for which this is
        largest; 1 for a synset and itself, 0 where nothing is in common.
        """
        steps = {other: 0, **self.ancestors(other)}
        common = [
            (up + steps[at], 2 * self._depth[at]) for at, up in {one: 0, **self.ancestors(one)}.items() if at in steps
        ]
        return max((depth / (way + depth) for way, depth in common), default=0.0)

    def wnids_of(self, lemma: str) -> tuple[str, ...]:
        """The synsets that have a noun among their lemmas, in any case, hyphenation or accents; () if there is none."""
        return self._senses.get(normal(lemma), ())

    @cached_property
    def _senses(self) -> dict[str, tuple[str, ...]]:
        senses: dict[str, dict[str, None]] = defaultdict(dict)
        for wnid, synset in self._synsets.items():
            for lemma in synset.lemmas:
                senses[normal(lemma)][wnid] = None
        return {lemma: tuple(wnids) for lemma, wnids in senses.items()}

    def _walk(self, start: str, following: Callable[[str], tuple[str, ...]]) -> dict[str, int]:
        found = {start: 0}
        for at in (queue := [start]):
            for other in following(at):
                if other not in found:
                    found[other] = found[at] + 1
                    queue.append(other)
        del found[start]
        return found

    def _depths(self) -> dict[str, int]:
        depth = {wnid: 1 for wnid, synset in self._synsets.items() if not synset.hypernyms}
        for at in (queue := list(depth)):
            for hyponym in self.hyponyms(at):
                if hyponym not in depth:
                    depth[hyponym] = depth[at] + 1
                    queue.append(hyponym)
        return depth


def find_wordnet(path: str | None = None) -> Path:
    """Where WordNet is: the folder of its noun files, or the archive of NLTK's corpus.

    Args:
        path: the only place to look at; null = $WNHOME, Debian's wordnet-base, and where NLTK keeps its corpora.

    Raises:
        DataError: it is in none of these places.
    """
    places = [Path(path).expanduser()] if path is not None else list(_usual_places())
    for place in places:
        for found in (place, place / "dict", place / _ARCHIVE):
            if (found / _NOUNS).is_file() or (found.is_file() and found.suffix == ".zip"):
                return found
    raise DataError(f"WordNet 3.0 ({_NOUNS})", "none in " + ", ".join(map(str, places)), _REMEDY)


def read_wordnet(place: Path) -> WordNet:
    """Read the nouns of WordNet 3.0: 82,115 synsets in a second.

    Args:
        place: as of `find_wordnet`.

    Raises:
        DataError: the file cannot be read, is of another version, whose offsets are other ids, or is malformed.
    """
    try:
        lines = _archived_lines(place) if place.suffix == ".zip" else _lines(place / _NOUNS)
        head = [line for line in lines if line.startswith("  ")]
        if not any(_VERSION in line for line in head):
            raise DataError(
                f"the nouns of WordNet 3.0 in {place}",
                next((line.split(None, 1)[1].strip() for line in head if "Copyright" in line), "no version")
                + ": offsets differ between versions, and those of 3.0 are the ids of ImageNet",
                _REMEDY,
            )
        return WordNet(_synsets(lines))
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"the nouns of WordNet 3.0 in {place}", f"{type(error).__name__}: {error!s:.200}", _REMEDY
        ) from error


def _usual_places() -> Iterator[Path]:
    if home := os.environ.get("WNHOME"):
        yield Path(home).expanduser()
    yield Path("/usr/share/wordnet")
    roots = [*os.environ.get("NLTK_DATA", "").split(os.pathsep), "~/nltk_data"]
    roots += [f"{sys.prefix}{below}/nltk_data" for below in ("", "/share", "/lib")]
    roots += [f"{above}/nltk_data" for above in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    for root in filter(None, roots):
        corpora = Path(root).expanduser() / "corpora"
        yield corpora / "wordnet"
        yield corpora


def _lines(file: Path) -> list[str]:
    _check_size(file.stat().st_size)
    with file.open(encoding="utf-8") as lines:
        return list(lines)


def _archived_lines(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as files:
        entry = files.getinfo(f"wordnet/{_NOUNS}")
        _check_size(entry.file_size)
        with files.open(entry) as file, io.TextIOWrapper(file, encoding="utf-8") as lines:
            return list(lines)


def _check_size(size: int) -> None:
    if size > _MOST_BYTES:
        raise ValueError(f"{size:,} bytes, more than {_MOST_BYTES:,}")


def _synsets(lines: Iterable[str]) -> dict[str, Synset]:
    """Read lines `offset file n words word id ... pointers symbol offset pos ends ... | gloss` (wndb(5WN))."""
    found: dict[str, Synset] = {}
    for number, line in enumerate(lines, start=1):
        if line.startswith("  "):  # the licence
            continue
        fields, bar, gloss = line.partition(" | ")
        words = fields.split(" ")
        try:
            offset, kind, after = words[0], words[2], 4 + 2 * int(words[3], 16)
            if kind != "n" or len(offset) != 8 or not bar or len(words) != after + 1 + 4 * int(words[after]):
                raise ValueError("no line of a noun")
            pointers = [
                (words[at], words[at + 1]) for at in range(after + 1, len(words), 4) if words[at] in ("@", "@i")
            ]
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number}: {error}: {line!r:.60}") from None
        found[f"n{offset}"] = Synset(
            lemmas=tuple(word.replace("_", " ") for word in words[4:after:2]),
            gloss=gloss.strip(),
            hypernyms=tuple(f"n{above}" for _, above in pointers),
            is_instance=bool(pointers) and all(symbol == "@i" for symbol, _ in pointers),
        )
    return found
