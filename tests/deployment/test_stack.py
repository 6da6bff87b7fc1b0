"""The image and the servers for a team, run without an engine. Slow."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from containers import Image, build
from running import PYTHONS
from stack import ENV, Postgres, Stack
from template import Bake, Project
from urllib3 import BaseHTTPResponse, Retry
from urllib3.util import make_headers

pytestmark = pytest.mark.slow

HUNDRED = """
import mlflow
from prefect import flow, task
from prefect.runtime import flow_run


@task
def square(number: int) -> int:
    return number * number


@flow(name="hundred")
def hundred() -> None:
    mlflow.set_experiment("load")
    with mlflow.start_run(tags={"prefect.flow_run_id": str(flow_run.id)}):
        mlflow.log_metric("total", sum(future.result() for future in square.map(range(100))))
"""
DEPLOYMENTS = """
name: demo
prefect-version: 3.8.8
pull: []
deployments:
  - {name: load, entrypoint: PACKAGE.flows.hundred.hundred, work_pool: {name: POOL}}
  - {name: trained, entrypoint: PACKAGE.flows.training.training, work_pool: {name: POOL}}
  - name: watched
    entrypoint: PACKAGE.flows.monitoring.monitoring
    work_pool: {name: POOL}
    parameters: {source: prediction_log}
"""
RUN = """
import sys, json
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    deployment = client.read_deployment_by_name(sys.argv[1])
    runs = [client.create_flow_run_from_deployment(deployment.id) for _ in range(int(sys.argv[2]))]
print(json.dumps([str(run.id) for run in runs]))
"""
RECORDED = """
import json
from PACKAGE.ops.tracking import runs
client = runs.connect()
runs = client.search_runs([each.experiment_id for each in client.search_experiments()], max_results=200)
versions = client.search_model_versions("name = 'PACKAGE'")
print(json.dumps({
    "runs": {
        run.data.tags.get("prefect.flow_run_id"): [run.info.status, run.data.metrics.get("total")]
        for run in runs
    },
    "schemes": sorted({run.info.artifact_uri.partition(":")[0] for run in runs}),
    "aliases": [model.aliases for model in client.search_registered_models()],
    "versions": [[version.version, version.status] for version in versions],
    "artifacts": [len(client.list_artifacts(version.run_id)) for version in versions],
}))
"""
# Tags and aliases as SQL writes and reads them, and as MLflow does.
STORES = """
import json, os, sys
os.environ |= {"MLFLOW_TRACKING_URI": sys.argv[1], "PGPASSWORD": sys.argv[2]}
from PACKAGE.ops.tracking import store
seen = []
for revision in (store.REVISION, "another"):
    store.REVISION = revision
    opened = store.open_store()
    opened.set_tag("compared", "as text")
    opened.set_alias("compared", 1)
    seen.append([opened.model(), str(opened.version(1)), str(opened.version(None)), opened.version(2)])
    opened.set_alias("compared", None)
    seen[-1].append(opened.model())
    seen[-1].append(type(opened).__name__)
print(json.dumps(seen))
"""
# Four processes write the same entries of the journal: how many did, and whether its text is theirs.
APPENDS = """
import json, os, sys
from multiprocessing import get_context
os.environ |= {"MLFLOW_TRACKING_URI": sys.argv[1], "PGPASSWORD": sys.argv[2]}
from PACKAGE.ops.tracking import store

def append(process):
    opened = store.open_store()
    return [opened.add_tag(f"appended.{number}", str(process)) for number in range(20)]

with get_context("fork").Pool(4) as pool:
    added = pool.map(append, range(4), chunksize=1)
tags, _ = store.open_store().model()
print(json.dumps([
    [sum(each) for each in zip(*added)],
    [added[int(tags[f"appended.{number}"])][number] for number in range(20)],
]))
"""
# Somebody deletes a run with an artifact in MLflow, and that of the champion.
DELETE = """
import json
from PACKAGE.ops.tracking import registry, runs
client = runs.connect()
run = client.create_run(client.get_experiment_by_name("PACKAGE").experiment_id).info
client.log_text(run.run_id, "x", "x.txt")
deleted = [run.run_id, registry.get(1).run_id]
for each in deleted:
    client.delete_run(each)
print(json.dumps(deleted))
"""
RESTORE = """
import json, sys
from PACKAGE.ops.tracking import registry, runs
client = runs.connect()
client.restore_run(sys.argv[1])
with registry.load(1) as package:
    print(json.dumps(package.data.exists()))
"""
# The statuses for which Prefect's own client repeats a request.
AGAIN = Retry(8, allowed_methods=None, status_forcelist=[408, 429, 502, 503], backoff_factor=1)
DOCKER = """#!/bin/sh
# Stands in for docker: runs a container's command on this machine.
echo "$@" >> {log}
if [ "$2" = exec ]; then
    shift 4
    export PATH={postgres}:$PATH PGHOST={socket} PGPORT={port}
    exec $(echo "$@" | sed 's#=/mlartifacts#={artifacts}#')
fi
"""


def ask(address: str, user: str | None = None, **query: Any) -> BaseHTTPResponse:  # noqa: ANN401 - JSON
    """Send a JSON request to a server; repeat it if the server is busy."""
    headers = make_headers(basic_auth=user)
    return urllib3.request("POST", address, headers=headers, json=query, retries=AGAIN, timeout=90)


def patiently(question: Callable[[], list[int]], right: Callable[[list[int]], bool]) -> list[int]:
    """Ask until the answer is right, for up to two minutes; return the last answer."""
    end = time.monotonic() + 120
    while not right(answer := question()) and time.monotonic() < end:
        time.sleep(0.1)
    return answer


def files(root: Path) -> dict[str, int]:
    """Return every file of an image and its modification time, without Python's bytecode."""
    kept = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in kept}


class TestStack:
    """The image is built; the stack is started from it and used."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake) -> Project:
        """Return the project; tests only read it."""
        return bake(deployment="docker")

    @pytest.fixture(scope="class")
    @classmethod
    def image(cls, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Image:
        """Build the image from a context that contains secrets."""
        folder = tmp_path_factory.mktemp("image")
        context = folder / "context"
        shutil.copytree(project.path, context)
        for secret in (".env", ".dvc/config.local", "data/raw/secret.csv", "src/.env.key"):
            (context / secret).write_text("PASSWORD=of-the-team")
        (context / "src/.env.key").unlink()
        return build(context, folder, PYTHONS[-1], REVISION="0123abc")

    @pytest.fixture(scope="class")
    @classmethod
    def stack(
        cls, project: Project, image: Image, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[tuple[Stack, Postgres]]:
        """Start the servers and the worker; stop them at the end, even if one does not start."""
        folder = tmp_path_factory.mktemp("stack")
        # Not below pytest's folder: every new run of pytest closes that to PostgreSQL's user.
        data = Path(tempfile.mkdtemp(prefix="postgres-"))
        services = Stack(project.path, image, folder, ENV | {"PREDICTION_LOG": "on"})
        package = project.answers["__package"]
        (image.path("src") / package / "flows/hundred.py").write_text(HUNDRED)
        postgres = Postgres(services, data / "18")
        postgres.start()
        try:
            before = files(image.root)
            services.start("prefect", "mlflow", "serving")
            now = files(image.root)
            # read_only: they write only to /tmp and to the volume; the config is mounted.
            assert {name for name in now if now[name] != before.get(name)} - {"etc/mlflow-auth.ini"} == {
                name for name in now if name.startswith(("tmp/", "mlartifacts/"))
            }
            prefect = [project.answers["project_slug"], "prefect"]
            worker = services.environment("worker")
            image.path("load.yaml").write_text(
                DEPLOYMENTS.replace("PACKAGE", package).replace("POOL", prefect[0])
            )
            for command in (
                ["work-pool", "create", prefect[0], "--type", "process"],
                ["--no-prompt", "deploy", "--all", "--prefect-file", "load.yaml"],
            ):
                image.run(
                    [*prefect, *command],
                    **{k: v for k, v in worker.items() if k.startswith(("PREFECT_", "MLFLOW_"))},
                )
            services.start("worker")
            yield services, postgres
        finally:
            services.stop("worker", "serving", "prefect", "mlflow")
            postgres.control("-m", "fast", "stop")
            shutil.rmtree(data)

    def prefect(self, services: Stack, path: str, **query: Any) -> Any:  # noqa: ANN401 - JSON
        """Ask Prefect's server."""
        address = f"http://127.0.0.1:{services.ports['4200']}/api/{path}"
        said = ask(address, ENV["PREFECT_API_AUTH_STRING"], **query)
        assert said.status == 200, (path, said.status, said.data, services.log("prefect"))
        return said.json()

    def tasks(self, services: Stack, run: str) -> int:
        """Count the completed tasks of a flow run on the server."""
        completed = {"type": {"any_": ["COMPLETED"]}}
        flow_run = {"id": {"any_": [run]}}
        return int(
            self.prefect(services, "task_runs/count", flow_runs=flow_run, task_runs={"state": completed})
        )

    def run(self, services: Stack, deployment: str, times: int) -> list[str]:
        """Start several runs of a deployment at once; return their ids."""
        return list(json.loads(services.client(RUN, deployment, str(times))))

    def wait(self, services: Stack, wanted: list[str], tasks: int) -> None:
        """Wait until runs have completed and the server has their tasks."""
        query = {"id": {"any_": wanted}}
        end = time.monotonic() + 300
        states: list[str] = []
        while time.monotonic() < end and not {"FAILED", "CRASHED"} & set(states):
            time.sleep(1)
            states = [
                run["state_type"] for run in self.prefect(services, "flow_runs/filter", flow_runs=query)
            ]
            done = states == ["COMPLETED"] * len(wanted)
            if done and all(self.tasks(services, run) >= tasks for run in wanted):
                return
        raise AssertionError(states, [self.tasks(services, run) for run in wanted], services.log("worker"))

    def finished(self, services: Stack, run: str) -> int:
        """Count the log lines about the end of a flow run and of its tasks."""
        query = {"flow_run_id": {"any_": [run]}}
        said = [self.prefect(services, "logs/filter", logs=query, offset=page) for page in (0, 200)]
        return sum("Finished in state Completed()" in line["message"] for page in said for line in page)

    def recorded(self, services: Stack, project: Project) -> dict[str, Any]:
        """Return what both servers have recorded."""
        mlflow = json.loads(services.client(RECORDED.replace("PACKAGE", project.answers["__package"])))
        flows = self.prefect(services, "flow_runs/filter")
        return {
            **mlflow,
            "flows": {run["id"]: [run["state_type"], self.tasks(services, run["id"])] for run in flows},
        }

    def test_image_holds_what_it_needs_and_no_secret(self, image: Image, project: Project) -> None:
        assert image.user.split(":")[0] not in {"", "0", "root"}
        assert image.labels["org.opencontainers.image.revision"] == "0123abc"
        app = {
            str(path.relative_to(image.path("."))) for path in image.path(".").rglob("*") if path.is_file()
        }
        assert {"params.yaml", "contract.yaml", "dvc.yaml", "data/raw/penguins.csv.dvc", "uv.lock"} <= app
        assert not {".env", "data/raw/secret.csv", "data/raw/penguins.csv", "Dockerfile"} & app
        assert "of-the-team" not in image.path(".dvc/config.local").read_text()
        assert image.run([project.answers["project_slug"], "--help"])
        image.run(["dvc", "pull", "--quiet", "--allow-missing"])
        assert image.path("data/raw/penguins.csv").exists()
        commit = f"from {project.answers['__package']}.ops.versioning import git; print(git.code())"
        assert image.run(["python", "-c", commit], GIT_CEILING_DIRECTORIES="/").strip() == "0123abc"

    def test_wrong_passwords_are_refused(self, stack: tuple[Stack, Postgres]) -> None:
        services, postgres = stack
        select = ["--host=127.0.0.1", "--username=postgres", "--dbname=mlflow", "--command=select 1"]
        assert postgres.tool("psql", *select, PGPASSWORD=ENV["POSTGRES_PASSWORD"]).returncode == 0
        for wrong in ({}, {"PGPASSWORD": "wrong"}):
            refused = postgres.tool("psql", *select, "--no-password", **wrong)
            assert "password" in refused.stderr
            assert refused.returncode == 2
        prefect = f"http://127.0.0.1:{services.ports['4200']}/api/flows/filter"
        mlflow = f"http://127.0.0.1:{services.ports['5000']}/api/2.0/mlflow/experiments/search"
        right = f"{ENV['MLFLOW_TRACKING_USERNAME']}:{ENV['MLFLOW_TRACKING_PASSWORD']}"
        assert ask(prefect, ENV["PREFECT_API_AUTH_STRING"]).status == 200
        assert ask(mlflow, right, max_results=1).status == 200
        for user in (None, "team:wrong"):
            assert ask(prefect, user).status == 401
            assert ask(mlflow, user, max_results=1).status == 401

    def test_page_is_not_served_under_a_foreign_host(self, stack: tuple[Stack, Postgres]) -> None:
        port = stack[0].ports["5000"]
        for host, status in ((f"127.0.0.1:{port}", 401), ("evil.example", 403)):
            page = urllib3.request("GET", f"http://127.0.0.1:{port}/", headers={"Host": host}, timeout=60)
            assert page.status == status

    def test_eight_flows_of_a_hundred_tasks_at_once_lose_nothing(
        self, stack: tuple[Stack, Postgres], project: Project
    ) -> None:
        wanted = self.run(stack[0], "hundred/load", 8)
        self.wait(stack[0], wanted, tasks=100)
        found = self.recorded(stack[0], project)
        assert [found["flows"][run] for run in wanted] == [["COMPLETED", 100]] * 8
        total = sum(number * number for number in range(100))
        assert [found["runs"][run] for run in wanted] == [["FINISHED", total]] * 8

    def test_database_that_stalls_loses_nothing(self, stack: tuple[Stack, Postgres]) -> None:
        services, postgres = stack
        wanted = self.run(services, "hundred/load", 2)
        before = patiently(lambda: [self.tasks(services, run) for run in wanted], any)
        assert 0 < sum(before) < 200
        postgres.stall(15)
        # The answer comes when the database goes on; an error would reach the runs, too.
        after = [self.tasks(services, run) for run in wanted]
        assert all(now >= then for now, then in zip(after, before, strict=True))
        self.wait(services, wanted, tasks=100)
        # A run sends the last lines of its log after its state.
        lines = patiently(lambda: [self.finished(services, run) for run in wanted], [101, 101].__eq__)
        assert lines == [101, 101]

    def test_sql_writes_and_reads_the_registry_as_mlflow_does(
        self, stack: tuple[Stack, Postgres], project: Project
    ) -> None:
        services, _ = stack
        self.wait(services, self.run(services, "training/trained", 1), tasks=5)
        address = f"postgresql+psycopg://postgres@127.0.0.1:{services.ports['5432']}/mlflow"
        code = STORES.replace("PACKAGE", project.answers["__package"])
        by_sql, by_mlflow = json.loads(services.client(code, address, ENV["POSTGRES_PASSWORD"]))
        assert (by_sql.pop(), by_mlflow.pop()) == ("SqlStore", "MlflowStore")
        assert by_sql == by_mlflow
        assert by_sql[0][1] == {"champion": 1, "compared": 1}
        appends = APPENDS.replace("PACKAGE", project.answers["__package"])
        written, kept = json.loads(services.client(appends, address, ENV["POSTGRES_PASSWORD"]))
        assert written == [1] * 20
        assert kept == [True] * 20

    def test_service_serves_the_champion_of_the_stack(self, stack: tuple[Stack, Postgres]) -> None:
        """It has run since before there was one."""
        services, _ = stack
        known = {"Authorization": f"Bearer {ENV['SERVE_API_KEY']}"}
        address = f"http://127.0.0.1:{services.ports['8000']}"
        assert patiently(
            lambda: [urllib3.request("GET", f"{address}/health/ready", timeout=60).status], [200].__eq__
        ) == [200]
        assert urllib3.request("GET", f"{address}/model", timeout=60).status == 401
        assert urllib3.request("GET", f"{address}/model", headers=known, timeout=60).json()["version"] == 1
        row = {"island": "Dream", "sex": "male", "bill_length_mm": 39.5, "bill_depth_mm": 17.4}
        row |= {"flipper_length_mm": 186, "body_mass_g": 3800}
        predicted = urllib3.request("POST", f"{address}/predict", headers=known, json=row, timeout=60)
        assert predicted.status == 200, predicted.data
        process = services.running["serving"]
        services.stop("serving")
        assert process.returncode in {0, 128 + signal.SIGTERM}, services.log("serving")
        assert ENV["SERVE_API_KEY"] not in services.log("serving")
        # The monitor, in another container, reads what the service has logged.
        assert [*services.image.path("prediction_log").rglob("*.parquet")]
        self.wait(services, self.run(services, "monitoring/watched", 1), tasks=3)

    def test_gc_deletes_in_the_database_of_the_server_and_in_the_prediction_log(
        self, stack: tuple[Stack, Postgres], project: Project
    ) -> None:
        services, postgres = stack
        package = project.answers["__package"]
        run, of_champion = json.loads(services.client(DELETE.replace("PACKAGE", package)))
        long_ago = "UPDATE runs SET deleted_time = 1 WHERE lifecycle_stage = 'deleted'"
        where = ["--host", postgres.socket, "--username=postgres", "--dbname=mlflow"]
        assert postgres.tool("psql", *where, "--command", long_ago).stdout == "UPDATE 2\n"
        old = services.image.path("prediction_log/2001-01-01/00/old.parquet")
        old.parent.mkdir(parents=True)
        old.touch()
        artifacts = services.image.root / "mlartifacts"
        before = {file for file in artifacts.rglob("*") if file.is_file()}
        for option in (["--dry-run"], []):
            assert before == {file for file in artifacts.rglob("*") if file.is_file()}
            assert old.exists()
            said = services.once("gc", *option)
            assert "MLflow: 1 deleted runs and 0 models with their artifacts; kept 1 that" in said
            assert "prediction log: 1 files" in said
        [deleted] = before - set(artifacts.rglob("*"))
        assert (run in deleted.parts, deleted.name) == (True, "x.txt")
        assert not old.exists()
        assert "MLflow: 0 deleted runs" in services.once("gc")
        assert json.loads(services.client(RESTORE.replace("PACKAGE", package), of_champion)) is True

    def test_backup_is_restored(
        self, stack: tuple[Stack, Postgres], project: Project, tmp_path: Path
    ) -> None:
        services, postgres = stack
        trained = self.recorded(services, project)
        assert trained["schemes"] == ["mlflow-artifacts"]
        assert trained["versions"] == [["1", "READY"]]
        assert trained["aliases"] == [{"champion": "1"}]
        assert trained["artifacts"][0] > 1
        artifacts = services.image.root / "mlartifacts"
        assert any(artifacts.rglob("MLmodel"))
        docker = tmp_path / "bin/docker"
        docker.parent.mkdir()
        said = {"log": tmp_path / "log", "postgres": postgres.programs, "socket": postgres.socket}
        docker.write_text(DOCKER.format(**said, port=postgres.port, artifacts=artifacts))
        docker.chmod(0o755)
        folder = tmp_path / "project"
        folder.mkdir()
        shutil.copy(project.path / "Makefile", folder)
        make = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
        subprocess.run(["make", "backup"], cwd=folder, env=make, check=True)
        services.stop("worker", "prefect", "mlflow")
        for database in ("prefect", "mlflow"):
            drop = ["--host", postgres.socket, "--username=postgres", database]
            assert postgres.tool("dropdb", *drop).returncode == 0
        shutil.rmtree(artifacts)
        artifacts.mkdir()
        subprocess.run(["make", "restore"], cwd=folder, env=make, check=True)
        calls = [line.split()[1:3] for line in (tmp_path / "log").read_text().splitlines()]
        assert [verb for verb, _ in calls[-4:]] == ["stop", "exec", "exec", "up"]
        services.start("prefect", "mlflow")
        assert self.recorded(services, project) == trained
        assert any(artifacts.rglob("MLmodel"))
