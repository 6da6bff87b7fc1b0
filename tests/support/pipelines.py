"""The jobs of a project's CI, run as GitHub and GitLab run them: in a fresh clone with an empty home."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from running import Running

Script = tuple[str, dict[str, str]]  # and its variables


def _github(project: Path) -> dict[str, list[Script]]:
    """Return the scripts of each job of GitHub's workflow."""
    jobs = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["jobs"]
    return {
        name: [(step["run"], step.get("env", {})) for step in job["steps"] if "run" in step]
        for name, job in jobs.items()
    }


def _gitlab(project: Path) -> dict[str, list[Script]]:
    """Return the script of each job of GitLab's pipeline, with what it extends."""
    pipeline = yaml.safe_load((project / ".gitlab-ci.yml").read_text())

    def lines(script: list[Any]) -> Iterator[str]:
        for line in script:
            yield from lines(line) if isinstance(line, list) else [line]

    def extended(job: dict[str, Any]) -> dict[str, Any]:
        return extended(pipeline[job["extends"]]) | job if "extends" in job else job

    jobs = {name: extended(job) for name, job in pipeline.items() if isinstance(job, dict)}
    return {
        name: [("\n".join(lines([*job.get("before_script", []), *job["script"]])), {})]
        for name, job in jobs.items()
        if "script" in job
    }


SYSTEMS = {"github": _github, "gitlab": _gitlab}


class Pipeline:
    """The jobs of a request to merge the last commit of a project, which has no secrets: as from a fork."""

    def __init__(self, project: Running, system: str, folder: Path) -> None:
        """Make an environment in which GitLab's jobs install uv."""
        self.project, self.system, self.folder = project, system, folder
        if system == "gitlab":
            subprocess.run([sys.executable, "-m", "venv", str(folder / "pip")], check=True)

    def fails(self, job: str) -> str:
        """Run a job of the last commit to its end; return what a failed one printed."""
        scripts = SYSTEMS[self.system](self.project.path)[job]
        home, clone = self.folder / "home", self.folder / self.project.path.name
        for folder in (home, clone):
            shutil.rmtree(folder, ignore_errors=True)
        home.mkdir()
        self.project.git("clone", "--quiet", ".", str(clone))
        variables = {
            "CI": "true",
            "HOME": str(home),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": self.project.git("rev-parse", "HEAD^1").strip(),
            "PATH": f"{self.folder}/pip/bin:{os.environ['PATH']}",
        }
        printed = []
        for script, given in scripts:
            own = {name: self._expand(value) for name, value in given.items()}
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", script],
                cwd=clone,
                env=self.project.env() | variables | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            printed.append(f"$ {script}\n{done.stdout}")
            if done.returncode:
                return "\n".join(printed)
        return ""

    def _expand(self, value: str) -> str:
        """Fill in GitHub's expressions: secrets and variables that are not set are empty."""
        value = re.sub(r"\$\{\{ runner\.temp \}\}", str(self.folder), value)
        value = re.sub(r"\$\{\{ (secrets|vars)\.\w+ \}\}", "", value)
        assert "${{" not in value, value
        return value
