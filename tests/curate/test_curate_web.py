"""A curation whose candidates are of the web: from the command to the rows of its state."""

import dataclasses
import json

import hydra
import pytest
from sources.api_server import SHAPES, Reply, pictures, serving

from conftest import SMALL
from lt_extrap.compose import from_hydra
from lt_extrap.curate.__main__ import _exit_status, curate
from lt_extrap.curate.state import State
from lt_extrap.curate.status import INCOMPLETE
from lt_extrap.curate.web import api as client
from lt_extrap.curate.web.api import NoAnswer
from lt_extrap.errors import ConfigError
from lt_extrap.paths import conf_dir

WORLD = tuple(word for word in SMALL if word.startswith("target.world"))
BEFORE = ("targets", "neighbors")
NEIGHBORS = {"0": ["tench", "dace"], "1": ["carp"]}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    monkeypatch.delenv("LT_EXTRAP_CONTACT", raising=False)


@pytest.fixture
def run(tmp_path, capsys):
    """Run a command on a server, and return its status and what it printed."""

    def ran(url, *words, before=(), do="candidates", contact="download.contact=curator@example.org"):
        file = tmp_path / "neighbors.json"
        file.write_text(json.dumps(NEIGHBORS))
        target = ["target=embedded", *WORLD, "names.use_wordnet=false", "proposer=file", f"proposer.file={file}"]
        source = ["source=commons", f"source.api={url}/w/api.php", "candidates_per_class=20", contact]
        more = ["features=efficientnet_lite0", "workers=0", f"folder={tmp_path / 'state'}", f"do={do}", *words]
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = from_hydra(hydra.compose("curate", [*target, *source, *more]))
        for stage in (*before, do):
            status = curate(dataclasses.replace(config, do=stage))
        return status, capsys.readouterr().out

    return ran


def rows(tmp_path, query):
    with State(tmp_path / "state") as state:
        return [*state.rows(query)]


def test_candidates_of_commons_are_rows_with_all_that_is_said_of_them(run, tmp_path, monkeypatch):
    api = SHAPES["commons"](
        {
            "tench": [*pictures("tench", 9), *pictures("tench", 4, 9, licence="by-nd"), *pictures("tench", 50, 13)],
            "carp": pictures("carp", 3, 500),
        }
    )
    with serving(api) as server:
        monkeypatch.setenv("LT_EXTRAP_CONTACT", "https://example.org/me")
        status, told = run(server.url, "source.licences=[by-sa]", before=BEFORE, contact="seed=0")
        assert status == 0
        assert "(https://example.org/me)" in server.asked[0].headers["User-Agent"]
        assert "commons: it has no safe search" in told
        count = len(server.asked)
        assert run(server.url, "source.licences=[by-sa]")[0] == 0
        assert len(server.asked) == count  # what is known is not asked again
    found = rows(tmp_path, "SELECT name, count(*) FROM candidate JOIN sought USING (key) GROUP BY 1 ORDER BY 1")
    assert found == [("carp", 3), ("tench", 20)]
    (first,) = rows(
        tmp_path,
        "SELECT place, url, caption, page, creator, licence, licence_url, form FROM candidate "
        "WHERE caption LIKE '%tench%' AND position = 0",
    )
    assert first == (
        "https://thumb.wikimedia.org/0/500px-0.jpg",
        "https://thumb.wikimedia.org/0/500px-0.jpg",
        "Tench no 0 | tench 0 | A tench & more | Fish of Europe",
        "https://commons.wikimedia.org/wiki/File:0.tif",
        "J. Doe",
        "CC BY-SA 4.0",
        "https://creativecommons.org/licenses/by-sa/4.0",
        "tench",
    )
    assert rows(tmp_path, "SELECT reason, count FROM left_out") == [("licence: by-nd", 4)]


def test_the_status_tells_what_was_left_out(run, tmp_path):
    api = SHAPES["commons"]({"tench": pictures("tench", 5, licence="by-nc"), "dace": pictures("dace", 2, 50)})
    with serving(api) as server:
        status, told = run(server.url, "source.licences=[by]", before=(*BEFORE, "candidates"), do="status")
    assert "left out by the source, 5: licence: by-nc" in told
    written = json.loads((tmp_path / "state" / "status.json").read_text())
    assert {"reason": "licence: by-sa", "count": 2} in written["left_out"]
    assert status != 0


def test_a_service_that_breaks_stops_the_command_which_goes_on_later(run, tmp_path):
    api = SHAPES["commons"]({name: pictures(name, 2, at) for at, name in enumerate(("tench", "dace", "carp"))})
    broken, wanted = {"carp": b"<html>Are you human?"}, r"(?s)commons: an answer of .*no JSON: <html>Are you human"
    with serving(lambda request: Reply(broken.get(api.name_of(request), api.answer(request)))) as server:
        with pytest.raises(NoAnswer, match=wanted) as told:
            run(server.url, before=BEFORE)
        assert _exit_status(told.value) == INCOMPLETE
        assert rows(tmp_path, "SELECT count(*) FROM search") != [(3,)]
        status, told = run(server.url, before=(), do="status")
        assert status == INCOMPLETE
        assert "to ask the source for: the same command goes on" in told
        assert "right source" not in told
        broken.clear()
        assert run(server.url)[0] == 0
    asked = [api.name_of(request) for request in server.asked]
    assert (asked.count("tench"), asked.count("dace"), asked.count("carp")) == (1, 1, 2)
    assert rows(tmp_path, "SELECT count(*) FROM candidate") == [(6,)]


def test_the_contact_is_asked_for_before_the_network_is(run, tmp_path):
    with serving(SHAPES["commons"]()) as server:
        with pytest.raises(ConfigError, match=r"download\.contact"):
            run(server.url, before=BEFORE, contact="download.contact=null")
        assert server.asked == []
