"""Sound and broken commits turn exactly the right jobs of a project's CI red. Slow."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from pipelines import Pipeline
from running import Running
from template import Bake
from tiers import nightly

pytestmark = [pytest.mark.slow, nightly]

# The others need what is not here: GitHub, GitLab, OSV, Docker, releases of tomorrow.
JOBS = ("check", "lock", "test", "train", "compare")


class Trained(Pipeline):
    """A trained project in git."""

    def __init__(self, project: Running, system: str, folder: Path) -> None:
        """Train and commit the project."""
        super().__init__(project, system, folder)
        project.make("train")
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "Train")

    def red(self, change: str) -> set[str]:
        """Commit a change on a branch of its own, run all jobs, and return those that fail."""
        self.project.git("switch", "--quiet", "--create", "change")
        try:
            self.project.run("sh", "-ec", change)
            self.project.git("add", "--all")
            empty = ["--allow-empty"] if change == "true" else []
            self.project.git("commit", "--quiet", *empty, "--message", "Change")
            failed = {name: self.fails(name) for name in JOBS}
            print(*failed.values(), sep="\n")
            return {name for name, printed in failed.items() if printed}
        finally:
            self.project.git("switch", "--quiet", "--discard-changes", "main")
            self.project.git("branch", "--quiet", "-D", "change")


@pytest.fixture(scope="module")
def pipelines(bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Return a trained project for a system."""

    @cache
    def pipeline(system: str) -> Trained:
        folder = tmp_path_factory.mktemp("jobs")
        project = Running.copy_of(bake(ci=system), tmp_path_factory.mktemp(system), "3.13").prepare()
        return Trained(project, system, folder)

    return pipeline


CHANGED = "sed -i 's/max_iter: .*/max_iter: 1/' params.yaml"
RETRAINED = f"{CHANGED} && make train"
EDITED = "sed -i 's/^import math$/import math  # later/' src/*/steps/gate.py"
FAILING = r"printf '\n\ndef test_sum():\n    assert sum([1]) == 2\n' >> tests/test_gate.py"


@pytest.mark.parametrize(
    ("system", "change", "red"),
    [
        pytest.param("github", "true", set(), id="github: sound"),
        pytest.param("gitlab", "true", set(), id="gitlab: sound"),
        pytest.param("github", "echo 'import os' >> tests/test_gate.py", {"check"}, id="lint"),
        pytest.param("github", FAILING, {"test"}, id="test"),
        pytest.param("github", "sed -i '0,/md5: ./s//md5: f/' dvc.lock", {"lock"}, id="dvc.lock"),
        pytest.param("github", EDITED, {"lock"}, id="code, not retrained"),
        pytest.param("github", CHANGED, {"lock", "train"}, id="parameters, not retrained"),
        pytest.param("github", RETRAINED, {"compare"}, id="github: worse model"),
        pytest.param("gitlab", RETRAINED, {"compare"}, id="gitlab: worse model"),
    ],
)
def test_exactly_the_right_jobs_fail(
    pipelines: Callable[[str], Trained], system: str, change: str, red: set[str]
) -> None:
    pipeline = pipelines(system)
    assert pipeline.red(change) == red
    if change == RETRAINED:  # by the job that ran last
        comparison = (pipeline.folder / pipeline.project.path.name / "comparison.md").read_text()
        assert re.search(r"\| *f1_macro", comparison), comparison
        assert re.search(r"max_iter *\| 60 *\| 1 ", comparison), comparison
        assert "f1_macro is worse than in" in comparison
