"""Runs on W&B, read back from what W&B itself wrote; the network ends at this machine."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import SMALL
from lt_extrap import dashboard, transaction_log
from lt_extrap.errors import TrainingError
from lt_extrap.module import ExtrapolationModule
from lt_extrap.signals import Stopped
from lt_extrap.train import train

STEPS = "budget={unit: steps, amount: 25, warmup: 2}"  # epochs of 10 steps, the last one cut
RUN = ("component=baseline", "logger=wandb", "trainer.log_every_n_steps=1", STEPS)


def parts_of(folder):
    return sorted((folder / "wandb").glob("*run-*-*"), key=lambda part: part.name.split("run-")[-1])


def values(items):
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def told(folder):
    """What the parts of a run hold: the rows of its charts, its summary, configuration and so on."""
    wandb = SimpleNamespace(rows=[], tables={}, summary={}, config={}, exits=[], preempted=0, runs=[], axes=set())
    for part in parts_of(folder):
        (file,) = part.glob("run-*.wandb")
        for record in transaction_log.records(file):
            match record.WhichOneof("record_type"):
                case "history":
                    row = {key: value for key, value in values(record.history.item).items() if not key.startswith("_")}
                    tables = {key.removesuffix(".path"): row[key] for key in row if key.endswith(".path")}
                    wandb.tables |= {key: json.loads((part / "files" / at).read_text()) for key, at in tables.items()}
                    wandb.rows += [] if tables else [row]
                case "summary":
                    wandb.summary |= values(record.summary.update)
                case "config":
                    wandb.config |= values(record.config.update)
                case "run":
                    wandb.runs.append(record.run)
                case "exit":
                    wandb.exits.append(record.exit.exit_code)
                case "preempting":
                    wandb.preempted += 1
                case "metric":
                    wandb.axes.add((record.metric.name or record.metric.glob_name, record.metric.step_metric))
    return wandb


def points(rows):
    """Each point of each chart, and how often it is there."""
    return Counter(
        (key, row[dashboard.STEP], value) for row in rows for key, value in row.items() if key != dashboard.STEP
    )


def said(text):
    return [line for line in text.splitlines() if line.startswith("W&B: ")]


def at_step(monkeypatch, step, act):
    """Do something within the training step after so many."""
    training_step = ExtrapolationModule.training_step

    def acting(self, batch, batch_idx):
        if self.global_step == step:
            act()
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(ExtrapolationModule, "training_step", acting)


def core():
    """The process of W&B that belongs to this one."""
    command = ["pgrep", "--newest", "--parent", str(os.getpid()), "wandb-core"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder and a temporary folder, to see what is left in them."""
    folder = tmp_path / "home"
    folder.mkdir()
    for key in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(key, str(folder))
    return folder


@pytest.mark.slow
def test_a_table_of_two_runs(small, tmp_path, capfd, home, monkeypatch):
    """Two jobs in one process: each has its own run, which holds what its folder holds."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    results, output = {}, {}
    for component in ("baseline", "silencing"):
        folder = tmp_path / "demo" / f"component+{component}-seed+0"
        results[component] = train(small(*RUN, f"component={component}"), folder)
        output[component] = capfd.readouterr()
    assert dict(os.environ) == before
    assert list(home.iterdir()) == []
    ids = set()
    for component, result in results.items():
        folder = tmp_path / "demo" / f"component+{component}-seed+0"
        (part,), wandb = parts_of(folder), told(folder)
        (run,) = wandb.runs
        ids.add(run.run_id)
        assert run.run_id == json.loads((folder / "run.json").read_text())["id"]
        assert (run.project, run.run_group, run.display_name) == ("lt_extrap", "demo", folder.name)
        assert wandb.exits == [0]
        assert ("*", dashboard.STEP) in wandb.axes

        # charts: one point a step, and the shots at each epoch's end and at the end
        charts = points(wandb.rows)
        assert set(charts.values()) == {1}
        assert [step for key, step, _ in charts if key == "train/loss"] == list(range(25))
        assert [step for key, step, _ in charts if key == "val/acc_few"][-1] >= 24
        assert not any(key.startswith("test") for key, _, _ in charts)

        # summary: results.json, to the bit
        expected = {key: value for key, value in result.items() if not isinstance(value, dict)}
        for group in ("test", "last", "val"):
            expected |= {f"{group}/{key}": value for key, value in result[group].items()}
        assert {key: wandb.summary.get(key) for key in expected} == expected
        assert json.loads((folder / "results.json").read_text()) == result

        # configuration: nested, numbers as numbers
        assert wandb.config["recipe"]["betas"] == [0.9, 0.95]
        assert wandb.config["target"]["world"]["classes"] == 9
        if component == "silencing":
            assert wandb.config["loss"]["lambda_s"] == 0.1
            assert wandb.config["auxiliary"]["sampling_ratio"] is None

        table = wandb.tables["per_class"]
        counts = ["train_images", "test_images", "accuracy", "right", "to_auxiliary", "to_neighbors"]
        assert table["columns"] == ["class", "id", "name", "shot", *counts]
        assert len(table["data"]) == 9
        assert sum(row[6] for row in table["data"]) / 9 == pytest.approx(result["test"]["acc"], abs=1e-5)

        # the terminal: our lines, the last one to be pasted
        assert output[component].err == ""
        assert "wandb: " not in output[component].out
        lines = said(output[component].out)
        assert lines[-1] == f"W&B: wandb sync demo/{folder.name}/wandb/{part.name}"
    assert len(ids) == 2
    first, second = (told(tmp_path / "demo" / f"component+{name}-seed+0") for name in results)
    wrong = first.tables["confusions"]
    assert wrong["columns"] == ["class", "name", "predicted", "images"]
    assert [row[3] for row in wrong["data"]] == sorted((row[3] for row in wrong["data"]), reverse=True)
    assert len(wrong["data"]) > 0
    assert (tmp_path / "demo" / "component+silencing-seed+0" / "gains.csv").is_file()
    assert "confusions" not in second.tables


@pytest.mark.slow
def test_gains_are_shown(small, tmp_path, monkeypatch, capsys):
    baseline = tmp_path / "component+baseline-seed+0"
    monkeypatch.setattr("lt_extrap.train.baseline_of", lambda folder, seed: baseline)
    train(small("component=baseline"), baseline)
    rows = (baseline / "per_class.csv").read_text()
    (baseline / "per_class.csv").write_text(re.sub(r"\d\.\d{6}", "0.0", rows))
    train(small("component=baseline", "logger=wandb"), tmp_path / "run")
    table = told(tmp_path / "run").tables["gains"]
    assert table["columns"][:1] + table["columns"][4:] == ["class", "before", "now", "mistaken_before", "mistaken_now"]
    assert len(table["data"]) >= 1
    assert all(row[4] == 0 < row[5] for row in table["data"])
    assert len(said(capsys.readouterr().out)) == 1


@pytest.mark.slow
def test_a_killed_run_loses_and_repeats_no_point(small, tmp_path, capfd, monkeypatch):
    """Killed at step 17 after a checkpoint at 10: W&B's file has not one of its points then."""
    program = f"""
import os, signal, sys
from pathlib import Path
from lt_extrap.compose import configure
from lt_extrap.module import ExtrapolationModule
from lt_extrap.train import train
step = ExtrapolationModule.training_step
def killed(self, batch, batch_idx):
    if self.global_step == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)
ExtrapolationModule.training_step = killed
train(configure(*{SMALL + RUN!r}), Path(sys.argv[1]))
"""
    folder = tmp_path / "run"
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the tests have it: the last digits depend on it
    words = [sys.executable, "-c", program, str(folder)]
    ended = subprocess.run(words, env=one_thread, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert told(folder).exits == []
    (kept,) = (folder / "wandb").glob("points-*.jsonl")
    kept.write_bytes(kept.read_bytes() + b'{"half of')
    train(small(*RUN), folder)
    train(small(*RUN), tmp_path / "whole")
    wandb, whole = told(folder), told(tmp_path / "whole")
    # Step by step each once; of values the last digits are those of a process, which may have loaded other libraries.
    (found, expected) = (sorted(points(of.rows).elements()) for of in (wandb, whole))
    assert [point[:2] for point in found] == [point[:2] for point in expected]
    assert [point[2] for point in found] == pytest.approx([point[2] for point in expected], rel=1e-5)
    assert {run.run_id for run in wandb.runs} == {json.loads((folder / "run.json").read_text())["id"]}
    assert wandb.exits == [0]
    command = said(capfd.readouterr().out)[0].split()
    assert [Path(word).name for word in command[3:]] == [part.name for part in parts_of(folder)]
    assert len(parts_of(folder)) == 2


@pytest.mark.slow
def test_rows_that_w_and_b_has_are_not_sent_again(small, tmp_path, monkeypatch):
    """Stopped at step 17; what was written then stays, and a part in which half was written is gone on with."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 16, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            train(small(*RUN), folder)
    wandb = told(folder)
    assert (wandb.exits, wandb.preempted) == ([143], 1)
    (part,) = parts_of(folder)
    (file,) = part.glob("run-*.wandb")
    file.write_bytes(file.read_bytes()[:-2500])
    written = len(told(folder).rows)
    assert 0 < written < len(wandb.rows)
    train(small(*RUN), folder)
    wandb = told(folder)
    assert [step for key, step, _ in points(wandb.rows) if key == "train/loss"] == list(range(25))
    assert set(points(wandb.rows).values()) == {1}
    assert wandb.exits == [0]


@pytest.mark.slow
def test_a_run_that_fails_is_marked_so(small, tmp_path):
    with pytest.raises(TrainingError):
        train(small(*RUN, "recipe.blr=1e30", "recipe.clip=null"), tmp_path / "run")
    assert told(tmp_path / "run").exits == [1]


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # W&B does not wait for it
@pytest.mark.slow
@pytest.mark.parametrize(("number", "limit"), [(signal.SIGKILL, 10.0), (signal.SIGSTOP, 0.5)])
def test_w_and_b_dies_or_hangs_in_the_middle(small, tmp_path, monkeypatch, capfd, number, limit):
    """Its process is killed, or stops answering: told once, and the run is as long and as good as ever."""
    monkeypatch.setattr(dashboard, "_CALL", limit)
    pids = []

    def break_it():
        pids.append(core())
        os.kill(pids[0], number)

    began = time.monotonic()
    try:
        with monkeypatch.context() as patch:
            at_step(patch, 12, break_it)
            results = train(small(*RUN), tmp_path / "run")
    finally:
        for pid in pids if number == signal.SIGSTOP else []:
            os.kill(pid, signal.SIGKILL)
    broken = time.monotonic() - began
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results
    output = capfd.readouterr()
    told_once = [line for line in said(output.out) if "did not" in line]
    assert len(told_once) == 1
    assert str(tmp_path / "run") in told_once[0]
    assert "Traceback" not in output.err
    assert broken < 30
    train(small("component=baseline", "logger=wandb"), tmp_path / "next")  # the next job has a process of its own
    assert told(tmp_path / "next").exits == [0]
    gc.collect()


@pytest.mark.slow
def test_its_folder_cannot_be_made(small, tmp_path, capfd):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").write_text("")
    results = train(small(*RUN), tmp_path / "run")
    assert results["steps"] == 25
    (line,) = said(capfd.readouterr().out)
    assert "did not begin" in line


@pytest.mark.parametrize("step", [pytest.param(at, marks=pytest.mark.slow) for at in (None, 12)])
def test_its_disk_is_full(small, tmp_path, capfd, monkeypatch, step):
    """Full from the start, or within the run."""
    folder = tmp_path / "run" / "wandb"
    folder.mkdir(parents=True)
    options = "size=1m" if step else "size=4k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=False).returncode:
        pytest.skip("no file system can be mounted here")

    def fill():
        with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    try:
        at_step(monkeypatch, step, fill)
        results = train(small(*RUN), tmp_path / "run")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results
    output = capfd.readouterr()
    assert len([line for line in said(output.out) if "did not" in line]) == 1
    assert "wandb sync" not in output.out
    assert output.err == ""


class Server(BaseHTTPRequestHandler):
    """As much of a W&B server as a run asks for."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_POST(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        query, answer = json.loads(content).get("query", ""), {}
        self.server.asked.append(self.path + query)
        if "upsertBucket" in query:
            project = {"id": "1", "name": "lt_extrap", "entity": {"id": "1", "name": "me"}}
            name = json.loads(content)["variables"]["name"]
            answer = {
                "upsertBucket": {
                    "inserted": True,
                    "bucket": {"id": "1", "name": name, "displayName": name, "project": project},
                }
            }
        elif "createRunFiles" in query:
            files = [
                {"name": name, "uploadUrl": f"http://127.0.0.1:{self.server.server_port}/put"}
                for name in json.loads(content)["variables"]["files"]
            ]
            answer = {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        elif "Viewer" in query:
            answer = {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        elif "query ArtifactType" in query:
            answer = {"project": {"artifact": None}}
        elif "createArtifact(" in query:
            files = {"id": "1", "digest": "", "state": "COMMITTED", "aliases": [], "artifactSequence": {"id": "1"}}
            answer = {"createArtifact": {"artifact": files}}
        self.answer({"data": answer})

    def do_PUT(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({})

    do_GET = do_PUT

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A W&B server on this machine, and an account on it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
        yield server
        server.shutdown()
        thread.join()


ONLINE = (*RUN, "logger.offline=false")


@pytest.mark.slow
def test_online_by_one_key(small, tmp_path, capfd, server):
    train(small(*ONLINE), tmp_path / "run")
    (line,) = [line for line in said(capfd.readouterr().out) if "http" in line]
    assert line.startswith(f"W&B: http://127.0.0.1:{server.server_port}/me/lt_extrap/runs/")
    assert any("upsertBucket" in asked for asked in server.asked)
    assert any("file_stream" in asked for asked in server.asked)
    assert told(tmp_path / "run").exits == [0]


@pytest.mark.slow
def test_the_network_goes_in_the_middle(small, tmp_path, capfd, server, monkeypatch):
    monkeypatch.setattr(dashboard, "_END", 3.0)
    stopped = []

    def gone():
        server.shutdown()
        server.server_close()
        stopped.append(time.monotonic())

    at_step(monkeypatch, 12, gone)
    results = train(small(*ONLINE), tmp_path / "run")
    assert time.monotonic() - stopped[0] < 3 + 2 * 10 + 10
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results
    lines = said(capfd.readouterr().out)
    assert len([line for line in lines if "did not" in line]) == 1
    (part,) = parts_of(tmp_path / "run")
    assert lines[-1] == f"W&B: wandb sync --include-online {part}"
    wandb = told(tmp_path / "run")
    assert [step for key, step, _ in points(wandb.rows) if key == "train/loss"] == list(range(25))
    assert wandb.summary["test/acc"] == results["test"]["acc"]


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, pytest.param(40 * "a", marks=pytest.mark.slow)])
def test_without_a_network_or_an_account_it_is_offline(small, tmp_path, capfd, home, monkeypatch, key):
    monkeypatch.setattr(dashboard, "_BEGIN", 2.0)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    train(small("component=baseline", "logger=wandb", "logger.offline=false"), tmp_path / "run")
    first, *_, last = said(capfd.readouterr().out)
    assert "offline" in first
    assert ("API key" in first) == (key is None)
    part = parts_of(tmp_path / "run")[-1]
    assert last == f"W&B: wandb sync {part}"
    assert part.name.startswith("offline-run-")
