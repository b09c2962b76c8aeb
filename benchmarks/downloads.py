"""Images of 3,000 addresses of a server on this machine, downloaded and stored, beside img2dataset.

The peer has an environment of its own, since it pins what it needs:

    python -m venv <folder> && <folder>/bin/pip install img2dataset
    IMG2DATASET=<folder>/bin/img2dataset python -m benchmarks downloads

Both have as many requests at a time and as many processes. It stores what it downloaded as it came (`--resize_mode no
--skip_reencode True`); so do we, and decode each image once to look for copies of it later. Of its time, that of the
same command with one address is taken off: it starts Python and imports, which ours has done by then. Robots and the
pace that a host is asked at are off: they would be waited for.
"""

import asyncio
import csv
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.check import PHOTOGRAPH, drawn
from benchmarks.rows import Row, interleaved, row, show, skipped
from lt_extrap.config.curate import CurateConfig
from lt_extrap.config.curate_download import Download
from lt_extrap.config.curate_source import CaptionSource
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.stages import candidates, images
from lt_extrap.curate.state import State
from lt_extrap.curate.web.download import Downloader
from lt_extrap.signals import StopSignal

CLASSES, EACH, PICTURES = 60, 50, 32
CONCURRENCY, PROCESSES, PAIRS = 64, 2, 5
HOSTS = 32  # addresses of this machine
GOAL, MEMORY = 1 / 1.2, 1.1
PEER = "IMG2DATASET"
_NAME = f"{CLASSES * EACH:,} images of {PHOTOGRAPH[0]} x {PHOTOGRAPH[1]} downloaded and stored, s: ours / img2dataset"


def run() -> list[Row]:
    """The rows of time and of memory."""
    peer = os.environ.get(PEER)
    with tempfile.TemporaryDirectory() as name, _server() as port:
        folder, number = Path(name), iter(range(1000))
        memory = row(
            "memory of 3,000 downloads after the first 300, peak, MB: ours / after 300",
            [_memory(port, folder / "memory")],
            MEMORY,
        )
        if peer is None:
            return [memory, skipped(_NAME, f"${PEER} names no img2dataset (benchmarks/downloads.py)")]
        taken = interleaved(
            lambda: _ours(port, folder / f"ours{next(number)}", CLASSES),
            lambda: _peer(peer, port, folder / f"peer{next(number)}"),
            PAIRS,
        )
    return [memory, row(_NAME, taken, GOAL)]


def _ours(port: int, folder: Path, classes: int) -> float:
    folder.mkdir()
    names = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}beast" for i in range(classes)]
    table = folder / "captions.csv"
    _write_table(table, port, [(f"{i * EACH + j}", f"a {names[i]}") for i in range(classes) for j in range(EACH)])
    config = CurateConfig(
        source=CaptionSource(files=[str(table)]),
        workers=PROCESSES,
        enough=EACH,
        download=Download(
            contact="bench@example.org", concurrency=CONCURRENCY, per_host=CONCURRENCY // HOSTS, rate=1e6, robots=False
        ),
    )
    with State(folder / "state") as state:
        with state.transaction():
            state.write(
                "INSERT INTO sought VALUES (?, ?, ?, NULL, NULL, '', 'bench', 1)",
                [(name, name, f'["{name}"]') for name in names],
            )
        curation = Curation(
            config, folder / "state", state, StopSignal(), partial(Downloader, loopback=frozenset({port}))
        )
        candidates.collect(curation)
        began = time.perf_counter()
        images.store(curation)
        taken = time.perf_counter() - began
        stored = state.one("SELECT count(*) FROM image")
    if stored != classes * EACH:
        raise AssertionError(f"{stored} images of {classes * EACH} were stored")
    return taken


def _peer(peer: str, port: int, folder: Path) -> float:
    folder.mkdir()
    seconds = []
    for name, places in (("one", ["0"]), ("all", [str(number) for number in range(CLASSES * EACH)])):
        _write_table(folder / f"{name}.csv", port, [(place, "a beast") for place in places])
        command = [
            peer,
            f"--url_list={folder / name}.csv",
            "--input_format=csv",
            "--url_col=url",
            "--caption_col=caption",
        ]
        command += [f"--output_folder={folder / name}", "--resize_mode=no", "--skip_reencode=True", "--timeout=30"]
        command += [f"--processes_count={PROCESSES}", f"--thread_count={CONCURRENCY // PROCESSES}"]
        command += [f"--number_sample_per_shard={len(places) // PROCESSES or 1}", "--output_format=files"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds.append(time.perf_counter() - began)
        stored = len(list((folder / name).rglob("*.jpg")))
        if done.returncode or stored != len(places):
            raise AssertionError(f"{stored} images of {len(places)} were stored: {done.stderr[-2000:]}")
    return seconds[1] - seconds[0]


def _memory(port: int, folder: Path) -> tuple[float, float]:
    """The peak of this process, MB, after all downloads, and after the first."""
    folder.mkdir()
    peaks = []
    for name, classes in (("few", CLASSES // 10), ("all", CLASSES)):
        _ours(port, folder / name, classes)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
    return peaks[1], peaks[0]


def _write_table(file: Path, port: int, rows: list[tuple[str, str]]) -> None:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(
            [
                ("url", "caption"),
                *(
                    (f"http://127.0.0.{i % HOSTS + 1}:{port}/{place}.jpg", caption)
                    for i, (place, caption) in enumerate(rows)
                ),
            ]
        )


@contextmanager
def _server() -> Iterator[int]:
    """A server in a process of its own: its port."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(send,), daemon=True)
    process.start()
    try:
        yield receive.recv()
    finally:
        process.terminate()
        process.join()


def _serve(send: Connection) -> None:
    pictures = []
    for number in range(PICTURES):
        buffer = BytesIO()
        drawn(number, PHOTOGRAPH).save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    asyncio.run(_answer_all(send, pictures))


async def _answer_all(send: Connection, pictures: list[bytes]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(maxsplit=2)[1]
                number = int(path.translate(None, b"/.jpg"))
                content = pictures[number % len(pictures)]
                content = content[:14] + (number + 1).to_bytes(4, "big") + content[18:]  # its density: each is another
                close = b"close" in head.lower()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n%s\r\n"
                    % (len(content), b"Connection: close\r\n" if close else b"")
                    + content
                )
                await writer.drain()
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", 0, backlog=512)
    send.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(show(run()))
