"""What control groups leave of a machine, as Linux tells it in both versions."""

import os
from pathlib import Path

import pytest
import torch

from lt_extrap import machine

V1 = "4:memory:/docker/aa\n1:cpu,cpuacct:/docker/aa\n0::/\n"  # whose own names a container does not see
V2 = "0::/slurm/job_7/step_0\n"  # the limit is that of the job


@pytest.mark.parametrize(
    ("groups", "files", "cores", "memory"),
    [
        ("", {}, 64, None),
        (V2, {"slurm/job_7/step_0/memory.max": "max", "slurm/job_7/cpu.max": "max 100000"}, 64, None),
        (V2, {"slurm/job_7/memory.max": "4096", "slurm/memory.max": "8192"}, 64, 4096),
        (V2, {"slurm/job_7/cpu.max": "350000 100000", "slurm/cpu.max": "800000 100000"}, 4, None),
        ("0::/\n", {"memory.max": "1", "cpu.max": "20000 100000"}, 1, 1),
        (V1, {"memory/memory.limit_in_bytes": str(2**63 - 4096), "cpu/cpu.cfs_quota_us": "-1"}, 64, None),
        (V1, {"memory/memory.limit_in_bytes": "4096"}, 64, 4096),
        (V1, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2, None),
    ],
)
def test_a_container_or_job_has_what_its_groups_have(tmp_path, monkeypatch, groups, files, cores, memory):
    monkeypatch.setattr(machine, "_OF_PROCESS", tmp_path / "of_process")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    if groups:
        (tmp_path / "of_process").write_text(groups)
    for name, content in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
    assert machine.cores(1) == cores
    assert machine.cores(2) == max(1, cores // 2)
    of_machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory() == (of_machine if memory is None else memory)


def test_a_cpu_computes_in_bfloat16_where_it_has_instructions_for_it():
    flags = Path("/proc/cpuinfo")
    if not flags.is_file() or " avx2 " not in flags.read_text():
        pytest.skip("no list of an x86 processor's instructions")
    assert machine.computes_in_bfloat16("cpu") == (" avx512_bf16 " in flags.read_text())
    assert machine.computes_in_bfloat16("cuda") <= torch.cuda.is_available()
    assert not machine.computes_in_bfloat16("mps")
