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
            ["make", target],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout
        # Neither tracebacks nor the shell's commands; those in backquotes are advice.
        assert not re.search(r"Traceback|(?<!`)uv run|pip install|-m venv|python -m", run.stdout)
        return run.stdout

    first, second = make("demo", checkout), make("demo", checkout)
    [quoted] = re.findall(r"```text\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    printed = {without_figures(line) for line in first.splitlines()}
    assert {without_figures(line) for line in quoted.splitlines()} <= printed
    assert "dvc.lock is up to date" in second
    for output in (first, second):
        assert "version 1: champion" in output
        assert re.search(r"f1_macro +0\.\d+", output)
        assert re.search(r"\n  make deploy .+\n$", output)
    # The commands that it names use the same uv.
    status = make("status", checkout / "build/demo")
    assert "version 1: champion" in status
    assert "Installing uv" not in status


def without_figures(line: str) -> str:
    """Return a line of output without what differs from run to run: times, metrics, names of runs."""
    return re.sub(r"(?<=run )'\w+-\w+'|\d+", "N", line)
