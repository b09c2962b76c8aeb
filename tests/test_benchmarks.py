import pytest

from command import run


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_where_there_is_none(tmp_path):
    from benchmarks.gpu import main

    status, said = run(main, "--smoke", cwd=tmp_path)
    assert status == 0, said
    assert "waiting for data" in said
