"""A further process of a run on several devices, which the first starts: `processes.py`.

It reads the configuration and the folder of the run from its standard input.
"""

import json
import sys
from pathlib import Path

from lt_extrap import cli, processes
from lt_extrap.compose import from_dict
from lt_extrap.train import train


def main() -> None:
    """The process."""
    order = json.load(sys.stdin)
    with processes.one_voice():
        cli.run(lambda: train(from_dict(order["config"], order["kinds"]), Path(order["folder"])))


if __name__ == "__main__":
    main()
