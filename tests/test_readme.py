import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_it_is_short_and_has_no_gaps():
    assert len(README.splitlines()) <= 200
    assert not re.search(r"\b[A-Z]+_(TABLE|TEXT)\b", README)


def test_the_files_that_it_names_are_there():
    named = set(re.findall(r"(?:docs|conf|lists)/[\w./+-]+\w", README))
    assert len(named) >= 3
    assert [name for name in named if not (Path(__file__).parents[1] / name).exists()] == []
