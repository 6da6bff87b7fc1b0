"""A copy of the template with two releases, and what an owner has done to a project between them."""

import os
import subprocess
import sys
from pathlib import Path

from running import SHARED, Running
from template import PROJECT, copy_template

SOURCE = "src/{{cookiecutter.__package}}"
STEP = '''"""A step of the owner's."""


def double(value: float) -> float:
    """Double a value."""
    return 2 * value
'''
TEST = '''"""The owner's step does what it says."""

from PACKAGE.steps.own import double


def test_value_is_doubled() -> None:
    assert double(1.5) == 3
'''


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

    def generate(self, folder: Path, python: str = "3.13", **answers: str) -> Running:
        """Generate a project by plain Cookiecutter, and install it."""
        given = [f"{name}={value}" for name, value in answers.items()]
        command = [sys.executable, "-m", "cookiecutter", "--no-input", str(self.folder), *given]
        home = {**os.environ, "HOME": str(folder)}
        subprocess.run(command, cwd=folder, env=home, check=True, stdout=subprocess.DEVNULL)
        slug = answers.get("project_slug", "penguin-model")
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
        environment = SHARED / f"{worker}-{python}"
        project = Running(folder / slug, slug.replace("-", "_"), python, environment)
        project.install()
        commit(project, "Lock")
        return project

    def release_second(self) -> None:
        """Release v2: lines changed, a file renamed, one deleted, one new, and others of the owner's."""
        self.edit("AGENTS.md", "# Working in this project", "# How to work in this project")
        self.edit("AGENTS.md", "## Never", "## Never, ever")
        self.edit("docs/scaling.md", "# ", "# About: ")
        versioning = self.project / SOURCE / "ops/versioning"
        (versioning / "lock_check.py").rename(versioning / "lock_checking.py")
        for file in self.project.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if "lock_check" in text:
                file.write_text(text.replace("lock_check", "lock_checking"), encoding="utf-8")
        for name in ("params.yaml", "contract.yaml", "data/new/note.txt"):
            with (self.project / name).open("a", encoding="utf-8") as own:
                own.write("# the template's\n")
        (self.project / "SECURITY.md").unlink()
        (self.project / "docs/added.md").write_text("# New\n", encoding="utf-8")
        changes = "# Changelog\n\n- **v2**: delete SECURITY.md.\n"
        edit(self.folder / "CHANGELOG.md", "# Changelog\n", changes)
        self.release("v2")


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text in a file once."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def commit(project: Running, message: str) -> None:
    """Commit everything."""
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", message)


def work(project: Running) -> None:
    """Do what an owner does between two releases: edit on and beside lines that change, delete, add."""
    ours, source = project.path, project.path / "src" / project.package
    edit(ours / "AGENTS.md", "# Working in this project", "# The owner's title")  # on a line that changes
    edit(ours / "AGENTS.md", "## Commands", "## The owner's commands")  # beside one
    edit(source / "ops/versioning/lock_check.py", '"""', '"""Edited. ')
    edit(ours / "SECURITY.md", "# ", "# Our ")
    (ours / "docs/scaling.md").unlink()
    (source / "steps/own.py").write_text(STEP, encoding="utf-8")
    (ours / "tests/test_own.py").write_text(TEST.replace("PACKAGE", project.package), encoding="utf-8")


def merged(project: Running) -> None:
    """Check that an update to v2 has merged the owner's work, with the conflicts that git has."""
    ours, source = project.path, project.path / "src" / project.package
    state = dict(line.split(maxsplit=1)[::-1] for line in project.git("status", "--porcelain").splitlines())
    # A line changed twice, and a file that only one side deleted.
    expected = {"AGENTS.md": "UU", "SECURITY.md": "UD", "docs/scaling.md": "DU", "docs/added.md": "A"}
    assert expected.items() <= state.items()
    text = (ours / "AGENTS.md").read_text(encoding="utf-8")
    assert "## The owner's commands" in text
    assert "## Never, ever" in text
    renamed = source / "ops/versioning/lock_checking.py"
    assert renamed.read_text(encoding="utf-8").startswith('"""Edited. ')
    assert not renamed.with_name("lock_check.py").exists()
    assert not (ours / "data/new/note.txt").exists()
    assert not list(ours.rglob("*.rej"))


def resolve(project: Running) -> None:
    """Resolve the conflicts, and commit."""
    project.git("checkout", "--theirs", "AGENTS.md")
    project.git("rm", "--quiet", "SECURITY.md", "docs/scaling.md")
    commit(project, "Update")
