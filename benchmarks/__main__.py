"""Run the benchmarks, or those that are named, print their ratios, write runs/bench.json.

`python -m benchmarks` runs all, `python -m benchmarks loss vit_step` these two.
"""

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

PARTS = (
    *("lists", "sampler", "resident", "store", "augmentation", "check", "captions", "near_copies"),
    *("gallery", "downloads", "loss", "step", "vit_step", "adapters", "features"),
)

parser = argparse.ArgumentParser(prog="python -m benchmarks")
parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
parts = parser.parse_args().parts or PARTS
if unknown := set(parts) - set(PARTS):
    parser.error(f"no such part: {', '.join(sorted(unknown))}")

console, rows = Console(), []
for part in parts:
    began = time.monotonic()
    rows += import_module(f"benchmarks.{part}").run()
    console.print(f"{part}: {time.monotonic() - began:.0f} s", highlight=False)

table = Table("benchmark", "ours", "peer", "ratio", "goal", "holds")
table.caption = "ratio = ours / peer; less is better everywhere, and the goal is the most that it may be"
for row in rows:
    if "skipped" in row:
        table.add_row(row["name"], *4 * [""], f"skipped: {row['skipped']}")
        continue
    numbers = ["" if row[key] is None else f"{row[key]:.3g}" for key in ("ours", "peer", "ratio", "goal")]
    table.add_row(row["name"], *numbers, {None: "", True: "yes", False: "NO"}[row["holds"]])
console.print(table)
Path("runs").mkdir(exist_ok=True)
Path("runs/bench.json").write_text(json.dumps(rows, indent=2) + "\n")
print("written to runs/bench.json")
if missed := [row["name"] for row in rows if row.get("holds") is False]:
    sys.exit(f"over its goal: {'; '.join(missed)}")
