"""Somebody's auxiliary set by its manifest: its images downloaded again, and each that is not to be had told."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lt_extrap.bar import Bar
from lt_extrap.config.curate import CurateConfig
from lt_extrap.config.curate_download import Download
from lt_extrap.curate.arrivals import Arrived, arrivals
from lt_extrap.curate.backlog import Backlog
from lt_extrap.curate.curation import IMAGES, SET
from lt_extrap.curate.picture_file import without_metadata
from lt_extrap.curate.stages.export import replace_set
from lt_extrap.curate.state import STATE
from lt_extrap.curate.web.download import Downloader
from lt_extrap.curate.web.downloads import Downloads
from lt_extrap.curate.web.failure import Failure
from lt_extrap.data.auxiliary_set import disagreements
from lt_extrap.data.decode import NoMemory, UnreadableImage
from lt_extrap.data.shrink import shrunk
from lt_extrap.data.stored.reader import StoredSet, read_images, read_provenance, read_set
from lt_extrap.data.stored.schema import ImageRecord, Provenance
from lt_extrap.data.stored.writer import write_set
from lt_extrap.data.target import load_classes
from lt_extrap.errors import ConfigError, DataError, some
from lt_extrap.files import write_whole
from lt_extrap.machine import cores
from lt_extrap.signals import StopSignal

LOST = "lost.jsonl"
STORED = "stored.jsonl"  # [path, sha256] of what is stored in other bytes than those of the manifest


class Restored(NamedTuple):
    """A file as it was downloaded, and as a curation would store it.

    Attributes:
        original: SHA-256 of the file.
        content: as it is stored: no larger than the images of the set.
    """

    original: str
    content: bytes


def restore(
    config: CurateConfig, folder: Path, stop: StopSignal, downloader: Callable[[Download], Downloader] = Downloader
) -> int:
    """Download the images of a set, and write the set of those that are as they were.

    What is there already is not downloaded again; what was lost is tried again.

    Args:
        config: of the command.
        folder: of the images and of the new set.
        stop: asked after each few images.
        downloader: makes what fetches images.

    Returns:
        The exit status: 0, 3 where images are missing, 4 where all are.

    Raises:
        DataError: there is no set, or it is of another target.
        ConfigError: a curation is in the folder, or nobody's contact is known.
        RunError: the network is gone.
    """
    if (folder / STATE).exists():
        raise ConfigError("a folder without a curation", f"one in {folder}", "give another folder=")
    origin, table = Path(str(config.restore)).expanduser(), load_classes(config.target)
    given, made = read_set(origin), read_provenance(origin)
    if other := disagreements(given.pairs, table):
        raise DataError(f"neighbors of {config.target.folder}", some(other), "choose the target= that they are of")
    records = [record for _, record in read_images(origin)]
    lost = _download(config, folder, stop, downloader, records)
    _write_lost(folder, records, lost)
    kept = [record for record in records if record.path not in lost]
    counts = Counter(reason.partition(":")[0] for reason in lost.values())
    told = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    print(f"restored: {len(kept):,} of {len(records):,} images")
    if lost:
        print(f"lost: {told}; each in {folder / LOST}")
    if not kept:
        return 4
    _write(config, folder, given, made, kept, len(records), told)
    print(f"the set: {folder / SET}")
    return 3 if lost else 0


def _download(
    config: CurateConfig,
    folder: Path,
    stop: StopSignal,
    downloader: Callable[[Download], Downloader],
    records: Sequence[ImageRecord],
) -> dict[str, str]:
    """Store what is as it was.

    Returns:
        Why an image is lost, by its path.
    """
    lost, of_url, there = dict[str, str](), defaultdict[str, list[ImageRecord]](list), _there(folder, records)
    for record in records:
        if record.path in there:
            continue
        if record.url is None:
            lost[record.path] = "no_url: its source was no web"
        elif record.sha256 is None:
            lost[record.path] = "no_sha256: nothing tells whether it is as it was"
        else:
            of_url[record.url].append(record)
    backlog = Backlog({"": list(of_url)}, {}, max(1, len(of_url)))
    first = backlog.next()
    if first is None:
        return lost
    # If one was made smaller, to this; if none was, none is larger.
    edges = [max(record.width, record.height) for record in records if record.width and record.height]
    edge = max(edges) if len(edges) == len(records) else None
    found = arrivals(
        first,
        backlog,
        Downloads(downloader(config.download)),
        partial(_restored, longest_edge=edge),
        workers=cores(1) if config.workers is None else config.workers,
        concurrency=config.download.concurrency,
        lost=config.download.lost,
    )
    done = 0
    with closing(found) as chunks, Bar("images downloaded") as bar:
        for chunk in chunks:
            for url, what in chunk:
                for record in of_url[url]:
                    if (reason := _store(folder, record, what)) is not None:
                        lost[record.path] = reason
                backlog.settle(url, stored=True)
            done += len(chunk)
            bar.show(done, len(of_url))
            stop.answer()
    return lost


def _there(folder: Path, records: Sequence[ImageRecord]) -> set[str]:
    """The images that are as they were stored."""
    stored = {record.path: record.sha256 for record in records}
    if (folder / STORED).is_file():
        for line in (folder / STORED).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # a line that was cut
                path, sha256 = json.loads(line)
                stored[path] = sha256
    return {path for path, sha256 in stored.items() if sha256 is not None and _sha256(folder / IMAGES / path) == sha256}


def _sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _store(folder: Path, record: ImageRecord, what: Restored | Failure | str | None) -> str | None:
    """Store an image that is as it was; else why it is not."""
    if what is None:
        return "undecoded: for want of memory"
    if not isinstance(what, Restored):
        return str(what)
    sha256 = hashlib.sha256(what.content).hexdigest()
    if sha256 != record.sha256 and what.original not in (record.sha256, record.original_sha256):
        return "changed: another file is at its address"
    write_whole(folder / IMAGES / record.path, lambda opened: opened.write(what.content))
    if sha256 != record.sha256:
        with (folder / STORED).open("a", encoding="utf-8") as stored:
            stored.write(json.dumps([record.path, sha256]) + "\n")
    return None


def _restored(arrived: Arrived, *, longest_edge: int | None) -> Restored | str | None:
    content = arrived.content
    original = hashlib.sha256(content).hexdigest()
    try:
        if longest_edge is not None:
            content = shrunk(arrived.place, content, longest_edge)
        return Restored(original, without_metadata(arrived.place, content))
    except (NoMemory, MemoryError):
        return None
    except UnreadableImage as error:
        return f"changed: {error.reason}".encode("utf-8", "backslashreplace").decode()


def _write(
    config: CurateConfig,
    folder: Path,
    given: StoredSet,
    made: Provenance | None,
    kept: Sequence[ImageRecord],
    wanted: int,
    told: str,
) -> None:
    """The set of what is there. Where all is, and stored as by this version, it is the set that was given.

    Classes without an image are left out, as by a curation, and the others numbered and ranked anew.
    """
    aux = {old: new for new, old in enumerate(sorted({record.aux for record in kept}))}
    left = [pair for pair in given.pairs if pair.aux in aux]
    ranks = defaultdict[str, list[int]](list)
    for pair in sorted(left, key=lambda pair: pair.rank or 0):
        ranks[pair.target].append(pair.rank or 0)
    pairs = [
        replace(pair, aux=aux[pair.aux], rank=pair.rank and ranks[pair.target].index(pair.rank) + 1) for pair in left
    ]
    files, encoded = list[ImageRecord](), 0
    for record in kept:
        sha256 = hashlib.sha256((folder / IMAGES / record.path).read_bytes()).hexdigest()
        if sha256 != record.sha256:
            encoded += 1
            record = replace(record, sha256=sha256, original_sha256=record.original_sha256 or record.sha256)
        files.append(replace(record, aux=aux[record.aux]))
    notes = list[str]()
    if len(kept) < wanted:
        notes.append(f"Restored from a manifest of {wanted:,} images; {wanted - len(kept):,} are lost: {told}.")
    if gone := [named.name for named in given.classes if named.aux not in aux]:
        notes.append(f"{len(gone):,} of {len(given.classes):,} classes have no image left: {some(gone, 20)}.")
        print(notes[-1])
    if encoded:
        notes.append(
            f"{encoded:,} images are the same pictures in other bytes: they had been encoded by another version of the "
            "encoder, or had metadata."
        )
        print(notes[-1])
    replace_set(
        folder / SET,
        lambda new: write_set(
            new,
            target=given.header.target,
            table=load_classes(config.target),
            classes=[replace(named, aux=aux[named.aux]) for named in given.classes if named.aux in aux],
            pairs=pairs,
            images=files,
            copy_from=folder / IMAGES,
            link=True,
            notes=notes,
            provenance=made,
        ),
    )


def _write_lost(folder: Path, records: Sequence[ImageRecord], lost: dict[str, str]) -> None:
    def lines() -> Iterator[bytes]:
        for record in records:
            if (reason := lost.get(record.path)) is not None:
                values = {"path": record.path, "aux": record.aux, "url": record.url, "reason": reason}
                yield json.dumps(values, ensure_ascii=False).encode() + b"\n"

    write_whole(folder / LOST, lambda file: file.writelines(lines()))
