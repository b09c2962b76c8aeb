"""What a machine has: cores and memory, less what a container or a job withholds, and whether it has bfloat16."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_OF_PROCESS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def cores(processes: int) -> int:
    """Cores for each of so many training processes of this machine, at least 1.

    They share those that this one may use, but where srun has bound each task to its own (`--cpus-per-task`): then it
    has fewer than the step has on this node.
    """
    mine = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    of_step = int(os.environ.get("SLURM_CPUS_ON_NODE", "0"))
    bound = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and mine < of_step
    allowed = min([mine, *_quotas()])
    return allowed if bound else max(1, allowed // processes)


def memory() -> int:
    """Bytes that the processes of this machine, container or job may have, what they have already among them."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_words(group / name) for group in _groups("memory") for name in ("memory.max", "memory.limit_in_bytes")]
    return min([machine, *(int(words[0]) for words in limits if words and words[0] != "max")])


def computes_in_bfloat16(device: str) -> bool:
    """Whether a device of this type, `cuda` or `cpu`, has instructions for bfloat16.

    Without them torch emulates it, on a CPU many times slower than float32 (docs/speed.md).
    """
    import torch  # seconds that other commands need not wait

    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    x86 = torch.cpu._is_avx2_supported()  # where mkldnn takes AVX-512 for enough, and emulates the rest
    return not x86 or torch.cpu._is_avx512_bf16_supported()


def _quotas() -> Iterator[int]:
    """Whole cores that control groups leave: `docker run --cpus=3.5` leaves 4."""
    for group in _groups("cpu"):
        # Both versions of Linux's control groups: one file, or two.
        words = _words(group / "cpu.max") or [
            *_words(group / "cpu.cfs_quota_us"),
            *_words(group / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0] not in ("max", "-1"):
            yield max(1, math.ceil(int(words[0]) / int(words[1])))


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, its own and those above; some may not be there.

    A container often sees its own group as the topmost, whatever name the process is told.
    """
    for line in _OF_PROCESS.read_text().splitlines() if _OF_PROCESS.is_file() else ():
        _, controllers, name = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            top = _GROUPS / controller if controllers else _GROUPS
            path = PurePosixPath(name)
            yield from (top / of.relative_to("/") for of in (path, *path.parents))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
