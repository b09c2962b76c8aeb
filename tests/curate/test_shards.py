"""A curation in parts is the curation of one machine, byte for byte."""

import json
import os
import shutil
import subprocess
import sys

import hydra
import pytest
from loopback import serving
from pool import bytes_of, config, words

from curate.test_curate import shards_of
from lt_extrap.compose import from_hydra
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.records import Sought
from lt_extrap.curate.shards import folder_of, part
from lt_extrap.curate.state import State
from lt_extrap.data.stored.reader import read_images
from lt_extrap.errors import ConfigError, RunError
from lt_extrap.paths import conf_dir


def test_every_class_is_in_one_shard_and_stays_there():
    classes = [Sought(f"n{number:08}", "a", ("a",)) for number in range(300)]
    parts = [part(classes, shard, 4) for shard in range(4)]
    assert sorted(wanted.key for of in parts for wanted in of) == [wanted.key for wanted in classes]
    assert min(map(len, parts)) > 50
    assert part(classes[::2], 0, 4) == [wanted for wanted in parts[0] if wanted in classes[::2]]
    assert part(classes, None, 1) == classes


@pytest.mark.slow
def test_a_shard_that_is_not_done_or_of_other_words_is_refused(made, tmp_path):
    folder = tmp_path / "state"
    shards_of(made, folder, 2)
    with pytest.raises(RunError, match="another candidates_per_class"):
        curate(config(made, folder, "do=merge", "shards=2", "candidates_per_class=9"))
    names = json.loads((made / "neighbors.json").read_text())
    fewer = tmp_path / "fewer.json"
    first = next(iter(names.values()))[0]
    fewer.write_text(json.dumps({of: [name for name in row if name != first] for of, row in names.items()}))
    shutil.rmtree(folder_of(folder, 1, 2))
    assert curate(config(made, folder, "shard=1", "shards=2", f"proposer.file={fewer}")) == 0
    with pytest.raises(RunError, match="shard 1 .*\n.*another .*neighbors"):
        curate(config(made, folder, "do=merge", "shards=2"))
    assert curate(config(made, folder, "shard=1", "shards=2")) == 0
    with State(folder_of(folder, 1, 2)) as state, state.transaction():
        state.write("UPDATE candidate SET sha256 = NULL WHERE position = 1")
    with pytest.raises(RunError, match=r"[1-9] candidates that were not looked at"):
        curate(config(made, folder, "do=merge", "shards=2"))


@pytest.mark.slow
def test_what_is_forgotten_is_forgotten_by_all_shards(made, tmp_path):
    folder = tmp_path / "state"
    shards_of(made, folder, 2)
    assert curate(config(made, folder, "do=merge", "shards=2")) == 0
    before = bytes_of(folder)
    assert curate(config(made, folder)) == 0
    assert curate(config(made, folder, "do=merge", "shards=2")) == 0
    assert bytes_of(folder) == before
    _, image = next(iter(read_images(folder / "set")))
    assert list(folder.glob(f"shards/*/images/*/{image.sha256}*"))
    assert curate(config(made, folder, "do=forget", f"forget.sha256={image.sha256}")) == 0
    assert not list(folder.rglob(f"{image.sha256}*"))
    shutil.rmtree(folder / "shards")
    shards_of(made, folder, 2)
    assert curate(config(made, folder, "do=merge", "shards=2")) == 0
    assert not list(folder.rglob(f"{image.sha256}*"))


@pytest.mark.parametrize(
    "more", [("shard=0",), ("shard=2", "shards=2"), ("shards=2",), ("do=merge",), ("shard=0", "shards=2", "do=export")]
)
def test_a_shard_is_one_of_so_many(made, tmp_path, more):
    if more == ("shard=0",):
        assert config(made, tmp_path, *more).shards == 1
        return
    with pytest.raises(ConfigError, match="shard|merge"):
        config(made, tmp_path, *more)


@pytest.mark.slow
def test_shards_that_download_are_one_machine_that_does(made, tmp_path):
    """Places of several classes among them, and what is not to be had."""
    files = sorted(file for file in (made / "pool").rglob("*.*"))
    with serving(made / "pool") as server:
        rows = [(f"{server.address}/{file.relative_to(made / 'pool')}", file.parent.name) for file in files]
        names = sorted({name for _, name in rows})
        rows = [*((url, names[(names.index(name) + 1) % len(names)]) for url, name in rows[::7]), *rows]
        server.status |= {str(file.relative_to(made / "pool")): 404 for file in files[::5]}
        lines = [json.dumps({"url": url, "caption": name.replace("_", " ")}) for url, name in rows]
        (tmp_path / "captions.jsonl").write_text("\n".join(lines))

        def run(folder: str, *more: str) -> int:
            source = ["source=captions", f"source.files=[{tmp_path / 'captions.jsonl'}]", "download.retries=0"]
            manners = ["download.contact=me@example.org", "download.rate=100000", "download.per_host=8", "enough=9"]
            chosen = [word for word in words(made, tmp_path / folder) if not word.startswith("source")]
            with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
                composed = from_hydra(hydra.compose("curate", [*chosen, *source, *manners, *more]))
            return curate(composed, downloader=server.downloader)

        assert run("one") == 0
        asked = set(server.asked)
        server.asked.clear()
        assert [run("several", f"shard={shard}", "shards=2") for shard in range(2)] == [0, 0]
        assert set(server.asked) == asked
        assert len(server.asked) > len(asked)  # what is of both shards is asked for by each
        server.asked.clear()
        assert run("several", "do=merge", "shards=2") == 0
        assert server.asked == []
    assert bytes_of(tmp_path / "several") == bytes_of(tmp_path / "one")
    assert len(list(read_images(tmp_path / "one" / "set"))) > 9
    dropped = [json.loads(line)["reason"] for line in (tmp_path / "one" / "dropped.jsonl").read_text().splitlines()]
    assert {"unreadable", "not_needed"} <= set(dropped)


@pytest.mark.slow
@pytest.mark.long
def test_a_launcher_of_hydra_runs_the_shards(made, curated, tmp_path, cache):
    folder, environment = tmp_path / "state", {**os.environ, "LT_EXTRAP_CACHE": str(cache)}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "lt_extrap.curate", "-m", *words(made, folder, *more)]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)

    parts = ["shard=0,1", "shards=2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    broken = run(*parts, f"source.root={tmp_path / 'nowhere'}")
    assert (broken.returncode, "Traceback" in broken.stderr) == (2, False), broken.stderr
    done = run(*parts)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert curate(config(made, folder, "do=merge", "shards=2")) == 0
    assert bytes_of(folder) == bytes_of(curated)
    assert not (tmp_path / "multirun").exists()
