"""`make update`: the template's changes are merged into an owner's work. Slow."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running import SHARED, Running
from template import PROJECT, copy_template
from tiers import nightly

pytestmark = pytest.mark.slow

SOURCE = "src/{{cookiecutter.__package}}"
# Calls `update` with each pair of a version and answers; prints what it said or refused.
REFUSED = """
import json, sys
from {package}.errors import ProjectError
from {package}.ops.versioning import template
for to, answers in json.loads(sys.argv[1]):
    try:
        print("\\\\n".join(template.update(to, answers)))
    except ProjectError as error:
        print(error)
"""


class Template:
    """A copy of the template, with releases."""

    def __init__(self, folder: Path) -> None:
        """Copy the template, and release it as v1."""
        self.folder, self.project = folder, folder / PROJECT.name
        copy_template(folder)
        self.git("tag", "v1")

    def git(self, *arguments: str) -> None:
        """Call git in the template."""
        subprocess.run(["git", *arguments], cwd=self.folder, check=True)

    def release(self, tag: str) -> None:
        """Commit everything as a release."""
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message", tag)
        self.git("tag", tag)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file of the project."""
        edit(self.project / name, old, new)

    def generate(self, folder: Path, *answers: str) -> Running:
        """Generate a project by plain Cookiecutter, and install it."""
        command = [sys.executable, "-m", "cookiecutter", "--no-input", str(self.folder), *answers]
        home = {**os.environ, "HOME": str(folder)}
        subprocess.run(command, cwd=folder, env=home, check=True, stdout=subprocess.DEVNULL)
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
        project = Running(folder / "penguin-model", "penguin_model", "3.13", SHARED / f"{worker}-3.13")
        project.install()
        commit(project, "Lock")
        return project


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def commit(project: Running, message: str) -> None:
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", message)


@pytest.fixture
def template(tmp_path: Path) -> Template:
    return Template(tmp_path / "template")


def release_second(template: Template) -> None:
    """Release v2: lines changed, a file renamed, one deleted, one new, and others of the owner's."""
    template.edit("AGENTS.md", "# Working in this project", "# How to work in this project")
    template.edit("AGENTS.md", "## Never", "## Never, ever")
    template.edit("docs/scaling.md", "# ", "# About: ")
    versioning = template.project / SOURCE / "ops/versioning"
    (versioning / "lock_check.py").rename(versioning / "lock_checking.py")
    for file in template.project.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if "lock_check" in text:
            file.write_text(text.replace("lock_check", "lock_checking"), encoding="utf-8")
    for name in ("params.yaml", "contract.yaml", "data/new/note.txt"):
        with (template.project / name).open("a", encoding="utf-8") as own:
            own.write("# the template's\n")
    (template.project / "SECURITY.md").unlink()
    (template.project / "docs/added.md").write_text("# New\n", encoding="utf-8")
    edit(template.folder / "CHANGELOG.md", "# Changelog\n", "# Changelog\n\n- **v2**: delete SECURITY.md.\n")
    template.release("v2")


def test_update_merges_the_owners_work(template: Template, tmp_path: Path) -> None:
    project = template.generate(tmp_path)
    release_second(template)
    ours = project.path
    edit(ours / "AGENTS.md", "# Working in this project", "# The owner's title")  # on a line that changes
    edit(ours / "AGENTS.md", "## Commands", "## The owner's commands")  # beside one
    edit(ours / "src/penguin_model/ops/versioning/lock_check.py", '"""', '"""Edited. ')
    edit(ours / "SECURITY.md", "# ", "# Our ")
    (ours / "docs/scaling.md").unlink()
    (ours / "src/penguin_model/steps/own.py").write_text('"""The owner\'s."""\n', encoding="utf-8")
    edit(ours / "params.yaml", "max_depth: ", "max_depth: 1")
    commit(project, "The owner's work")
    before, owned = project.git("rev-parse", "HEAD").strip(), (ours / "params.yaml").read_bytes()
    said = project.make("update")
    assert "From v1 to v2: " in said
    assert "- **v2**: delete SECURITY.md." in said
    assert "Resolve the conflicts in AGENTS.md, SECURITY.md, docs/scaling.md" in said
    assert f"git reset --hard {before[:12]}" in said
    # Conflicts as git has them: a line changed twice, and a file that only one side deleted.
    state = dict(line.split(maxsplit=1)[::-1] for line in project.git("status", "--porcelain").splitlines())
    expected = {"AGENTS.md": "UU", "SECURITY.md": "UD", "docs/scaling.md": "DU", "docs/added.md": "A"}
    assert expected.items() <= state.items()
    text = (ours / "AGENTS.md").read_text(encoding="utf-8")
    assert "## The owner's commands" in text
    assert "## Never, ever" in text
    renamed = ours / "src/penguin_model/ops/versioning/lock_checking.py"
    assert renamed.read_text(encoding="utf-8").startswith('"""Edited. ')
    assert not renamed.with_name("lock_check.py").exists()
    assert (ours / "params.yaml").read_bytes() == owned
    assert not (ours / "data/new/note.txt").exists()
    assert not list(ours.rglob("*.rej"))
    assert json.loads((ours / ".cruft.json").read_text(encoding="utf-8"))["commit"] != before
    project.git("reset", "--hard", "--quiet", before)
    assert project.git("status", "--porcelain") == ""
    # Undone, it can be done again.
    assert "Resolve the conflicts in AGENTS.md, SECURITY.md, docs/scaling.md" in project.make("update")
    project.git("checkout", "--theirs", "AGENTS.md")
    project.git("rm", "--quiet", "SECURITY.md", "docs/scaling.md")
    commit(project, "Update")
    assert "The project is up to date with its template: v2.\n" in project.make("update")
    project.uv("run", "ruff", "check")
    project.uv("run", "penguin-model", "check-lock", "--help")


def test_answers_can_be_changed(template: Template, tmp_path: Path) -> None:
    project = template.generate(tmp_path, "serving=none")
    changed = ["compute=dask", "description=Say “so”.", "serving=fastapi"]
    said = project.run("make", "update", *changed)
    assert f"From v1 to v1, {', '.join(changed)}: " in said
    assert project.git("status", "--porcelain") == ""
    project.uv("sync")
    commit(project, "Lock")
    assert "serve " in project.uv("run", "penguin-model", "--help")
    wanted = template.generate(new_folder(tmp_path, "wanted"), *changed).path
    runner = "src/penguin_model/ops/orchestration/task_runner.py"
    for name in ("README.md", "Makefile", "pyproject.toml", ".cruft.json", runner):
        assert (project.path / name).read_bytes() == (wanted / name).read_bytes(), name
    assert "serving=none: " in project.run("make", "update", "serving=none")
    project.uv("run", "penguin-model", "--help")


def test_refused_update_changes_nothing(template: Template, tmp_path: Path) -> None:
    project = template.generate(tmp_path)
    ask = asking(project)
    before = project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")
    cases = {
        "has no tag, branch or commit 'v9'": ("v9", {}),
        "An update cannot change problem: it chooses the example": (None, {"problem": "regression"}),
        "The template does not ask for 'computee', but for project_name, ": (None, {"computee": "dask"}),
        "The template at v1 refuses the answers: spark provided for choice variable compute": (
            None,
            {"compute": "spark"},
        ),
        "The template at v1 refuses the answers: Hook script failed": (None, {"description": "x\ny"}),
    }
    for expected, said in zip(cases, ask(*cases.values()), strict=True):
        assert expected in said
    (project.path / "docs/added.md").write_text("the owner's, not in git", encoding="utf-8")
    release_second(template)
    (said,) = ask((None, {}))
    assert "docs/added.md" in said
    (project.path / "docs/added.md").unlink()
    assert (project.git("rev-parse", "HEAD"), project.git("status", "--porcelain")) == before
    edit(project.path / "Makefile", "# Short calls", "# Calls")
    assert ask((None, {})) == ["There are uncommitted changes; commit or stash them first."]
    project.git("checkout", "--quiet", "Makefile")
    template.folder.rename(tmp_path / "elsewhere")
    (said,) = ask((None, {}))
    assert f"git clone failed: repository '{template.folder}' does not exist" in said
    project.git("rm", "--quiet", ".cruft.json")
    commit(project, "No record")
    (said,) = ask((None, {}))
    assert "is missing or damaged" in said


def asking(project: Running) -> Callable[..., list[str]]:
    """Return a function that tries updates in one process, and returns what each said."""

    def ask(*updates: tuple[str | None, dict[str, str]]) -> list[str]:
        code = REFUSED.format(package=project.package)
        command = ["run", "--with", "cookiecutter>=2.7,<3", "python", "-c", code, json.dumps(updates)]
        return project.uv(*command).splitlines()

    return ask


def new_folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


@nightly
def test_updated_project_passes_its_checks_and_keeps_its_champion(template: Template, tmp_path: Path) -> None:
    project = template.generate(tmp_path).prepare()
    project.make("train")
    commit(project, "Train")
    release_second(template)
    project.make("update")
    for target in ("setup", "check", "test", "train"):
        project.make(target)
    assert project.recorded()["champion"] == 1
    assert "→ version 1" in project.uv("run", "penguin-model", "journal")
