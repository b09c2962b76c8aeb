"""List files, `path label` a line, and the index of samples read from them."""

import dataclasses
import os
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8

from lt_extrap.data.annotations import read_annotations
from lt_extrap.errors import DataError

_TAB, _LF, _CR, _SPACE, _ZERO, _BACKSLASH = np.frombuffer(b"\t\n\r 0\\", np.uint8)
_BLOCK = 1 << 20  # bytes parsed at once: the arrays between text and index stay in the cache
_GATHER_ROWS = 1 << 16  # rows whose bytes are gathered at once: bounds the temporary index


@dataclasses.dataclass(frozen=True, eq=False)
class SampleIndex:
    """Paths and labels of samples, in three arrays.

    There is no Python object a sample: a forked worker that reads it writes no reference count, so it
    shares the memory of its parent for good, where a list of strings is copied page by page.

    Args:
        labels: label of each sample.
        offsets: sample i's path is `text[offsets[i]:offsets[i + 1]]`.
        text: all paths, in UTF-8, one after the other.
    """

    labels: Int32[np.ndarray, " samples"]
    offsets: Int64[np.ndarray, " samples+1"]
    text: UInt8[np.ndarray, " bytes"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return self.labels.nbytes + self.offsets.nbytes + self.text.nbytes

    def path(self, position: int | np.integer) -> str:
        """The path of one sample, as its list has it. Raises IndexError outside 0..len-1."""
        if not 0 <= position < len(self):
            raise IndexError(f"sample {position} of an index of {len(self)}")
        return self.text[self.offsets[position] : self.offsets[position + 1]].tobytes().decode()

    def paths(self) -> Iterator[str]:
        """The paths of all samples, in order."""
        text = self.text.tobytes()
        return (text[begin:end].decode() for begin, end in pairwise(self.offsets.tolist()))

    def with_labels(self, labels: Int32[np.ndarray, " samples"]) -> "SampleIndex":
        """The same paths under other labels, such as auxiliary ids moved behind the target ids."""
        return dataclasses.replace(self, labels=labels)

    def select(self, positions: Int64[np.ndarray, " selected"]) -> "SampleIndex":
        """The samples at some positions, in that order; a position may occur more than once."""
        starts, lengths = self.offsets[:-1][positions], np.diff(self.offsets)[positions]
        offsets = np.append(0, np.cumsum(lengths))
        text = np.empty(offsets[-1], np.uint8)
        for row in range(0, len(positions), _GATHER_ROWS):
            rows = slice(row, row + _GATHER_ROWS)
            begin, end = offsets[row], offsets[min(row + _GATHER_ROWS, len(positions))]
            shift = np.repeat(starts[rows] - offsets[:-1][rows], lengths[rows])
            text[begin:end] = self.text[np.arange(begin, end) + shift]
        return SampleIndex(labels=self.labels[positions], offsets=offsets, text=text)

    def below(self, root: str) -> "SampleIndex":
        """The same samples by whole paths: each relative one behind that of a folder, or behind a URL."""
        prefix = np.frombuffer(os.fsencode(os.path.join(root, "")), np.uint8)  # noqa: PTH118 (ends in a slash)
        lengths = np.column_stack([np.full(len(self), len(prefix)), np.diff(self.offsets)])
        is_path = np.repeat(np.tile([False, True], len(self)), lengths.ravel())
        text = np.empty(len(is_path), np.uint8)
        text[is_path], text[~is_path] = self.text, np.tile(prefix, len(self))
        offsets = self.offsets + len(prefix) * np.arange(len(self) + 1)
        return dataclasses.replace(self, offsets=offsets, text=text)

    def duplicates(self) -> Int64[np.ndarray, " duplicates"]:
        """Positions of the samples whose path occurs before them, whatever their label."""
        text, first = self.text.tobytes(), dict[bytes, int]()
        paths = (text[begin:end] for begin, end in pairwise(self.offsets.tolist()))
        repeats = [position for position, path in enumerate(paths) if first.setdefault(path, position) < position]
        return np.array(repeats, np.int64)

    @staticmethod
    def of(paths: Sequence[str], labels: "Sequence[int] | Int32[np.ndarray, ' samples']") -> "SampleIndex":
        """The samples of these paths and labels."""
        offsets, text = joined([path.encode() for path in paths])
        return SampleIndex(labels=np.array(labels, np.int32), offsets=offsets, text=text)

    @staticmethod
    def concatenate(parts: "Sequence[SampleIndex]") -> "SampleIndex":
        """The samples of all parts (at least one), in order."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        return SampleIndex(
            labels=np.concatenate([part.labels for part in parts]),
            offsets=np.append(0, np.cumsum(lengths)),
            text=np.concatenate([part.text for part in parts]),
        )


def joined(paths: Sequence[bytes]) -> tuple[Int64[np.ndarray, " boundaries"], UInt8[np.ndarray, " bytes"]]:
    """Where each path begins, and all of them one after the other."""
    offsets = np.append(0, np.cumsum([len(path) for path in paths], dtype=np.int64))
    return offsets, np.frombuffer(b"".join(paths), np.uint8).copy()  # an array of its own, which can be written to


def read_list(path: Path) -> SampleIndex:
    """Read a list file: one sample a line, its path, blanks (spaces or tabs) and its label.

    The last blanks separate, so a path may hold spaces. Unix, Windows and old Mac line ends, a byte-order
    mark, blanks at either end of a line and blank lines mean nothing. Paths, absolute or relative, and
    labels are kept as they are. A file that ends in `.json` is read as annotations instead.

    Raises:
        DataError: the file cannot be read, is not UTF-8 or has no samples; or a line, named by its number,
            lacks path or label, has a label that is not an integer in 0..2**31-1, or holds a backslash or a
            control character.
    """
    if path.suffix == ".json":
        return SampleIndex.of(*read_annotations(path))
    labels, lengths, size = [], [], 0
    try:
        with path.open("rb") as file:
            text = np.empty(path.stat().st_size, np.uint8)
            start = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
            file.seek(start)
            while block := file.read(_BLOCK) + file.readline():
                block_labels, block_lengths, paths = _parse(block, path=path, start=start)
                labels.append(block_labels)
                lengths.append(block_lengths)
                text[size : size + len(paths)] = paths
                size, start = size + len(paths), start + len(block)
    except OSError as error:
        raise DataError(
            "a list file that can be read",
            f"{path.absolute()}: {error.strerror or error}",
            "correct the path of the list",
        ) from error
    if size == 0:
        raise DataError("a list with at least one sample", f"{path}: no samples", "check the list file")
    text.resize(size, refcheck=False)  # in place: gives back the room of labels and line ends
    offsets = np.append(0, np.cumsum(np.concatenate(lengths), dtype=np.int64))
    return SampleIndex(labels=np.concatenate(labels), offsets=offsets, text=text)


def _parse(
    block: bytes, *, path: Path, start: int
) -> tuple[Int32[np.ndarray, " samples"], Int32[np.ndarray, " samples"], UInt8[np.ndarray, " bytes"]]:
    """Labels, lengths of the paths and paths of some whole lines, which stand from byte `start` on."""
    try:
        block.decode()
    except UnicodeDecodeError as error:
        where = _place(path, start + error.start)
        raise DataError("a list file in UTF-8", where, "save the list as UTF-8") from error
    text = np.frombuffer(block, np.uint8)

    # A field is what stands between two blanks; a line's fields are those between two line ends.
    blanks = np.flatnonzero(text <= _SPACE)  # and the other control characters, which are refused below
    kinds = text[blanks]
    edges = np.concatenate([[-1], blanks, [len(text)]])
    lines = np.append(0, np.cumsum((kinds == _LF) | (kinds == _CR)))
    fields = np.flatnonzero(np.diff(edges) > 1)
    begins, ends = edges[fields] + 1, edges[fields + 1]
    first = np.flatnonzero(np.diff(lines[fields], prepend=-1))
    last = np.append(first, len(fields))[1:] - 1
    labels, is_label = _integers(text, begins[last], ends[last])

    control = blanks[(kinds != _SPACE) & (kinds != _LF) & (kinds != _CR) & (kinds != _TAB)]
    backslashes = np.flatnonzero(text == _BACKSLASH) if b"\\" in block else blanks[:0]
    alone = first == last
    mistakes = [
        (begins[first[alone]], "a path, a space and a label on each line", "complete the line"),
        (
            begins[last[~alone & ~is_label]],
            f"a label that is an integer in 0..{2**31 - 1}",
            "correct the label",
        ),
        (backslashes, "/ between folders", "replace the backslashes in the list by /"),
        (control, "no control characters", "remove them"),
    ]
    made = [(int(positions[0]), wanted, remedy) for positions, wanted, remedy in mistakes if len(positions)]
    if made:
        position, wanted, remedy = min(made)
        raise DataError(wanted, _place(path, start + position), remedy)

    begin, end = begins[first], ends[last - 1]
    cuts = np.concatenate([[0], np.column_stack([begin, end]).ravel(), [len(text)]])
    is_path = np.repeat(np.arange(len(cuts) - 1) % 2 == 1, np.diff(cuts))  # outside, path, outside, path, ...
    return labels.astype(np.int32), (end - begin).astype(np.int32), text[is_path]


def _place(path: Path, position: int) -> str:
    """The file, number and text of the line that holds a byte."""
    data = path.read_bytes()
    number = len(data[: position + 1].splitlines())
    line = data.splitlines()[number - 1].decode("utf-8-sig", errors="replace")
    return f"{path}, line {number}: {line[:200]!r}"


def _integers(
    text: UInt8[np.ndarray, " bytes"], starts: Int64[np.ndarray, " lines"], stops: Int64[np.ndarray, " lines"]
) -> tuple[Int64[np.ndarray, " lines"], Bool[np.ndarray, " lines"]]:
    """The decimal number each field spells, and whether it spells one below 2**31."""
    width = stops - starts
    values, valid = np.zeros(len(width), np.int64), width <= 10
    for place in range(min(int(width.max(initial=0)), 10)):  # from the last digit to the first
        digit = text.take(stops - 1 - place, mode="clip") - _ZERO  # what is no digit wraps above 9
        digit *= (place < width).view(np.uint8)
        values += digit * np.int64(10**place)
        valid &= digit <= 9
    return values, valid & (values < 2**31)
