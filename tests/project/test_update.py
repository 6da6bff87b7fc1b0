"""`make update`: the template's changes are merged into an owner's work. Slow."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from releases import Template, commit, edit, merged, resolve, work
from running import Running

pytestmark = pytest.mark.slow

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


@pytest.fixture
def template(tmp_path: Path) -> Template:
    return Template(tmp_path / "template")


def test_update_merges_the_owners_work(template: Template, tmp_path: Path) -> None:
    project = template.generate(tmp_path)
    template.release_second()
    ours = project.path
    work(project)
    edit(ours / "params.yaml", "max_depth: ", "max_depth: 1")
    commit(project, "The owner's work")
    before, owned = project.git("rev-parse", "HEAD").strip(), (ours / "params.yaml").read_bytes()
    said = project.make("update")
    assert "From v1 to v2: " in said
    assert "- **v2**: delete SECURITY.md." in said
    assert "Resolve the conflicts in AGENTS.md, SECURITY.md, docs/scaling.md" in said
    assert f"git reset --hard {before[:12]}" in said
    merged(project)
    assert (ours / "params.yaml").read_bytes() == owned
    assert json.loads((ours / ".cruft.json").read_text(encoding="utf-8"))["commit"] != before
    project.git("reset", "--hard", "--quiet", before)
    assert project.git("status", "--porcelain") == ""
    # Undone, it can be done again.
    assert "Resolve the conflicts in AGENTS.md, SECURITY.md, docs/scaling.md" in project.make("update")
    resolve(project)
    assert "The project is up to date with its template: v2.\n" in project.make("update")
    project.uv("run", "ruff", "check")
    project.uv("run", "penguin-model", "check-lock", "--help")


def test_answers_can_be_changed(template: Template, tmp_path: Path) -> None:
    project = template.generate(tmp_path, serving="none")
    answers = {"compute": "dask", "description": "Say “so”.", "serving": "fastapi"}
    changed = [f"{name}={value}" for name, value in answers.items()]
    said = project.run("make", "update", *changed)
    assert f"From v1 to v1, {', '.join(changed)}: " in said
    assert project.git("status", "--porcelain") == ""
    project.uv("sync")
    commit(project, "Lock")
    assert "serve " in project.uv("run", "penguin-model", "--help")
    wanted = template.generate(new_folder(tmp_path, "wanted"), **answers).path
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
    template.release_second()
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
    project.git("update-ref", "-d", "HEAD")
    (said,) = ask((None, {}))
    assert said.startswith("git has no commit yet: `git add --all && git commit")
    (project.path / ".git").rename(tmp_path / ".git")
    (said,) = ask((None, {}))
    assert said.startswith("The project is a folder inside another git repository")


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
