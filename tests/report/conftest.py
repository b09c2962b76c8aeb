import pytest
from made_runs import make_experiment

from lt_extrap.table import find_runs, read_rows, row_name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two seeds of the four components, direct and retrained."""
    return make_experiment(tmp_path_factory.mktemp("made") / "runs", 2, retrained=True)


@pytest.fixture(scope="session")
def rows_of():
    """Rows of a folder."""
    return lambda root: read_rows((row_name(run, root), run) for run in find_runs(root)[0])
