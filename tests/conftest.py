"""Bake each set of answers once, and share the project between the tests, which only read it."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException
from markdown_it import MarkdownIt
from pytest_cookies.plugin import Cookies

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}"
TEMPLATE: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))

# Every question with a choice, so that a new one is tested without a new test.
CHOICES = {
    name: values if isinstance(values, list) else [values, not values]
    for name, values in TEMPLATE.items()
    if isinstance(values, list | bool) and not name.startswith("_")
}
FREE_TEXT = [
    name
    for name, value in TEMPLATE.items()
    if isinstance(value, str) and not name.startswith("_") and name != "project_slug"
]
OTHER_VALUES = [
    pytest.param({name: value}, id=f"{name}={value}")
    for name, values in CHOICES.items()
    for value in values[1:]
]
EVERY_VALUE = [pytest.param({}, id="defaults"), *OTHER_VALUES]

PARSERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".dvc": yaml.safe_load,
    ".md": MarkdownIt().parse,
    ".py": lambda text: compile(text, "<generated>", "exec"),
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.safe_load_all(text)),
    ".yml": lambda text: list(yaml.safe_load_all(text)),
}


class Project(NamedTuple):
    """A generated project and the answers it was generated from."""

    path: Path
    answers: dict[str, Any]

    def texts(self) -> dict[str, str]:
        """Every file that Cookiecutter rendered, by its path from the project's root."""
        names = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        rendered = (name for name in names if name.parts[0] != ".git" and name.parts[0] != "data")
        return {str(name): (self.path / name).read_text(encoding="utf-8") for name in sorted(rendered)}


Bake = Callable[..., Project]
Refuse = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def _own_git_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give git an identity, and nothing of whoever runs the tests."""
    configuration = tmp_path_factory.mktemp("git") / "config"
    configuration.write_text("[user]\nname = Test\nemail = test@example.org\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="session")
def bake(cookies_session: Cookies) -> Bake:
    """Bake a project from the given answers, or fail with the reason."""
    baked: dict[str, Project] = {}

    def bake(**answers: str | bool) -> Project:
        unknown = answers.keys() - TEMPLATE.keys()
        assert not unknown, f"not in cookiecutter.json: {unknown}"
        key = json.dumps(answers, sort_keys=True)
        if key not in baked:
            result = cookies_session.bake(extra_context=answers, template=str(ROOT))
            assert result.exception is None, result.exception
            baked[key] = Project(result.project_path, result.context)
        return baked[key]

    return bake


@pytest.fixture
def refuse(cookies: Cookies, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Give answers that must be refused, see that nothing is left behind, and return what was said."""

    def refuse(**answers: str) -> str:
        result = cookies.bake(extra_context=answers, template=str(ROOT))
        assert isinstance(result.exception, FailedHookException), result.exception
        assert list(tmp_path.rglob("*")) == [tmp_path / "cookies", tmp_path / "cookies/bake00"]
        said = capfd.readouterr().err
        assert re.fullmatch(r"(project_|description|author)[^\n]+\.\n", said), said
        return said

    return refuse
