"""The file in which W&B keeps all that it was told of a run, in its own words its transaction log.

It is the log format of LevelDB (blocks of 32 KiB, chunks of a record in them) with a protobuf message a record.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32 * 1024
_CHUNK = struct.Struct("<IHB")  # checksum, length, kind
_FILE_HEADER = 7
_WHOLE, _LAST = 1, 4  # kinds that end a record; the others begin one or go on


def records(file: Path) -> Iterator[Any]:
    """The records (wandb_internal_pb2.Record) on the disk, as W&B was told; of a file that was cut off the whole ones.

    Raises:
        DecodeError: the content is no transaction log (google.protobuf.message).
    """
    from wandb.proto import wandb_internal_pb2

    content, at, parts = file.read_bytes(), _FILE_HEADER, []
    while at + _CHUNK.size <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < _CHUNK.size:  # too little for a chunk, so the block ends in zeros
            at += left
            continue
        _, length, kind = _CHUNK.unpack_from(content, at)
        at += _CHUNK.size
        if kind == 0 or at + length > len(content):
            return
        parts.append(content[at : at + length])
        at += length
        if kind in (_WHOLE, _LAST):
            yield wandb_internal_pb2.Record.FromString(b"".join(parts))  # type: ignore[attr-defined]  # made at run time
            parts = []


def history(folder: Path, run_id: str) -> int:
    """How many rows of history the logs of a run hold, all its parts together.

    Args:
        folder: W&B's own, with a folder for each part in it; the rows are numbered through from 0.
        run_id: of the run.
    """
    steps = (
        record.history.step.num
        for file in folder.glob(f"*run-*/run-{run_id}.wandb")
        for record in records(file)
        if record.HasField("history")
    )
    return 1 + max(steps, default=-1)
