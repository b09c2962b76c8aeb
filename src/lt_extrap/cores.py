"""The cores of a machine, and how its training processes share them."""

import os
import sys


def cores(processes: int) -> int:
    """Cores for each of so many training processes of this machine, at least 1.

    They share those that this one may use, but where srun has bound each task to its own (`--cpus-per-task`): then it
    has fewer than the step has on this node.
    """
    mine = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    of_step = int(os.environ.get("SLURM_CPUS_ON_NODE", "0"))
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and mine < of_step:
        return mine
    return max(1, mine // processes)
