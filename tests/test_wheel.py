"""What is shipped works away from the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_brings_its_configuration(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "somewhere" / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import lt_extrap.paths as p; print(p.conf_dir())"]
    found = subprocess.run(where, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == site / "lt_extrap" / "conf"
    for command in ([sys.executable, "-m", "lt_extrap.train"], [str(site / "bin" / "lt-extrap-train")]):
        shown = subprocess.run(
            [*command, "experiment=demo", "component=silencing", "--cfg", "job"],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "lambda_s: 0.1" in shown.stdout
    assert list(elsewhere.iterdir()) == []
