"""A generated project that is installed and run, in an environment and a home folder of its own."""

import base64
import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from template import CHOICES, ROOT, Bake, Project

# Asked of uv, as a name on the PATH may lead nowhere.
FIND_PYTHON = ("uv", "python", "find", "--no-project", "--no-python-downloads")
# The supported versions that are on this machine.
PYTHONS = [
    version
    for version in CHOICES["python_version"]
    if not subprocess.run([*FIND_PYTHON, version], capture_output=True, check=False).returncode
]

# Environments outlive a run of the tests: to install a project again is then a matter of seconds. A worker
# runs one project at a time, so its projects of one Python share an environment, and what is compiled there.
# Not in the folder of temporary files, which a machine cleans file by file.
SHARED = ROOT / "build/environments"

DATABASES = (".prefect/prefect.db", "mlflow.db")

# Questions for `Running.ask`; `Running.recorded` asks both.
PREFECT = """
import json, sys
from {package}.ops.orchestration.session import api
with api() as session, session():
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
        tasks = client.read_task_runs(limit=200)
print(json.dumps({{
    "flows": [run.state_name for run in runs],
    "tasks": sorted({{(task.name.rpartition("-")[0], task.state_name) for task in tasks}}),
}}))
"""
MLFLOW = """
import json
from {package}.ops.settings import PACKAGE as NAME
from {package}.ops.tracking import runs
client = runs.connect()
champion = client.get_model_version_by_alias(NAME, "champion")
run = client.get_run(champion.run_id)
print(json.dumps({{
    "champion": int(champion.version),
    "versions": len(client.search_model_versions(f"name = '{{NAME}}'")),
    "status": run.info.status,
    "metrics": run.data.metrics,
    "tags": champion.tags,
    "depths": [
        tried.data.params.get("model.params.max_depth")
        for tried in client.search_runs([run.info.experiment_id])
    ],
}}))
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def ask(url: str, body: object = None, method: str | None = None, **headers: str) -> tuple[int, str]:
    """Ask a server on loopback, a body as JSON; return status and answer. Names of headers have _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - http
        url, data, {"Content-Type": "application/json"} | named, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:  # from Python 3.14 on, an answer that is not closed is a warning
            return refused.code, refused.read().decode()


def pages(said: list[str]) -> dict[str, tuple[str, str]]:
    """Return what `ui` has said by the name of the page: its site, and the password that its address has."""
    lines = [line.split() for line in said if line.startswith(("Prefect ", "MLflow "))]
    return {name: (address.split("/open#")[0], address.split("/open#")[1]) for name, address in lines}


def basic(secret: str) -> str:
    """Return what the header Authorization has to say."""
    return f"Basic {base64.b64encode(secret.encode()).decode()}"


def passed(said: str) -> None:
    """Check that pytest has passed tests, and has neither failed nor skipped any."""
    assert re.search(r"\d+ passed", said)
    assert not re.search(r"\d+ (failed|skipped)", said)


@cache
def uv_cache() -> str:
    """Return the folder of uv's cache, which the projects share though their homes are empty."""
    return subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


class Running(NamedTuple):
    """Where a project lies, how its package is called, its Python version, and where it is installed."""

    path: Path
    package: str
    python: str
    environment: Path

    @classmethod
    def copy_of(cls, project: Project, folder: Path, python: str, environment: str = "") -> "Running":
        """Copy a generated project, which other tests read, into a folder to run it there."""
        path = folder / project.path.name
        shutil.copytree(project.path, path)
        shared = f"{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}-{python}"
        return cls(path, project.answers["__package"], python, SHARED / (environment or shared))

    def env(self) -> dict[str, str]:
        """Return the environment of its commands: no setting of the machine's, a home of its own."""
        home = self.path.parent / "home"
        home.mkdir(exist_ok=True)
        foreign = ("PREFECT_", "MLFLOW_", "DVC_", "VIRTUAL_ENV", "PROJECT_ROOT", "COV_", "PYTEST_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        own = {
            "HOME": str(home),
            "UV_CACHE_DIR": uv_cache(),
            "UV_PROJECT_ENVIRONMENT": str(self.environment),
            "UV_PYTHON": self.python,
            "MYPY_CACHE_DIR": str(SHARED / f"mypy-{self.python}"),
            # Threads that wait in a loop would take the cores from the other workers.
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        return kept | own

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command in the project and return what it printed; fail with all of it."""
        done = subprocess.run(
            command, cwd=cwd or self.path, env=self.env(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the project that goes on until it is terminated."""
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @contextmanager
    def settings(self, **settings: str) -> Iterator[None]:
        """Add settings to .env for the block."""
        file = self.path / ".env"
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        file.write_text(before + "".join(f"{name}={value}\n" for name, value in settings.items()))
        try:
            yield
        finally:
            file.write_text(before)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run Python in the project, its output and errors in one; kill what is left of it at the end."""
        with subprocess.Popen(
            [str(self.environment / "bin/python"), "-u", *arguments],
            cwd=self.path,
            env=self.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def ui(self, *command: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
        """Run `ui` for the block: the process, and what it said until both pages were there."""
        with (SHARED / "ui.lock").open("w") as alone:
            # Two at once would find the same ports free.
            fcntl.flock(alone, fcntl.LOCK_EX)
            pages = self.start(*command)
            assert pages.stdout
            said: list[str] = []
            for line in pages.stdout:
                said.append(line)
                if line.startswith("Ctrl-C"):
                    break
        try:
            yield pages, said
        finally:
            pages.terminate()
            pages.communicate(timeout=60)

    def prepare(self) -> "Running":
        """Do what `make setup` does, but copy the databases."""
        self.install()
        self.uv("run", "dvc", "pull", "--quiet", "--allow-missing")
        return self.with_databases()

    def with_databases(self) -> "Running":
        """Copy the databases into the project; make them if no project with the same versions has."""
        installed = (path.stem for path in self.environment.glob("lib/*/site-packages/*.dist-info"))
        versions = sorted(name for name in installed if name.startswith(("mlflow-", "prefect-")))
        kept, part = SHARED / "-".join(["databases", *versions]), SHARED / "databases.part"
        with (SHARED / "databases.lock").open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            if not kept.exists():
                self.uv("run", self.path.name, "prepare")
                for name in DATABASES:
                    (part / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    shutil.copy(self.path / name, part / name)
                part.rename(kept)
        shutil.copytree(kept, self.path, dirs_exist_ok=True)
        return self

    def install(self) -> None:
        """Install the project, and link what other environments have compiled: uv links the sources, too."""
        shared = self.environment.exists()
        self.uv("sync")
        if shared:  # what it has used is compiled
            return
        for other in SHARED.glob(f"*-{self.python}/lib/*/site-packages"):
            own = self.environment / other.relative_to(other.parents[2])
            for compiled in other.rglob("*.pyc"):
                linked = own / compiled.relative_to(other)
                source = linked.parents[1] / f"{compiled.name.partition('.')[0]}.py"
                if source.exists() and not linked.exists():
                    linked.parent.mkdir(exist_ok=True)
                    with suppress(OSError):  # another worker was quicker
                        linked.hardlink_to(compiled)

    def make(self, target: str) -> str:
        """Make a target."""
        return self.run("make", target)

    def uv(self, *arguments: str, cwd: Path | None = None) -> str:
        """Call uv."""
        return self.run("uv", "--quiet", *arguments, cwd=cwd)

    def git(self, *arguments: str) -> str:
        """Call git."""
        return self.run("git", *arguments)

    def ask(self, code: str, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Run a question to Prefect or MLflow in the project's environment; the last line answers in JSON."""
        python = str(self.environment / "bin/python")
        return json.loads(
            self.run(python, "-c", code.format(package=self.package), *arguments).splitlines()[-1]
        )

    def recorded(self) -> dict[str, Any]:
        """Ask Prefect and MLflow what they have recorded, in one process."""
        code = (PREFECT + MLFLOW).format(package=self.package)
        *_, prefect, mlflow = self.run(str(self.environment / "bin/python"), "-c", code).splitlines()
        return {**json.loads(prefect), **json.loads(mlflow)}

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Ask one of the databases itself, which takes no time."""
        with closing(sqlite3.connect(self.path / database)) as connection:
            return connection.execute(query).fetchall()

    def versions(self) -> int:
        """Count the registered versions."""
        return len(self.rows("mlflow.db", "SELECT version FROM model_versions"))

    def flow_runs(self, *states: str) -> list[dict[str, Any]]:
        """Ask the server of `ui` for the flow runs that are in one of the states."""
        url, password = (self.path / ".prefect/server.url").read_text(encoding="utf-8").split()
        query = {"flow_runs": {"state": {"type": {"any_": states}}}}
        status, said = ask(f"{url}/flow_runs/filter", query, Authorization=basic(password))
        assert status == 200, said
        return list(json.loads(said))

    def run_deployment(self, name: str) -> str:
        """Start a run of a deployment; return its id."""
        python = str(self.environment / "bin/python")
        said = self.run(python, "-m", self.package, "prefect", "deployment", "run", name)
        found = re.search(r"UUID: (\S+)", said)
        assert found, said
        return found[1]

    def wait_for_run(self, run: str, *states: str, seconds: float = 120) -> dict[str, Any]:
        """Wait until a run is in one of the states, by default in a final one; return it."""
        end = time.monotonic() + seconds
        wanted = states or ("COMPLETED", "FAILED", "CRASHED")
        while time.monotonic() < end:
            for found in self.flow_runs(*wanted):
                if found["id"] == run:
                    return found
            time.sleep(1)
        message = f"{run} did not reach any of {wanted} within {seconds} s"
        raise AssertionError(message)

    def wait_for_scheduled_run(self, seconds: float) -> dict[str, Any]:
        """Wait until a run that the schedule made has ended, and return it as the server of `ui` has it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ended = [run for run in self.flow_runs("COMPLETED", "FAILED", "CRASHED") if run["auto_scheduled"]]
            if ended:
                return ended[0]
            time.sleep(1)
        message = f"no scheduled run has ended within {seconds} s"
        raise AssertionError(message)


def set_up(bake: Bake, folder: Path, python: str, problem: str) -> Running:
    """Generate a project for a Python that is here, and prepare it."""
    if python not in PYTHONS:
        pytest.skip(f"Python {python} is not installed here")
    return Running.copy_of(bake(python_version=python, problem=problem), folder, python).prepare()
