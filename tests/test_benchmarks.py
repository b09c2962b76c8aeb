import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.long
def test_the_benchmark_of_a_gpu_runs_where_there_is_none():
    command = [sys.executable, "-m", "benchmarks.gpu", "--smoke"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "waiting for data" in done.stdout
