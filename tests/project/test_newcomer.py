"""The first five minutes: a fresh checkout, an empty home, no uv, no identity for git. Slow."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from template import ROOT

pytestmark = pytest.mark.slow


def test_demo_works_for_a_newcomer_and_again(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name)
    (tmp_path / "home").mkdir()
    # No uv, no identity, nothing of the machine's but what its package clients need.
    kept = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "http"))
    }
    env = kept | {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home")}
    for _ in range(2):
        run = subprocess.run(
            ["make", "demo"], cwd=checkout, env=env, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "Traceback" not in run.stdout + run.stderr
        assert "version 1: champion" in run.stdout
        assert re.search(r"f1_macro +0\.\d+", run.stdout)
        assert run.stdout.rstrip().endswith("# deploy")
