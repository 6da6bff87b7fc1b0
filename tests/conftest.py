"""Fixtures: each set of answers is baked once, and the tests, which only read the project, share it."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException
from pytest_cookies.plugin import Cookies
from running import PYTHONS
from servers import channel
from template import CHOICES, ROOT, TEMPLATE, Bake, Project, Refuse
from tiers import SEED

# Each is run by one worker.
LONGEST = (
    "TestFaults",
    "TestOwnTests",
    "TestPairs",
    "TestMorePairs",
    "TestOtherPairs",
    "TestStack",
    "TestRegistry",
    "TestProcessDeployments",
    "TestExperiments",
    "TestMoved",
    "TestTables",
    "TestEarlierVersions",
)


def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are cores, because many tests wait for processes."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest classes, and end with the fast tests: then no worker runs alone at the end."""
    rank = {name: at for at, name in enumerate(LONGEST)}

    def order(item: pytest.Item) -> tuple[int, bool]:
        scope = item.parent.name if item.parent else ""
        return rank.get(scope, len(rank)), item.get_closest_marker("slow") is None

    items.sort(key=order)


def pytest_report_header() -> list[str]:
    """Say which of the equal cases are tested unless all are, and what cannot be tested on this machine."""
    absent = [version for version in CHOICES["python_version"] if version not in PYTHONS]
    return [
        f"TEST_SEED={SEED} chooses one of each group of equal cases; the others are marked nightly",
        *(f"Python {version} is not on this machine: no project runs on it" for version in absent),
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")


@pytest.fixture(scope="session", autouse=True)
def _own_git_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give git an identity, and ignore the configuration of whoever runs the tests."""
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
    """Check that answers are refused and that nothing is left behind; return the message."""

    def refuse(**answers: str) -> str:
        result = cookies.bake(extra_context=answers, template=str(ROOT))
        assert isinstance(result.exception, FailedHookException), result.exception
        assert list(tmp_path.rglob("*")) == [tmp_path / "cookies", tmp_path / "cookies/bake00"]
        message = capfd.readouterr().err
        assert re.fullmatch(r"(project_|description|author)[^\n]+\.\n", message), message
        return message

    return refuse


@pytest.fixture(scope="class")
def told() -> Iterator[tuple[str, list[str]]]:
    """Serve a webhook for the notifications of a project; return its address and what it has received."""
    with channel() as served:
        yield served
