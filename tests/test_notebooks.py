"""The notebooks: each is a pair, was executed, shows nothing of the machine, and runs."""

import getpass
import re
import runpy
import socket
from functools import partial
from pathlib import Path

import jupytext
import matplotlib
import nbformat
import pytest

from command import run

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
LARGEST = 300_000  # bytes of an executed notebook
# Folders of a machine, and what a run says of its speed.
MACHINE = re.compile(r"(/home/|/root/|/tmp/|/Users/|/work/|[A-Z]:\\\\|images/s|\d+m\d\ds)")
PAIRS = pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])


def shown(source: Path) -> nbformat.NotebookNode:
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def progress(cell: nbformat.NotebookNode) -> bool:
    """Whether what a cell printed is left out."""
    return "progress" in cell.metadata.get("tags", [])


def test_each_has_its_pair():
    assert len(SOURCES) >= 3
    assert {source.stem for source in SOURCES} == {file.stem for file in (ROOT / "notebooks").glob("*.ipynb")}


@PAIRS
def test_both_of_a_pair_say_the_same(source):
    def cells(notebook):
        return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]

    assert cells(shown(source)) == cells(jupytext.read(source)), "run make notebooks"


@PAIRS
def test_what_is_shown_was_executed_in_one_go(source):
    notebook = shown(source)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = {i: cell.execution_count for i, cell in enumerate(code, 1) if not progress(cell)}
    assert list(counts) == list(counts.values())
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds <= {"stream", "execute_result", "display_data"}
    assert {output.name for cell in code for output in cell.outputs if output.output_type == "stream"} <= {"stdout"}
    assert not any(cell.outputs for cell in code if progress(cell))
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)


@PAIRS
def test_what_is_shown_is_small_and_tells_nothing_of_the_machine(source):
    file = source.with_suffix(".ipynb")
    assert file.stat().st_size < LARGEST
    for cell in shown(source).cells:
        for output in cell.get("outputs", []):
            said = output.get("text", "") + "".join(
                text for kind, text in output.get("data", {}).items() if kind.startswith("text/")
            )
            assert not MACHINE.search(said), MACHINE.search(said)
            assert socket.gethostname() not in said
            assert len(getpass.getuser()) < 5 or getpass.getuser() not in said


@PAIRS
def test_the_folders_that_it_names_are_there(source):
    named = set(re.findall(r"docs/[\w./+-]+\w", source.read_text()))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.slow
@PAIRS
def test_it_runs(source, tmp_path):
    """As a script, which a notebook of ours is: a cell that fails ends it. A few steps of its runs are enough."""
    script, place = tmp_path / source.name, tmp_path / "notebooks"
    shortened, count = re.subn(r"amount: (50|80), warmup: (5|10)\b", "amount: 10, warmup: 1", source.read_text())
    assert count == 1
    script.write_text(shortened)
    place.mkdir()
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    status, said = run(partial(execute, script), cwd=place)
    assert status == 0, said
    assert [path.name for path in place.iterdir()] == ["runs"]


def execute(script: Path) -> None:
    matplotlib.use("agg")  # a variable of the environment is read with the first import
    runpy.run_path(str(script), run_name="__main__")
