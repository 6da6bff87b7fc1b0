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

    def make(target: str, folder: Path) -> str:
        run = subprocess.run(
            ["make", target], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        # Neither tracebacks nor the shell's commands.
        assert not re.search(r"Traceback|uv run|pip install|-m venv", run.stdout + run.stderr)
        return run.stdout

    for _ in range(2):
        said = make("demo", checkout)
        assert "version 1: champion" in said
        assert re.search(r"f1_macro +0\.\d+", said)
        assert said.rstrip().endswith("# deploy")
    # The commands that it names use the same uv.
    said = make("status", checkout / "build/demo")
    assert "version 1: champion" in said
    assert "Installing uv" not in said
