"""The documents name files and commands that exist, and fit on a screen."""

import re
from pathlib import Path

import pytest
from documents import fenced, named_in, tree
from template import EVERY_VALUE, ROOT, Bake

WIDTH = 100


def test_readme_of_the_template_fits_on_a_screen_and_names_what_exists(bake: Bake) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 75
    [picture] = re.findall(r"!\[.+\]\((.+)\)", text)
    assert (ROOT / picture).stat().st_size <= 150_000
    [printed], [drawn] = fenced(text, "text"), fenced(text, "")
    assert len(printed.splitlines()) == 12
    assert len(drawn.splitlines()) <= 20
    project = bake()
    for path in tree(drawn, project.answers["__package"]):
        assert (project.path / path).exists(), path


@pytest.mark.parametrize("answers", [*EVERY_VALUE, {"project_slug": "snow-petrel"}], ids=str)
def test_readme_of_a_project_has_its_answers(bake: Bake, answers: dict[str, str]) -> None:
    project = bake(**answers)
    text = project.texts()["README.md"]
    named = named_in(text, project.answers["project_slug"], project.answers["__package"])
    assert len(named.drawn) > 20
    for path in named.drawn:
        assert (project.path / path).exists(), path
    for name in project.answers:
        if name in {"problem", "data_remote", "compute", "deployment", "notifications", "licence"}:
            assert f"| {project.answers[name]}" in text, name


def test_commands_for_agents_are_targets_that_ci_runs() -> None:
    [block] = fenced((ROOT / "AGENTS.md").read_text(encoding="utf-8"), "sh")
    commands = {line.partition("#")[0].strip() for line in block.splitlines()}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands <= {f"make {target}" for target in targets}
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    # `make test` runs the fast tests, too, and test_newcomer.py the demo.
    assert commands - {"make test-fast", "make demo"} <= set(ci)


@pytest.mark.parametrize(
    "name",
    ["README.md", "AGENTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/decisions.md"],
)
def test_prose_is_wrapped(bake: Bake, name: str) -> None:
    paths = [ROOT / name, bake().path / name]
    for path in filter(Path.exists, paths):
        prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for line in prose.splitlines():
            assert len(line) <= WIDTH or line.startswith("|"), f"{path.name}: {line}"
