"""The steps of the generated workflows are run as CI runs them, on a sound and on broken commits. Slow."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import Running
from template import Bake
from tiers import nightly

pytestmark = [pytest.mark.slow, nightly]

# The others need what is not here: GitHub, GitLab, OSV, Docker, releases of tomorrow.
JOBS = ("check", "lock", "test", "train", "compare")

Script = tuple[str, dict[str, str]]  # and its variables


def github(project: Path) -> dict[str, list[Script]]:
    """Return the scripts of each job of GitHub's workflow."""
    jobs = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["jobs"]
    return {
        name: [(step["run"], step.get("env", {})) for step in job["steps"] if "run" in step]
        for name, job in jobs.items()
    }


def gitlab(project: Path) -> dict[str, list[Script]]:
    """Return the script of each job of GitLab's pipeline, with what it extends."""
    pipeline = yaml.safe_load((project / ".gitlab-ci.yml").read_text())

    def lines(script: list[Any]) -> Iterator[str]:
        for line in script:
            yield from lines(line) if isinstance(line, list) else [line]

    def extended(job: dict[str, Any]) -> dict[str, Any]:
        return extended(pipeline[job["extends"]]) | job if "extends" in job else job

    jobs = {name: extended(pipeline[name]) for name in JOBS}
    return {
        name: [("\n".join(lines([*job["before_script"], *job["script"]])), {})] for name, job in jobs.items()
    }


class Pipeline:
    """A trained project in git, whose jobs run as those of a request to merge its last commit."""

    def __init__(self, project: Running, system: str, folder: Path) -> None:
        """Train and commit the project."""
        self.project, self.system, self.folder = project, system, folder
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
            read = {"github": github, "gitlab": gitlab}[self.system]
            scripts = read(self.project.path)
            return {name for name in JOBS if not self.passes(scripts[name])}
        finally:
            self.project.git("switch", "--quiet", "--discard-changes", "main")
            self.project.git("branch", "--quiet", "-D", "change")

    def passes(self, scripts: list[Script]) -> bool:
        """Run the scripts of a job in a fresh clone with an empty home; tell whether all pass."""
        home, clone = self.folder / "home", self.folder / self.project.path.name
        for folder in (home, clone):
            shutil.rmtree(folder, ignore_errors=True)
        home.mkdir()
        self.project.git("clone", "--quiet", ".", str(clone))
        base = self.project.git("rev-parse", "HEAD^1").strip()
        variables = {
            "CI": "true",
            "HOME": str(home),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
            "PATH": f"{self.folder}/pip/bin:{os.environ['PATH']}",  # GitLab's job installs uv by pip
        }
        for script, own in scripts:
            assert "${{" not in str(own), "a variable that only GitHub knows"
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", script],
                cwd=clone,
                env=self.project.env() | variables | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            print(f"$ {script}\n{done.stdout}")
            if done.returncode:
                return False
        return True


@pytest.fixture(scope="module")
def pipelines(bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pipeline]:
    """Return a trained project for a system."""

    @cache
    def pipeline(system: str) -> Pipeline:
        folder = tmp_path_factory.mktemp("jobs")
        subprocess.run([sys.executable, "-m", "venv", str(folder / "pip")], check=True)
        project = Running.copy_of(bake(ci=system), tmp_path_factory.mktemp(system), "3.13").prepare()
        return Pipeline(project, system, folder)

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
    pipelines: Callable[[str], Pipeline], system: str, change: str, red: set[str]
) -> None:
    pipeline = pipelines(system)
    assert pipeline.red(change) == red
    if change == RETRAINED:  # by the job that ran last
        comparison = (pipeline.folder / pipeline.project.path.name / "comparison.md").read_text()
        assert re.search(r"\| *f1_macro", comparison), comparison
        assert re.search(r"max_iter *\| 60 *\| 1 ", comparison), comparison
        assert "f1_macro is worse than in" in comparison
