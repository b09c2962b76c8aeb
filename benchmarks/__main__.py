"""Run all benchmarks, print their ratios, write runs/bench.json."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import augmentation, lists, loss, resident, sampler, step

rows = [row for part in (lists, sampler, resident, augmentation, loss, step) for row in part.run()]
table = Table("benchmark", "ours", "peer", "ratio", "goal", "holds")
for row in rows:
    numbers = [f"{row[key]:.3g}" for key in ("ours", "peer", "ratio", "goal")]
    table.add_row(row["name"], *numbers, "yes" if row["holds"] else "NO")
Console().print(table)
Path("runs").mkdir(exist_ok=True)
Path("runs/bench.json").write_text(json.dumps(rows, indent=2) + "\n")
print("written to runs/bench.json")
