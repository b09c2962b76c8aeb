"""Read the candidates whose captions name their class, and store what is an image."""

import hashlib
import os
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lt_extrap.bar import Bar
from lt_extrap.curate.arrivals import Arrived, arrivals
from lt_extrap.curate.backlog import Backlog
from lt_extrap.curate.curation import IMAGES, Curation
from lt_extrap.curate.forecast import Forecast
from lt_extrap.curate.near_copies import Look, look
from lt_extrap.curate.picture_file import without_metadata
from lt_extrap.curate.provenance import add_policies
from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED
from lt_extrap.curate.web.downloads import Downloads
from lt_extrap.curate.web.failure import Failure
from lt_extrap.data.decode import EncodedImage, NoMemory, UnreadableImage
from lt_extrap.data.shrink import shrunk
from lt_extrap.data.side_by_side import side_by_side
from lt_extrap.errors import RunError, some

# To wait for the disk image by image would hold up who decodes. So nobody waits, and
# where the machine has been started anew since, the files are looked at: where the power failed, the last ones may not
# have got to the disk.
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_TRIES = 3  # runs in which an image is not decoded, before it is done without
_UNDECODED = f"undecoded: there was no memory for it, or its decoder died, in {_TRIES} runs"
_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}


class Prepared(NamedTuple):
    """An image as it is stored.

    Attributes:
        content: of the file; empty once it has been written.
        sha256: of the content, hexadecimal.
        name: of the file below images/, by its hash.
        bytes: of the file.
        width, height: of the upright image, pixels.
        look: what is compared of it.
        original: SHA-256 of the file as the source has it.
    """

    content: bytes
    sha256: str
    name: str
    bytes: int
    width: int
    height: int
    look: Look
    original: str


def store(curation: Curation) -> None:
    """The stage `images`. What was not decoded for want of memory stays to do, for some runs.

    Raises:
        RunError: the candidates are of another source, or images were stored in another size.
    """
    state, edge = curation.state, str(curation.config.longest_edge)
    if state.setting("source") not in (None, curation.source_id):
        raise RunError(
            "the source that was asked for candidates", "another one, or with other options", "run do=candidates first"
        )
    stored_at = state.setting("longest_edge")
    if stored_at not in (None, edge) and state.one("SELECT 1 FROM image LIMIT 1"):
        raise RunError(
            f"images as they were stored, with longest_edge={stored_at}",
            f"longest_edge={edge}",
            "give that again, or another folder= to store them all anew",
        )
    with state.transaction():
        state.set("longest_edge", edge)
        state.write(
            "UPDATE candidate SET reason = ? WHERE sha256 IS NULL AND reason IS NULL AND ("
            "url IN (SELECT value FROM forgotten WHERE kind = 'url') OR "
            "creator IN (SELECT value FROM forgotten WHERE kind = 'creator'))",
            [(FORGOTTEN,)],
        )
        # The same place for another class, or one that was offered before: it is read once.
        state.write(
            "UPDATE candidate SET (sha256, original) = (SELECT d.sha256, d.original FROM candidate d "
            "WHERE d.place = candidate.place AND d.source = candidate.source AND d.sha256 IS NOT NULL LIMIT 1) "
            "WHERE source = ? AND form IS NOT NULL AND sha256 IS NULL AND reason IS NULL",
            [(curation.source_id,)],
        )
        # Other classes, or another number, may be asked for by now.
        state.write(
            "UPDATE candidate SET reason = NULL WHERE source = ? AND reason = ?", [(curation.source_id, NOT_NEEDED)]
        )
    for left in (curation.folder / IMAGES).glob("*/*.tmp"):  # by a start that was killed
        left.unlink()
    before, now = state.setting("boot"), _boot()
    if before not in (None, now):
        _look_after_a_loss_of_power(curation)
    with state.transaction():
        state.set("boot", now)
    undecoded = [*_read(curation), *_download(curation)]
    if undecoded:
        print(
            f"{len(undecoded):,} images were not decoded, for want of memory or since the decoder died: "
            f"{some(undecoded, 3)}; the same command tries again (workers=1 needs least), in {_TRIES} runs in all"
        )


def _boot() -> str:
    """What tells this start of the machine from every other one; where it cannot be told, always another."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return secrets.token_hex(16)


def _look_after_a_loss_of_power(curation: Curation) -> None:
    """What it has taken is to be done again."""
    folder, state = curation.folder / IMAGES, curation.state
    rows = state.rows("SELECT sha256, name, bytes FROM image")
    lost = [(sha256,) for sha256, name, size in rows if _size(folder / name) != size]
    with state.transaction():
        state.write("UPDATE candidate SET sha256 = NULL, original = NULL WHERE sha256 = ?", lost)
        state.write("DELETE FROM image WHERE sha256 = ?", lost)
    if lost:
        print(f"{len(lost):,} images had not got to the disk when the machine ended: they are fetched again")


def _read(curation: Curation) -> list[str]:
    """Read what the source has itself.

    Returns:
        The places of what was not decoded.
    """
    key_of = {place: key for place, key in to_do(curation).items() if not on_the_web(place)}
    places = list(key_of)
    forecast, classes = Forecast("images", len(set(key_of.values()))), set[str]()
    work = partial(prepare, read=curation.source.read, longest_edge=curation.config.longest_edge)
    keep, done, then = _Keep(curation), 0, partial(_written, curation.folder / IMAGES)
    with (
        closing(side_by_side(work, places, curation.workers, died=None, then=then)) as chunks,
        Bar("images read") as bar,
    ):
        for chunk in chunks:
            keep(chunk)
            done += len(chunk)
            bar.show(done, len(places))
            classes.update(key_of[place] for place, _ in chunk)
            forecast.after(len(classes), done)
            curation.stop.answer()
    return keep.undecoded


def _download(curation: Curation) -> list[str]:
    """Download what has an address, until each class has enough.

    Returns:
        The places of what was not decoded.

    Raises:
        RunError: the network is gone.
        ConfigError: nobody's contact is known.
    """
    state, config = curation.state, curation.config
    places, known = defaultdict[str, list[str]](list), dict[str, bool]()
    rows = "SELECT key, place, sha256, reason FROM offered WHERE form IS NOT NULL ORDER BY key, position"
    for key, place, sha256, reason in state.rows(rows):
        if on_the_web(place):
            places[key].append(place)
            if sha256 is not None or reason is not None:
                known[place] = sha256 is not None
    enough = 2 * config.images_per_class if config.enough is None else config.enough
    backlog, keep = Backlog(places, known, enough), _Keep(curation)
    if (first := backlog.next()) is not None:
        _fetch(curation, first, backlog, keep)
    with state.transaction():
        state.write(
            "UPDATE candidate SET reason = ? WHERE place = ? AND source = ? AND sha256 IS NULL AND reason IS NULL",
            [(NOT_NEEDED, place, curation.source_id) for place in backlog.left],
        )
    if keep.postponed:
        print(
            f"{len(keep.postponed):,} images were not downloaded, since their hosts ask for more patience: "
            f"{some(keep.postponed, 3)}; the same command tries again, later"
        )
    return keep.undecoded


def _fetch(curation: Curation, first: str, backlog: Backlog, keep: "_Keep") -> None:
    config, begun = curation.config, time.monotonic()
    chunks = arrivals(
        first,
        backlog,
        Downloads(curation.downloader(config.download)),
        partial(_prepare_arrived, longest_edge=config.longest_edge),
        then=partial(_written, curation.folder / IMAGES),
        workers=curation.workers,
        concurrency=config.download.concurrency,
        lost=config.download.lost,
    )
    with curation.state.transaction():
        policy = {"robots": config.download.robots, "opt_out": config.download.opt_out}
        add_policies(curation.state, [policy])
    done, most = 0, len(backlog.left)
    with closing(chunks), Bar("images downloaded, of at most") as bar:
        for chunk in chunks:
            for place, stored in keep(chunk).items():
                backlog.settle(place, stored=stored)
            done += len(chunk)
            bar.show(done, most)
            curation.stop.answer()
    seconds = time.monotonic() - begun
    print(f"downloads: {done:,} in {seconds:.0f} s ({done / seconds:.1f} a second), {keep.stored:,} stored", flush=True)


class _Keep:
    """Writes down what became of each place.

    Args:
        curation: whose.
    """

    def __init__(self, curation: Curation) -> None:
        self._curation = curation
        self._forgotten = {
            value for (value,) in curation.state.rows("SELECT value FROM forgotten WHERE kind = 'sha256'")
        }
        self.undecoded, self.postponed, self.stored = list[str](), list[str](), 0

    def __call__(self, chunk: Sequence[tuple[str, "Prepared | Failure | str | None"]]) -> dict[str, bool]:
        """Keep what became of some places: of each, whether it is stored."""
        state, source = self._curation.state, self._curation.source_id
        made, failed, undecoded = list[tuple[str, Prepared]](), list[tuple[str, str]](), list[str]()
        for place, found in chunk:
            if found is None:
                undecoded.append(place)
            elif isinstance(found, Failure) and found.kind == "postponed":
                self.postponed.append(place)
            elif not isinstance(found, Prepared):
                failed.append((str(found), place))
            elif found.sha256 in self._forgotten:
                (self._curation.folder / IMAGES / found.name).unlink(missing_ok=True)
                failed.append((FORGOTTEN, place))
            else:
                made.append((place, found))
        if made or failed or undecoded:
            with state.transaction():
                state.write(
                    "INSERT OR IGNORE INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (image.sha256, image.name, image.bytes, image.width, image.height, *image.look)
                        for _, image in made
                    ],
                )
                state.write(
                    "UPDATE candidate SET sha256 = ?, original = ? WHERE place = ? AND source = ?",
                    [(image.sha256, image.original, place, source) for place, image in made],
                )
                state.write(
                    "UPDATE candidate SET reason = ? WHERE place = ? AND source = ?",
                    [(*row, source) for row in failed],
                )
                state.write(
                    f"UPDATE candidate SET tries = tries + 1, reason = CASE WHEN tries + 1 >= {_TRIES} THEN ? END "
                    "WHERE place = ? AND source = ?",
                    [(_UNDECODED, place, source) for place in undecoded],
                )
        self.undecoded += undecoded
        self.stored += len(made)
        stored = {place for place, _ in made}
        return {place: place in stored for place, _ in chunk}


def on_the_web(place: str) -> bool:
    """Whether a place is an address that is downloaded; the source reads all others itself."""
    return place[:8].lower().startswith(("http://", "https://"))


def to_do(curation: Curation) -> dict[str, str]:
    """The places of the images that are to be read, in this order, and the first class of each."""
    return dict(
        curation.state.rows(
            "SELECT place, min(key) FROM offered WHERE form IS NOT NULL AND sha256 IS NULL AND reason IS NULL "
            "GROUP BY place ORDER BY min(key), min(position), place"
        )
    )


def prepare(place: str, *, read: Callable[[str], bytes], longest_edge: int | None) -> Prepared | str | None:
    """Read an image, make it smaller where it is large, leave its metadata out, and look at it.

    Returns:
        What is stored of it; a reason where it is none; None where there is no memory for it now.
    """
    try:
        original = content = read(place)
        if longest_edge is not None:
            content = shrunk(place, content, longest_edge)
        return described(place, without_metadata(place, content), original)
    except (NoMemory, MemoryError):
        return None
    except UnreadableImage as error:
        return error.reason.encode("utf-8", "backslashreplace").decode()


def _prepare_arrived(arrived: Arrived, *, longest_edge: int | None) -> Prepared | str | None:
    return prepare(arrived.place, read=lambda place: arrived.content, longest_edge=longest_edge)


def described(place: str, content: bytes, original: bytes) -> Prepared:
    """What is kept of an image, and of the file that it was made of.

    Raises:
        UnreadableImage: it is none.
    """
    image = EncodedImage(place, content)
    seen, sha256 = look(image), hashlib.sha256(content).hexdigest()
    return Prepared(
        content=content,
        sha256=sha256,
        name=f"{sha256[:2]}/{sha256}.{_SUFFIXES.get(image.format, image.format.lower())}",
        bytes=len(content),
        width=image.width,
        height=image.height,
        look=seen,
        original=sha256 if original is content else hashlib.sha256(original).hexdigest(),
    )


def _written(folder: Path, chunk: list[Prepared | str | None]) -> list[Prepared | str | None]:
    """Write the files of a chunk; the disk is not waited for, as `_BOOT` has it."""
    for image in chunk:
        if isinstance(image, Prepared) and _size(file := folder / image.name) != len(image.content):
            _write(file, image.content)
    return [image._replace(content=b"") if isinstance(image, Prepared) else image for image in chunk]


def _write(file: Path, content: bytes) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")  # two processes may store the same picture at once
    try:
        try:
            temporary.write_bytes(content)
        except FileNotFoundError:  # the first of its folder
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None
