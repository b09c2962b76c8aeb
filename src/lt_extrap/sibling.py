"""A further process of a command on several devices, which the first starts: `processes.py`.

It reads what to do from its standard input, and ends where that ends: with the first.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lt_extrap import cli, processes
from lt_extrap.compose import from_dict
from lt_extrap.config import PretrainConfig, TrainConfig
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.pretrain import pretrain
from lt_extrap.train import train


def main() -> None:
    """The process."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_first, name="first", daemon=True).start()
    with processes.one_voice():
        cli.run(lambda: _follow(order))


def _follow(order: Mapping[str, Any]) -> None:
    if "evaluate" in order:
        evaluate(EvaluateConfig(**order["evaluate"]))
    else:
        config, folder = from_dict(order["config"], order["kinds"]), Path(order["folder"])
        if isinstance(config, TrainConfig):
            train(config, folder)
        elif isinstance(config, PretrainConfig):
            pretrain(config, folder)


def _end_with_the_first() -> None:
    """Be nobody's process where the first was killed, be it before there is a word between them."""
    os.read(0, 1)  # by no file of Python's, whose lock a fork would keep for ever
    os._exit(1)


if __name__ == "__main__":
    main()
