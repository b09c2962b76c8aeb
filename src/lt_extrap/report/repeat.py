"""How to repeat the runs of a report: their commands, versions and files, by run.json."""

import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lt_extrap.report.sections import Section
from lt_extrap.report.sheet import Column, Sheet, code, number
from lt_extrap.runs import RUN, command_of, read_json
from lt_extrap.table import Row


def how_to_repeat(rows: Sequence[Row]) -> Section:
    """The part that tells how rows came to be."""
    records = {folder: read_json(folder / RUN) for row in rows for folder in row.folders.values()}
    commands = [[row.name, command(row, records)] for row in rows]
    missing = sum(line is None for _, line in commands)
    notes = ["A command goes on where its run was stopped, and returns at once where that has ended."]
    if missing:
        notes.append(
            f"Trained without a command, or by a version that did not keep it: {missing}. What these were is the node "
            "config of run.json."
        )
    return Section(
        "repeat",
        "How to repeat it",
        sheets=[
            Sheet("commands", "Commands", [Column("row"), Column("command", code)], commands, notes),
            _versions(records),
            _files(rows, records),
        ],
    )


def command(row: Row, records: dict[Path, dict[str, Any]]) -> str | None:
    """The command of a row, one for all seeds where they differ in nothing else; None where a run has none."""
    found = [command_of(records[folder]) for folder in row.folders.values()]
    words = [one for one in found if one]
    if len(words) < len(found) or not words:
        return None
    seeds = ",".join(map(str, row.folders))
    without = [[word for word in one if not word.startswith("seed=")] for one in words]
    if all(sorted(one) == sorted(without[0]) for one in without[1:]) and len(row.folders) > 1:
        return _line([without[0][0], "-m", *without[0][1:], f"seed={seeds}"])
    return " && ".join(dict.fromkeys(map(_line, words)))


def _line(words: Sequence[str]) -> str:
    return shlex.join(["python", "-m", *words])


def _versions(records: dict[Path, dict[str, Any]]) -> Sheet:
    runs: dict[tuple[str, str], set[Path]] = defaultdict(set)
    for folder, record in records.items():
        for start in record.get("starts") or [record]:
            versions = ", ".join(f"{name} {version}" for name, version in start.get("versions", {}).items())
            runs[start.get("commit") or "no checkout", versions].add(folder)
    return Sheet(
        "versions",
        "Versions that the runs were started with",
        [Column("commit"), Column("versions"), Column("runs", number(0))],
        [[commit, versions, len(folders)] for (commit, versions), folders in runs.items()],
        ["A + behind a commit: the files differed from it."],
    )


def _files(rows: Sequence[Row], records: dict[Path, dict[str, Any]]) -> Sheet:
    runs: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in rows:
        for folder in row.folders.values():
            record = records[folder]
            for key, digits in (record.get("files") or record.get("lists") or {}).items():
                runs[row.group or "runs", key, digits] += 1
    return Sheet(
        "files",
        "Files that the runs depend on (first 16 digits of SHA-256)",
        [Column("experiment"), Column("file"), Column("hash"), Column("runs", number(0))],
        [[*found, count] for found, count in sorted(runs.items())],
    )
