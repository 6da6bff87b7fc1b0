"""Bake each set of answers once, and share the project between the tests, which only read it."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException
from pytest_cookies.plugin import Cookies
from template import ROOT, TEMPLATE, Bake, Project, Refuse


def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are cores, as many tests wait for what they have started."""
    return (os.cpu_count() or 1) + 1


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
