"""The command line as a user meets it: in processes of their own."""

import subprocess
import sys

import pytest

from command import run
from conftest import SMALL
from lt_extrap import train
from lt_extrap.report import __main__ as report


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("experiment=tiny_imagenet_lt", "LT_EXTRAP_DATA"),
        ("experiment=dmo", "mean demo?"),
        ("experiment=demo adapter=lora", "backbone.weights"),
        ("experiment=demo component=silencing loss=focal", "Focal, which silences none"),
        ("experiment=demo component=silencing auxiliary=random", "auxiliary=random"),
    ],
)
def test_a_mistake_ends_in_one_message(tmp_path, words, found):
    status, said = run(train.main, *words.split(), cwd=tmp_path)
    assert status == 1
    assert "Traceback" not in said
    assert all(word in said for word in ("wanted:", "found:", "to do:", found))
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.slow
def test_an_unreadable_image_in_a_worker_ends_in_one_message(tmp_path, monkeypatch, small):
    from lt_extrap.data.target import load_target

    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    target = load_target(small("component=baseline").target)
    file = target.place.images.path / target.train.path(3)
    file.write_bytes(file.read_bytes()[:60])
    status, said = run(train.main, *SMALL, "component=baseline", "data.workers=2", cwd=tmp_path)
    assert status == 1
    assert "Traceback" not in said
    assert target.train.path(3) in said


@pytest.mark.slow
def test_a_sweep_and_its_table(tmp_path):
    """A sweep, twice, and its table."""
    status, said = run(train.main, "-m", *SMALL, "component=silencing", "seed=0,1", cwd=tmp_path)
    assert status == 0, said
    folders = sorted(path.parent.name for path in tmp_path.glob("runs/demo/*/results.json"))
    assert len(folders) == 2
    assert not (tmp_path / "outputs").exists()
    _, said = run(train.main, "-m", *SMALL, "component=silencing", "seed=0,1", cwd=tmp_path)
    assert said.count("finished before") == 2
    status, said = run(report.main, "runs=runs/demo", "csv=table.csv", cwd=tmp_path)
    assert status == 0, said
    assert "±" in said
    assert "runs/demo/" in said
    assert (tmp_path / "table.csv").is_file()


@pytest.mark.slow
def test_no_command_waits_for_a_library_that_it_does_not_use(tmp_path):
    """Seconds at each start, and in each process of a run."""
    heavy = "torch._dynamo", "lightning", "torchmetrics", "torchvision", "timm", "open_clip", "wandb", "scipy"
    code = (
        "import sys\n"
        f"loaded = lambda: print(*[name for name in {heavy} if name in sys.modules], sep=',')\n"
        "import lt_extrap.auxiliary_set, lt_extrap.check, lt_extrap.pack, lt_extrap.report, lt_extrap.curate.__main__\n"
        "loaded()\n"
        "import lt_extrap.train\n"
        "loaded()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    without_images, training = (set(line.split(",")) for line in done.stdout.split("\n")[:2])
    assert without_images == {""}
    assert not training & {"timm", "open_clip", "wandb"}
