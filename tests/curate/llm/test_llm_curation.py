"""Curations whose neighbors a language model names: from the command to the rows of its state."""

import dataclasses

import hydra
import pytest
from llm_server import KEY, SECRET, SHAPES, Said, listed, serving

from conftest import SMALL
from lt_extrap.compose import from_hydra
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.state import State
from lt_extrap.paths import conf_dir

WORLD = tuple(word for word in SMALL if word.startswith("target.world"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run stages on a server, and return what they printed."""
    monkeypatch.setenv(KEY, SECRET)

    def ran(api, *words, do="neighbors", folder=tmp_path / "state"):
        model = ["proposer=llm", f"proposer.api={api}", "proposer.model=m", f"proposer.key={KEY}"]
        rest = ["names.use_wordnet=false", "proposer.encoder=null", f"source.root={tmp_path}", f"folder={folder}"]
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = from_hydra(hydra.compose("curate", ["target=embedded", *WORLD, *model, *rest, *words]))
        for stage in ("targets", do):
            assert curate(dataclasses.replace(config, do=stage)) == 0
        return capsys.readouterr().out

    return ran


def rows(folder, query):
    with State(folder) as state:
        return [*state.rows(query)]


def test_a_class_is_asked_for_again_where_the_rules_leave_too_few(run, tmp_path):
    def answer(asked):
        again = "named before" in asked.text.rpartition("Query: ")[2]
        names = ("third", "fourth") if again else (asked.target, "first", "second")
        return Said(SHAPES["openai"](listed(*names)))

    with serving(answer) as server:
        told = run(server.api, "neighbors_per_class=3", "names.forbidden=null")
        count = len(server.asked)
        targets = rows(tmp_path / "state", "SELECT name FROM target")
        assert count == 2 * len(targets)
        assert "questions" in told
        run(server.api, "neighbors_per_class=3")
        assert len(server.asked) == count  # a second time it costs nothing
    found = rows(
        tmp_path / "state", "SELECT name, rank FROM pair JOIN sought USING (key) WHERE target = 0 ORDER BY rank"
    )
    assert found == [("first", 1), ("second", 2), ("third", 3)]
