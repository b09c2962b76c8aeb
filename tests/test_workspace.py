"""The workspace against what runs log, and its way to a W&B server that is on this machine."""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from lt_extrap import workspace
from lt_extrap.compose import configure, to_dict
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.paths import conf_dir
from lt_extrap.run_name import component_of, row_of
from lt_extrap.train import train
from lt_extrap.workspace import SWEPT, WorkspaceConfig, build, publish, serialised
from test_dashboard import told


def section(**options):
    return json.loads(serialised(build(WorkspaceConfig(**options))))["section"]


def panels(content):
    return [panel for part in content["panelBankConfig"]["sections"] for panel in part["panels"]]


def strings(value):
    return [value] if isinstance(value, str) else value


def named(content):
    """Every key that a workspace names, by where runs have it: rows (together), summary, config, tables."""
    keys = {"rows": set(), "summary": set(), "config": set(), "tables": set()}

    def add(key):
        kind, _, name = key.partition(":")
        if kind != "run":
            keys[kind].add(re.sub(r"\.value(?=\.|$)", "", name, count=1))

    for panel in panels(content):
        config = panel["config"]
        match panel["viewType"]:
            case "Run History Line Plot":
                keys["rows"].add((config["xAxis"], *config["metrics"]))
            case "Bar Chart":
                keys["summary"].update(config["metrics"])
            case "Scatter Plot":
                add(config["xAxis"])
                add(config["yAxis"])
            case "Parallel Coordinates Plot":
                for column in config["columns"]:
                    add(column["accessor"])
            case "Parameter Importance":
                keys["summary"].add(config["targetKey"])
            case "Weave":
                keys["tables"].add(config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"])
            case unknown:
                raise AssertionError(unknown)
        if "groupBy" in config:
            add(f"config:{config['groupBy']}")
    (runs,) = content["runSets"]
    for column in runs["runFeed"]["columnPinned"]:
        add(column)
    for chosen in runs["filters"]["filters"]:
        add(f"{chosen['key']['section']}:{chosen['key']['name']}")
    return keys


def has(config, key):
    for part in key.split("."):
        if part not in config:
            return False
        config = config[part]
    return True


def test_swept_keys_are_those_of_the_sweeps():
    swept = [path for path in (conf_dir() / "sweep").glob("*.yaml") if path.stem != "pretraining"]  # no accuracies
    files = [yaml.safe_load(path.read_text()) for path in swept]
    assert {key for file in files for key in file["hydra"]["sweeper"]["params"]} == {"component", *SWEPT}
    config = to_dict(configure("experiment=demo", "component=silencing", "auxiliary.sampling_ratio=[1,1,3]"))
    assert [key for key in SWEPT if not has(config, key)] == []
    for key in SWEPT:
        value = config
        for part in key.split("."):
            value = value[part]
        assert isinstance(value, list) == (key == SWEPT[-1])  # the one that gets bars


def test_what_is_shown_can_be_chosen():
    (runs,) = section(experiments=["demo"], components=["baseline", "silencing"])["runSets"]
    chosen = [(each["key"], each["op"], each["value"]) for each in runs["filters"]["filters"]]
    assert chosen == [
        ({"section": "run", "name": "group"}, "IN", ["demo"]),
        ({"section": "config", "name": "component"}, "IN", ["baseline", "silencing"]),
    ]
    assert section()["runSets"][0]["filters"]["filters"] == []


@pytest.mark.parametrize(
    ("folder", "row", "component"),
    [
        ("component+silencing-seed+0", "component+silencing", "silencing"),
        ("component+target_extra-loss.tau+2-seed+11", "component+target_extra-loss.tau+2", "target_extra"),
        ("component+my-own-recipe.scripts+x-seed+0", "component+my-own-recipe.scripts+x", "my-own"),
        ("loss.tau+2-seed+0", "loss.tau+2", None),
        ("seed+0", "default", None),
    ],
)
def test_row_and_component_of_a_folder(folder, row, component):
    assert row_of(folder) == row
    assert component_of(row) == component


@pytest.mark.slow
def test_every_key_that_a_panel_names_is_one_that_runs_log(small, tmp_path):
    """A baseline whose accuracies are set to 0, so that the run beside it has gains."""
    baseline, run = (tmp_path / "demo" / f"component+{name}-seed+0" for name in ("baseline", "silencing"))
    options = ("logger=wandb", "trainer.log_every_n_steps=1", "budget={unit: steps, amount: 2, warmup: 0}")
    train(small("component=baseline", *options), baseline)
    table = (baseline / "per_class.csv").read_text()
    (baseline / "per_class.csv").write_text(re.sub(r"\d\.\d{6}", "0.0", table))
    train(small("component=silencing", *options), run)
    logged, before = told(run), told(baseline)

    keys = named(section(components=["silencing"]))
    assert len(keys["rows"]) == 9
    assert [each for each in keys["rows"] if not any(set(each) <= row.keys() for row in logged.rows)] == []
    assert len(keys["summary"]) > 10
    assert keys["summary"] - logged.summary.keys() == set()
    assert {*SWEPT, "component", "row"} == keys["config"]
    assert [key for key in keys["config"] if not has(logged.config, key)] == []
    assert keys["tables"] == logged.tables.keys() | before.tables.keys() == {"gains", "per_class", "confusions"}
    assert (logged.config["row"], logged.config["component"]) == ("demo/component+silencing", "silencing")


class Server(BaseHTTPRequestHandler):
    """As much of a W&B server as a workspace asks for: one project, whose views it keeps."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        query, variables = asked["query"], asked.get("variables") or {}
        self.server.asked.append((query, variables))
        views = self.server.views
        if "upsertView" in query:
            inserted = "id" not in variables
            key = f"id-{len(views)}" if inserted else variables["id"]
            views[key] = variables
            answer = {"upsertView": {"view": {"id": key, "name": variables["name"]}, "inserted": inserted}}
        elif "allViews" in query:
            nodes = [
                {"node": {"id": key, "displayName": view["displayName"], "spec": view["spec"]}}
                for key, view in views.items()
                if view["name"] == variables["viewName"]
            ]
            project = {"allViews": {"edges": nodes}} if variables["name"] == "lt_extrap" else None
            answer = {"project": project}
        else:
            answer = {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        body = json.dumps({"data": answer}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without an account."""
    for key in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(key, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture
def server(home, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.asked, server.views = [], {}
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
        yield server
        server.shutdown()
        thread.join()


def without_ids(text):
    """Panels are numbered at random."""
    return re.sub(r'"__id__":"\w+"', '"__id__":""', text)


def test_what_is_sent_is_what_is_shown_and_replaces_itself(server, capfd):
    url = publish(WorkspaceConfig(entity="team"))
    assert re.fullmatch(rf"http://127.0.0.1:{server.server_port}/team/lt_extrap\?nw=[0-9a-f]{{11}}", url)
    (sent,) = [variables for query, variables in server.asked if "upsertView" in query]
    assert (sent["entityName"], sent["projectName"], sent["displayName"]) == ("team", "lt_extrap", "Long tail")
    assert sent["type"] == "project-view"
    assert sent["name"] == f"nw-{url.rpartition('=')[2]}-v"
    assert without_ids(sent["spec"]) == without_ids(serialised(build(WorkspaceConfig())))

    assert publish(WorkspaceConfig(entity="team", components=["silencing"])) == url
    (view,) = server.views.values()
    assert without_ids(view["spec"]) == without_ids(serialised(build(WorkspaceConfig(components=["silencing"]))))
    assert "/me/lt_extrap?nw=" in publish(WorkspaceConfig(name="another"))  # the account's own entity
    assert len(server.views) == 2
    with pytest.raises(RunError, match="the project team/other"):
        publish(WorkspaceConfig(entity="team", project="other"))
    view["spec"] = json.dumps({"version": 5})
    with pytest.raises(RunError, match="name=<another>"):
        publish(WorkspaceConfig(entity="team"))
    assert len(server.views) == 2
    assert capfd.readouterr() == ("", "")


def test_without_an_account(home):
    with pytest.raises(ConfigError, match="wandb login"):
        publish(WorkspaceConfig())


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'lt-extrap[workspace]'")):
        build(WorkspaceConfig())


def test_the_command_shows(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["workspace", "do=show", "experiments=[demo]"])
    workspace.main()
    (runs,) = json.loads(capsys.readouterr().out)["section"]["runSets"]
    assert runs["filters"]["filters"][0]["value"] == ["demo"]


@pytest.mark.parametrize(("key", "value"), [("do", "print"), ("project", ""), ("name", " "), ("components", [])])
def test_what_cannot_be_published_is_refused(key, value):
    with pytest.raises(ConfigError, match=key):
        WorkspaceConfig(**{key: value})
